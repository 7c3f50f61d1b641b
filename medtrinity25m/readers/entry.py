"""What a layout lists: image files with everything their folder says about them, in the source's own words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from medtrinity25m.errors import RefusedError, located, one_line
from medtrinity25m.readers.layout_options import Masks
from medtrinity25m.readers.record import FileMark, Mark
from medtrinity25m.registry import Source


class Mapper(Protocol):
    """`map`, or a process pool's: results come in the order of the inputs."""

    def __call__(self, function: Callable[[Any], Any], items: Iterable[Any], /) -> Iterator[Any]:
        """Yield `function(item)` for every item."""
        ...


@dataclass(frozen=True)
class Entry:
    """One image file before it was opened; labels are raw words, patient and study raw ids.

    Args:
        body_part: vocabulary id of a DICOM Body Part Examined.
        more_splits: official splits of further lines about the image; the most guarded one counts.
        text: what was published with the image: a report, a caption, questions and answers.
        frame_labels: labels of one plane of the file only, by its index.
        marks: marks on the file; on its only plane, or files of as many planes.
        frame_marks: marks on one plane of the file only, by its index.
        places: positions of its planes in a series that may lie in many files.
        drawn_size: (height, width) of the image the marks were drawn on, where the annotation says it.
        uid: a stable name better than the path.
        container: what its planes have in common with those of other files: the series.
    """

    path: str
    labels: tuple[str, ...] = ()
    organs: tuple[str, ...] = ()
    body_part: str | None = None
    modality: str | None = None
    patient: str | None = None
    study: str | None = None
    split: str | None = None
    more_splits: tuple[str, ...] = ()
    view: str | None = None
    laterality: str | None = None
    text: str | None = None
    marks: tuple[Mark, ...] = ()
    frame_labels: dict[int, tuple[str, ...]] = field(default_factory=dict)
    frame_marks: dict[int, tuple[Mark, ...]] = field(default_factory=dict)
    places: dict[int, int] = field(default_factory=dict)
    drawn_size: tuple[int, int] | None = None
    uid: str | None = None
    container: str | None = None


def joined(entries: Sequence[Entry]) -> Entry:
    """Return one entry for several lines about the same image: labels, organs, marks and texts are united.

    Official splits are all kept, for the most guarded to count. Two words for the modality that differ are no modality
    together, two words for view or side none. Everything else is the first entry's, or the first that is given.
    """
    first = entries[0]
    splits = _all(split for one in entries for split in (one.split, *one.more_splits))
    marks: dict[object, Mark] = {}
    for mark in (mark for one in entries for mark in one.marks):
        marks.setdefault(_identity(mark), mark)
    return replace(
        first,
        labels=_all(label for one in entries for label in one.labels),
        organs=_all(organ for one in entries for organ in one.organs),
        modality=" and ".join(_all(one.modality for one in entries)) or None,
        patient=next(iter(_all(one.patient for one in entries)), None),
        study=next(iter(_all(one.study for one in entries)), None),
        split=next(iter(splits), None),
        more_splits=splits[1:],
        view=_agreed(one.view for one in entries),
        laterality=_agreed(one.laterality for one in entries),
        text="\n".join(_all(one.text for one in entries)) or None,
        marks=tuple(marks.values()),
    )


def _all(words: Iterable[str | None]) -> tuple[str, ...]:
    """Return every word that is given, once."""
    return tuple(dict.fromkeys(word for word in words if word is not None))


def _agreed(words: Iterable[str | None]) -> str | None:
    """Return the word that all who give one agree on, case ignored."""
    found = {word.strip().casefold(): word for word in words if word is not None}
    return next(iter(found.values())) if len(found) == 1 else None


def _identity(mark: Mark) -> object:
    """Return what tells a mark from others; file marks have no hash of their own."""
    return mark if mark.kind == "box" else (mark.kind, mark.model_dump_json())


@dataclass(frozen=True)
class Refusal:
    """Something listed that cannot become a row: where, which code, why."""

    path: str
    code: str
    detail: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "detail", one_line(self.detail))

    @classmethod
    def of(cls, path: str, error: RefusedError) -> Refusal:
        """Return the refusal an error stands for; its sentence names the file."""
        return cls(path, error.code, located(path, error.detail))


@dataclass
class Listing:
    """Everything a layout found: entries to open, refusals, and the files that are neither (`used`)."""

    entries: list[Entry] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    """Annotation files: masks, tables, COCO JSON, SEG; and archives."""
    members: list[str] = field(default_factory=list)
    """Files in archives: each must be an entry, a refusal or used, like a file below the root."""


def mask_mark(source: Source, layout: Masks, path: str, region: str | None) -> FileMark:
    """Return the mark for a mask file of `layout`; `region` is the raw label of its regions, if one is known."""
    if layout.mask_kind == "classes":
        values = {raw: (raw,) for raw in source.labels if raw.isdecimal()}
        return FileMark(path=path, mask_kind="classes", labels=values)
    return FileMark(path=path, mask_kind=layout.mask_kind, label=region)
