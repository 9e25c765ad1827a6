"""What the run is doing now, for screens that tell more than the picture does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.health import Health
    from edge.intake import Intake
    from edge.session import Session, SessionState


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


class Status:
    """Made before the parts of a run are, and told about them by the loop; any thread may ask."""

    def __init__(self) -> None:
        self._session: Session | None = None
        self._health: Health | None = None
        self._intake: Intake | None = None

    def bind(self, session: Session, health: Health, intake: Intake) -> None:
        """Look at these from now on."""
        self._session, self._health, self._intake = session, health, intake

    @property
    def source_is_away(self) -> bool:
        """Whether the camera gives nothing and is being opened again."""
        return self._intake is not None and self._intake.recovery.is_away

    def recovery_words(self) -> list[str]:
        """What is said about that."""
        notices = [] if self._intake is None else self._intake.recovery.notices()
        return [notice.text for notice in notices]

    def snapshot(self) -> Snapshot:
        """How things stand."""
        session, health, intake = self._session, self._health, self._intake
        if session is None or health is None or intake is None:
            return Snapshot()
        mailbox = intake.mailbox
        figures = health.figures(mailbox.put_ids, mailbox.taken_ids)
        said = tuple(notice.text for notice in session.notices())
        return Snapshot(session.state, session.case_code, said, figures)
