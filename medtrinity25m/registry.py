"""Facts as data: the vocabularies (`vocab/*.toml`) and the sources (`sources/*.toml`).

A vocabulary term has an id, the words people use for it, and codes. A source is one TOML that says what a
collection is, what may be done with it, how its folder is laid out and what its labels mean. TOML holds no
code, so adding a source never means touching the package: see CONTRIBUTING.md.
"""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from medtrinity25m.downloads import DOWNLOADS, Download
from medtrinity25m.errors import ConfigError, UnknownTermError
from medtrinity25m.readers.layout_options import LAYOUTS, Layout
from medtrinity25m.triplet import Frozen, View

RESERVED = ("none", "unknown", "background")
"""Words with a fixed meaning in labels: no disease was found; nobody said; not a region at all."""

HEALTHY_WORDS = ("normal", "no finding", "no findings", "healthy")
"""Raw labels that mean `none` without a line in `[labels]`: every large collection writes one of them."""

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
EVALUATION_FIRST: tuple[Split, ...] = ("test", "validation", "train")
"""Splits from the most guarded on: what anybody evaluates on is not trained on."""
SPLIT_WORDS: dict[str, Split] = {
    "train": "train", "training": "train", "val": "validation", "valid": "validation", "validation": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip
HINTS = {
    "license": "an SPDX id or LicenseRef-…",
    "redistribution": "images, annotations-only or recipe-only",
    "egress": "any or local-only",
    "layout_checked": "the URL of the documentation, or unchecked: and why",
    "id": "lower-case letters, digits and _, a letter first",
}
LICENSE_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9.+-]*$"


class Term(Frozen):
    """One word of a vocabulary.

    `icd10` is ICD-10-CM, `snomed` SNOMED CT, `radlex` an RID; a code is absent where nobody checked it.
    `dicom` holds the values of Modality (0008,0060) or Body Part Examined (0018,0015) that mean this term. `part_of`
    (anatomy) names what the structure lies in, `is_a` (diseases) what the disease or finding is a kind of.
    """

    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    name: str
    plural: str | None = None
    synonyms: tuple[str, ...] = ()
    dicom: tuple[str, ...] = ()
    icd10: str | None = None
    snomed: str | None = None
    radlex: str | None = None
    organs: tuple[str, ...] = ()
    part_of: tuple[str, ...] = ()
    is_a: tuple[str, ...] = ()
    kind: Literal["disease", "finding"] | None = None
    region: str | None = None
    paired: bool = False
    window: Literal["lung", "soft_tissue", "bone", "brain"] | None = None
    image: str | None = None
    article: Literal["a", "an"] = "a"
    lower: str = "darker"
    equal: str = "of similar brightness"
    higher: str = "lighter"


def fold(word: str) -> str:
    """Return `word` as vocabularies compare it: case, underscores, hyphens and runs of blanks ignored."""
    return " ".join(re.sub(r"[_\-\s]+", " ", word).casefold().split())


def _words(term: Term) -> tuple[str, ...]:
    return (term.id, term.name, *term.synonyms, *(() if term.plural is None else (term.plural,)))


class Vocabulary:
    """The terms of one or more TOML files, found by id, name, synonym or DICOM value."""

    def __init__(self, name: str, terms: Iterable[Term]) -> None:
        self.name = name
        self.terms: dict[str, Term] = {term.id: term for term in terms}
        self._words = {fold(word): term.id for term in self.terms.values() for word in _words(term)}
        self._dicom = {value: term.id for term in self.terms.values() for value in term.dicom}

    def __contains__(self, term_id: object) -> bool:
        return term_id in self.terms

    def __getitem__(self, term_id: str) -> Term:
        if term_id not in self.terms:
            raise UnknownTermError(
                f"{term_id!r} is no term of the {self.name} vocabulary; nearest: {', '.join(self.nearest(term_id))}"
            )
        return self.terms[term_id]

    def find(self, word: str) -> str | None:
        """Return the id that `word` (an id, a name or a synonym) means, or None."""
        return self._words.get(fold(word))

    def from_dicom(self, value: str) -> str | None:
        """Return the id for a DICOM defined term, or None."""
        return self._dicom.get(value.strip().upper())

    def nearest(self, word: str, count: int = 3) -> list[str]:
        """Return up to `count` ids whose id, name or synonyms look most like `word`."""
        close = difflib.get_close_matches(fold(word), self._words, n=count * 3, cutoff=0.0)
        return list(dict.fromkeys(self._words[match] for match in close))[:count]


