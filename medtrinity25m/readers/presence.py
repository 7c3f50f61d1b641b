"""Which labels are marked on which plane, and how large: what the plan must know of mask files."""

from __future__ import annotations

from medtrinity25m.errors import RefusedError
from medtrinity25m.readers.arrays import ArrayFile, count_values, mask_array
from medtrinity25m.readers.marks import plane_labels, without_loss
from medtrinity25m.readers.nifti import NiftiFile
from medtrinity25m.readers.open import ImageFile
from medtrinity25m.readers.raster import RasterFile
from medtrinity25m.readers.record import FileMark, Mark
from medtrinity25m.readers.safe import Jail
from medtrinity25m.registry import Source

Areas = list[dict[str, int]]
"""Per plane of a file: vocabulary id of a region → marked pixels (drawings count as one pixel each)."""


def mark_areas(
    marks: tuple[Mark, ...],
    by_frame: dict[int, tuple[Mark, ...]],
    file: ImageFile,
    jail: Jail,
    source: Source,
) -> Areas:
    """Return the marked areas of every plane of `file`.

    Raises:
        RefusedError: a mask cannot be read, has another grid than the image (`nifti.mask_mismatch`) or
            another number of planes (`mask.size_mismatch`), or holds a value without a label (`label.unknown`).
    """
    areas: Areas = [{} for _ in range(file.count)]
    for mark in marks:
        if isinstance(mark, FileMark) and mark.mask_kind != "segment":
            for area, found in zip(areas, _in_file(mark, file, jail, source), strict=True):
                _add(area, found)
        else:
            for area in areas if mark.kind == "overlay" else areas[:1]:
                _add(area, {_label(mark): 1})
    for index, own in by_frame.items():
        for mark in own:
            _add(areas[index], {_label(mark): 1})
    return areas


def _label(mark: Mark) -> str:
    return mark.label or ""


def _add(area: dict[str, int], more: dict[str, int]) -> None:
    for label, pixels in more.items():
        area[label] = area.get(label, 0) + pixels


def _in_file(mark: FileMark, file: ImageFile, jail: Jail, source: Source) -> Areas:
    blob = jail.read(mark.path)
    if blob.kind == "nifti" or blob.kind == "nifti_gz":
        labels = NiftiFile(blob.data, blob.path, source.slices.axis)
        if not isinstance(file, NiftiFile) or not labels.same_grid(file):
            raise RefusedError("nifti.mask_mismatch", f"{mark.path} does not lie on the grid of its image")
        return [_named(mark, areas) for areas in labels.label_areas()]
    if blob.kind == "dicom":
        raise RefusedError("mask.format", f"{mark.path} is DICOM; use the dicom_tree layout for SEG and RTSTRUCT")
    if blob.kind == "slide" or blob.kind == "video":
        raise RefusedError("mask.format", f"{mark.path} is a {blob.kind}; export it as images")
    pages = mask_array(blob) if blob.kind == "npy" else RasterFile(blob.data, blob.path, blob.kind)
    if pages.count != file.count:
        raise RefusedError("mask.size_mismatch", f"{mark.path} has {pages.count} pages, its image {file.count}")
    if isinstance(pages, ArrayFile):
        return [_named(mark, areas) for areas in pages.label_areas(mark.channel)]
    planes = (without_loss(pages, mark, plane_labels(pages, mark, page)) for page in range(pages.count))
    return [_named(mark, count_values(labels)) for labels in planes]


def _named(mark: FileMark, areas: dict[int, int]) -> dict[str, int]:
    """Return areas by vocabulary id; background left out."""
    found: dict[str, int] = {}
    for value, pixels in areas.items():
        if value == 0 and "0" not in mark.labels:
            continue
        if mark.mask_kind != "classes":
            _add(found, {_label(mark): pixels})
        elif str(value) not in mark.labels:
            why = f"{mark.path} holds value {value}, which [labels] does not explain; "
            raise RefusedError("label.unknown", why + 'map it, to "background" if it is none')
        else:
            _add(found, dict.fromkeys(mark.labels[str(value)], pixels))
    return found
