"""Writes what surrounds two ONNX files: manifests, ``pack.toml`` and ``CARD.md``.

Everything a person must know stands once, here, and goes both into the manifests (for
``dermedge-models show``) and into the card. Figures come from the checkpoints and from the file
that ``dermedge-models evaluate`` wrote; none is typed in.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models.data import CLASSIFIER_MEAN, CLASSIFIER_STD, FILL, LABELS
from models.manifest import load_pack
from models.whole_file import write_whole

SUMMARY = "Residual U-Net of Son et al. 2021 and EfficientNet-B0, trained from nothing; unvalidated"

LABEL_TEXT = {
    "ACK": "actinic keratosis",
    "BCC": "basal cell carcinoma",
    "MEL": "melanoma",
    "NEV": "nevus",
    "SCC": "squamous cell carcinoma",
    "SEK": "seborrheic keratosis",
}

INTENDED_USE = (
    "Trying out and testing dermedge: the picture path, devices, latency. Research prototype; not "
    "a medical device, not for diagnosis, triage or treatment decisions."
)

DATA = (
    "ISIC 2017 challenge, training part, 256x256 px: pictures and lesion masks (segmenter), "
    "pictures labelled nevus, melanoma or seborrheic keratosis (classifier)",
    "PAD-UFES-20: smartphone close-ups of six diagnoses (classifier), 110x110 px patches without "
    "lesion (segmenter). Pacheco et al., Federal University of Espirito Santo, "
    "doi 10.17632/zr7vgbcyr2.1; resized and cropped",
    "Phantoms: synthetic skin of ITA -60 to +60 degrees with brown and red lesions (segmenter), "
    "models/phantom",
)

LICENCES = (
    "ISIC 2017: described by the ISIC archive as CC0",
    "PAD-UFES-20: CC BY 4.0",
    "these weights: Apache-2.0, as the program",
)

LIMITS_BOTH = (
    "Fitzpatrick types V and VI are nearly absent from the photographs: dark tones were learnt "
    "from phantoms, which is no evidence for dark skin",
    "No photograph of dermatitis or other erythema with a mask was at hand: red lesions were "
    "learnt from phantoms and recoloured moles only",
)

LIMITS_SEGMENTER = (
    *LIMITS_BOTH,
    "Marks what stands out from its surroundings, also scars, pen marks, hair, nostrils, lips",
)

LIMITS_CLASSIFIER = (
    *LIMITS_BOTH,
    "Knows six diagnoses of lesions and no inflammatory disease, no healthy skin, no 'other': "
    "whatever is shown gets one of the six or no name",
    "Trained on a few hundred close-ups: 13 squamous cell carcinomas and 19 melanomas among them",
    "May take the camera's look for a sign: three labels were also learnt from dermoscopy",
)


def write_pack(
    folder: Path,
    *,
    version: str,
    checkpoints: Mapping[str, Mapping[str, Any]],
    hashes: Mapping[str, str],
    sizes: Mapping[str, int],
    logs: Mapping[str, Sequence[Mapping[str, Any]]],
    figures: Path | None,
    notes: str = "",
) -> None:
    """Write ``segmenter.toml``, ``classifier.toml``, ``pack.toml`` and ``CARD.md``, and read them.

    Args:
        folder: Where the two ONNX files lie.
        version: Of the pack and both models.
        checkpoints: What the trainings chose and measured: ``threshold``, ``temperature``,
            ``abstain_below``, ``tune``.
        hashes: sha256 of the ONNX files, by ``segmenter`` and ``classifier``.
        sizes: Side of each network's input in pixels.
        logs: Lines of each training's log, by the same names.
        figures: Report of ``dermedge-models evaluate``, or ``None``.
        notes: What a person saw in the overlays, in Markdown.
    """
    report = json.loads(figures.read_text(encoding="utf-8")) if figures else None
    metrics = {
        "segmenter": _segmenter_metrics(checkpoints["segmenter"]["tune"], report),
        "classifier": _classifier_metrics(checkpoints["classifier"]["tune"], report),
    }
    texts = {
        "pack.toml": _pack_toml(version),
        "segmenter.toml": _segmenter_toml(
            version,
            checkpoints["segmenter"],
            hashes["segmenter"],
            sizes["segmenter"],
            metrics["segmenter"],
        ),
        "classifier.toml": _classifier_toml(
            version,
            checkpoints["classifier"],
            hashes["classifier"],
            sizes["classifier"],
            metrics["classifier"],
        ),
        "CARD.md": _card(version, metrics, logs, report, notes),
    }
    for name, text in texts.items():
        write_whole(folder / name, text.encode("utf-8"))
    load_pack(folder)


# --- figures in words ---------------------------------------------------------------------------


def _segmenter_metrics(tune: Mapping[str, Any], report: Mapping[str, Any] | None) -> list[str]:
    lines = []
    if "dermoscopy_dice_mean" in tune:
        lines.append(
            f"In training, at {tune['size']} px: Dice on {tune['dermoscopy_pictures']} dermoscopy "
            f"pictures of the tuning side, mean {tune['dermoscopy_dice_mean']:.3f}, median "
            f"{tune['dermoscopy_dice_median']:.3f}; on {tune['phantom_pictures']} phantoms mean "
            f"{tune['phantom_dice_mean']:.3f}"
        )
    if report:
        masks = report["dermoscopy"]
        lines.append(
            f"Through the product, {masks['pictures']} dermoscopy pictures of the "
            f"{_side(report)}: Dice mean {_with_interval(masks['dice'])}, median "
            f"{masks['dice']['median']:.3f}; sensitivity {_with_interval(masks['sensitivity'])}; "
            f"specificity {_with_interval(masks['specificity'])}; below 0.5 in "
            f"{masks['dice_below_half']:.1%} of pictures, nothing found of the lesion in "
            f"{masks['no_region']:.1%}"
        )
        if report["normal_skin"]["marked"]:
            lines.append(_normal_skin_words(report))
        tones = report["phantoms"]["dice_by_ita"]
        words = "; ".join(
            f"ITA {tone.partition(' ')[2]}: {entry['mean']:.3f} (n {entry['pictures']})"
            for tone, entry in tones.items()
        )
        clean = report["phantoms"]["lesion_free"]
        lines.append(
            f"Dice on phantoms by skin tone in degrees: {words}; marked share of "
            f"{clean['pictures']} lesion-free phantoms {clean['marked_share']:.2%}"
        )
    return lines


def _normal_skin_words(report: Mapping[str, Any]) -> str:
    marked = report["normal_skin"]["marked"]
    parts = [
        f"{key.replace('type', 'Fitzpatrick type')} {entry['share']:.2%} (n {entry['patches']})"
        for key, entry in marked.items()
        if key != "all"
    ]
    whole = marked["all"]
    return (
        f"Marked share of lesion-free skin (normal_skin, {_side(report)}): {whole['share']:.2%} of "
        f"the area, in {whole['patches_with_a_mark']} of {whole['patches']} patches; "
        + "; ".join(parts)
    )


def _classifier_metrics(tune: Mapping[str, Any], report: Mapping[str, Any] | None) -> list[str]:
    lines = []
    if "balanced_accuracy" in tune:
        low, high = tune["interval_95"]
        lines.append(
            f"In training: balanced accuracy over six classes {tune['balanced_accuracy']:.2f} "
            f"(95 % interval by patient {low:.2f} to {high:.2f}; guessing gives 0.17) on "
            f"{tune['pictures']} whole close-ups of the tuning side, which also chose temperature "
            f"and abstention; {tune['named_share']:.0%} of them are named, "
            f"{tune['named_right']:.0%} of those rightly"
        )
    if report and "largest_region" in report["clinical"]:
        clinical = report["clinical"]
        for key, words in (
            ("whole_picture", "given the whole close-up"),
            ("largest_region", "given the largest region found"),
        ):
            entry = clinical[key]
            low, high = entry["interval_95"]
            lines.append(
                f"Through the product, {words}: balanced accuracy "
                f"{entry['balanced_accuracy']:.2f} ({low:.2f} to {high:.2f}) on "
                f"{clinical['pictures']} close-ups of the {_side(report)}; right by class: "
                f"{_right(entry['right_by_class'])}; by skin type: "
                f"{_right(entry['right_by_fitzpatrick'])}"
            )
        lines.append(f"No region was found in {clinical['no_region']:.0%} of these close-ups")
    return lines


def _right(by_key: Mapping[str, Mapping[str, Any]]) -> str:
    """Shares where there are cases enough, and the others by name."""
    known = [
        f"{key} {entry['right']:.2f} (n {entry['cases']})"
        for key, entry in by_key.items()
        if entry["right"] is not None
    ]
    few = [f"{key} (n {e['cases']})" for key, e in by_key.items() if e["right"] is None]
    return ", ".join(known) + (f"; too few for a figure: {', '.join(few)}" if few else "")


def _with_interval(entry: Mapping[str, Any]) -> str:
    low, high = entry["interval_95"]
    return f"{entry['mean']:.3f} (95 % interval {low:.3f} to {high:.3f})"


def _side(report: Mapping[str, Any]) -> str:
    return "tuning side" if report["side"] == "tune" else "test side"


# --- files --------------------------------------------------------------------------------------


def _pack_toml(version: str) -> str:
    return f"""schema = "dermedge.pack/1"
