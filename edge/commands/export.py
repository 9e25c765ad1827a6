"""``dermedge export``: cases, logs and recordings onto a stick, verified."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from edge.errors import RequestError


@click.command("export")
@click.option("--to", "target", type=click.Path(path_type=Path), help="Folder on the stick.")
@click.option("--cases", type=click.Path(path_type=Path), help="Folder of cases.")
@click.option(
    "--logs", type=click.Path(path_type=Path), multiple=True, help="Log file or folder; repeatable."
)
@click.option("--recordings", type=click.Path(path_type=Path), help="Folder of recordings.")
@click.option(
    "--playable", is_flag=True, help="Beside each recording a video that a browser plays (slow)."
)
@click.option(
    "--verify", type=click.Path(path_type=Path), help="Check an export, anywhere, and copy nothing."
)
def export(
    target: Path | None,
    cases: Path | None,
    logs: tuple[Path, ...],
    recordings: Path | None,
    playable: bool,
    verify: Path | None,
) -> int:
    """Copy cases, logs and recordings to a stick, and read back every file.

    What is there already and the same is left, so it may be repeated and goes on where it ended.
    Pictures of skin may identify a person: look after the stick. Research prototype. Not for
    diagnosis.
    """
    if (target is None) == (verify is None):
        raise RequestError("--to DIR or --verify DIR", got="neither or both", next_step="give one")
    if verify is not None:
        return _verify(verify)
    if cases is None and not logs and recordings is None:
        raise RequestError(
            "something to export", got="nothing", next_step="add --cases, --logs or --recordings"
        )
    assert target is not None
    return _export(target, cases, logs, recordings, playable)


def _export(
    target: Path,
    cases: Path | None,
    logs: tuple[Path, ...],
    recordings: Path | None,
    playable: bool,
) -> int:
    # Imported here: a wrong flag is told before anything is loaded.
    from edge.cases.export import Item, plan_export, run_export
    from edge.recording.segment import list_segments

    items, report = plan_export(target, cases, logs, recordings)
    shown = sys.stderr.isatty()

    def said(item: Item) -> None:
        if shown:
            click.echo(f"\r\x1b[K{item.relative}", err=True, nl=False)

    segments = list_segments(recordings) if playable and recordings is not None else []
    if segments:
        words = f"making a video of each recording ({len(segments)}): this may take minutes"
        click.echo(words, err=True)
    run_export(target, items, report, said, segments)
    if shown:
        click.echo("\r\x1b[K", err=True, nl=False)
    for words in (*report.notes, *report.failures):
        click.echo(words, err=True)
    click.echo(
        f"{report.copied} files copied and read back ({report.copied_bytes / 1e6:.1f} MB), "
        f"{report.kept} were there and the same, {len(report.failures)} failed"
    )
    return 3 if report.failures else 0


def _verify(target: Path) -> int:
    from edge.cases.export import verify_export

    count, wrong = verify_export(target)
    for words in wrong:
        click.echo(words, err=True)
    click.echo(f"{count - len(wrong)} of {count} files are as they were exported")
    return 3 if wrong else 0