@cache
def vocabulary(name: Literal["modality", "anatomy", "disease"]) -> Vocabulary:
    """Return the packaged vocabulary of that name."""
    raw = tomllib.loads((files("medtrinity25m") / "vocab" / f"{name}.toml").read_text(encoding="utf-8"))
    return Vocabulary(name, [Term(**term) for term in raw["term"]])


def _fits(raw: str, key: str) -> bool:
    """Say whether a raw label fits a key whose `*` stand for anything."""
    return re.fullmatch(".*".join(map(re.escape, key.split("*"))), raw, re.DOTALL) is not None


class Meaning(Frozen):
    """What a raw label of a source means: vocabulary ids, whether it says "no disease", or nothing at all."""

    organs: tuple[str, ...] = ()
    diseases: tuple[str, ...] = ()
    healthy: bool = False
    background: bool = False

    @property
    def label(self) -> str | None:
        """The vocabulary id a region with this label is called: the disease, else the organ."""
        return next(iter((*self.diseases, *self.organs)), None)


def meaning_of(words: Iterable[str], where: str) -> Meaning:
    """Resolve vocabulary ids (and the reserved words) to a `Meaning`; `where` names the place in errors."""
    anatomy, disease = vocabulary("anatomy"), vocabulary("disease")
    organs: list[str] = []
    diseases: list[str] = []
    words = list(words)
    for word in words:
        if word in anatomy:
            organs.append(word)
        elif word in disease:
            diseases.append(word)
        elif word not in RESERVED:
            near = [*disease.nearest(word), *anatomy.nearest(word)]
            ranked = difflib.get_close_matches(word, near, n=4, cutoff=0.0)
            raise UnknownTermError(f"{where}: {word!r} is in no vocabulary; nearest: {', '.join(ranked)}")
    return Meaning(
        organs=tuple(dict.fromkeys(organs)),
        diseases=tuple(dict.fromkeys(diseases)),
        healthy="none" in words,
        background="background" in words,
    )


class SliceRule(Frozen):
    """Which planes of a stack become rows: slices of a volume, frames of a multi-frame file, pages of a TIFF.

    `axis` applies to volumes and names the plane that is shown. `keep = "roi"` keeps planes with a mark,
    `"largest"` the one plane per volume with the largest marked area (the middle one without marks),
    `"every"` each `step`-th from the first; with `"roi"`, `step` keeps each so-many-th of those with a mark.
    """

    axis: Literal["axial", "coronal", "sagittal"] = "axial"
    keep: Literal["all", "roi", "every", "largest"] = "all"
    step: int = Field(default=1, ge=1)
    volume: int = Field(default=0, ge=0)
    """Which volume of a 4-D NIfTI file is read, counted from 0: the echo, the contrast, the time point."""

    @model_validator(mode="after")
    def _step_belongs_to_every(self) -> SliceRule:
        if self.keep == "every" and self.step == 1:
            raise ValueError('keep = "every" needs a step of at least 2: every step-th plane is kept')
        if self.keep in ("all", "largest") and self.step > 1:
            raise ValueError('step goes with keep = "every" or "roi"')
        return self