name = "reference"
version = {_text(version)}
segmenter = "segmenter.toml"
classifier = "classifier.toml"
summary = {_text(SUMMARY)}
"""


def _segmenter_toml(
    version: str, checkpoint: Mapping[str, Any], sha256: str, size: int, metrics: list[str]
) -> str:
    return f"""schema = "dermedge.model/1"
name = "reference-unet"
version = {_text(version)}
task = "segmentation"
domain = ["clinical", "dermoscopic"]
lesions = "both"
validated = false
max_batch = 4

[onnx]
file = "segmenter.onnx"
sha256 = "{sha256}"

[[inputs]]
name = "image"
roles = ["rgb", "hemoglobin", "melanin"]
layout = "NCHW"
dtype = "float32"
size_wh = [{size}, {size}]
scale = {1 / 255!r}

[output]
name = "logits"
layout = "NCHW"
activation = "none"
threshold = {checkpoint["threshold"]!r}

{_resize_toml()}
[regions]
min_area_fraction = 0.001
padding_fraction = 0.15
fill_holes = true
merge_distance_fraction = 0.0
max_regions = 8

{_card_toml("Marks abnormal skin, brown or red, pixel by pixel.", metrics, LIMITS_SEGMENTER)}"""


def _classifier_toml(
    version: str, checkpoint: Mapping[str, Any], sha256: str, size: int, metrics: list[str]
) -> str:
    texts = "\n".join(f"{label} = {_text(LABEL_TEXT[label])}" for label in LABELS)
    return f"""schema = "dermedge.model/1"
