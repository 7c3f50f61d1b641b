"""How far two readers agree: percent agreement, Cohen's kappa and Gwet's AC1, with bootstrap intervals.

Kappa (Cohen 1960) takes as chance agreement what two readers with these habits would reach by lot. Where nearly all
verdicts are the same it falls to 0 and below although the readers agree nearly always; quality review is that case. AC1
(Gwet 2008) estimates chance agreement from how often both use a category, and stays put. Both are reported.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medtrinity25m.quality.bootstrap import Array, Interval, bootstrap

Tables = NDArray[np.float64]
"""Contingency tables, (k, q, q): rows the first reader's category, columns the second's."""


class Agreement(NamedTuple):
    """Agreement of two readers on what both judged."""

    percent: Interval
    kappa: Interval
    ac1: Interval

    def as_json(self) -> dict[str, object]:
        """Return it for JSON."""
        return {name: value.as_json() for name, value in self._asdict().items()}


def percent(tables: Tables) -> Array:
    """Return the share of equal verdicts of each table."""
    result: Array = np.trace(tables, axis1=1, axis2=2) / tables.sum(axis=(1, 2))
    return result


def cohen_kappa(tables: Tables) -> Array:
    """Return Cohen's kappa of each table; NaN where both readers used one and the same category only."""
    total = tables.sum(axis=(1, 2))[:, None]
    chance = ((tables.sum(axis=2) / total) * (tables.sum(axis=1) / total)).sum(axis=1)
    return _corrected(percent(tables), chance)


def gwet_ac1(tables: Tables) -> Array:
    """Return Gwet's AC1 of each table; with a single category there is nothing to agree by chance on, and it is 1."""
    categories = tables.shape[1]
    if categories < 2:
        return percent(tables)
    total = tables.sum(axis=(1, 2))[:, None]
    used = (tables.sum(axis=2) + tables.sum(axis=1)) / (2 * total)
    return _corrected(percent(tables), (used * (1 - used)).sum(axis=1) / (categories - 1))


def _corrected(observed: Array, chance: Array) -> Array:
    """Return agreement beyond chance over what is possible beyond chance."""
    possible = 1 - chance
    with np.errstate(invalid="ignore", divide="ignore"):
        result: Array = np.where(possible < 1e-12, np.nan, (observed - chance) / possible)
    return result


def agreement(pairs: Iterable[tuple[str, str]], categories: Sequence[str], *, seed: int = 0) -> Agreement:
    """Return the agreement of two readers.

    Args:
        pairs: the two verdicts on each item that both judged.
        categories: all verdicts there are, used or not: AC1 depends on how many a reader could choose from.
        seed: of the bootstrap over items.
    """
    q = len(categories)
    place = {category: index for index, category in enumerate(categories)}
    # one cell of the contingency table a tuple, so that the sums of a resample are its table
    eye = np.eye(q * q)
    counts = Counter(tuple(eye[place[first] * q + place[second]]) for first, second in pairs)

    def of(statistic: Callable[[Tables], Array]) -> Interval:
        return bootstrap(counts, lambda sums: statistic(sums.reshape(-1, q, q)), seed=seed)

    return Agreement(of(percent), of(cohen_kappa), of(gwet_ac1))
