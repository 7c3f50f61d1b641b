"""The DICOM tree layout: any folder of DICOM files, in any naming, grouped and ordered by what headers say.

Images of one Series Instance UID are ordered by geometry, never by file name. SEG and RTSTRUCT files are not
images: they mark the planes that they reference, wherever in the tree those lie.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from medtrinity25m.engine import Crash
from medtrinity25m.errors import RefusedError
from medtrinity25m.readers.dicom import DicomFile
from medtrinity25m.readers.dicom_header import DicomHeader
from medtrinity25m.readers.dicom_masks import (
    PlaneGeometry,
    PlaneIndex,
    SegmentFrame,
    closed_contours,
    contours,
    matches,
    planes,
    segment_mask,
    segments,
    skipped_contours,
)
from medtrinity25m.readers.entry import Entry, Listing, Mapper, Refusal
from medtrinity25m.readers.layout_options import DicomTree
from medtrinity25m.readers.record import FileMark, Mark, OverlayMark, PolygonMark
from medtrinity25m.readers.safe import Jail
from medtrinity25m.readers.series import order
from medtrinity25m.registry import vocabulary

Key = tuple[str, int]
"""A plane: path of its file, index of its frame."""


SKIPPED = {"not_closed": "not closed", "no_plane": "on no image of this folder", "damaged": "damaged"}


@dataclass(frozen=True)
class Look:
    """Callable that reads one file's header and what of its content the layout needs."""

    jail: Jail
    overlays: bool

    def __call__(self, path: str) -> Seen | Refusal:
        """Return what a file is and marks, or why it cannot be used."""
        try:
            return self._look(path)
        except RefusedError as refusal:
            return Refusal.of(path, refusal)

    def _look(self, path: str) -> Seen:
        blob = self.jail.read(path)
        if blob.kind != "dicom":
            raise RefusedError("file.not_dicom", f"{path} holds {blob.kind}; a DICOM tree holds DICOM files")
        file = DicomFile(blob.data)
        header = file.header
        if header.kind == "other":
            raise RefusedError("dicom.no_pixels", f"{path} holds no image: a report, a plan, a waveform or the like")
        drawn_on = segments(file) if header.kind == "segmentation" else ()
        found = tuple(segment for segment in drawn_on if segment_mask(file, (segment.index,)).any())
        drawn = {
            frame: tuple(group for group in file.overlay_groups if closed_contours(file.overlay(group, frame)).any())
            for frame in range(file.count)
            if self.overlays and header.kind == "image"
        }
        return Seen(path, header, found, drawn)


@dataclass(frozen=True)
class Seen:
    """A file of the tree after its header was read."""

    path: str
    header: DicomHeader
    segments: tuple[SegmentFrame, ...] = ()
    overlays: dict[int, tuple[int, ...]] = field(default_factory=dict)


def list_dicom_tree(layout: DicomTree, jail: Jail, files: list[str], mapper: Mapper) -> Listing:
    """Return an entry per image file, with its place in its series and the marks that other files make on it."""
    listing = Listing()
    seen: list[Seen] = []
    for path, found in zip(files, mapper(Look(jail, overlays=layout.overlay_label is not None), files), strict=True):
        if isinstance(found, Refusal):
            listing.refusals.append(found)
        elif isinstance(found, Crash):
            listing.refusals.append(
                Refusal(path, "engine.crash", f"{path}: reading its header ended the process twice")
            )
        else:
            seen.append(found)
    images = _without_repeats([one for one in seen if one.header.kind == "image"], jail, listing)
    where = {(one.path, index): plane for one in images for index, plane in enumerate(planes(one.header, one.path))}
    keys, index = list(where), PlaneIndex(list(where.values()))
    marks: dict[Key, list[Mark]] = defaultdict(list)
    for one in (one for one in seen if one.header.kind != "image"):
        found_marks = _marks_from(one, jail, keys, index, listing)
        for key, mark in found_marks:
            marks[key].append(mark)
    for one in images:
        for frame, groups in one.overlays.items():
            marks[one.path, frame] += [OverlayMark(label=layout.overlay_label or "", group=group) for group in groups]
    places = _places(images, where)
    listing.entries = [_entry(one, places, marks) for one in images]
    return listing


