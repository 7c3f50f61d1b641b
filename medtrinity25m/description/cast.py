"""Who is in the picture: which regions the text tells one by one, and what it calls them.

**Why** of more than five regions only the three largest are told one by one: a published caption has 70 to
130 words and a region takes about 30; a reader who wants the fortieth nucleus looks at its entry in `rois`,
not at a paragraph. The others are counted and their sizes summed, so that none is passed over in silence.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from medtrinity25m.caption import name
from medtrinity25m.description import figures
from medtrinity25m.description.prose import Prose
from medtrinity25m.description.scene import Scene
from medtrinity25m.registry import Term
from medtrinity25m.triplet import Facts

MOST_TOLD, TOLD_OF_MANY = 5, 3
"""Up to five regions are told one by one; of more, the three largest (see Why)."""


@dataclass(frozen=True, eq=False)
class Cast:
    """The regions of one row, and how the text calls them.

    `told` are the indices that get sentences of their own, in the order of telling.
    """

    scene: Scene
    row: Facts
    told: tuple[int, ...]

    @classmethod
    def of(cls, scene: Scene, row: Facts) -> Cast:
        """Choose whom to tell: all of up to five, else the largest, by area and then by index."""
        every = range(len(scene.rois))
        if len(every) <= MOST_TOLD:
            return cls(scene, row, tuple(every))
        ranked = sorted(every, key=lambda index: (-scene.area_px(index), index))
        return cls(scene, row, tuple(ranked[:TOLD_OF_MANY]))

    @cached_property
    def terms(self) -> list[Term]:
        """The label of each region."""
        return [name(roi.label) for roi in self.scene.rois]

    @property
    def alike(self) -> bool:
        """Say whether all regions have one label."""
        return len({roi.label for roi in self.scene.rois}) == 1

    @property
    def distinct(self) -> bool:
        """Say whether a label is enough to tell each region from the others."""
        return 1 < len(self.scene.rois) == len({roi.label for roi in self.scene.rois}) <= MOST_TOLD

    def label(self, index: int) -> Prose:
        """Return a region's label, claimed."""
        term = self.terms[index]
        return Prose().claim(term.name, "label", "metadata:rois.label", value=term.id, roi=index)

    def subject(self, index: int) -> Prose:
        """Return what a told region is called where it is introduced."""
        if len(self.scene.rois) == 1:
            return Prose("the region of interest")
        if self.distinct:
            return Prose("the region labeled ").add(self.label(index))
        return self.short(index)

    def short(self, index: int) -> Prose:
        """Return what a told region is called afterwards."""
        if len(self.scene.rois) == 1:
            return Prose("the region of interest")
        if self.distinct:
            return Prose("the ").add(self.label(index)).say(" region")
        place = figures.ordinal(self.told.index(index) + 1)
        if len(self.scene.rois) <= MOST_TOLD:
            return Prose("the ").claim(place, "ordinal", "metadata:rois", roi=index).say(" region")
        words = "largest" if place.value == "1" else f"{place.words} largest"
        rank = figures.Figure(words, place.value)
        return Prose("the ").claim(rank, "size_rank", "measured:area_fraction", roi=index).say(" region")
