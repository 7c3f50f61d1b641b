"""Text that knows what it claims: words are appended, and the ones that state something leave a mark.

>>> from fractions import Fraction
>>> from medtrinity25m.description.figures import percent
>>> share = percent(Fraction(123, 1000))
>>> prose = Prose("it covers ").claim(share, "area_share", "measured:area_fraction", roi=0)
>>> claim = prose.claims("local_text")[0]
>>> prose.text, prose.text[claim.start : claim.end], claim.value, claim.unit
('it covers 12.3%', '12.3%', '12.3', '%')

**Why** a builder and not a search for the words afterwards: a number can stand twice in a paragraph, and a
span found by searching is wrong as soon as somebody edits the sentence. Here a span is where words were put.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from medtrinity25m.description.figures import Figure
from medtrinity25m.triplet import Claim, TextField


@dataclass(frozen=True)
class _Mark:
    """A claim without its field: the span counts characters of the prose it is in."""

    start: int
    end: int
    attribute: str
    value: str
    evidence: str
    roi: int | None
    unit: str | None


class Prose:
    """A text in the making, and the claims in it. Every method that adds returns the prose itself."""

    def __init__(self, text: str = "") -> None:
        """Begin with words that state nothing a reader could check."""
        self.text = text
        self._marks: list[_Mark] = []

    def __bool__(self) -> bool:
        """Say whether there is any text."""
        return bool(self.text)

    def say(self, words: str) -> Self:
        """Append words that state nothing a reader could check."""
        self.text += words
        return self

    def claim(
        self,
        said: str | Figure,
        attribute: str,
        evidence: str,
        *,
        value: str | None = None,
        roi: int | None = None,
    ) -> Self:
        """Append words that say what `attribute` is: a figure, or words that mean `value` (or are it)."""
        figure = said if isinstance(said, Figure) else Figure(said, said if value is None else value)
        if not figure.words:
            raise ValueError(f"claim {attribute} = {figure.value} has no words")
        start = len(self.text)
        self.text += figure.words
        mark = _Mark(start, len(self.text), attribute, figure.value, evidence, roi, figure.unit)
        self._marks.append(mark)
        return self

    def add(self, other: Prose) -> Self:
        """Append another prose, its claims moved to where its words now are."""
        shift = len(self.text)
        self.text += other.text
        for mark in other._marks:
            self._marks.append(replace(mark, start=mark.start + shift, end=mark.end + shift))
        return self

    def sentence(self) -> Self:
        """Make this prose a sentence: first letter large, a period behind."""
        self.text = self.text[:1].upper() + self.text[1:] + "."
        return self

    def claims(self, field: TextField) -> tuple[Claim, ...]:
        """Return the claims, in the order of the text, as claims about `field`."""
        return tuple(Claim(field=field, **vars(mark)) for mark in self._marks)


def joined(parts: Sequence[Prose], between: str = " ") -> Prose:
    """Return the parts that are not empty as one prose, `between` in between."""
    whole = Prose()
    for part in parts:
        if whole and part:
            whole.say(between)
        whole.add(part)
    return whole


def listed(parts: Sequence[Prose]) -> Prose:
    """Return `a`, `a and b`, or `a, b, and c`."""
    if len(parts) <= 2:
        return joined(parts, " and ")
    return joined(parts[:-1], ", ").say(", and ").add(parts[-1])
