"""Whom a statement is about: a region of interest, the image, or a structure that is none of them.

A reading is a sentence taken apart: its clauses, terms, scopes and the words that point to regions. A statement belongs
to the last region named before it in its clause, else to the first after it; a clause that names nothing continues what
was spoken of before ("It measures …").
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal

from medtrinity25m.quality.evidence import Evidence
from medtrinity25m.quality.extract.scope import Scope
from medtrinity25m.quality.extract.sentences import Span
from medtrinity25m.quality.extract.words import Mention
from medtrinity25m.quality.verdict.kinship import is_general, wholes
from medtrinity25m.registry import vocabulary
from medtrinity25m.triplet import TextField

ORDINALS = {"first": 0, "second": 1, "third": 2, "fourth": 3, "fifth": 4, "1": 0, "2": 1, "3": 2, "4": 3, "5": 4}
IMAGE = (
    r"(?:image|picture|photo(?:graph|micrograph)?|micrograph|frame|field\s+of\s+view|field|scan|slice"
    r"|radiograph|film|view|tile|"
    r"sonogram|ultrasonogram|mammogram|patch|display|slide|screen|x-?ray|plane|tomogram)"
)
"""A word for the picture as a thing with edges."""

CALLED = re.compile(
    r"\b(?:labell?ed(?:\s+as)?|label(?:\s+(?:is|reads|of))?|typical\s+of|characteristic\s+of|diagnostic\s+of"
    r"|region\s+of\s+interest\s+(?:is|shows|contains|marks|represents"
    r"|corresponds\s+to|covers|outlines|encloses|delineates|depicts)|marking|delineat\w+|outlin\w+"
    r"|annotated\s+as|identified\s+as)"
    r"\s+(?:an?\s+|the\s+|left\s+|right\s+|part\s+of\s+the\s+)*$",
)
"""What stands before a name that something is called by."""

_REGION = re.compile(
    r"\b(?P<which>first|second|third|fourth|fifth|largest|biggest|smallest|larger|smaller|bigger|other|another|one)?\s*"
    r"(?P<rank>largest\s+|smallest\s+)?(?P<noun>(?:annotated|marked|highlighted|outlined|delineated"
    r"|segmented|located|indicated|boxed)\s+"
    r"(?:regions?|areas?|structures?|zones?)|(?:regions?|areas?|zones?)\s+of\s+interest|rois?\b"
    r"|regions?(?=\s+(?:is|are|lies?|labell?ed|covers?|measures?|"
    r"occup\w+|touches|overlaps|from|unites|crosses|to|,|\d))|(?:bounding\s+)?box(?:es)?|lesions?"
    r"|abnormalit(?:y|ies)|anomal(?:y|ies)|findings?(?!\s*:)|foc(?:us|i)"
    r"|growths?|regions?(?='s))(?:\s+(?P<number>[1-5])\b)?",
)
_OF_INTEREST = re.compile(
    r"interest|roi|region|box|annotated|marked|highlighted|outlined|delineated|segmented|located|indicated",
)
_LONE = re.compile(
    r"\b(?:one|another|the\s+others?|others|(?:two|three|four|five|six)(?=\s+(?:on"
    r"|in)\s+the))\b(?=\s+(?:is|are|lies?|in|at|on|near|within|toward|with|measur\w+|cover\w*|occup\w+"
    r"|of\s+(?:about\s+|approximately\s+)?\d)|\s+\d|\s*,|\s*:)",
)
_BARE_ORDINAL = re.compile(r"\bthe\s+(first|second|third|fourth|fifth|largest|smallest|larger|smaller)\b")
_IMAGE = re.compile(rf"\b{IMAGE}s?\b")
_REGION_OF_LABEL = re.compile(r"\s*(?:-\s*)?(?:labell?ed\s+)?(?:regions?|areas?|rois?)\b")
_FOCAL_WORDS = ("lesion", "mass", "nodule", "tumor")
_VOCABULARIES: tuple[Literal["anatomy", "disease"], ...] = ("disease", "anatomy")
_PLAIN_WORDS = frozenset({
    "tissue", "cell", "structure", "part", "disease", "bone", "lesion", "mass", "nodule", "tumor", "head", "body",
    "field", "matter", "region", "image",
})  # fmt: skip
_WITHIN = re.compile(
    r"\b(?:in|within|inside|of|involving|from|on|at)\s+(?:(?:the|a|an|left|right|upper|lower|both|mid"
    r"|middle|anterior|posterior|patient['’]?s)\s+)*$",
)
_NEXT = re.compile(r"(?:,|\band|\bwhile|\bwhereas|\bbut)\s+(?:the\s+|its\s+|an?\s+)?$")
_WITH = re.compile(r"\bwith\s+(?:[\w-]+\s+){0,3}$")
_IS_CALLED = re.compile(r",?\s*(?:which\s+is\s+)?(?:labell?ed|marked|annotated)\s+(?:as\s+)?(?:an?\s+|the\s+)?")
_INDEFINITE = re.compile(r"\b(?:an?|another|one|second|further|additional)\s*,?\s+(?:[\w.×-]+,?\s+){0,6}$")


@dataclass(frozen=True, slots=True)
class Pointer:
    """Words that point to a region.

    `key`: `ordinal:0`, `rank:1`, `smallest`, `label:<id>`, `new:<n>` (brought in with `a`, `another`), `finding` (a
    lesion), `any` (a region of interest), `disease:<id>` (a finding that no region is called), `image`.
    """

    key: str
    start: int
    end: int
    denied: bool = False


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a statement is about: `kind` region, image, organ or nothing; `key` says which region."""

    kind: str
    key: str = "any"
    value: str = ""
    carried: bool = False
    """Nothing in the clause says whom it is about: it goes on with what was spoken of before."""