name = "reference-efficientnet-b0"
version = {_text(version)}
task = "classification"
domain = ["clinical", "dermoscopic"]
lesions = "both"
validated = false
max_batch = 4

[onnx]
file = "classifier.onnx"
sha256 = "{sha256}"

[[inputs]]
name = "image"
roles = ["rgb"]
layout = "NCHW"
dtype = "float32"
size_wh = [{size}, {size}]
scale = {1 / 255!r}
mean = [{CLASSIFIER_MEAN}]
std = [{CLASSIFIER_STD}]

[output]
name = "logits"
layout = "NC"
activation = "none"
labels = {_list(LABELS, inline=True)}

[label_text]
{texts}

{_resize_toml()}
[decision]
temperature = {checkpoint["temperature"]!r}
abstain_below = {checkpoint["abstain_below"]!r}

{_card_toml("Names a lesion as one of six diagnoses, or none.", metrics, LIMITS_CLASSIFIER)}"""


def _resize_toml() -> str:
    return f"""[resize]
fit = "letterbox"
interpolation = "linear"
antialias = true
fill = {list(FILL)}
"""


def _card_toml(summary: str, metrics: list[str], limits: tuple[str, ...]) -> str:
    return f"""[card]
summary = {_text(summary)}
data = {_list(DATA)}
licences = {_list(LICENCES)}
metrics = {_list(metrics)}
intended_use = {_text(INTENDED_USE)}
limits = {_list(limits)}
"""


def _text(value: str) -> str:
    # A JSON string of plain characters is a TOML basic string.
    return json.dumps(value)


def _list(values: tuple[str, ...] | list[str], *, inline: bool = False) -> str:
    if inline:
        return "[" + ", ".join(_text(value) for value in values) + "]"
    return "[\n" + "".join(f"    {_text(value)},\n" for value in values) + "]"


def _card(
    version: str,
    metrics: Mapping[str, list[str]],
    logs: Mapping[str, Sequence[Mapping[str, Any]]],
    report: Mapping[str, Any] | None,
    notes: str,
) -> str:
    seen = f"\n## What the overlays show\n\n{notes.strip()}\n" if notes.strip() else ""
    return f"""# Reference pack, version {version}