class ROIRule(Frozen):
    """How marks become regions.

    `components`: one ROI per 4-connected component of a mask, per instance of an instance map, per box.
    `classes`: one ROI per label, the union of its masks, with the count.
    `whole_image`: the image as a whole is the finding (a cropped lesion, a tile with one tissue).
    Components smaller than `min_area_px` or `min_area_mm2` are dropped. `readers = "merge"`: several readers marked the
    same things, so masks of one label are united before they are taken apart, and boxes that overlap by half are one.
    """

    rule: Literal["components", "classes", "whole_image"] = "components"
    min_area_px: int | None = Field(default=None, ge=1)
    min_area_mm2: float | None = Field(default=None, gt=0)
    readers: Literal["apart", "merge"] = "apart"

    @model_validator(mode="after")
    def _one_unit(self) -> ROIRule:
        if self.min_area_px is not None and self.min_area_mm2 is not None:
            raise ValueError("give min_area_px or min_area_mm2, not both")
        return self


WindowRule = Literal["header", "lung", "soft_tissue", "bone", "brain"] | tuple[float, float]
"""`header`: as the file says, else by body part, else percentiles; a preset's name; or (center, width)."""


class Source(Frozen):
    """One collection of images, as its TOML describes it."""

    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    title: str
    license: str = Field(pattern=LICENSE_PATTERN)
    redistribution: Literal["images", "annotations-only", "recipe-only"]
    egress: Literal["any", "local-only"]
    access: Literal["open", "click-through", "credentialed"] = "open"
    homepage: str | None = None
    citation: str | None = None
    size: str | None = None
    modality: str | None = None
    view: View | None = None
    organs: tuple[str, ...] = ()
    diseases: tuple[str, ...] = ()
    """What holds for an image no label speaks about; `["none"]` says the collection is of healthy people."""
    aliases: tuple[str, ...] = ()
    """Other names under which the same collection goes around."""
    layout_checked: str | None = None
    """The public documentation its layout was checked against, or `unchecked: ` and why."""
    get_it: str | None = None
    """Where to register and what to download, for what no program can fetch."""
    download: tuple[Annotated[Download, Field(discriminator="kind")], ...] = ()
    patients: str | None = None
    """Namespace of the patient ids; two sources that share patients share it. Default: the source's id."""
    layout: Annotated[Layout, Field(discriminator="kind")]
    ignore: tuple[str, ...] = ()
    """Patterns of files that may lie there unused: no refusal is written for them."""
    labels: dict[str, str | tuple[str, ...]] = {}
    modalities: dict[str, str] = {}
    """Raw words of a path or a column → modality: `CTres = "ct"`."""
    splits: dict[str, Split] = {}
    """Raw names of the official split: `val = "validation"`."""
    split_files: dict[str, Split] = {}
    """Text files that list the images of a split, by path, name, stem or patient, one a line."""
    slices: SliceRule = SliceRule()
    roi: ROIRule = ROIRule()
    drawn_boxes: Literal["green"] | None = None
    """Boxes were drawn into the pixels in this color: they are found again where nothing else marks the image."""
    experts: tuple[str, ...] = ()
    """Cards of the experts that are asked where nobody marked an image: ids, or TOMLs beside the build config."""
    window: WindowRule = "header"
    values: Literal["HU"] | None = None
    """Unit of the stored values where the format cannot say it (NIfTI of CT)."""
    rescale: tuple[float, float] | None = None
    """(slope, intercept) from the stored numbers of a 16-bit PNG or TIFF to `values = "HU"`."""
    burned_in: Literal["refuse", "keep"] = "refuse"
    """What happens to DICOM images that say of themselves that their pixels hold identifying text."""
    spacing_mm: tuple[float, float] | None = None
    """(row, column) spacing where the format cannot say it (PNG of known resolution)."""

    @field_validator("window")
    @classmethod
    def _window_has_width(cls, window: WindowRule) -> WindowRule:
        if isinstance(window, tuple) and not (math.isfinite(window[0]) and math.isfinite(window[1]) and window[1] > 0):
            raise ValueError(f"window {list(window)} needs a finite center and a width above 0")
        return window

    @field_validator("modality")
    @classmethod
    def _known_modality(cls, modality: str | None) -> str | None:
        if modality is not None:
            vocabulary("modality")[modality]
        return modality

    @model_validator(mode="after")
    def _rescale_has_a_unit(self) -> Source:
        if self.rescale is not None and self.values is None:
            raise ValueError('rescale leads to a unit: say values = "HU" beside it')
        return self

    @model_validator(mode="after")
    def _known_terms(self) -> Source:
        for modality in self.modalities.values():
            vocabulary("modality")[modality]
        for organ in self.organs:
            vocabulary("anatomy")[organ]
        meaning_of(self.diseases, f"{self.id}: diseases")
        for raw in self.labels:
            self.meaning(raw)
        return self

    def meaning(self, raw: str) -> Meaning | None:
        """Return what a raw label means: by `[labels]`, else by the vocabularies' own words, else None.

        A key of `[labels]` may hold `*`: "Nodule*" means every label that begins so and has no line of its own.
        """
        key = raw if raw in self.labels else next((key for key in self.labels if "*" in key and _fits(raw, key)), None)
        if key is not None:
            words = self.labels[key]
            return meaning_of([words] if isinstance(words, str) else words, f"{self.id}: labels.{raw!r}")
        word = "none" if fold(raw) in HEALTHY_WORDS else fold(raw)
        if word in RESERVED:
            return meaning_of([word], self.id)
        found = vocabulary("disease").find(raw) or vocabulary("anatomy").find(raw)
        return None if found is None else meaning_of([found], self.id)

    def modality_of(self, raw: str) -> str | None:
        """Return the modality a raw word stands for: by `[modalities]`, else by the vocabulary, else None."""
        known = vocabulary("modality")
        return self.modalities.get(raw) or known.find(raw) or known.from_dicom(raw)

    def split(self, raw: str) -> Split | None:
        """Return the split an official split name stands for, or None when the source does not name it."""
        if raw in self.splits:
            return self.splits[raw]
        return SPLIT_WORDS.get(raw.casefold())


