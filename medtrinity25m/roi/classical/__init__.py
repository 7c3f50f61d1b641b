"""Experts that are code and no network: they work today, without a weight and without a connection.

Each method looks at one picture and returns what it found with a score of 0 to 1 that its module defines by what can
be measured: contrast, fit of the outline, fit of the shape. A picture that is not what the method is made for gives
nothing, or findings whose scores lie below the `min_score` of the card.

**Why** every threshold is a share of something in the picture itself (its own noise, its field of view, its typical
object) and none is a count of pixels: a method then gives the same answer for a picture at half the resolution, and
turning or mirroring a picture turns or mirrors the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import cast

from medtrinity25m.errors import ConfigError
from medtrinity25m.roi.card import Card
from medtrinity25m.roi.protocol import Finding, Query
from medtrinity25m.roi.run_options import Classical

Method = Callable[[Query], list[Finding]]


@dataclass(frozen=True)
class _Named:
    """A method by module and function; the module, and scikit-image with it, is imported when first asked."""

    module: str
    function: str

    def __call__(self, query: Query) -> list[Finding]:
        """Ask the method about one image."""
        return cast("Method", getattr(import_module(f"{__name__}.{self.module}"), self.function))(query)


METHODS: dict[str, Method] = {
    "ct_lungs": _Named("lungs", "ct_lungs"),
    "ct_body": _Named("body", "ct_body"),
    "dermoscopy_lesion": _Named("dermoscopy", "dermoscopy_lesion"),
    "he_nuclei": _Named("nuclei", "he_nuclei"),
    "fundus_disc": _Named("fundus_disc", "fundus_disc"),
    "fundus_vessels": _Named("fundus_vessels", "fundus_vessels"),
    "fluorescence_cells": _Named("fluorescence", "fluorescence_cells"),
    "ultrasound_sector": _Named("ultrasound", "ultrasound_sector"),
}
"""What `method` of a card's `[run]` may name."""


@dataclass(frozen=True)
class ClassicalExpert:
    """Asks one method about each image; abstains from modalities and values its card does not name."""

    card: Card
    method: str

    def __call__(self, queries: Sequence[Query], /) -> list[list[Finding]]:
        """Return the findings of each image, in order."""
        return [METHODS[self.method](query) if self._sees(query) else [] for query in queries]

    def _sees(self, query: Query) -> bool:
        return query.modality in self.card.modalities and self.card.needs in ("any", query.values_unit)


def classical_expert(card: Card) -> ClassicalExpert:
    """Return the expert that a card with `[run] kind = "classical"` describes.

    Raises:
        ConfigError: the card names no method of this package.
    """
    if not isinstance(card.run, Classical) or card.run.method not in METHODS:
        named = getattr(card.run, "method", card.run.kind)
        raise ConfigError(f"expert {card.id}: {named!r} is no classical method; use one of {', '.join(METHODS)}")
    return ClassicalExpert(card, card.run.method)