{SUMMARY}.

**{INTENDED_USE}**

Every class it names is unvalidated. Its figures come from small sets of few skin tones.

## Data

{_bullets(DATA)}

Licences: {"; ".join(LICENCES)}.

Who is on which side (train, tune, test) stands in `models/splits.csv`: by patient, dermoscopy by
near-duplicates. Everything that was chosen (threshold, temperature, abstention) was chosen on the
tuning side, and the figures below are from that same side: they flatter. Nothing was
chosen on the test side.

## How it was made

{_made(logs, report)}
## Segmenter

{_bullets(metrics["segmenter"])}

## Classifier

{_bullets(metrics["classifier"])}

A class or skin type with fewer than 5 close-ups gets no figure here.

## Limits

{_bullets(tuple(dict.fromkeys((*LIMITS_SEGMENTER, *LIMITS_CLASSIFIER))))}
{seen}"""


def _made(logs: Mapping[str, Sequence[Mapping[str, Any]]], report: Mapping[str, Any] | None) -> str:
    """Commands and what they took, from the logs' own first and last lines."""
    start = logs["segmenter"][0]
    command = f"dermedge-models train DATA --out RUN --minutes {start['minutes']:g}"
    if start["seed"] != 1:
        command += f" --seed {start['seed']}"
    took = "; ".join(
        f"the {name} {log[-1]['seconds']:.0f} s ({_steps(log)} steps, {log[0]['threads']} thread"
        f"{'s' if log[0]['threads'] != 1 else ''})"
        for name, log in logs.items()
    )
    measured = (
        f"    dermedge-models evaluate PACK DATA --split {report['side']} --json FILE\n"
        "    dermedge-models export RUN --out PACK --figures FILE --notes NOTES\n"
        if report
        else ""
    )
    return f"""    {command}
    dermedge-models export RUN --out PACK
{measured}
No pretrained weights. Both networks trained side by side, on the CPU only; wall time by the logs:
{took}.
The logs lie beside this card (`segmenter.jsonl`, `classifier.jsonl`). A run repeats the method,
not the bits: it is limited by time, and a faster machine takes more steps.
"""


def _steps(log: Sequence[Mapping[str, Any]]) -> int:
    return max((int(line["steps"]) for line in log if "steps" in line), default=0)


def _bullets(items: tuple[str, ...] | list[str]) -> str:
    return "\n".join(f"- {item}" for item in items)
