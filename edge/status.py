"""What the run is doing now, for screens that tell more than the picture does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.health import Health
    from edge.intake import Intake
    from edge.overlay.notices import Notice
    from edge.session import Session, SessionState
    from edge.sinks.group import SinkGroup


def _nothing() -> None:
    """Nothing speaks against it."""


@dataclass(frozen=True)
class Snapshot:
    """One look at the run.

    Attributes:
        state: Where the shutter is.
        case_code: Of the still that is held, once it is saved.
        said: What the shutter has to say, in words.
        health: Figures with their names, as text.
    """

    state: SessionState = "live"
    case_code: str | None = None
    said: Sequence[str] = ()
    health: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Counts:
    """What a run has counted so far.

    Attributes:
        captured: Frames that the source gave.
        lost_by_source: Frames that it lost, by its own numbers.
        passed_over: Frames that were not analyzed because a newer one came first.
        read_failures: Reads that failed.
        is_away: Whether the camera is away.
        recovery: Steps to get it back, by name.
        last_recovery_s: How long it was away the last time.
        left_out: Results that an output was too slow for, by its name.
        outputs_away: 1 for each output that cannot be written, by its name.
    """

    captured: int = 0
    lost_by_source: int = 0
    passed_over: int = 0
    read_failures: int = 0
    is_away: bool = False
    recovery: Mapping[str, int] = field(default_factory=dict)
    last_recovery_s: float | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
    outputs_away: Mapping[str, int] = field(default_factory=dict)


class Status:
    """Made before the parts of a run are, and told about them by the loop; any thread may ask."""

    def __init__(self) -> None:
        self._session: Session | None = None
        self._health: Health | None = None
        self._intake: Intake | None = None
        self._sinks: Sequence[SinkGroup] = ()
        self._not_live_words: Callable[[], str | None] = _nothing
        self.cases_away: Callable[[], Sequence[Notice]] = tuple
        """Says that no case can be saved, where a folder for them is configured."""

    def bind(
        self,
        session: Session,
        health: Health,
        intake: Intake,
        sinks: Sequence[SinkGroup] = (),
        not_live_words: Callable[[], str | None] = _nothing,
    ) -> None:
        """Look at these from now on."""
        self._session, self._health, self._intake = session, health, intake
        self._sinks, self._not_live_words = sinks, not_live_words

    @property
    def source_is_away(self) -> bool:
        """Whether the camera gives nothing and is being opened again."""
        return self._intake is not None and self._intake.recovery.is_away

    def recovery_words(self) -> list[str]:
        """What is said about that."""
        notices = [] if self._intake is None else self._intake.recovery.notices()
        return [notice.text for notice in notices]

    def not_well_words(self) -> str:
        """Empty where the picture is live and every output is written, else why not."""
        if self._intake is None:
            return "starting"
        notices = [n for group in self._sinks for n in group.notices()]
        away = [notice.text for notice in (*notices, *self.cases_away())]
        said = [self._not_live_words() or "", *self.recovery_words(), *away]
        return "; ".join(words for words in said if words)

    def counts(self) -> Counts:
        """What was counted so far."""
        health, intake = self._health, self._intake
        if health is None or intake is None:
            return Counts()
        put, taken = intake.mailbox.put_ids, intake.mailbox.taken_ids
        return Counts(
            captured=put.seen,
            lost_by_source=put.missing,
            passed_over=max(0, put.seen - taken.seen),
            read_failures=health.read_failures,
            is_away=self.source_is_away,
            recovery=dict(intake.recovery.counts),
            last_recovery_s=intake.recovery.last_s,
            left_out={name: n for group in self._sinks for name, n in group.left_out().items()},
            outputs_away={
                name: int(name in group.away())
                for group in self._sinks
                for name in group.left_out()
            },
        )

    def snapshot(self) -> Snapshot:
        """How things stand."""
        session, health, intake = self._session, self._health, self._intake
        if session is None or health is None or intake is None:
            return Snapshot()
        mailbox = intake.mailbox
        figures = health.figures(mailbox.put_ids, mailbox.taken_ids)
        said = tuple(notice.text for notice in session.notices())
        return Snapshot(session.state, session.case_code, said, figures)
