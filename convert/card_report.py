"""An engine card as a person reads it."""

from __future__ import annotations

from convert.verdict_report import report_verdict
from edge.engine_card import DeviceFacts, EngineCard


def words_of(device: DeviceFacts) -> str:
    """A device in one line."""
    l4t = f", Jetson Linux {device.l4t}" if device.l4t else ""
    return (
        f"{device.gpu_name}, compute capability {device.compute_capability}, "
        f"{device.sm_count} multiprocessors{l4t}, TensorRT {device.tensorrt}"
    )


def report_card(card: EngineCard) -> str:
    """Lines of a table, the verdict of the gate last."""
    model, settings, build = card.model, card.settings, card.build
    workspace = build.workspace_bytes / 2**20
    attempts = "1 attempt" if build.attempts == 1 else f"{build.attempts} attempts"
    rows = [
        ("model", f"{model.name} {model.version} ({card.part}), {card.precision}"),
        ("key", card.key),
        ("device", words_of(card.device)),
        ("source", f"ONNX {model.onnx_sha256}"),
        ("graph", model.prepared_sha256),
        ("engine", f"{card.engine.sha256}, {card.engine.size_bytes} bytes"),
        ("batch", f"1 to {settings.max_batch}, tuned for {settings.opt_batch}"),
        (
            "settings",
            f"optimization level {settings.optimization_level}, TF32 "
            + ("on" if card.tf32 else "off"),
        ),
        (
            "built",
            f"{build.wall}, {build.seconds:.0f} s, {attempts}, workspace {workspace:.0f} MiB, "
            f"by {card.software}",
        ),
    ]
    if card.calibration_sha256 is not None:
        rows.append(("calibrated", card.calibration_sha256))
    if card.transfer:
        ways = ", ".join(f"{tensor} {way}" for tensor, way in sorted(card.transfer.items()))
        rows.append(("transfer", ways))
    lines = [f"  {name:<12}{words}" for name, words in rows]
    if card.gate is None:
        return "\n".join([*lines, "  gate        not judged yet: dermedge does not use it"])
    return "\n".join([*lines, report_verdict("  gate", card.gate)])
