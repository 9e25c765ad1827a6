"""Exports: the committed tiny networks can be made again, and bad ones are refused."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from models.offline import onnx_runtime

torch = pytest.importorskip("torch", reason="needs the extra [train]")

from make_tiny import DATA, TINY, logits  # noqa: E402

from models.errors import InputError, ModelRefusedError  # noqa: E402
from models.export import load_checkpoint, load_log, parity, to_onnx  # noqa: E402

pytestmark = pytest.mark.train


@pytest.mark.parametrize("name", TINY)
def test_torch_still_computes_the_committed_numbers(name: str) -> None:
    net, example = TINY[name]()
    with np.load(DATA / f"{name}.npz") as saved:
        np.testing.assert_array_equal(saved["image"], example)
        np.testing.assert_allclose(logits(net, example), saved["logits"], atol=1e-4)


@pytest.mark.parametrize("name", TINY)
def test_a_new_export_computes_what_the_committed_one_does(name: str) -> None:
    net, example = TINY[name]()
    new = to_onnx(net, example)
    old = (DATA / f"{name}.onnx").read_bytes()
    results = []
    for content in (new, old):
        session = onnx_runtime().InferenceSession(content, providers=["CPUExecutionProvider"])
        results.append(session.run(["logits"], {"image": example})[0])
    np.testing.assert_allclose(results[0], results[1], atol=1e-4)
    kinds = [[n.op_type for n in onnx.load_from_string(c).graph.node] for c in (new, old)]
    assert sorted(kinds[0]) == sorted(kinds[1])


def test_parity_holds_and_a_changed_network_is_refused() -> None:
    net, example = TINY["tiny_unet"]()
    content = to_onnx(net, example)
    assert parity(net, content, example) < 1e-4
    with torch.no_grad():
        net.head.bias += 0.5
    with pytest.raises(ModelRefusedError, match="within 0.001 of torch.*a difference of 0.5"):
        parity(net, content, example)


def test_a_missing_checkpoint_is_named(tmp_path) -> None:
    with pytest.raises(InputError, match="segmenter.pt.*dermedge-models train"):
        load_checkpoint(tmp_path, "segmenter")
    (tmp_path / "segmenter.pt").write_bytes(b"no checkpoint")
    with pytest.raises(InputError, match="segmenter.pt"):
        load_checkpoint(tmp_path, "segmenter")


def test_an_unfinished_training_is_not_exported(tmp_path) -> None:
    log = tmp_path / "segmenter.jsonl"
    log.write_text('{"event": "segmenter start"}\n', encoding="utf-8")
    with pytest.raises(InputError, match="segmenter.jsonl to end with.*wait for the training"):
        load_log(tmp_path, "segmenter")
    log.write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="the log .*segmenter.jsonl"):
        load_log(tmp_path, "segmenter")
