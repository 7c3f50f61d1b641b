"""The checker: every statement of a text held against what its row holds.

A statement is supported, contradicted, or unsupported: the row holds nothing that decides it. Only what is false is
contradicted; what nobody knows stays unsupported, so that a text may say more than the labels and is not repaired for
it.

Where a row has several regions and the text does not say which one it means, the statements of one sentence are taken
together and held against the region they fit best: "a 12 mm nodule in the upper left" is about the one that is there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby, permutations
from typing import get_args

from medtrinity25m.quality.evidence import Evidence
from medtrinity25m.quality.extract import read
from medtrinity25m.quality.extract.said import Said
from medtrinity25m.quality.statement import Checked
from medtrinity25m.quality.verdict import figures, looks, places, terms
from medtrinity25m.quality.verdict.judged import UNKNOWN, Judged
from medtrinity25m.quality.verdict.kinship import FOCAL, compatible
from medtrinity25m.registry import vocabulary
from medtrinity25m.triplet import TextField

_SHARES = ("area_share", "total_share", "least_share", "most_share", "each_share", "left_half_share")
_LENGTHS = ("size", "width", "height")
_LOOKS = ("intensity", "texture", "margin", "shape")
_OF_A_REGION = frozenset(
    {
        *_SHARES,
        *_LENGTHS,
        *_LOOKS,
        "position_horizontal",
        "position_vertical",
        "laterality",
        "half",
        "midline_gap",
        "mean_hu",
    }
)
_MILLIMETERS = {"mm": 1.0, "cm": 10.0, "µm": 0.001, "px": 1.0}
_RANKED, _NAMED, _CARRIED, _SAME = 4.5, 2.5, 2.1, 0.5
"""What it takes to leave the region a sentence means, in statements that agree (+1) or not (-1): the largest, the one
it names by number, the one that was spoken of before, and the one that `the lesion` meant last."""

_SINGLE = ("position_horizontal", "area_share", "laterality", "size", "width", "height")
"""What one region has one of."""
_MOST_ORDERED = 4  # regions; of more, nobody counts along in a text

_SOME = re.compile(
    r"\b(?:another|others|remaining|additional|further|also|among|respectively|rest)\b",
    re.IGNORECASE,
)
_SUBSET = re.compile(r"\b(?:upper|lower|larger|smaller|former|latter|remaining|left|right)\b", re.IGNORECASE)
_OF_THEM = re.compile(r"\w+\s+of\s+(?:them|which|these|those|the)\b", re.IGNORECASE)


def check(evidence: Evidence, texts: Mapping[TextField, str | None]) -> list[Checked]:
    """Return the verdict on every statement of the texts, by field and place.

    Args:
        evidence: what the row holds.
        texts: the row's texts by field; None and missing fields have no statements.
    """
    out: list[Checked] = []
    for field in get_args(TextField):
        text = texts.get(field)
        if text:
            out += _Field(evidence, text, read(text, field, evidence)).checked()
    return out


def contradictions(checked: Iterable[Checked]) -> list[Checked]:
    """Return the statements that the row says are false."""
    return [item for item in checked if item.verdict == "contradicted"]


class _Field:
    """One text: its statements, and which region each of them is about."""

    def __init__(self, evidence: Evidence, text: str, items: Sequence[Said]) -> None:
        self.evidence, self.text, self.items = evidence, text, items
        self.named = any(
            item.statement.attribute == "disease"
            and not item.statement.negated
            and item.stance != "background"
            and item.statement.value not in FOCAL
            and compatible(item.statement.value, evidence.called)
            for item in items
        )
        self.sided = any(
            item.statement.attribute == "laterality" and item.statement.value == evidence.laterality for item in items
        )
        self.order: tuple[int, ...] = tuple(range(len(evidence.rois)))
        self.lone: frozenset[tuple[str, str]] = frozenset()
        self.meant: dict[str, int] = {}
        self.last: int | None = None

    def checked(self) -> list[Checked]:
        """Return the statements with their verdicts."""
        regions: dict[int, int | None] = {}
        about = [place for place, item in enumerate(self.items) if item.statement.attribute in _OF_A_REGION]
        self.lone = self._repeated([self.items[place] for place in about])
        self.order = self._order([self.items[place] for place in about])
        for _, places_ in groupby(about, key=lambda place: (self.items[place].group, self._alone(self.items[place]))):
            members = list(places_)
            index = self._region([self.items[place] for place in members])
            regions |= dict.fromkeys(members, index)
        return [self._checked(item, regions.get(place)) for place, item in enumerate(self.items)]

    def _repeated(self, items: Sequence[Said]) -> frozenset[tuple[str, str]]:
        """Return (group, attribute) of what one group says twice, differently: `the left-center and the right`."""
        told: dict[tuple[str, str], set[str]] = {}
        for item in items:
            told.setdefault((item.group, item.statement.attribute), set()).add(item.statement.value)
        many = len(self.evidence.rois) > 1
        return frozenset(key for key, values in told.items() if many and len(values) > 1 and key[1] in _SINGLE)

    def _alone(self, item: Said) -> int:
        """Return a number of its own for a statement that may be about any region, else -1."""
        lone = (item.group, item.statement.attribute) in self.lone
        return item.statement.start if lone else -1

    def _order(self, items: Sequence[Said]) -> tuple[int, ...]:
        """Return which region `first`, `second` … mean: the row's order, unless only another one fits.

        A writer counts in the order of the telling. Another order is taken only where it leaves nothing contradicted
        and at least two statements agree with it.
        """
        numbered = [item for item in items if item.subject.key.startswith("ordinal:")]
        if not numbered or not 2 <= len(self.order) <= _MOST_ORDERED:
            return self.order
        for order in permutations(self.order):
            verdicts = []
            for item in numbered:
                place = int(item.subject.key.partition(":")[2])
                verdicts.append(self.judge(item, order[place]).verdict if place < len(order) else "unsupported")
            if "contradicted" not in verdicts and (order == self.order or verdicts.count("supported") > 1):
                return order
        return self.order

    def _checked(self, item: Said, index: int | None) -> Checked:
        """Return one statement with its verdict."""
        found = self.judge(item, index)
        expected = found.expected if found.verdict == "contradicted" else None
        fields = {name: getattr(item.statement, name) for name in type(item.statement).model_fields} | {"roi": index}
        return Checked(**fields, verdict=found.verdict, evidence=found.evidence, expected=expected)

    def _region(self, items: Sequence[Said]) -> int | None:
        """Return the region that statements of one group are about, None where it is none of the row's."""
        subject = items[0].subject
        candidates, preferred, bonus = self._candidates(items[0])
        if not candidates:
            return None
        if len(candidates) == 1:
            best = candidates[0]
        else:
            scores = {}
            for index in candidates:
                score = bonus if index in preferred else 0.0
                for item in items:
                    verdict = self.judge(item, index).verdict
                    score += {"supported": 1, "contradicted": -1, "unsupported": 0}[verdict]
                scores[index] = score
            best = max(candidates, key=lambda index: (scores[index], -index))
        self.meant[subject.key] = best
        self.last = best
        return best

    def _candidates(self, item: Said) -> tuple[list[int], frozenset[int], float]:
        """Return the regions a subject may be, the ones it most likely is, and how likely."""
        rois, subject = self.evidence.rois, item.subject
        every = list(range(len(rois)))
        if not every or subject.kind == "organ" or (subject.kind == "image" and subject.key == "size"):
            return [], frozenset(), 0.0
        key, _, value = subject.key.partition(":")
        if key in ("ordinal", "rank", "smallest"):
            return every, self._counted(key, value), _NAMED if key == "ordinal" else _RANKED
        if key == "label":
            every = [index for index in every if rois[index].label == value.partition("#")[0]]
        if key in ("finding", "new") or subject.kind == "none":
            every = self._pathological(every, subject.key)
        if key == "disease" and not self._shown(value):
            every = []
        if key == "each" or self._alone(item) >= 0:
            return every, frozenset(), 0.0
        known = self.meant.get(subject.key)
        if known is not None and known in every:
            return every, frozenset({known}), _CARRIED if subject.carried else _SAME if key != "new" else _NAMED
        last = {self.last} if subject.carried and self.last is not None else set()
        return every, frozenset(last), _CARRIED

    def _counted(self, key: str, value: str) -> frozenset[int]:
        """Return the regions that `first` or `largest` mean: among all, and of ranks among the lesions, too."""
        rois = self.evidence.rois
        every = list(range(len(rois)))
        if key == "ordinal":
            return frozenset({self.order[int(value)]} if int(value) < len(every) else ())
        place = -1 if key == "smallest" else int(value)
        found = set()
        for group in (every, self._pathological(every, "finding")):
            ranked = sorted(group, key=lambda index: (-rois[index].area_fraction, index))
            found |= {ranked[place]} if place < len(ranked) and ranked else set()
        return frozenset(found)

    def _pathological(self, every: list[int], key: str) -> list[int]:
        """Return the regions that may be a lesion: none that is called a structure, unless the row knows no lesion."""
        found = [index for index in every if self.evidence.rois[index].label in vocabulary("disease")]
        return found if found or key == "finding" or self.evidence.called else every

    def _shown(self, disease: str) -> bool:
        """Say whether the regions may be where a disease is: they, or the row, are labeled so."""
        labels = {roi.label for roi in self.evidence.rois}
        return compatible(disease, labels | self.evidence.called)

    def judge(self, item: Said, index: int | None) -> Judged:
        """Return the verdict on a statement, taken to be about region `index`."""
        name = item.statement.attribute
        if name == "disease":
            return terms.disease(item, self.evidence, named=self.named)
        found = self._affirmed(item, name, index)
        return found.turned() if item.statement.negated else found

    def _affirmed(self, item: Said, name: str, index: int | None) -> Judged:
        """Return the verdict on a statement without its negation."""
        evidence = self.evidence
        factor = _MILLIMETERS.get(item.statement.unit or "", 1.0)
        if name in ("modality", "view", "organ"):
            return {"modality": terms.modality, "view": terms.view, "organ": terms.organ}[name](item, evidence)
        if name in _SHARES:
            return figures.share(item, evidence, index)
        if name in _LENGTHS:
            return figures.length(item, evidence, index)
        if name in _LOOKS:
            return looks.look(item, evidence, index)
        if name.startswith("position_"):
            return places.position(item, evidence, index)
        if name.startswith("regions_in:"):
            return places.regions_in(item, evidence)
        if name.startswith("window_"):
            return figures.window(item, evidence)
        if name == "midline_gap":
            return places.midline_gap(item, evidence, index, factor)
        if name in ("gap", "direction"):
            return self._between(item, factor)
        return self._other(item, name, index)

    def _other(self, item: Said, name: str, index: int | None) -> Judged:
        """Return the verdict on the attributes that are left."""
        evidence = self.evidence
        if name == "count":
            return figures.count(item, evidence, partial=self._partial(item))
        if name == "laterality":
            found = places.laterality(item, evidence, index)
            aside = item.subject.kind == "organ" and self.sided and found.verdict == "contradicted"
            return UNKNOWN if aside else found  # the image's side was told before: this is the other one, in passing
        if name == "image_left":
            return places.image_left(item, evidence)
        if name == "half":
            return places.half(item, evidence, index)
        return figures.attenuation(item, evidence, index) if name == "mean_hu" else UNKNOWN

    def _between(self, item: Said, factor: float) -> Judged:
        """Return the verdict on a distance or direction between two regions that the text names."""
        found = [self._exact(key) for key in item.others]
        if len(found) != 2 or None in found or found[0] == found[1]:
            return UNKNOWN
        return places.between(item, self.evidence, found[0] or 0, found[1] or 0, factor)

    def _exact(self, key: str) -> int | None:
        """Return the region that a key names beyond doubt."""
        rois = self.evidence.rois
        kind, _, value = key.partition(":")
        if kind == "label":
            same = [index for index, roi in enumerate(rois) if roi.label == value]
            return same[0] if len(same) == 1 else None
        if kind == "ordinal":
            return self.order[int(value)] if int(value) < len(rois) else None
        if kind == "rank":
            ranked = sorted(range(len(rois)), key=lambda index: (-rois[index].area_fraction, index))
            return ranked[int(value)] if int(value) < len(rois) else None
        return None

    def _partial(self, item: Said) -> bool:
        """Say whether a number counts some of the regions only: its sentence goes on to others."""
        number = item.group.partition(":")[0]
        same = [other for other in self.items if other.group.partition(":")[0] == number]
        start = min(other.statement.start for other in same)
        end = max(other.statement.end for other in same)
        stop = re.compile(r"[.!?]\s").search(self.text, end)
        sentence = self.text[max(0, self.text.rfind(". ", 0, start) + 1) : stop.start() if stop else len(self.text)]
        several = sum(other.statement.attribute == "count" and other.role == item.role for other in same) > 1
        subset = _SUBSET.search(self.text, item.statement.start, item.statement.end) is not None
        return subset or (
            several or _SOME.search(sentence) is not None or _OF_THEM.match(self.text, item.statement.start) is not None
        )
