"""NIfTI-1 and NIfTI-2 volumes (`.nii`, `.nii.gz`): slices as a radiologist expects them, labels as masks.

Every volume is first turned to its closest canonical orientation, RAS+ (nibabel's `io_orientation`); then a
slice is shown by the radiological convention, the patient's right at the left edge:

========  ======================  ==========================  ========================  ============
axis      rows, top to bottom     columns, left to right      slice 0 to last           `image_left`
========  ======================  ==========================  ========================  ============
axial     anterior to posterior   patient's right to left     inferior to superior      right
coronal   superior to inferior    patient's right to left     posterior to anterior     right
sagittal  superior to inferior    anterior to posterior       patient's left to right   None
========  ======================  ==========================  ========================  ============

Oblique volumes are cut along their own axes and named after the plane that is closest. Where both sform_code
and qform_code are 0 the file does not say how the patient lies: the array is shown as nibabel's base affine has
it, but `view` and `image_left` stay None. Of a 4-D file one volume is read, the first unless another is asked
for: echoes and time points show the same place again.

**Why** the header's fields are checked here and the voxels read by NumPy: nibabel reads exactly the bytes it
wants and never reaches the CRC of a `.nii.gz` (383 of 400 flipped bits gave other voxels in silence), and it
believes a 92-byte file that promises 2 GB. Source: nifti1.h and nifti2.h (https://nifti.nimh.nih.gov).
"""

from __future__ import annotations

import math
import struct
import zlib
from functools import cached_property
from typing import Any, Literal

import numpy as np
from nibabel.affines import voxel_sizes
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from medtrinity25m.errors import RefusedError
from medtrinity25m.readers import safe
from medtrinity25m.readers.raster_header import png_bound
from medtrinity25m.readers.record import Plane
from medtrinity25m.readers.window import LARGEST, explicit_window, percentile_window, sample, show
from medtrinity25m.registry import WindowRule
from medtrinity25m.triplet import Window

Axis = Literal["axial", "coronal", "sagittal"]

DTYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
    128: "3u1", 2304: "4u1",
}  # fmt: skip
"""Datatype codes read here; the last two are RGB24 and RGBA32. Complex, 1-bit and 128-bit voxels are not shown."""

_ALONG: dict[Axis, int] = {"sagittal": 0, "coronal": 1, "axial": 2}  # canonical axis the slices are stacked along
_TAIL = 1 << 20  # bytes after the last voxel a writer may leave (padding to blocks); more is not an image's
_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # xyzt_units & 7: unknown (taken as mm), metre, mm, micron
_EDGE_MM = (1e-6, 1e3)  # a voxel's edge between a nanometre and a metre; anything else is a damaged header
_FLAT = 1e-3  # volume of the unit cell over the product of its edges: below it two axes are 0.06 degrees apart
_SAME = 0.1  # of a voxel's edge: corners closer than that, no voxel centre falls into another voxel
_WHOLE = 1e-3  # a label times a float32 slope is off by less (2^-24 of 16,000); a half voxel of blur by more
_BINS = 1 << 16  # labels below it are counted in bins, ten times as fast as by sorting


