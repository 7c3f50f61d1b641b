"""A clean text beside the facts of its row: what must be known before a change is called false.

**Why** this reads rows with words and rules of its own: it is the test of the checker (`quality.check`), and a test
that shared the checker's lexicon or its notion of true would miss what the checker misses.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Literal, NamedTuple, TypeVar

from medtrinity25m.caption import SLIDES
from medtrinity25m.registry import RESERVED, vocabulary

Half = Literal["left", "right", "both"]
Thing = TypeVar("Thing")

_SENTENCE = re.compile(r"[^.!?;]+(?:[.!?;](?=\S)[^.!?;]*)*[.!?;]?")
_NOT_NOW = re.compile(
    r"\b(?:prior|previous\w*|earlier|history|compar\w+|recommend\w*|advis\w+|suggested|follow-up|repeat|considered"
    r"|helpful|of value|last (?:week|month|year)|elsewhere|separately|childhood|mother|known|(?:in|of) (?:19|20)\d\d"
    r"|would|was|were|had|rule out|indication|examined|scanned|obtained|differential|planned|pending|to follow|awaited"
    r"|later|if|same week|correlation|not recorded|opposite|contralateral|guided|ago|on file|threshold)\b",
    re.IGNORECASE,
)
_NEGATIVE = re.compile(
    r"\b(?:no|not|without|none|neither|nor|absent|free of|clear|unremarkable|normal|intact|cannot|rather than|nothing"
    r"|unaffected|excluded)\b",
    re.IGNORECASE,
)
_HEDGED = re.compile(
    r"\b(?:may|might|could|possib\w+|probabl\w+|perhaps|likely|uncertain|suspicious|suspected|raised|favou?r|can)\b",
    re.IGNORECASE,
)
GENERIC = (
    "mass", "masses", "lesion", "lesions", "tumor", "tumors", "tumour", "tumours", "nodule", "nodules", "polyp",
    "polyps", "opacity", "opacities", "metastasis", "metastases", "focus", "foci", "finding", "findings",
)  # fmt: skip
"""Words by which a text may mean a marked lesion whatever its label is."""


class Dice:
    """Draws that depend on a key and on nothing else: no library's generator, whose stream may change."""

    def __init__(self, *key: object) -> None:
        self._key = "\0".join(map(str, key))
        self._throws = 0

    def _throw(self) -> int:
        self._throws += 1
        return int.from_bytes(hashlib.sha256(f"{self._key}\0{self._throws}".encode()).digest()[:8], "big")

    def even(self) -> bool:
        """Return True half the time."""
        return self._throw() % 2 == 0

    def choice(self, choices: Sequence[Thing]) -> Thing:
        """Return one of `choices`, at least one."""
        return choices[self._throw() % len(choices)]

    def shuffled(self, things: Sequence[Thing]) -> list[Thing]:
        """Return `things` in an order of its own."""
        return [things[index] for _, index in sorted((self._throw(), index) for index in range(len(things)))]


class Edit(NamedTuple):
    """Replace `start:end` of the clean text by `after`."""

    start: int
    end: int
    after: str


@dataclass(frozen=True)
class Sentence:
    """A sentence or a clause before a semicolon, with its place in the text."""

    start: int
    text: str

    @cached_property
    def now(self) -> bool:
        """Say whether it speaks about this image, not of another time, another study or what should be done."""
        return _NOT_NOW.search(self.text) is None

    @cached_property
    def positive(self) -> bool:
        """Say whether nothing in it is negated or called normal."""
        return _NEGATIVE.search(self.text) is None

    @cached_property
    def sure(self) -> bool:
        """Say whether it states, without a hedge."""
        return _HEDGED.search(self.text) is None


class Region(NamedTuple):
    """What a row says of one region; bins and halves are those of `roi.geometry`, sizes (width, height)."""

    label: str
    instances: int
    share: float
    across: int
    down: int
    half: Half
    size_px: tuple[int, int]
    size_mm: tuple[float, float] | None
    whole: bool


