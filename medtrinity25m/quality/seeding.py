"""Contradictions on purpose: false texts out of true ones, to measure the checker.

A seed changes one statement of a text so that it is false of the row; the sentence stays a sentence. What a row does
not decide is never changed, for nobody could catch it; what *decided* means is said at each kind:

===========  =================================================  ===========================
kind         what changes                                       where it is decided
===========  =================================================  ===========================
`side`       left and right, of the image or of the patient     `seed_swaps.sides`
`position`   upper and lower                                    `seed_swaps.positions`
`organ`      the organ                                          `seed_swaps.organs`
`modality`   the modality                                       `seed_swaps.modalities`
`disease`    the disease                                        `seed_swaps.diseases`
`size`       a length or share, by 1.5 to 5                     `seed_numbers.sizes`
`count`      a number of regions or instances                   `seed_numbers.counts`
`negation`   a `not` or `no` comes or goes                      `seed_negations.negations`
===========  =================================================  ===========================

Equal texts, rows and seed give equal seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from medtrinity25m.quality.seed_negations import negations
from medtrinity25m.quality.seed_numbers import counts, sizes
from medtrinity25m.quality.seed_page import Dice, Edit, Page
from medtrinity25m.quality.seed_swaps import diseases, modalities, organs, positions, sides

Kind = Literal["side", "position", "organ", "modality", "size", "count", "negation", "disease"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_WAYS: dict[Kind, Callable[[Page, Dice], Iterator[Edit]]] = {
    "side": sides,
    "position": positions,
    "organ": organs,
    "modality": modalities,
    "size": sizes,
    "count": counts,
    "negation": negations,
    "disease": diseases,
}
_TRIES = 6
"""How often a text is seeded anew for one kind: another organ, another factor; the same seed is kept once."""


@dataclass(frozen=True)
class Seeded:
    """A false text.

    Args:
        kind: what was changed.
        text: the false text.
        row: the row it is false of.
        span: start and end of what was put in, in `text`; at least one character, the one before where it was put out.
        sentence: start and end of the sentence that is false, in `text`.
        before: the clean text's words there, `after` the false ones.
        origin: index of the clean text among those given.
    """

    kind: Kind
    text: str
    row: Mapping[str, Any]
    span: tuple[int, int]
    sentence: tuple[int, int]
    before: str
    after: str
    origin: int


def seeds_of(text: str, row: Mapping[str, Any], kind: Kind, seed: int = 0) -> list[Seeded]:
    """Return different false texts of one kind that a clean text allows, in an order that `seed` decides.

    `row` is a shipped row as a mapping; images are not looked at.
    """
    return _seeds(Page(text, row), kind, seed, 0)


def _seeds(page: Page, kind: Kind, seed: int, origin: int) -> list[Seeded]:
    """Return the seeds of a page."""
    edits: set[Edit] = set()
    for attempt in range(_TRIES):
        edits |= set(_WAYS[kind](page, Dice(seed, attempt, kind, page.text)))
        if not edits:
            return []
    return [_seeded(page, kind, edit, origin) for edit in Dice(seed, "order", kind, page.text).shuffled(sorted(edits))]


def seed_contradictions(
    texts_and_rows: Sequence[tuple[str, Mapping[str, Any]]], n: int, seed: int = 0, kinds: Sequence[Kind] = KINDS
) -> list[Seeded]:
    """Return `n` false texts, the kinds as even as the texts allow, each kind spread over as many texts as it can be.

    Fewer than `n` where the texts give no more. Every kind takes one seed of each text before it takes a second one.
    """
    pages = [Page(text, row) for text, row in texts_and_rows]
    pools = {kind: _spread(pages, kind, seed) for kind in kinds}
    chosen: list[Seeded] = []
    while len(chosen) < n and any(pools.values()):
        for kind in kinds:
            if pools[kind] and len(chosen) < n:
                chosen.append(pools[kind].pop(0))
    return chosen


def _spread(pages: Sequence[Page], kind: Kind, seed: int) -> list[Seeded]:
    """Return all seeds of a kind: the first of every text, then the second of every text that has one, and so on."""
    every = [_seeds(page, kind, seed, origin) for origin, page in enumerate(pages)]
    every = Dice(seed, kind, len(every)).shuffled(every)
    return [seeds[turn] for turn in range(max(map(len, every), default=0)) for seeds in every if turn < len(seeds)]


def _seeded(page: Page, kind: Kind, edit: Edit, origin: int) -> Seeded:
    """Apply an edit."""
    text = page.text[: edit.start] + edit.after + page.text[edit.end :]
    grown = len(edit.after) - (edit.end - edit.start)
    within = next(part for part in reversed(page.sentences) if part.start <= edit.start)
    start = within.start + len(within.text) - len(within.text.lstrip())
    end = within.start + len(within.text) + grown
    span = (edit.start, edit.start + len(edit.after)) if edit.after else (max(0, edit.start - 1), max(1, edit.start))
    before = page.text[edit.start : edit.end]
    return Seeded(kind, text, page.row, span, (start, end), before, edit.after, origin)