class NiftiFile:
    """An opened NIfTI volume, seen along one axis.

    Args:
        data: the file's bytes, `.nii` or `.nii.gz`; `path` is for messages.
        axis: the plane that is shown.
        window: a preset or (center, width) is applied as it is. `header` means cal_min and cal_max where they
            span a range, else the 0.5th to 99.5th percentile of the whole volume, so that its slices compare.
        values: `HU` when the source says that the scaled voxels are Hounsfield units.

    Attributes:
        count: number of slices along `axis`.
        spacing_mm: (row, column) spacing of the shown plane in millimetres; None when the header's unit is no length.

    Raises:
        RefusedError: `nifti.header`, `nifti.too_large`, `nifti.truncated`, `nifti.affine`, `nifti.datatype`, and
            `file.gzip_*` of `safe.gunzip`.
    """

    def __init__(
        self,
        data: bytes,
        path: str,
        axis: Axis,
        window: WindowRule = "header",
        values: Literal["HU"] | None = None,
        volume: int = 0,
    ) -> None:
        self._path, self._values, self._axis = path, values, axis
        self._explicit = explicit_window(window)
        self._header = header = _read_header(_head(data), path)
        raw = _content(data, header, path, volume)
        shape = _shape(header, path)
        dtype = _dtype(header, path)
        stored = np.frombuffer(raw, dtype, math.prod(shape[:3]), _offset(header, path))
        if dtype.subdtype is not None:  # RGB: the bytes of a voxel come first in the file
            self._flat: NDArray[Any] = stored.reshape(-1, dtype.shape[0])
            array = self._flat.reshape(*shape[2::-1], dtype.shape[0]).transpose(2, 1, 0, 3)[..., :3]
        else:
            self._flat = stored
            array = stored.reshape(shape[:3], order="F")
        self._known = bool(header["sform_code"] or header["qform_code"])
        self._affine, turn = _canonical(header, shape[:3], path)
        self._array = apply_orientation(array, turn)  # type: ignore[no-untyped-call]  # a view: flips and a transpose
        self.count: int = self._array.shape[_ALONG[axis]]
        self.spacing_mm = self._spacing()

    @property
    def nbytes(self) -> int:
        """Bytes of voxels held in memory."""
        return int(self._flat.nbytes)

    def place(self, index: int) -> str:
        """Return what names a plane within its file."""
        return f"{self._axis}={index}"

    def cost(self, index: int) -> int:
        """Return an upper bound of the bytes the encoded slice takes; the same for every slice."""
        height, width = self._show(self._array, index).shape[:2]
        return png_bound(height, width, 3 if self._array.ndim == 4 else 1)

    def plane(self, index: int) -> Plane:
        """Return one slice, grey (H, W), or (H, W, 3) for RGB voxels, which need no window.

        Voxels that are not finite become black. `values` holds the scaled voxels, float32, for HU only.
        """
        shown = self._show(self._array, index)
        window = None if shown.ndim == 3 else self._window
        scaled = shown if window is None else self._scale(shown)
        return Plane(
            pixels=np.ascontiguousarray(shown) if window is None else show(scaled, window),
            values=_float32(scaled) if window is not None and self._values == "HU" else None,
            values_unit=self._values if window is not None else None,
            spacing_mm=self.spacing_mm,
            window=window,
            view=self._axis if self._known else None,
            image_left="right" if self._known and self._axis != "sagittal" else None,
        )

    def labels(self, index: int) -> NDArray[np.int32]:
        """Return one slice of a label volume as (H, W) int32, in the orientation `plane` shows.

        Raises:
            RefusedError: `nifti.labels_not_integers` when a scaled voxel is no integer of 32 bits, or a colour.
        """
        why = f"{self._path} holds values that are no whole numbers; a label volume gives each voxel one class"
        if self._array.ndim == 4:
            raise RefusedError("nifti.labels_not_integers", why)
        scaled = self._scale(self._show(self._array, index))
        whole = np.rint(scaled)
        with np.errstate(invalid="ignore"):
            labels: NDArray[np.int32] = whole.astype(np.int32)
            sound = (labels == whole) & (np.abs(scaled - whole) <= _WHOLE)
        if not sound.all():
            raise RefusedError("nifti.labels_not_integers", why)
        return np.ascontiguousarray(labels)

    def label_areas(self) -> list[dict[int, int]]:
        """Return, slice by slice, each label value (0 too) with the pixels it covers; raises as `labels` does."""
        return self._areas

    def volume(self) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Return the scaled voxels, (X, Y, Z) float32 in canonical RAS+ order, and their affine in millimetres.

        Raises:
            RefusedError: `nifti.datatype` for RGB voxels, which are no measurement.
        """
        if self._array.ndim == 4:
            raise RefusedError("nifti.datatype", f"{self._path} has RGB voxels; an expert needs one value a voxel")
        return _float32(self._scale(self._array)), self._affine

    def planes_of(self, voxels: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return a mask on the grid of `volume` as (count, H, W), plane by plane as `plane` shows them."""
        stacked = np.moveaxis(voxels, _ALONG[self._axis], 0)
        return stacked[:, ::-1, ::-1].swapaxes(1, 2)

    def same_grid(self, other: NiftiFile) -> bool:
        """Say whether both volumes, turned to canonical orientation, have equal shapes and their voxels coincide.

        Coincide: no corner of the one lies further from the other's than a tenth of the smallest voxel edge. A file
        that states an orientation and one that states none never do.
        """
        if self._array.shape[:3] != other._array.shape[:3] or self._known != other._known:
            return False
        last = np.array(self._array.shape[:3]) - 1
        corners = np.array([(*(last * bits), 1) for bits in np.ndindex(2, 2, 2)])
        apart = np.linalg.norm(corners @ (self._affine - other._affine).T, axis=1).max()
        return bool(apart <= _SAME * min(_edges(self._affine)))

    @cached_property
    def _areas(self) -> list[dict[int, int]]:
        return [_areas(self.labels(index)) for index in range(self.count)]

    @cached_property
    def _window(self) -> Window:
        """The one window of all slices."""
        low, high = float(self._header["cal_min"]), float(self._header["cal_max"])
        if self._explicit is not None:
            return self._explicit
        if -LARGEST < low < high < LARGEST:
            return Window(center=(low + high) / 2, width=high - low, name="header")
        return percentile_window(self._scale(sample(self._flat)))

    def _scale(self, voxels: NDArray[Any]) -> NDArray[np.float64]:
        """Return voxels as float64, times scl_slope plus scl_inter; a slope of 0 or NaN means no scaling."""
        slope, inter = float(self._header["scl_slope"]), float(self._header["scl_inter"])
        with np.errstate(over="ignore", invalid="ignore"):  # what leaves the range is not finite, and black
            scaled = voxels.astype(np.float64)
            if slope == 0 or not math.isfinite(slope):
                return scaled
            if not math.isfinite(inter):
                raise RefusedError("nifti.header", f"{self._path}: scl_inter is {inter}, no value can be computed")
            scaled *= slope
            scaled += inter
        return scaled

    def _show(self, array: NDArray[Any], index: int) -> NDArray[Any]:
        """Return slice `index` of a canonical array as it is displayed, a view."""
        if self._axis == "axial":
            return array[::-1, ::-1, index].swapaxes(0, 1)
        flipped = array[::-1, index, ::-1] if self._axis == "coronal" else array[index, ::-1, ::-1]
        return flipped.swapaxes(0, 1)

    def _spacing(self) -> tuple[float, float] | None:
        unit = _MM.get(int(self._header["xyzt_units"]) & 7)
        if unit is None:
            return None
        x, y, z = (edge * unit for edge in _edges(self._affine))
        if not all(_EDGE_MM[0] <= edge <= _EDGE_MM[1] for edge in (x, y, z)):
            raise RefusedError("nifti.affine", f"{self._path}: voxels of {x:g} x {y:g} x {z:g} mm are none")
        return {"axial": (y, x), "coronal": (z, x), "sagittal": (z, y)}[self._axis]


