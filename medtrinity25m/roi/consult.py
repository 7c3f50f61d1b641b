"""Ask experts where the regions are, on images that nobody marked.

Experts answer; this stage decides. What lies below a card's `min_score` or `min_area_px` is no region, so is a word the
card does not explain, and where several experts know a label, the majority rules (`roi.vote`). An image on which none
found anything keeps no region, and `asked` says who looked: abstaining is a result, and the text says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from medtrinity25m.errors import ConfigError, RefusedError
from medtrinity25m.roi import geometry
from medtrinity25m.roi.backends import expert_of
from medtrinity25m.roi.card import Card
from medtrinity25m.roi.protocol import Finding, Query
from medtrinity25m.roi.run_options import Transformers
from medtrinity25m.roi.volumes import VolumeRoom
from medtrinity25m.roi.vote import vote
from medtrinity25m.triplet import XYXY, Annotation, Sample

BATCH = 8  # images a forward pass: a GPU is busy with it, and a worker's memory bears it at 2048 x 2048

Panels = Mapping[str, Mapping[str, tuple[Card, ...]]]
"""Source id → modality → the experts that are asked."""


@dataclass(frozen=True)
class Consult:
    """Fill `annotations` and `asked`; used as `batched(Consult(...), BATCH)`, before `Locate`.

    Args:
        panels: who is asked about which source's images.
        boxers: cards by id that give boxes to models that take them as a prompt.
        room: where whole volumes are put before experts, None when no expert of the panels needs one.
    """

    panels: Panels
    boxers: Mapping[str, Card] = field(default_factory=dict)
    room: VolumeRoom | None = None

    def __call__(self, samples: Sequence[Sample]) -> list[Sample]:
        """Return the samples, with what the experts found on those without marks."""
        found: dict[int, dict[str, list[Annotation]]] = {}
        for card, indices in self._questions(samples):
            for at, findings in zip(indices, self._ask(card, [samples[at] for at in indices]), strict=True):
                if findings is not None:
                    found.setdefault(at, {})[card.id] = findings
        return [
            _answered(sample, [card for card in self._panel(sample) if card.id in found.get(at, {})], found.get(at, {}))
            for at, sample in enumerate(samples)
        ]

    def _panel(self, sample: Sample) -> tuple[Card, ...]:
        if sample.annotations or sample.pixels is None:
            return ()
        cards = self.panels.get(sample.source, {}).get(sample.modality, ())
        return tuple(card for card in cards if _can_see(card, sample))

    def _questions(self, samples: Sequence[Sample]) -> list[tuple[Card, list[int]]]:
        """Return every expert that is asked, and about which of the samples."""
        asked: dict[str, tuple[Card, list[int]]] = {}
        for at, sample in enumerate(samples):
            for card in self._panel(sample):
                asked.setdefault(card.id, (card, []))[1].append(at)
        return list(asked.values())

    def _ask(self, card: Card, samples: list[Sample]) -> list[list[Annotation] | None]:
        """Return the findings of one expert that its card lets pass; None for a sample it could not look at."""
        raw: Sequence[list[Finding] | None]
        if card.dimensions == 3:
            raw = [self._in_volume(card, sample) for sample in samples]
        else:
            raw = expert_of(card)([self._query(card, sample) for sample in samples])
        return [
            None if findings is None else _accepted(card, sample, findings)
            for sample, findings in zip(samples, raw, strict=True)
        ]

    def _in_volume(self, card: Card, sample: Sample) -> list[Finding] | None:
        if self.room is None:
            raise ConfigError(f"expert {card.id} needs whole volumes, which this stage was not given")
        try:
            return self.room.findings(card, sample)
        except RefusedError:
            return None  # its slices are no volume: the expert was not asked, and the row does not say it was

    def _query(self, card: Card, sample: Sample) -> Query:
        boxes: tuple[XYXY, ...] = ()
        if isinstance(card.run, Transformers) and card.run.box_expert is not None:
            boxer = self.boxers[card.run.box_expert]
            found = self._ask(boxer, [sample])[0] if _can_see(boxer, sample) else None
            boxes = tuple(box for mark in found or () for box in _boxes(mark, sample))
        return query(sample).with_(boxes=boxes)


def query(sample: Sample) -> Query:
    """Return a sample as an expert sees it."""
    if sample.pixels is None:
        raise ValueError(f"{sample.locator} was not decoded")
    return Query(
        pixels=sample.pixels,
        modality=sample.modality,
        values=sample.values,
        values_unit=sample.values_unit,
        spacing_mm=sample.spacing_mm,
        organs=sample.organs,
        diseases=sample.diseases,
    )


def _can_see(card: Card, sample: Sample) -> bool:
    """Say whether an expert can be asked about an image at all."""
    volume = card.dimensions == 2 or sample.place is not None
    return sample.modality in card.modalities and volume and (card.needs == "any" or sample.values_unit == card.needs)


def _accepted(card: Card, sample: Sample, findings: Sequence[Finding]) -> list[Annotation]:
    """Return the findings good enough to be regions, in words of the vocabulary."""
    kept = []
    for finding in findings:
        meaning = card.meaning(finding.label)
        if finding.score < card.min_score or meaning is None or meaning.label is None:
            continue
        mark = Annotation(**{name: getattr(finding, name) for name in Annotation.model_fields})
        large = _large_enough(mark, card, sample)
        if large is not None:
            kept.append(large.with_(label=meaning.label, expert=card.id))
    return kept


def _large_enough(mark: Annotation, card: Card, sample: Sample) -> Annotation | None:
    """Return a mark without its pieces below the card's least area, None where nothing is left."""
    array = mark.mask if mark.mask is not None else mark.instances
    if array is not None and array.shape != (sample.height, sample.width):
        sizes = f"{array.shape}, the image is {(sample.height, sample.width)} (rows, columns)"
        raise ConfigError(f"expert {card.id} gave a mask of {sizes}; correct its card or its code")
    if mark.box is not None:
        x0, y0, x1, y1 = mark.box
        inside = (min(x1, sample.width) - max(x0, 0)) > 0 and (min(y1, sample.height) - max(y0, 0)) > 0
        return mark if inside and (x1 - x0) * (y1 - y0) >= card.min_area_px else None
    if mark.instances is not None:
        values, counts = np.unique(mark.instances, return_counts=True)
        small = values[counts < card.min_area_px]
        kept = np.where(np.isin(mark.instances, small), 0, mark.instances).astype(np.int32)
        return mark.with_(instances=kept) if kept.any() else None
    if mark.mask is None:
        return None
    kept_mask = np.zeros_like(mark.mask)
    for (x0, y0, x1, y1), crop in geometry.components(mark.mask):
        if np.count_nonzero(crop) >= card.min_area_px:
            kept_mask[y0:y1, x0:x1] |= crop
    return mark.with_(mask=kept_mask) if kept_mask.any() else None