@dataclass(frozen=True, eq=False)
class Reading:
    """A sentence taken apart.

    Args:
        text: the whole text in small letters, as long as it was: rules are written in small letters, which makes them
            twice as fast as rules that ignore case.
        raw: the text as it was written, for abbreviations.
        field: the text's.
        number: of the sentence in its text.
        carried: whom the sentence before was about.
        heading: `background`, `findings` or None.
    """

    text: str
    raw: str
    field: TextField
    number: int
    span: Span
    clauses: tuple[Span, ...]
    mentions: tuple[Mention, ...]
    scope: Scope
    pointers: tuple[Pointer, ...]
    carried: Subject
    heading: str | None

    @property
    def words(self) -> str:
        """The sentence's own text."""
        return self.text[self.span.start : self.span.end]

    def clause(self, place: int) -> Span:
        """Return the clause that holds a place of the text."""
        return next((part for part in self.clauses if part.start <= place < part.end), self.span)

    def subject(self, start: int, end: int) -> Subject:
        """Return whom a statement at `start:end` is about."""
        part = self.clause(start)
        inside = [p for p in self.pointers if p.start >= part.start and p.end <= part.end and not p.denied]
        regions = [p for p in inside if p.key != "image" and not self._beside(p, part)] or [
            p for p in inside if p.key != "image"
        ]
        before = [p for p in regions if p.start < end]
        first_organ = next((m for m in self.mentions if m.kind == "organ" and part.start <= m.start < start), None)
        if before:
            other = self._other(before[-1].end, start)
            return Subject("region", before[-1].key) if other is None else Subject("organ", value=other)
        if any(p.key == "image" and p.end <= start for p in inside):
            return Subject("image") if not regions else Subject("region", regions[0].key)
        heading = self.text[part.start] == ":"  # "Nodule 1: left upper lobe, 11 mm"
        if first_organ is not None and not heading and not self._placed(first_organ.start, part):
            return Subject("organ", value=first_organ.value)
        if regions:
            return Subject("region", regions[0].key)
        earlier = [p for p in self.pointers if p.end <= part.start and not p.denied and p.key != "image"]
        if earlier:
            return Subject("region", earlier[-1].key, carried=True)
        return self.carried

    def pair(self, start: int) -> tuple[str, ...]:
        """Return the keys of the two regions that a distance or direction at `start` is between, or nothing."""
        regions = [p for p in self.pointers if p.key != "image" and not p.denied]
        before = [p.key for p in regions if p.start < start]
        behind = [p.key for p in regions if p.start >= start]
        apart = list(dict.fromkeys(before))
        if behind and before:
            return before[-1], behind[0]
        return (apart[0], apart[-1]) if len(apart) > 1 else ()

    def _other(self, after: int, start: int) -> str | None:
        """Return the structure that a new part of the clause is about: `a cyst on the right and the liver on …`."""
        found = [m for m in self.mentions if m.kind == "organ" and after <= m.start < start]
        if not found or not _NEXT.search(self.text[max(0, found[-1].start - 20) : found[-1].start]):
            return None
        return found[-1].value

    def _beside(self, pointer: Pointer, part: Span) -> bool:
        """Say whether a finding only goes with another one: `a keratosis with cysts`."""
        before = self.text[part.start : pointer.start]
        return pointer.key.startswith("disease:") and _WITH.search(before) is not None

    def _placed(self, start: int, part: Span) -> bool:
        """Say whether a structure is only where something is: `in the liver, it measures …`."""
        before = self.text[part.start : start].casefold()
        return (
            re.search(r"\b(?:in|within|of|at|on|from|inside|near|toward|towards)\s+(?:[\w-]+\s+){0,3}$", before)
            is not None
        )


