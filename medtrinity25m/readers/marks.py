"""From the marks of a record to annotations in the pixels of its image.

Boxes, outlines and run-lengths are drawn on the image as it is stored; where EXIF turned the image they are turned
alike. A mask file whose own EXIF orientation is not 1 is turned by that and then fits the image as shown; any
other is taken as drawn on the stored image, unless only the shown image has its size.

**Why** outlines are filled by a half-open even-odd rule (a pixel belongs to the region when its centre is inside,
or on a left or upper edge): two regions that share an edge never share a pixel, and an outline along pixel edges,
as COCO has them, gives exactly the pixels it encloses.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from medtrinity25m.errors import ConfigError, RefusedError
from medtrinity25m.readers.arrays import ArrayFile
from medtrinity25m.readers.dicom import DicomFile
from medtrinity25m.readers.nifti import Axis, NiftiFile
from medtrinity25m.readers.raster import RasterFile, orient_array, orient_point
from medtrinity25m.readers.record import BoxMark, FileMark, Mark, OverlayMark, Plane, PolygonMark, RleMark
from medtrinity25m.readers.safe import Jail
from medtrinity25m.triplet import Annotation

Mask = NDArray[np.bool_]
PlainMask = RasterFile | NiftiFile | ArrayFile
MaskFile = PlainMask | DicomFile

LIGHT = 128  # middle of 8 bits: lossy codecs leave low values around a region and high ones inside
_CODE_BITS = 5  # of each character of a compressed COCO run length, after 48 is taken off
_MAX_CODE = 13  # characters of one number: 65 bits, more than any image has pixels


class MaskCache:
    """The mask files opened last, up to `max_bytes` of content; slices of one volume follow each other."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held = 0
        self._files: OrderedDict[tuple[str, str, str, Axis], tuple[MaskFile, int]] = OrderedDict()

    def open(self, jail: Jail, mark: FileMark, axis: Axis) -> MaskFile:
        """Return the opened file of a mark, read through `jail`.

        Raises:
            RefusedError: `file.changed` when its SHA-256 is not the mark's, and what the readers raise.
        """
        key = (str(jail.root), mark.path, mark.sha256, axis)
        if key in self._files:
            self._files.move_to_end(key)
            return self._files[key][0]
        blob = jail.read(mark.path)
        if mark.sha256 and mark.sha256 != blob.sha256:
            why = f"mask {mark.path} is not what it was when the plan was made; build anew"
            raise RefusedError("file.changed", why)
        file: MaskFile
        match blob.kind:
            case "dicom":
                file, size = DicomFile(blob.data), len(blob.data)
            case "nifti" | "nifti_gz":
                file = NiftiFile(blob.data, blob.path, axis)
                size = file.nbytes
            case "npy":
                file, size = ArrayFile(blob), len(blob.data)
            case "slide" | "video":
                raise RefusedError("mask.format", f"mask {mark.path} is a {blob.kind}; export it as images")
            case _:
                file, size = RasterFile(blob.data, blob.path, blob.kind), len(blob.data)
        self._keep(key, file, size)
        return file

    def _keep(self, key: tuple[str, str, str, Axis], file: MaskFile, size: int) -> None:
        if size > self._max_bytes:
            return
        self._files[key] = (file, size)
        self._held += size
        while self._held > self._max_bytes:
            self._held -= self._files.popitem(last=False)[1][1]


