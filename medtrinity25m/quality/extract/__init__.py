"""Statements out of text, by rules: what can be checked, where it stands, and how it is said.

`read` takes a text apart sentence by sentence (`sentences`, `words`, `scope`, `subject`) and asks each reader for its
statements: `terms` for modality, view and structures, `illness` for diseases, `places` for sides and positions,
`figures` and `counts` for numbers, `looks` for appearance. The readers look at the text and never at what would be
true; of the row they are told only what its regions are called, so that "the nodule" is known to be one.

**Why** rules and no model: a verdict must be the same tomorrow, cost a millisecond and name its reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from medtrinity25m.quality.evidence import Evidence
from medtrinity25m.quality.extract.counts import counts
from medtrinity25m.quality.extract.figures import attenuation, lengths, shares
from medtrinity25m.quality.extract.illness import illness
from medtrinity25m.quality.extract.looks import looks
from medtrinity25m.quality.extract.places import places
from medtrinity25m.quality.extract.said import Said
from medtrinity25m.quality.extract.scope import is_background, scope_of
from medtrinity25m.quality.extract.sentences import clauses, lowered, sentences
from medtrinity25m.quality.extract.subject import Reading, Subject, pointers
from medtrinity25m.quality.extract.terms import terms
from medtrinity25m.quality.extract.words import mentions, tokens
from medtrinity25m.quality.statement import Statement
from medtrinity25m.triplet import TextField

_OTHER_DAY = re.compile(
    r"\b(?:was|were|had|did|done|performed|later|earlier|could\s+not|previous(?:ly)?"
    r"|by\s+(?:an?\s+)?(?:mri|ct|pet|ultrasound|sonography|x-?ray|biopsy|endoscopy|mammography))\b",
)
_OPENING = re.compile(r"\s*(?:an?|the|later|additional|subsequent)?\s*")
_SHOWS = re.compile(
    r"\b(?:this|shows?|demonstrat\w+|reveals?|depicts?|displays?|is\s+an?|image|slice|scan|view|with|of)\b",
)
_READERS = (terms, illness, places, shares, lengths, attenuation, counts, looks)


def statements(text: str, field: TextField, evidence: Evidence) -> list[Statement]:
    """Return the statements of a text that can be checked, in their order; spans re-slice to their words."""
    return [item.statement for item in read(text, field, evidence)]


def read(text: str, field: TextField, evidence: Evidence) -> list[Said]:
    """Return the statements of a text with how each was said."""
    out: list[Said] = []
    first: str | None = None
    for reading in readings(text, field, evidence):
        found = [item for reader in _READERS for item in reader(reading)]
        kinds = [item.statement.value for item in found if item.statement.attribute == "modality"]
        if first is not None and kinds and first not in kinds and _another(reading, found):
            continue  # another examination: nothing in the sentence is about this image
        first = first or next(iter(kinds), None)
        out += found
    return sorted(out, key=lambda item: (item.statement.start, item.statement.end, item.statement.attribute))


def _another(reading: Reading, found: list[Said]) -> bool:
    """Say whether a sentence with another modality than the text's first is about another examination."""
    if _OTHER_DAY.search(reading.words):
        return True
    start = next(item.statement.start for item in found if item.statement.attribute == "modality")
    opens = _OPENING.fullmatch(reading.text[reading.span.start : start]) is not None
    return opens and _SHOWS.search(reading.words) is None


def readings(text: str, field: TextField, evidence: Evidence) -> Iterator[Reading]:
    """Yield the sentences of a text taken apart, each with whom the one before was about."""
    carried, new = Subject("none"), 0
    low = lowered(text)
    for number, span in enumerate(sentences(text)):
        heading = is_background(text, span)
        parts = clauses(low, span)
        scope = scope_of(low, span, parts, background=heading == "background")
        found = tuple(
            replace(m, start=m.start + span.start, end=m.end + span.start)
            for m in mentions(text[span.start : span.end], tokens(text[span.start : span.end]))
        )
        marks = pointers(low, span, found, scope, evidence, new=new)
        new += sum(mark.key.startswith("new:") for mark in marks)
        yield Reading(low, text, field, number, span, tuple(parts), found, scope, marks, carried, heading)
        regions = [mark for mark in marks if mark.key != "image" and not mark.denied]
        if regions:
            first = regions[0]
            carried = Subject("region", first.key, carried=True)
