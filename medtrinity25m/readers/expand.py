"""From a listed file to the records of its planes: the last step before the plan, run in many processes.

Here the source's words become vocabulary ids, patients become pseudonyms, mask files are looked into to learn
which planes they mark, and the slice rule chooses the planes that become rows. No image pixel is decoded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from medtrinity25m.errors import RefusedError
from medtrinity25m.keys import Key
from medtrinity25m.readers.dicom import DicomFile
from medtrinity25m.readers.entry import Entry, Refusal
from medtrinity25m.readers.naming import Naming
from medtrinity25m.readers.nifti import NiftiFile
from medtrinity25m.readers.open import ImageFile, open_image, read_blob
from medtrinity25m.readers.presence import mark_areas
from medtrinity25m.readers.record import FileMark, Mark, Record
from medtrinity25m.readers.safe import Blob, Jail
from medtrinity25m.registry import EVALUATION_FIRST, Meaning, Source, Split, vocabulary
from medtrinity25m.triplet import Side, View

VIEW_WORDS: dict[str, View] = {
    "l": "lateral",
    "ll": "lateral",
    "rl": "lateral",
    "lat": "lateral",
    "transverse": "axial",
}
DRAWN = ("box", "polygon", "rle")  # marks that lie on one plane and do not say on which
SIDE_WORDS: dict[str, Side] = {"l": "left", "left": "left", "os": "left", "r": "right", "right": "right", "od": "right"}


@dataclass(frozen=True)
class Expand:
    """Callable that opens one entry and returns its records, or the refusal that takes its place."""

    source: Source
    jail: Jail
    key: Key

    def __call__(self, entry: Entry) -> list[Record] | Refusal:
        """Return the records of one entry, or why there are none."""
        try:
            return self._records(entry)
        except RefusedError as refusal:
            return Refusal.of(entry.path, refusal)

    def _records(self, entry: Entry) -> list[Record]:
        source = self.source
        blob = read_blob(self.jail, entry.path, source)
        naming = Naming(source, self.jail)
        said = naming.image((*entry.labels, *entry.organs))
        organs = _unique(_place(source.organs, entry.body_part), *(meaning.organs for meaning in said))
        file = open_image(blob, source, organs)
        if isinstance(file, DicomFile) and file.header.burned_in and source.burned_in == "refuse":
            why = "says that its pixels hold identifying text (0028,0301); clean it"
            raise RefusedError("dicom.burned_in", f'{entry.path} {why}, or set burned_in = "keep" in {source.id}')
        if file.count > 1 and any(mark.kind in DRAWN for mark in entry.marks):
            why = f"{entry.path} has {file.count} planes, and nothing says on which one its box or outline was drawn"
            raise RefusedError("mask.plane_unknown", why)
        marks = naming.marks(entry.marks, said)
        by_frame = {index: naming.marks(own, said) for index, own in entry.frame_marks.items()}
        areas = mark_areas(marks, by_frame, file, self.jail, source)
        base = self._base(entry, blob, file)
        return [
            Record(
                **base,
                **self._terms(organs, (*said, *naming.image(entry.frame_labels.get(index, ()))), areas[index]),
                **self._names(entry, blob, file, index),
                index=index,
                marks=_marks_of(index, marks, by_frame, file),
                drawn_size=entry.drawn_size,
                stack=stack_of(entry, source, self.key) if index in entry.places else None,
                slice_index=entry.places.get(index, index if file.count > 1 else None),
                cost=file.cost(index),
            )
            for index in self._keep(file.count, areas)
        ]

    def _base(self, entry: Entry, blob: Blob, file: ImageFile) -> dict[str, object]:
        source, key = self.source, self.key
        namespace = source.patients or source.id
        patient = None if entry.patient is None else key.pseudonym("patient", namespace, entry.patient)
        study = None if entry.study is None else key.pseudonym("study", namespace, entry.study)
        return {
            "source": source.id,
            "path": entry.path,
            "sha256": blob.sha256,
            "modality": self._modality(entry, file),
            "view": _view(entry.view) or source.view or _tomography(file),
            "laterality": None if entry.laterality is None else SIDE_WORDS.get(entry.laterality.strip().casefold()),
            "patient": patient,
            "study": study,
            "group": patient or study or key.pseudonym("file", source.id, entry.container or entry.path),
            "official": self._official(entry),
            "text": entry.text,
        }

    def _names(self, entry: Entry, blob: Blob, file: ImageFile, index: int) -> dict[str, str]:
        name = entry.uid or entry.path
        alone = file.count == 1 and blob.kind not in ("slide", "video")  # a tile is no slide, even the only one
        locator = name if alone else f"{name}#{file.place(index)}"
        return {"locator": locator, "id": self.key.row_id(self.source.id, entry.container or name, locator)}

    def _official(self, entry: Entry) -> Split | None:
        """Return the split the source gives an image: the most guarded of several."""
        found = set()
        for raw in (entry.split, *entry.more_splits):
            split = None if raw is None else self.source.split(raw)
            if raw is not None and split is None:
                why = f"split {raw!r} is not train, validation or test; say in [splits] of {self.source.id} which it is"
                raise RefusedError("split.unknown", why)
            found.add(split)
        return next((split for split in EVALUATION_FIRST if split in found), None)

    def _modality(self, entry: Entry, file: ImageFile) -> str:
        """Return the modality of the DICOM header, else of the entry, else of the source."""
        modalities = vocabulary("modality")
        raw = file.header.modality if isinstance(file, DicomFile) else None
        if raw and raw not in ("OT", "SC"):  # "other" and secondary capture say nothing about the device
            found = modalities.from_dicom(raw)
            if found is None:
                why = f"{entry.path}: DICOM modality {raw} is none of the ten ({', '.join(modalities.terms)})"
                raise RefusedError("modality.unsupported", why)
            return found
        word = entry.modality or self.source.modality
        found = None if word is None else self.source.modality_of(word)
        if found is None:
            said = "no word, or more than one, says its modality" if word is None else f"modality {word!r} is unknown"
            why = f"{entry.path}: {said}; where all its images share one, set modality in the TOML of {self.source.id}"
            raise RefusedError("modality.unknown", why)
        return found

    def _terms(self, organs: tuple[str, ...], said: tuple[Meaning, ...], area: dict[str, int]) -> dict[str, object]:
        """Return organs, diseases and the primary disease of one plane; marks count where they are."""
        marked = sorted(area, key=lambda label: (-area[label], label))
        disease_words, anatomy = vocabulary("disease"), vocabulary("anatomy")
        diseases = _unique(*(m.diseases for m in said), tuple(label for label in marked if label in disease_words))
        if not diseases and not any(meaning.healthy for meaning in said):
            diseases = tuple(word for word in self.source.diseases if word in disease_words)
        healthy = any(meaning.healthy for meaning in said) or self.source.diseases == ("none",)
        primary = diseases[0] if diseases else "none" if healthy else "unknown"
        spoken = (meaning.organs for meaning in said)
        organs = _unique(organs, *spoken, tuple(label for label in marked if label in anatomy))
        return {"organs": organs, "diseases": diseases, "disease": primary}

    def _keep(self, count: int, areas: list[dict[str, int]]) -> list[int]:
        """Return the indices of the planes that become rows."""
        rule = self.source.slices
        total = [sum(area.values()) for area in areas]
        match rule.keep:
            case "roi":
                return [index for index in range(count) if total[index]][:: rule.step]
            case "largest":
                return [max(range(count), key=lambda index: (total[index], -index)) if any(total) else count // 2]
            case "every":
                return list(range(0, count, rule.step))
            case "all":
                return list(range(count))


def stack_of(entry: Entry, source: Source, key: Key) -> str:
    """Return the pseudonym of the series an entry's planes belong to."""
    return key.pseudonym("stack", source.id, entry.container or entry.path)