def pointers(
    text: str, span: Span, found: tuple[Mention, ...], scope: Scope, evidence: Evidence, *, new: int
) -> tuple[Pointer, ...]:
    """Return the words of a sentence that point to regions or to the image, in order; `new` numbers unnamed ones."""
    out = [_region(match, scope) for match in _REGION.finditer(text, span.start, span.end)]
    labels = {roi.label for roi in evidence.rois}
    for mention in found:
        pointer = _named(text, mention, scope, labels)
        if pointer is not None and not any(p.start < pointer.end and pointer.start < p.end for p in out):
            out.append(pointer)
    for label, match in _last_words(text, span, frozenset(labels)):
        if not any(p.start < match.end() and match.start() < p.end for p in out):
            denied = scope.drops(match.start(), match.end()) or scope.denies(match.start(), match.end())
            out.append(Pointer(f"label:{label}", match.start(), match.end(), denied))
    for match in _LONE.finditer(text, span.start, span.end):
        if not any(p.start < match.end() and match.start() < p.end for p in out):
            out.append(Pointer("other", match.start(), match.end(), scope.drops(match.start(), match.end())))
    for match in _BARE_ORDINAL.finditer(text, span.start, span.end):
        if not any(p.start < match.end() and match.start() < p.end for p in out):
            follows = text[match.end() : match.end() + 30].casefold()
            if re.match(
                r"\s*(?:one\b|is\b|lies\b|measures\b|covers\b|occupies\b|of\s+(?:them|these|the)\b|at\b|in\b|,|\d"
                r"|region|area|lesion)",
                follows,
            ):
                out.append(
                    Pointer(_which(match[1]), match.start(), match.end(), scope.denies(match.start(), match.end()))
                )
    out += [Pointer("image", m.start(), m.end()) for m in _IMAGE.finditer(text, span.start, span.end)]
    out.sort(key=lambda p: (p.start, p.end))
    out = _joined(text, out)
    return tuple(_numbered(text, span, out, new))


@cache
def _aliases(labels: frozenset[str]) -> tuple[re.Pattern[str], dict[str, str]] | None:
    """Return the last words of labels' names that tell them apart: `disc` and `cup` for optic disc and optic cup."""
    words: dict[str, list[str]] = {}
    for label in sorted(labels):
        name = next(vocabulary(v)[label].name for v in _VOCABULARIES if label in vocabulary(v))
        if " " in name:
            words.setdefault(name.split()[-1].casefold(), []).append(label)
    known = {word: same[0] for word, same in words.items() if len(same) == 1 and word not in _PLAIN_WORDS}
    if not known:
        return None
    return re.compile(rf"\b(?P<word>{'|'.join(map(re.escape, sorted(known)))})s?\b"), known


def _last_words(text: str, span: Span, labels: frozenset[str]) -> Iterator[tuple[str, re.Match[str]]]:
    """Yield where a text calls a region by the last word of its label."""
    found = _aliases(labels)
    if found is not None:
        pattern, known = found
        for match in pattern.finditer(text, span.start, span.end):
            yield known[match["word"]], match