def _boxes(mark: Annotation, sample: Sample) -> list[tuple[int, int, int, int]]:
    """Return the boxes around a mark's pieces."""
    if mark.box is not None:
        return [geometry.clip(mark.box, sample.height, sample.width)]
    if mark.instances is not None:
        return [piece.xyxy for piece in geometry.instances(mark.instances)]
    return [] if mark.mask is None else [piece.xyxy for piece in geometry.components(mark.mask)]


def _answered(sample: Sample, panel: Sequence[Card], found: Mapping[str, list[Annotation]]) -> Sample:
    """Return a sample with what its panel came to."""
    if not panel:
        return sample
    marks: list[Annotation] = []
    for label in sorted({mark.label for own in found.values() for mark in own}):
        knowing = {card.id: found[card.id] for card in panel if _knows(card, label) or _said(found[card.id], label)}
        if len(knowing) > 1:
            marks += vote(knowing, label, sample.height, sample.width)
        else:
            marks += [mark for own in knowing.values() for mark in own if mark.label == label]
    return sample.with_(annotations=tuple(marks), asked=tuple(card.id for card in panel))


def _knows(card: Card, label: str) -> bool:
    """Say whether a label is among those an expert's card names."""
    return any((meaning := card.meaning(raw)) is not None and meaning.label == label for raw in card.labels)


def _said(marks: Sequence[Annotation], label: str) -> bool:
    return any(mark.label == label for mark in marks)
