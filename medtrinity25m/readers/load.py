"""From records to samples: open, decode, attach the marks. A record that fails comes out rejected, in its place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from medtrinity25m.errors import RefusedError, located
from medtrinity25m.readers.dicom import DicomFile
from medtrinity25m.readers.dicom_masks import closed_contours
from medtrinity25m.readers.marks import MaskCache, annotate
from medtrinity25m.readers.nifti import NiftiFile
from medtrinity25m.readers.open import ImageFile, open_image, read_blob
from medtrinity25m.readers.record import Plane, Record
from medtrinity25m.readers.safe import Jail
from medtrinity25m.registry import RESERVED, Source
from medtrinity25m.roi.drawn_boxes import drawn_boxes
from medtrinity25m.triplet import Annotation, Sample, VolumePlace

UNSPECIFIED = "unspecified"  # the label of a box that is drawn into an image nothing else speaks of
STACK = "stack:"  # before the pseudonym of a series, in the place of a volume's path
MASK_CACHE_BYTES = 512 << 20  # one whole-body label volume of int16


@dataclass
class Loader:
    """Turns the records of one source into samples, keeping the last file open."""

    source: Source
    jail: Jail
    _masks: MaskCache = field(default_factory=lambda: MaskCache(MASK_CACHE_BYTES))
    _open: tuple[str, ImageFile] | None = None

    def __call__(self, records: Iterable[Record]) -> Iterator[Sample]:
        """Yield a sample a record, in order."""
        for record in records:
            try:
                yield self._load(record)
            except RefusedError as refusal:
                yield self.bare(record).reject(refusal.code, located(record.path, refusal.detail))

    def _load(self, record: Record) -> Sample:
        file = self._file(record)
        plane = file.plane(record.index)
        if (plane.pixels == plane.pixels.flat[0]).all():
            raise RefusedError(
                "image.blank",
                f"{record.locator}: every pixel as shown has the same value, there is nothing to describe",
            )
        overlay = partial(_region, file, record.index) if isinstance(file, DicomFile) else None
        drawn_on = _drawn_on(record, plane)
        marks = annotate(record.marks, drawn_on, self.jail, self._masks, axis=self.source.slices.axis, overlay=overlay)
        if not marks and self.source.drawn_boxes is not None:
            marks = _drawn(record, plane)
        return self.bare(record).with_(
            **_seen(record, plane),
            image_left=plane.image_left,
            spacing_mm=plane.spacing_mm,
            window=plane.window,
            pixels=plane.pixels,
            encoded=plane.encoded,
            values=plane.values,
            values_unit=plane.values_unit,
            annotations=marks,
            place=_place(record, file),
        )

    def _file(self, record: Record) -> ImageFile:
        if self._open is not None and self._open[0] == record.path:
            return self._open[1]
        blob = read_blob(self.jail, record.path, self.source)
        if blob.sha256 != record.sha256:
            raise RefusedError("file.changed", f"{record.path} is not what it was when the plan was made; build anew")
        self._open = (record.path, open_image(blob, self.source, record.organs, record.modality))
        return self._open[1]

    def bare(self, record: Record) -> Sample:
        """Return a record's sample before anything is read."""
        return Sample(
            id=record.id,
            locator=record.locator,
            source=record.source,
            license=self.source.license,
            modality=record.modality,
            view=record.view,
            laterality=record.laterality,
            organs=record.organs,
            diseases=record.diseases,
            disease=record.disease,
            corrections=record.corrections,
            reference_text=record.text,
            patient=record.patient,
            study=record.study,
            slice_index=record.slice_index,
        )


def _drawn(record: Record, plane: Plane) -> tuple[Annotation, ...]:
    """Return the boxes somebody drew into the pixels, called by the image's disease where one is known."""
    label = UNSPECIFIED if record.disease in RESERVED else record.disease
    return tuple(
        Annotation(label=label, box=(float(x0), float(y0), float(x1), float(y1)))
        for x0, y0, x1, y1 in drawn_boxes(plane.pixels)
    )


def _place(record: Record, file: ImageFile) -> VolumePlace | None:
    """Return which volume a plane is cut from; None for a picture that stands alone."""
    if isinstance(file, NiftiFile) and file.count > 1:
        return VolumePlace(volume=record.path, index=record.index)
    if record.stack is not None and record.slice_index is not None:
        return VolumePlace(volume=STACK + record.stack, index=record.slice_index)
    return None


def _seen(record: Record, plane: Plane) -> dict[str, object]:
    """Return view and laterality, the header's where nothing else says them; a correction wins, and tells of both."""
    seen: dict[str, object] = {}
    corrections = {change.column: change for change in record.corrections}
    for column in ("view", "laterality"):
        stored, shown = getattr(record, column), getattr(plane, column)
        change = corrections.get(column)
        seen[column] = stored if change is not None else stored or shown
        if change is not None and not change.was and shown is not None:
            corrections[column] = change.with_(was=shown)
    return seen | {"corrections": tuple(corrections[change.column] for change in record.corrections)}


def _drawn_on(record: Record, plane: Plane) -> Plane:
    """Return the plane as its marks see it: already turned where the annotation gives the size of the shown image."""
    shown = plane.pixels.shape[:2]
    stored = shown[::-1] if plane.orientation >= 5 else shown  # EXIF 5–8 exchange rows and columns
    if record.drawn_size in (None, stored):
        return plane
    if record.drawn_size == shown:
        return plane.with_(orientation=1)
    sizes = f"{record.drawn_size} (height, width), the image is {stored}"
    raise RefusedError("mask.size_mismatch", f"{record.path}: the annotation is about an image of {sizes}")


def _region(file: DicomFile, index: int, group: int) -> NDArray[np.bool_]:
    """Return what the contours of an overlay group enclose on one frame, (H, W) bool."""
    return closed_contours(file.overlay(group, index))