@dataclass(frozen=True)
class Page:
    """A clean text and its row, a shipped row as a mapping."""

    text: str
    row: Mapping[str, Any]

    @cached_property
    def sentences(self) -> list[Sentence]:
        """The sentences, in order."""
        return [Sentence(found.start(), found.group()) for found in _SENTENCE.finditer(self.text)]

    @cached_property
    def regions(self) -> list[Region]:
        """The regions of the row."""
        width, height = int(self.row["width"]), int(self.row["height"])
        return [_region(roi, width, height) for roi in self.row.get("rois") or ()]

    @cached_property
    def diseases(self) -> set[str]:
        """Ids of the diseases and findings the row is labeled with, by column or by region."""
        named = {self.row.get("disease") or "unknown", *(self.row.get("diseases") or ())}
        named |= {region.label for region in self.regions}
        return {word for word in named if word in vocabulary("disease") and word not in RESERVED}

    @property
    def organs(self) -> tuple[str, ...]:
        """The organs of the row."""
        return tuple(self.row.get("organs") or ())

    @property
    def modality(self) -> str:
        """The modality of the row."""
        return str(self.row["modality"])

    def about(self, sentence: str) -> list[Region]:
        """Return the regions a sentence can mean: those of a label it names, else the lesions, else all of them."""
        named = [region for region in self.regions if names(sentence, region.label)]
        lesions = [region for region in self.regions if region.label in vocabulary("disease")]
        marked = [region for region in named if region in lesions]
        if marked:
            return marked
        if lesions and re.search(rf"\b(?:{'|'.join(GENERIC)})\b", sentence, re.IGNORECASE):
            return lesions
        return named or self.regions

    def patient_half(self, region: Region) -> Half | None:
        """Return the side of the patient a region lies on, None where the row does not decide it."""
        left = self.row.get("image_left")
        if left is None or self.modality in SLIDES or region.half == "both" or region.across == 2:
            return None
        mirrored: Half = "left" if left == "right" else "right"
        return left if region.half == "left" else mirrored


def _region(roi: Mapping[str, Any], width: int, height: int) -> Region:
    """Read one region of a shipped row."""
    x, y, across, down = (int(side) for side in roi["bbox"])
    half: Half = "left" if 2 * (x + across) <= width else "right" if 2 * x >= width else "both"
    return Region(
        roi["label"],
        int(roi.get("count") or 1),
        float(roi["area_fraction"]),
        (2 * x + across) * 5 // (2 * width),
        (2 * y + down) * 5 // (2 * height),
        half,
        (across, down),
        None if roi.get("size_mm") is None else (float(roi["size_mm"][0]), float(roi["size_mm"][1])),
        roi.get("origin") == "whole_image",
    )


@cache
def _pattern(term_id: str) -> re.Pattern[str] | None:
    """Return what finds a term: its words, longest first, each perhaps with a regular plural ending as a group."""
    book = vocabulary("disease") if term_id in vocabulary("disease") else vocabulary("anatomy")
    if term_id not in book:
        return None
    term = book[term_id]
    words = {term.name, *term.synonyms, *(() if term.plural is None else (term.plural,))}
    joined = "|".join(re.escape(word) for word in sorted(words, key=lambda word: (-len(word), word)))
    return re.compile(rf"(?<![\w-])(?:{joined})(s|es)?(?![\w-])", re.IGNORECASE)


def mentions(text: str, term_id: str) -> Iterator[re.Match[str]]:
    """Yield where a text names a term in the words of the vocabulary."""
    pattern = _pattern(term_id)
    if pattern is not None:
        yield from (found for found in pattern.finditer(text) if found.group(1) is None)


def names(text: str, term_id: str) -> bool:
    """Say whether a text names a term, in the singular or a regular plural."""
    pattern = _pattern(term_id)
    return pattern is not None and pattern.search(text) is not None


def like(pattern: str, word: str) -> str:
    """Return `word` with the capitals of `pattern`."""
    letters = [letter for letter in pattern if letter.isalpha()]
    if len(letters) > 1 and all(letter.isupper() for letter in letters) and " " not in pattern.strip():
        return word.upper() if len(letters) > 4 or not word.isupper() else word
    return word[0].upper() + word[1:] if pattern[:1].isupper() else word


def with_article(text: str, edit: Edit) -> Edit:
    """Take an indefinite article before the edit into it, where the new word asks for the other one."""
    before = re.search(r"\b([Aa]n?) $", text[: edit.start])
    if before is None:
        return edit
    wanted = "an" if re.match(r"[aeioAEIO]|ultra|MR|X-|unde|ulc|H&E|FDG|LCH", edit.after) else "a"
    article = like(before.group(1), wanted) if before.group(1)[0].isupper() else wanted
    return Edit(before.start(1), edit.end, f"{article} {edit.after}")