def annotate(
    marks: Sequence[Mark],
    plane: Plane,
    jail: Jail,
    cache: MaskCache,
    axis: Axis = "axial",
    overlay: Callable[[int], Mask] | None = None,
) -> tuple[Annotation, ...]:
    """Return the annotations that marks make on a decoded image, in the marks' order.

    Args:
        marks: what a record says is marked.
        plane: the image; everything is given in its pixels, after its EXIF orientation.
        jail: where mask files are read.
        cache: keeps them open from image to image.
        axis: the plane NIfTI masks are cut along; a mark's `index` is the slice in the order of `NiftiFile`.
        overlay: gives the region in an overlay group of the image's own DICOM file, (H, W) bool.

    A mask file or contour that covers no pixel gives no annotation; a box is passed on as it was drawn.

    Raises:
        RefusedError: `mask.empty` for a drawn COCO object without a pixel, `mask.size_mismatch`, `mask.bad_box`,
            `mask.bad_polygon`, `mask.bad_rle`, `mask.lossy`, `mask.index`, `mask.format`, `label.unknown`,
            `file.changed`, and what the readers raise.
    """
    found: list[Annotation] = []
    for mark in marks:
        match mark:
            case BoxMark():
                found.append(Annotation(label=mark.label, box=_box(mark, plane)))
            case FileMark(mask_kind="segment"):
                found += _region(_label(mark), _segment(mark, plane, jail, cache, axis))
            case FileMark():
                found += _from_file(mark, plane, jail, cache, axis)
            case PolygonMark():
                drawn = _outline(mark, _stored(plane))
                found += _region(mark.label, orient_array(drawn, plane.orientation))
            case RleMark():
                _same_size(mark.size, _stored(plane), f"run-length mask of {mark.label}")
                runs = _something(_runs(mark), f"the run-length mask of {mark.label}")
                found += _region(mark.label, orient_array(runs, plane.orientation))
            case OverlayMark():
                found += _region(mark.label, _overlay(mark, plane, overlay))
    return tuple(found)


def decode_coco_rle(counts: str | bytes | Sequence[int], size: tuple[int, int]) -> tuple[int, ...]:
    """Return the run lengths of a COCO mask, plain or compressed; they run down columns, background first.

    Args:
        counts: a list of numbers, or COCO's string: five bits a character, sign in the last one's, every number
            from the fourth on as difference to the one two before (`rleFrString` of the COCO API).
        size: (height, width) of the mask.

    Raises:
        RefusedError: `mask.bad_rle` when it cannot be decoded, or does not fill `size` exactly.
    """
    if isinstance(counts, str | bytes):
        runs = _uncompress(counts.encode() if isinstance(counts, str) else counts)
    elif all(isinstance(run, int) for run in counts):
        runs = tuple(counts)
    else:
        raise RefusedError("mask.bad_rle", "run lengths are whole numbers or COCO's string")
    if min(size) < 1 or min(runs, default=0) < 0 or sum(runs) != size[0] * size[1]:
        raise RefusedError("mask.bad_rle", f"the run lengths do not fill a mask of {size[0]} x {size[1]} pixels")
    return runs


def _outline(mark: PolygonMark, size: tuple[int, int]) -> Mask:
    """Return the pixels of an outline by its rule."""
    if mark.rule == "even_odd":
        return fill(mark.rings, size)
    drawn = np.zeros(size, dtype=np.bool_)
    for ring in mark.rings:
        drawn |= fill([ring], size)
    return _something(drawn, f"the outline of {mark.label}")


def _something(mask: Mask, what: str) -> Mask:
    """Return the mask of a drawn object, which must have a pixel."""
    if not mask.any():
        raise RefusedError("mask.empty", f"{what} covers no pixel; mend or remove it")
    return mask


def fill(rings: Sequence[Sequence[float]], size: tuple[int, int]) -> Mask:
    """Return the pixels inside closed rings of x, y, x, y, … as (H, W) bool; pixel centres lie at integers.

    Even-odd over all rings together, so that a ring within a ring is a hole. Rings of one or two points enclose
    nothing. Raises `mask.bad_polygon` on an odd number of coordinates and on what is not finite.
    """
    height, width = size
    toggles = np.zeros((height, width + 1), dtype=np.bool_)
    for ring in rings:
        points = np.asarray(ring, dtype=np.float64)
        if points.size % 2 or not np.isfinite(points).all():
            raise RefusedError("mask.bad_polygon", f"an outline of {points.size} numbers, or with one not finite")
        for first, second in _edges(points.reshape(-1, 2)):
            rows, columns = _crossings(first, second, height)
            at = np.clip(np.ceil(columns), 0, width).astype(np.intp)
            toggles[rows, at] ^= True
    return np.logical_xor.accumulate(toggles, axis=1)[:, :width]


