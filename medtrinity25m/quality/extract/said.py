"""A statement together with how it was said, which its verdict needs and the row does not ship."""

from __future__ import annotations

from dataclasses import dataclass, field

from medtrinity25m.quality.extract.scope import Stance
from medtrinity25m.quality.extract.subject import Reading, Subject
from medtrinity25m.quality.statement import Statement


@dataclass(frozen=True)
class Said:
    """One statement as it was said.

    Args:
        statement: what it says.
        subject: whom it is about.
        stance: asserted, concluded (`consistent with`), hedged, or background (history, advice, general knowledge).
        role: what kind of saying it is, in the words of the reader that found it: `place`, `subject`, `longest`, …
        numbers: the figures in it, a range as two.
        bound: about, exactly, at_most, at_least.
        slack: half of the last digit that was written, in the unit of the numbers.
        group: statements with the same group are about the same region.
    """

    statement: Statement
    subject: Subject
    stance: Stance = "asserted"
    role: str = ""
    numbers: tuple[float, ...] = ()
    bound: str = "exactly"
    slack: float = 0.0
    group: str = ""
    others: tuple[str, ...] = field(default=())


def said(
    reading: Reading,
    start: int,
    end: int,
    attribute: str,
    value: str,
    *,
    unit: str | None = None,
    negated: bool = False,
    subject: Subject | None = None,
    stance: Stance = "asserted",
    role: str = "",
    numbers: tuple[float, ...] = (),
    bound: str = "exactly",
    slack: float = 0.0,
    others: tuple[str, ...] = (),
) -> Said:
    """Return a statement of a reading; its subject is the reading's unless one is given."""
    whom = reading.subject(start, end) if subject is None else subject
    statement = Statement(
        field=reading.field, start=start, end=end, attribute=attribute, value=value, unit=unit, negated=negated
    )
    # a sentence speaks of one region unless it names several
    group = f"{reading.number}:{whom.kind}:{whom.key}"
    return Said(statement, whom, stance, role, numbers, bound, slack, group, others)