def _joined(text: str, found: list[Pointer]) -> list[Pointer]:
    """Return the pointers with `the region labeled edema` as one, by its label."""
    out: list[Pointer] = []
    for pointer in found:
        last = out[-1] if out else None
        plain = last is not None and last.key in ("any", "finding") and pointer.key.startswith("label:")
        if plain and last is not None and _IS_CALLED.fullmatch(text, last.end, pointer.start):
            out[-1] = Pointer(pointer.key, last.start, pointer.end, last.denied or pointer.denied)
        else:
            out.append(pointer)
    return out


def _numbered(text: str, span: Span, found: list[Pointer], new: int) -> list[Pointer]:
    """Give each region that is brought in with `a`, `another`, `one` a key of its own."""
    out: list[Pointer] = []
    for pointer in found:
        indefinite = pointer.key == "other" or _INDEFINITE.search(text[span.start : pointer.start]) is not None
        if pointer.key in ("any", "finding", "other") and indefinite:
            new += 1
            pointer = Pointer(f"new:{new}", pointer.start, pointer.end, pointer.denied)
        elif (
            pointer.key.startswith("label:") and any(p.key.partition("#")[0] == pointer.key for p in out) and indefinite
        ):
            pointer = Pointer(f"{pointer.key}#{len(out)}", pointer.start, pointer.end, pointer.denied)
        out.append(pointer)
    return out


def _which(word: str) -> str:
    """Return the key of an ordinal or a rank."""
    word = word.casefold().strip()
    if word in ORDINALS:
        return f"ordinal:{ORDINALS[word]}"
    if word in ("largest", "larger", "biggest", "bigger"):
        return "rank:0"
    return "smallest" if word in ("smallest", "smaller") else "any"


def _region(match: re.Match[str], scope: Scope) -> Pointer:
    """Return the pointer that a noun for a region is."""
    start, end = match.span()
    which = (match["which"] or "").casefold()
    denied = scope.denies(match.start("noun"), end)
    if match["rank"] is not None and which in ORDINALS:
        return Pointer(f"rank:{ORDINALS[which]}", start, end, denied)
    if match["number"] is not None:
        return Pointer(f"ordinal:{int(match['number']) - 1}", start, end, denied)
    if match["rank"] is not None:
        return Pointer(_which(match["rank"]), start, end, denied)
    if which in ("other", "another"):
        return Pointer("other", start, end, denied)
    plain = "any" if _OF_INTEREST.search(match["noun"]) else "finding"
    return Pointer(_which(which) if which and which != "one" else plain, start, end, denied)


def _named(text: str, mention: Mention, scope: Scope, labels: set[str]) -> Pointer | None:
    """Return the pointer that a disease, or a structure that is a region's label, is; None for the rest."""
    denied = scope.drops(mention.start, mention.end) or scope.denies(mention.start, mention.end)
    region = _REGION_OF_LABEL.match(text, mention.end)
    of_it = [
        label
        for label in sorted(labels)
        if mention.kind == "organ" and is_general(mention.value) and mention.value in wholes(label)
    ]
    if of_it and mention.value not in labels:
        return Pointer("any", mention.start, mention.end, denied)  # "the infected cell" among cells of several labels
    if mention.value in labels and mention.kind in ("disease", "organ"):
        inside = (
            mention.kind == "organ"
            and region is None
            and _WITHIN.search(text[max(0, mention.start - 40) : mention.start])
        )
        return (
            None
            if inside
            else Pointer(f"label:{mention.value}", mention.start, region.end() if region else mention.end, denied)
        )
    if mention.kind != "disease":
        return None
    if scope.aside(mention.start, mention.end):
        return None
    if any(mention.value.endswith(f"_{word}") for word in _FOCAL_WORDS):
        return Pointer("finding", mention.start, mention.end, denied)  # a lung mass is whatever lies in the lung
    return Pointer(
        "finding" if focal(mention.value) else f"disease:{mention.value}", mention.start, mention.end, denied
    )


def focal(disease: str) -> bool:
    """Say whether a word only says that something is there: lesion, mass, nodule."""
    return disease in ("lesion", "mass", "nodule", "tumor", "opacity") and disease in vocabulary("disease")


def is_found(key: str) -> bool:
    """Say whether words point to something that lies in a structure, and not to a structure or the image."""
    label = key.removeprefix("label:").partition("#")[0]
    return key != "image" and not (key.startswith("label:") and label in vocabulary("anatomy"))