def _edges(points: NDArray[np.float64]) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return the edges of a closed ring, each from its upper to its lower end."""
    for first, second in zip(points, np.roll(points, -1, axis=0), strict=True):
        yield (first, second) if first[1] <= second[1] else (second, first)


def _crossings(
    upper: NDArray[np.float64], lower: NDArray[np.float64], height: int
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return the rows whose centre line an edge crosses, its lower end not counted, and where it does."""
    start, stop = (min(max(math.ceil(y), 0), height) for y in (upper[1], lower[1]))
    rows = np.arange(start, stop, dtype=np.intp)
    with np.errstate(over="ignore", invalid="ignore"):  # of coordinates beyond 1e300; clipped by the caller
        rise = lower[1] - upper[1] if stop > start else 1.0
        columns = upper[0] + (rows - upper[1]) * (lower[0] - upper[0]) / rise  # in this order exact on small numbers
    return rows, np.nan_to_num(columns)


def _uncompress(text: bytes) -> tuple[int, ...]:
    """Undo COCO's string coding of run lengths."""
    runs: list[int] = []
    number, place = 0, 0
    for character in text:
        code = character - 48
        if not 0 <= code < 64 or place == _MAX_CODE:
            raise RefusedError("mask.bad_rle", f"character {character} does not belong into COCO run lengths")
        number |= (code & 0x1F) << _CODE_BITS * place
        place += 1
        if not code & 0x20:  # the last character of this number
            if code & 0x10:
                number -= 1 << _CODE_BITS * place
            runs.append(number + (runs[-2] if len(runs) > 2 else 0))
            number, place = 0, 0
    if place:
        raise RefusedError("mask.bad_rle", "COCO run lengths end within a number")
    return tuple(runs)


def _runs(mark: RleMark) -> Mask:
    """Return a run-length mask as (H, W) bool."""
    height, width = mark.size
    runs = decode_coco_rle(mark.counts, mark.size)
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(width, height).T


def _region(label: str, mask: Mask) -> list[Annotation]:
    return [Annotation(label=label, mask=mask)] if mask.any() else []


def _shape(plane: Plane) -> tuple[int, int]:
    return plane.pixels.shape[0], plane.pixels.shape[1]


def _stored(plane: Plane) -> tuple[int, int]:
    """Return height and width of the image before EXIF turned it."""
    height, width = _shape(plane)
    return (width, height) if plane.orientation >= 5 else (height, width)


def _same_size(found: tuple[int, ...], due: tuple[int, int], what: str) -> None:
    if tuple(found) != due:
        sizes = f"{found[0]} x {found[1]} (height x width), its image {due[0]} x {due[1]}"
        raise RefusedError("mask.size_mismatch", f"{what} is {sizes}; they must have the same pixels")


def _box(mark: BoxMark, plane: Plane) -> tuple[float, float, float, float]:
    """Return a box in the pixels of the image as shown; it may leave it."""
    height, width = _stored(plane)
    if not all(math.isfinite(corner) for corner in mark.xyxy):
        raise RefusedError("mask.bad_box", f"box {mark.xyxy} of {mark.label} has a corner that is no number")
    x0, y0, x1, y1 = mark.xyxy
    if mark.unit == "fraction":
        x0, y0, x1, y1 = x0 * width, y0 * height, x1 * width, y1 * height
    if plane.orientation == 1:
        return x0, y0, x1, y1
    one = orient_point(x0, y0, width, height, plane.orientation)
    other = orient_point(x1, y1, width, height, plane.orientation)
    (left, right), (top, bottom) = sorted((one[0], other[0])), sorted((one[1], other[1]))
    return left, top, right, bottom


def _label(mark: FileMark) -> str:
    if mark.label is None:
        raise ConfigError(f"mask {mark.path}: nothing says what its region is; set mask_label in the source's TOML")
    return mark.label


def _overlay(mark: OverlayMark, plane: Plane, overlay: Callable[[int], Mask] | None) -> Mask:
    if overlay is None:
        raise RefusedError("mask.format", f"overlay {mark.group:04X} is marked on an image that is not DICOM")
    mask = overlay(mark.group)
    _same_size(mask.shape, _shape(plane), f"overlay {mark.group:04X}")
    return mask


