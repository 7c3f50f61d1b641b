"""What a text says that can be checked, and what checking it came to."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from medtrinity25m.triplet import Claim, Frozen, TextField, Verdict

Attribute = Literal[
    "modality", "view", "organ", "disease", "laterality", "image_left", "position_horizontal", "position_vertical",
    "area_share", "width", "height", "size", "roi_count", "count", "intensity", "texture", "margin", "shape",
    "statement",
]  # fmt: skip
"""Of what a statement is; the words of `description/measured.py` wherever they mean the same.

`size` is a length that is not said to be width or height; `statement` a sentence in which nothing can be checked.
"""


class Statement(Frozen):
    """The span `start:end` of `field` says that `attribute` has `value`, or that it has not.

    `value` is what a program compares: a vocabulary id, a side, a bin of `roi.geometry`, a number. `unit` is `%`, `mm`,
    `cm`, `µm`, `px` or None. `roi` is the region it is about, None for the whole image or where the text does not say.
    """

    field: TextField
    start: int = Field(ge=0)
    end: int
    attribute: str
    value: str
    unit: str | None = None
    roi: int | None = None
    negated: bool = False


class Checked(Statement):
    """A statement with its verdict.

    `evidence` is `measured:<what>`, `metadata:<column>`, `passage:<id>` or `model` (nothing in the row speaks of it);
    `expected` is what the row holds instead, in words for a person and for the model that is asked to repair its text.
    """

    verdict: Verdict
    evidence: str
    expected: str | None = None

    def claim(self) -> Claim:
        """Return it as the row ships it; a negated value is written `not <value>`."""
        fields = ("field", "start", "end", "attribute", "roi", "unit", "evidence", "verdict")
        value = f"not {self.value}" if self.negated else self.value
        return Claim(value=value, **{name: getattr(self, name) for name in fields})