def parse_source(raw: Mapping[str, Any], where: str) -> Source:
    """Validate the content of a source TOML; `where` names the file in errors."""
    try:
        return Source(**raw)
    except UnknownTermError as error:
        raise UnknownTermError(f"{where}: {error}") from error
    except ValidationError as error:
        keys = [key for model in (Source, SliceRule, ROIRule, *LAYOUTS, *DOWNLOADS) for key in model.model_fields]
        raise ConfigError(f"{where}: {explain(error, keys)}") from error
    except TypeError as error:
        raise ConfigError(f"{where}: {error}") from error


def explain(error: ValidationError, keys: Sequence[str]) -> str:
    """Return a validation error as one line a person can act on; `keys` are all that might have been meant."""
    return "; ".join(
        f"{'.'.join(str(part) for part in item['loc']) or 'file'}: {_advice(item, keys)}"
        for item in error.errors(include_url=False)
    )


def _advice(item: Any, keys: Sequence[str]) -> str:
    key = str(item["loc"][-1]) if item["loc"] else ""
    hint = f"; use {HINTS[key]}" if key in HINTS else ""
    match item["type"]:
        case "missing":
            return f"is missing and has no default{hint}"
        case "extra_forbidden":
            near = difflib.get_close_matches(key, [known for known in keys if known != key], n=2, cutoff=0.5)
            return f"is no key here{'; did you mean ' + ' or '.join(near) + '?' if near else ''}"
        case "tuple_type":
            return f"{item['input']!r} is no list; write it in brackets, for example [0.5, 0.5]"
        case "string_pattern_mismatch":
            return f"{item['input']!r} cannot be used{hint}"
        case _:
            return str(item["msg"]).removeprefix("Value error, ") + hint


def load_source(path: Path) -> Source:
    """Read one source TOML from disk."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from error
    return parse_source(raw, str(path))


@cache
def packaged_sources() -> dict[str, Source]:
    """Return the sources that ship with the package, by id."""
    folder = files("medtrinity25m") / "sources"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".toml"))
    found = [parse_source(tomllib.loads((folder / name).read_text(encoding="utf-8")), name) for name in names]
    return {source.id: source for source in found}


def packaged_source(name: str) -> Source | None:
    """Return the packaged source of that id, or the one that goes around under that name; None where there is none."""
    known = packaged_sources()
    return known.get(name) or next((source for source in known.values() if name in source.aliases), None)
