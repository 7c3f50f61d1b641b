"""Which organs are one place: an organ, what it lies in, and what lies in it.

An organ is *located* where the vocabulary says which part of a body or a fetus it lies in. Bone, vessel, skin, mucosa
are not: they are tissues that are found in many places, and so is all that is only a part of them.

**Why** a tissue makes no place of two located organs: liver and brain both have vessels, and a passage on the vessels
of the brain is none for a picture of the liver.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cache

from medtrinity25m.registry import vocabulary

WHOLES = frozenset({"whole_body", "fetus"})
"""What everything that is located is a part of."""

NO_PLACE = frozenset({"cell", "tissue", "cell_nucleus"})
"""Words of anatomy that say nowhere: a `T-cell lymphoma` is not in another place than a lymphoma."""


@cache
def wholes(organ: str) -> frozenset[str]:
    """Return all that an organ is part of, the organ not among them."""
    parents = vocabulary("anatomy")[organ].part_of
    return frozenset(parents).union(*(wholes(parent) for parent in parents))


@cache
def parts(organ: str) -> frozenset[str]:
    """Return all that is part of an organ, the organ not among them."""
    return frozenset(other for other in vocabulary("anatomy").terms if organ in wholes(other))


@cache
def located() -> frozenset[str]:
    """Return the organs that lie in a part of a body or a fetus; the others are tissues."""
    return frozenset(organ for organ in vocabulary("anatomy").terms if WHOLES & {organ, *wholes(organ)})


def around(organs: Collection[str]) -> frozenset[str]:
    """Return the organs, their parts, and what they are part of."""
    return frozenset(organs).union(*(wholes(organ) | parts(organ) for organ in organs))


def same_place(organs: Collection[str], others: Collection[str]) -> bool:
    """Say whether one of the organs is one of the others, a part of it, or what it is part of."""
    return not around(organs).isdisjoint(others)


def finest(organs: Collection[str]) -> frozenset[str]:
    """Return the organs without those that another of them is part of."""
    return frozenset(organ for organ in organs if parts(organ).isdisjoint(organs))
