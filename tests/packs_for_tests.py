"""Writes small but real packs: two ONNX files, two manifests and a ``pack.toml``.

The networks are arithmetic, not training. The segmenter marks what is darker than the rest of the
frame in the pigment images (a red or brown patch on skin); the classifier turns the mean colour
of its crop into logits by a fixed matrix. Both are quick, deterministic and need no torch.
"""

from __future__ import annotations

import copy
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LABELS = ("ACK", "BCC", "MEL", "NEV", "SCC", "SEK")
LABEL_TEXT = {
    "ACK": "actinic keratosis",
    "BCC": "basal cell carcinoma",
    "MEL": "melanoma",
    "NEV": "nevus",
    "SCC": "squamous cell carcinoma",
    "SEK": "seborrheic keratosis",
}

OPSET, IR_VERSION = 17, 8


def write_pack(
    folder: Path,
    *,
    size: int = 96,
    classes: int = 6,
    segmenter_onnx: bytes | None = None,
    classifier_onnx: bytes | None = None,
    **changes: Any,
) -> Path:
    """Write a complete pack and return its folder.

    Args:
        folder: Made where it is missing.
        size: Width and height of both networks' input, in pixels.
        classes: Number of labels; the first six are those of PAD-UFES-20.
        segmenter_onnx: Another network than :func:`segmenter_network`.
        classifier_onnx: Another network than :func:`classifier_network`.
        changes: Values to put elsewhere into the manifests, by a path with double underscores,
            ``None`` to leave a key out: ``segmenter__output__threshold=0.3``,
            ``classifier__inputs__0__layout="NHWC"``, ``pack__name="other"``. Hashes are computed
            from the files unless changed this way.
    """
    folder.mkdir(parents=True, exist_ok=True)
    networks = {
        "segmenter": segmenter_onnx or segmenter_network(size),
        "classifier": classifier_onnx or classifier_network(size, classes),
    }
    tables = {
        "pack": pack_table(),
        "segmenter": segmenter_manifest(size),
        "classifier": classifier_manifest(size, classes),
    }
    for name, content in networks.items():
        (folder / f"{name}.onnx").write_bytes(content)
        tables[name]["onnx"]["sha256"] = hashlib.sha256(content).hexdigest()
    for path, value in changes.items():
        first, _, rest = path.partition("__")
        change(tables[first], rest, value)
    for name, table in tables.items():
        (folder / f"{name}.toml").write_text(toml_text(table), encoding="utf-8")
    return folder


# --- networks -----------------------------------------------------------------------------------


def segmenter_network(size: int) -> bytes:
    """Input ``image`` float32 Nx9xHxW (RGB, hemoglobin, melanin; 0..1), output ``logit`` Nx1xHxW.

    ``40 * (smoothed darkness - mean darkness of the frame - 0.1)``, where darkness is one minus
    the green of the hemoglobin image plus one minus the blue of the melanin image.
    """
    # Channels: 0-2 RGB, 3-5 hemoglobin, 6-8 melanin; the weights pick 4 and 8.
    pick = np.zeros((1, 9, 1, 1), np.float32)
    pick[0, [4, 8]] = -1.0
    nodes = [
        helper.make_node("Conv", ["image", "pick", "two"], ["darkness"]),
        helper.make_node(
            "AveragePool",
            ["darkness"],
            ["smooth"],
            kernel_shape=[5, 5],
            pads=[2, 2, 2, 2],
            count_include_pad=0,
        ),
        helper.make_node("GlobalAveragePool", ["darkness"], ["mean"]),
        helper.make_node("Sub", ["smooth", "mean"], ["contrast"]),
        helper.make_node("Sub", ["contrast", "margin"], ["above"]),
        helper.make_node("Mul", ["above", "gain"], ["logit"]),
    ]
    constants = {
        "pick": pick,
        "two": np.array([2.0], np.float32),
        "margin": np.array(0.1, np.float32),
        "gain": np.array(40.0, np.float32),
    }
    shapes = (["N", 9, size, size], ["N", 1, size, size])
    return network_bytes(nodes, constants, {"image": shapes[0]}, {"logit": shapes[1]})


def classifier_network(size: int, classes: int) -> bytes:
    """Input ``image`` float32 Nx3xHxW (RGB, normalised), output ``logits`` NxC."""
    weights = np.random.default_rng(7).normal(0.0, 2.0, (3, classes)).astype(np.float32)
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
    ]
    shapes = (["N", 3, size, size], ["N", classes])
    return network_bytes(nodes, {"weights": weights}, {"image": shapes[0]}, {"logits": shapes[1]})