def _marks_of(
    index: int, marks: tuple[Mark, ...], by_frame: dict[int, tuple[Mark, ...]], file: ImageFile
) -> tuple[Mark, ...]:
    """Return the marks of one plane; a mask volume's mark points at the same slice."""
    own = [
        mark.with_(index=(index,)) if _follows(mark, file) else mark for mark in marks if _speaks_of(mark, index, file)
    ]
    return (*own, *by_frame.get(index, ()))


def _follows(mark: Mark, file: ImageFile) -> bool:
    return (
        isinstance(mark, FileMark) and mark.mask_kind != "segment" and (file.count > 1 or isinstance(file, NiftiFile))
    )


def _speaks_of(mark: Mark, index: int, file: ImageFile) -> bool:
    """Say whether a file-level mark is about this plane: mask files plane by plane, drawings about the first."""
    return index == 0 or mark.kind == "overlay" or _follows(mark, file)


def _view(raw: str | None) -> View | None:
    word = (raw or "").strip().casefold()
    known: dict[str, View] = {view: view for view in get_args(View)} | VIEW_WORDS
    return known.get(word)


def _tomography(file: ImageFile) -> View | None:
    """Return the view of an ophthalmic tomogram, which DICOM tells from a fundus photograph by its modality."""
    return "oct" if isinstance(file, DicomFile) and file.header.modality == "OPT" else None


def _place(organs: tuple[str, ...], body_part: str | None) -> tuple[str, ...]:
    """Return what the source says its images show, unless the header names a body part somewhere else."""
    if body_part is None:
        return organs
    anatomy = vocabulary("anatomy")
    regions = {anatomy[organ].region for organ in organs}
    return organs if anatomy[body_part].region in regions else (body_part,)


def _unique(*groups: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for group in groups for word in group))