def _without_repeats(images: list[Seen], jail: Jail, listing: Listing) -> list[Seen]:
    """Keep one file of each SOP Instance UID: the first by path of those that can be decoded."""
    copies: dict[str, list[Seen]] = defaultdict(list)
    for one in sorted(images, key=lambda image: image.path):
        copies[one.header.sop_uid or one.path].append(one)
    kept = []
    for group in copies.values():
        chosen = group[0] if len(group) == 1 else _first_usable(group, jail, listing)
        kept.append(chosen)
        for one in group:
            if one is not chosen and one.path not in listing.used:
                why = f"{one.path} has the SOP Instance UID of {chosen.path}"
                listing.refusals.append(Refusal(one.path, "dicom.duplicate_uid", why))
    return kept


def _first_usable(group: list[Seen], jail: Jail, listing: Listing) -> Seen:
    """Return the first of several copies that decodes, else the first; refuse those before it with their reason."""
    refusals: list[Refusal] = []
    for one in group:
        modality = one.header.modality
        try:
            DicomFile(jail.read_bytes(one.path)).plane(0)
            if modality is None or vocabulary("modality").from_dicom(modality) is not None:
                listing.refusals.extend(refusals)
                listing.used.update(refusal.path for refusal in refusals)
                return one
            refusals.append(Refusal(one.path, "modality.unsupported", f"{one.path}: DICOM modality {modality}"))
        except RefusedError as refusal:
            refusals.append(Refusal.of(one.path, refusal))
    return group[0]


def _marks_from(one: Seen, jail: Jail, keys: list[Key], index: PlaneIndex, listing: Listing) -> list[tuple[Key, Mark]]:
    """Return the marks of a SEG or RTSTRUCT file with the planes they are about."""
    found: list[tuple[Key, Mark]] = []
    if one.header.kind == "segmentation":
        frames: dict[tuple[Key, str], list[int]] = defaultdict(list)
        for segment in one.segments:
            for at in matches(segment, index):
                frames[keys[at], segment.label].append(segment.index)
        for (key, label), indices in frames.items():
            found.append((key, FileMark(path=one.path, mask_kind="segment", label=label, index=tuple(indices))))
    else:
        try:
            file = DicomFile(jail.read_bytes(one.path))
            drawn, skipped = contours(file, index), skipped_contours(file, index)
        except RefusedError as refusal:
            listing.refusals.append(Refusal.of(one.path, refusal))
            return []
        if drawn and any(skipped.values()):
            parts = ", ".join(f"{count} {SKIPPED[why]}" for why, count in sorted(skipped.items()) if count)
            where = f"{one.path}#contours"
            listing.refusals.append(Refusal(where, "dicom.contours_skipped", f"{one.path}: contours left out: {parts}"))
        found = [(keys[ring.plane], PolygonMark(label=ring.label, rings=ring.rings)) for ring in drawn]
    if found:
        listing.used.add(one.path)
    else:
        why = f"{one.path} marks images of which none is in this folder"
        listing.refusals.append(Refusal(one.path, "dicom.reference_missing", why))
    return found


def _places(images: Iterable[Seen], where: dict[Key, PlaneGeometry]) -> dict[Key, int]:
    """Return the position of each plane in its series; a series of one plane has none."""
    series: dict[str, list[Key]] = defaultdict(list)
    for one in images:
        series[one.header.series_uid or one.path].extend((one.path, index) for index in range(one.header.frames))
    places: dict[Key, int] = {}
    for keys in series.values():
        if len(keys) > 1:
            ranked = order([where[key] for key in keys])
            places.update({keys[index]: place for place, index in enumerate(ranked)})
    return places


def _entry(one: Seen, places: dict[Key, int], marks: dict[Key, list[Mark]]) -> Entry:
    header = one.header
    return Entry(
        path=one.path,
        body_part=None if header.body_part is None else vocabulary("anatomy").from_dicom(header.body_part),
        patient=header.patient_id,
        study=header.study_uid,
        frame_marks={index: tuple(marks[one.path, index]) for index in range(header.frames) if marks[one.path, index]},
        places={index: places[one.path, index] for index in range(header.frames) if (one.path, index) in places},
        uid=header.sop_uid,
        container=header.series_uid,
    )