def _head(data: bytes) -> bytes:
    """Return the first bytes of the content, without unpacking more."""
    if data[:2] != b"\x1f\x8b":
        return data[:540]
    try:
        return zlib.decompressobj(wbits=31).decompress(data[:4096], 540)
    except zlib.error:
        return b""


def _read_header(head: bytes, path: str) -> Nifti1Header:
    """Return the header, its numbers not yet checked (a Nifti2Header is a Nifti1Header)."""
    for size, kind, found, magic in (
        (348, Nifti1Header, head[344:348], b"n+1\0"),
        (540, Nifti2Header, head[4:8], b"n+2\0"),
    ):
        for order in "<>":
            if head[:4] == struct.pack(order + "i", size) and found == magic and len(head) >= size:
                return kind(head[:size], order, check=False)  # type: ignore[no-untyped-call]  # nibabel's
    raise RefusedError("nifti.header", f"{path} does not start with a single-file NIfTI header; fetch it again")


def _shape(header: Nifti1Header, path: str) -> tuple[int, ...]:
    """Return the sides of the volume, at least three of them, then those of time; more are refused."""
    number, *sides = (int(side) for side in header["dim"])
    if not 1 <= number <= 7 or min(sides[:number]) < 1:
        raise RefusedError("nifti.header", f"{path}: dim = {[number, *sides]} describes no volume")
    if any(side > 1 for side in sides[4:number]):
        why = f"{path} has vectors at its voxels (dim = {sides[:number]}); export one component"
        raise RefusedError("nifti.datatype", why)
    return (*sides[:number], 1, 1, 1)[: max(3, number)]


def _dtype(header: Nifti1Header, path: str) -> np.dtype[Any]:
    code, bits = int(header["datatype"]), int(header["bitpix"])
    if code not in DTYPES:
        why = f"{path}: datatype {code} is not read; save the volume as int16 or float32"
        raise RefusedError("nifti.datatype", why)
    dtype = np.dtype(DTYPES[code]).newbyteorder(header.endianness)
    if bits != dtype.itemsize * 8:
        raise RefusedError("nifti.header", f"{path}: bitpix is {bits}, but datatype {code} has {dtype.itemsize * 8}")
    return dtype


