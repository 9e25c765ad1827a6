"""Synthetic skin with known lesions: training data, test oracle and demo camera."""

from models.phantom.draw import random_spec
from models.phantom.render import LesionTruth, Phantom, clean, render
from models.phantom.scene import CameraFrame, PhantomCamera
from models.phantom.spec import (
    Artefacts,
    CameraCurve,
    Domain,
    Edge,
    Lesion,
    LesionKind,
    PhantomSpec,
    SkinModel,
)

__all__ = [
    "Artefacts",
    "CameraFrame",
    "CameraCurve",
    "Domain",
    "Edge",
    "Lesion",
    "LesionKind",
    "LesionTruth",
    "Phantom",
    "PhantomCamera",
    "PhantomSpec",
    "SkinModel",
    "clean",
    "random_spec",
    "render",
]