def _segment(mark: FileMark, plane: Plane, jail: Jail, cache: MaskCache, axis: Axis) -> Mask:
    from medtrinity25m.readers.dicom_masks import segment_mask  # here: few sources have SEG files

    file = cache.open(jail, mark, axis)
    if not isinstance(file, DicomFile):
        raise RefusedError("mask.format", f"mask {mark.path} is not DICOM, so it has no segments")
    mask: Mask = segment_mask(file, mark.index)
    _same_size(mask.shape, _shape(plane), f"segment in {mark.path}")
    return mask


def _from_file(mark: FileMark, plane: Plane, jail: Jail, cache: MaskCache, axis: Axis) -> list[Annotation]:
    """Return what a mask file marks: its region, its classes, or its instances."""
    file = cache.open(jail, mark, axis)
    if isinstance(file, DicomFile):
        raise RefusedError("mask.format", f"mask {mark.path} is DICOM; use the dicom_tree layout for SEG and RTSTRUCT")
    labels = _upright(file, mark, plane)
    if mark.mask_kind == "classes":
        return _classes(mark, labels)
    if mark.mask_kind == "instances":
        return [Annotation(label=_label(mark), instances=labels)] if labels.any() else []
    return _region(_label(mark), labels != 0)


def _upright(file: PlainMask, mark: FileMark, plane: Plane) -> NDArray[np.int32]:
    """Return the values of a mask in the orientation of the image; pages of one mark fill each other's zeros."""
    united: NDArray[np.int32] | None = None
    for index in mark.index:
        if not 0 <= index < file.count:
            raise RefusedError("mask.index", f"mask {mark.path} has {file.count} planes; {index} is asked for")
        labels = plane_labels(file, mark, index)
        own = file.orientation(index) if isinstance(file, RasterFile) else 1
        if own == 1 and labels.shape != _stored(plane) and labels.shape == _shape(plane):
            turn = 1  # it fits the image as shown only, so it was drawn on that
        else:
            _same_size(labels.shape, _stored(plane) if own == 1 else _turned(_shape(plane), own), f"mask {mark.path}")
            turn = plane.orientation if own == 1 else own
        labels = orient_array(labels, turn)
        united = labels if united is None else np.where(united != 0, united, labels)
    if united is None:
        raise RefusedError("mask.index", f"no plane of mask {mark.path} is asked for")
    return without_loss(file, mark, united)


def plane_labels(file: PlainMask, mark: FileMark, index: int) -> NDArray[np.int32]:
    """Return the values of one plane of a mask, (H, W); refuses `mask.format` for a channel of a file without any."""
    if isinstance(file, ArrayFile):
        return file.labels(index, mark.channel)
    if mark.channel is not None:
        raise RefusedError("mask.format", f"mask {mark.path} is no array, so it has no channel {mark.channel}")
    return file.labels(index)


def without_loss(file: PlainMask, mark: FileMark, labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the values of a mask; of one that was compressed with loss, whether they are light.

    Raises:
        RefusedError: `mask.lossy` for classes and instances, whose numbers such a file does not keep.
    """
    if not (isinstance(file, RasterFile) and file.lossy):
        return labels
    if mark.mask_kind != "binary":
        raise RefusedError("mask.lossy", f"mask {mark.path} is compressed with loss; its numbers are not exact")
    return (labels >= LIGHT).astype(np.int32)


def _turned(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    return size[::-1] if orientation >= 5 else size


def _classes(mark: FileMark, labels: NDArray[np.int32]) -> list[Annotation]:
    """Return one annotation per vocabulary id; 0 is background unless [labels] explains it."""
    values: dict[str, list[int]] = {}
    for value in np.unique(labels).tolist():
        names = mark.labels.get(str(value), () if value == 0 else None)
        if names is None:
            why = f"{mark.path} holds value {value}, which [labels] does not explain; "
            raise RefusedError("label.unknown", why + 'map it, to "background" if it is none')
        for name in names:
            values.setdefault(name, []).append(value)
    return [Annotation(label=name, mask=np.isin(labels, found)) for name, found in values.items()]
