"""Runs a model pair on a camera, a picture or a video."""

__version__ = "0.1.0"