def network_bytes(
    nodes: list[onnx.NodeProto],
    constants: dict[str, np.ndarray],
    inputs: dict[str, list[int | str]],
    outputs: dict[str, list[int | str]],
    *,
    element: int = TensorProto.FLOAT,
    opset: int = OPSET,
) -> bytes:
    """A checked ONNX file of the given nodes; every input and output has the type ``element``."""
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info(n, element, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, element, s) for n, s in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=IR_VERSION
    )
    onnx.checker.check_model(model)
    return model.SerializeToString()


# --- manifests ----------------------------------------------------------------------------------


def pack_table() -> dict[str, Any]:
    """What ``pack.toml`` says."""
    return {
        "schema": "dermedge.pack/1",
        "name": "tiny",
        "version": "1.0",
        "segmenter": "segmenter.toml",
        "classifier": "classifier.toml",
        "summary": "Arithmetic for tests.",
    }


def segmenter_manifest(size: int) -> dict[str, Any]:
    """What ``segmenter.toml`` says; the hash is zeros."""
    return {
        **_head("tiny-segmenter", "segmentation"),
        "onnx": {"file": "segmenter.onnx", "sha256": "0" * 64},
        "inputs": [
            {
                "name": "image",
                "roles": ["rgb", "hemoglobin", "melanin"],
                "layout": "NCHW",
                "size_wh": [size, size],
                "scale": 1.0 / 255.0,
            }
        ],
        "output": {"name": "logit", "layout": "NCHW", "activation": "none", "threshold": 0.5},
        "regions": {"min_area_fraction": 0.001},
        "resize": {"fit": "letterbox"},
        "card": {"summary": "Marks what is darker than its frame.", "intended_use": "Tests."},
    }


def classifier_manifest(size: int, classes: int) -> dict[str, Any]:
    """What ``classifier.toml`` says; the hash is zeros."""
    labels = [LABELS[i] if i < len(LABELS) else f"C{i}" for i in range(classes)]
    return {
        **_head("tiny-classifier", "classification"),
        "onnx": {"file": "classifier.onnx", "sha256": "0" * 64},
        "inputs": [
            {
                "name": "image",
                "roles": ["rgb"],
                "layout": "NCHW",
                "size_wh": [size, size],
                "scale": 1.0 / 255.0,
                "mean": [0.485, 0.456, 0.406],
                "std": [0.229, 0.224, 0.225],
            }
        ],
        "output": {"name": "logits", "layout": "NC", "activation": "none", "labels": labels},
        "label_text": {code: text for code, text in LABEL_TEXT.items() if code in labels},
        "decision": {"temperature": 1.0, "abstain_below": 0.0},
        "resize": {"fit": "letterbox"},
        "card": {"summary": "Logits from the mean colour.", "intended_use": "Tests."},
    }


def _head(name: str, task: str) -> dict[str, Any]:
    return {
        "schema": "dermedge.model/1",
        "name": name,
        "version": "1.0",
        "task": task,
        "domain": ["clinical", "dermoscopic"],
        "lesions": "both",
        "validated": False,
        "max_batch": 4,
    }


# --- tables and TOML ----------------------------------------------------------------------------


def change(table: dict[str, Any], path: str, value: Any) -> None:
    """Set the value at ``a__b__0`` in place; ``None`` removes the key; missing tables are made."""
    *parents, last = path.split("__")
    place: Any = table
    for part in parents:
        place = place[int(part)] if isinstance(place, list) else place.setdefault(part, {})
    if isinstance(place, list):
        place[int(last)] = value
    elif value is None:
        place.pop(last, None)
    else:
        place[last] = value


def changed(table: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A deep copy of ``table`` with :func:`change` applied."""
    table = copy.deepcopy(table)
    for path, value in changes.items():
        change(table, path, value)
    return table


def toml_text(table: dict[str, Any]) -> str:
    """TOML of a table of plain values, tables, and lists of tables."""
    lines = [f"{_key(k)} = {_value(v)}" for k, v in table.items() if not _is_tables(v)]
    for key, value in table.items():
        if isinstance(value, dict):
            lines += ["", f"[{_key(key)}]", toml_text(value)]
        elif _is_tables(value):
            for entry in value:
                lines += ["", f"[[{_key(key)}]]", toml_text(entry)]
    return "\n".join(lines) + "\n"


def _is_tables(value: Any) -> bool:
    listed = isinstance(value, list) and bool(value) and isinstance(value[0], dict)
    return listed or isinstance(value, dict)


def _key(key: str) -> str:
    return key if key.isidentifier() and key.isascii() else json.dumps(key)


def _value(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(v) for v in value) + "]"
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value, ensure_ascii=False)