def _offset(header: Nifti1Header, path: str) -> int:
    """Return where the voxels start; 0 means right after the header, as nibabel takes it."""
    offset, least = float(header["vox_offset"]), int(header["sizeof_hdr"]) + 4
    if offset == 0:
        return least
    if not (math.isfinite(offset) and offset.is_integer() and offset >= least):
        raise RefusedError("nifti.header", f"{path}: vox_offset is {offset}, the voxels start at {least} or later")
    return int(offset)


def _content(data: bytes, header: Nifti1Header, path: str, volume: int) -> bytes:
    """Return the unpacked file with one volume, after its promise was weighed against its size and the limits."""
    shape, size = _shape(header, path), _dtype(header, path).itemsize
    voxels = math.prod(shape) * size
    need = _offset(header, path) + voxels
    if voxels > safe.MAX_DECODED_BYTES:
        why = f"{path} promises {voxels:,} bytes of voxels; the limit is {safe.MAX_DECODED_BYTES:,}"
        raise RefusedError("nifti.too_large", why)
    packed = data[:2] == b"\x1f\x8b"
    if need > len(data) * (safe.GZIP_MAX_RATIO if packed else 1):
        why = f"{path} promises {need:,} bytes, which its {len(data):,} cannot hold; fetch the file again"
        raise RefusedError("nifti.truncated", why)
    raw = safe.gunzip(data, path, need + _TAIL) if packed else data
    if len(raw) < need:
        raise RefusedError("nifti.truncated", f"{path} holds {len(raw):,} of {need:,} bytes; fetch the file again")
    volumes, start = math.prod(shape[3:]), _offset(header, path)
    if volume >= volumes:
        why = f"{path} holds {volumes} volumes, counted from 0; volume = {volume} in [slices] is not among them"
        raise RefusedError("nifti.no_such_volume", why)
    if volumes == 1:
        return raw
    one = math.prod(shape[:3]) * size
    return raw[:start] + raw[start + volume * one : start + (volume + 1) * one]  # lets the others go


def _canonical(header: Nifti1Header, shape: tuple[int, ...], path: str) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Return the affine of the volume turned to RAS+ (millimetres or what the header's unit is), and the turn."""
    try:
        with np.errstate(all="ignore"):  # NaN is found below
            affine = np.asarray(header.get_best_affine(), np.float64)  # type: ignore[no-untyped-call]  # nibabel's
    except (HeaderDataError, ValueError) as error:
        raise RefusedError("nifti.affine", f"{path}: the orientation in the header is damaged ({error})") from None
    usable = bool((np.abs(affine) < LARGEST).all())  # no NaN either
    edges = np.linalg.norm(affine[:3, :3], axis=0) if usable else np.zeros(3)
    if not edges.all() or abs(np.linalg.det(affine[:3, :3] / edges)) < _FLAT:
        why = f"{path}: the affine {affine[:3].tolist()} cannot be turned back; write it again from the source"
        raise RefusedError("nifti.affine", why)
    turn: NDArray[Any] = io_orientation(affine)  # type: ignore[no-untyped-call]  # nibabel's
    back = inv_ornt_aff(turn, shape)  # type: ignore[no-untyped-call]  # nibabel's
    return np.asarray(affine @ back, np.float64), turn


def _float32(scaled: NDArray[np.float64]) -> NDArray[np.float32]:
    with np.errstate(over="ignore", invalid="ignore"):
        return scaled.astype(np.float32)


def _edges(affine: NDArray[np.float64]) -> list[float]:
    """Return the lengths of a voxel's edges, in the affine's unit, to the six digits a float32 header is good for."""
    edges: list[float] = voxel_sizes(affine).tolist()  # type: ignore[no-untyped-call]  # nibabel's
    return [float(f"{edge:.6g}") for edge in edges]


def _areas(labels: NDArray[np.int32]) -> dict[int, int]:
    """Return label value → pixels."""
    if labels.min() >= 0 and labels.max() < _BINS:
        counts = np.bincount(labels.ravel())
        return {int(value): int(counts[value]) for value in np.flatnonzero(counts)}
    values, counts = np.unique(labels, return_counts=True)
    return {int(value): int(count) for value, count in zip(values, counts, strict=True)}
