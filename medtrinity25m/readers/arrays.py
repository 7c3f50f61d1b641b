"""NumPy arrays: stacks of images and of instance maps in `.npy` files and members of `.npz`, labels beside them.

An array of images has the shape (N, H, W), (N, H, W, 1) or (N, H, W, 3), the first axis counting images; one of
instance maps (N, H, W) or (N, H, W, C), a map a channel. A large array is mapped, so that opening it costs nothing and
a plane costs what it has; `pathmnist.npz!/train_images` is the address of one in an `.npz`.

**Why**

- *The header is read by NumPy's own function and weighed against the file before anything is mapped*: a header of
  128 bytes may promise terabytes. Pickled objects are never read, whatever the file is said to be.
- *Floats are pictures only if they are the whole numbers 0 to 255*: PanNuke has its pictures so. Of any other range
  nobody has said what is black and what is white.
"""

from __future__ import annotations

import io
import math
import tokenize
import warnings
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from medtrinity25m.errors import RefusedError
from medtrinity25m.readers.raster_header import MAX_PAGE_BYTES, MAX_PIXELS, png_bound
from medtrinity25m.readers.record import Plane
from medtrinity25m.readers.safe import Blob, Jail

MAX_PLANES = 1 << 20  # the largest stack of small pictures (TissueMNIST) has 165,466
MAX_LABEL_BYTES = 256 << 20  # a million images with 32 labels of 64 bits
HEAD = 12 + 10_000  # magic, version and length, and the longest header NumPy reads unasked
_COMPACT = 1 << 16  # values below it are counted in bins, ten times as fast as by sorting
_DAMAGE = (
    AttributeError, LookupError, MemoryError, OverflowError, RecursionError, SyntaxError, TypeError, ValueError,
    tokenize.TokenError,
)  # fmt: skip
"""What NumPy's reader of headers, which are Python literals, raises on damaged ones."""


@dataclass(frozen=True)
class ArrayHeader:
    """What an array says of itself: shape, type of a number, order, and where the numbers start."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    columns_first: bool
    offset: int

    @property
    def nbytes(self) -> int:
        """Bytes the numbers take."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_header(head: bytes, path: str) -> ArrayHeader:
    """Return the header of an array; `path` is for messages.

    Raises:
        RefusedError: `arrays.header` when it is none or describes no array.
    """
    stream = io.BytesIO(head)
    try:
        with warnings.catch_warnings():  # about files of Python 2, which are read all the same
            warnings.simplefilter("ignore")
            version = np.lib.format.read_magic(stream)
            readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            shape, columns_first, dtype = readers[version](stream)
    except _DAMAGE as error:
        reason = f"{path} has no NumPy header that can be read ({type(error).__name__}); fetch it again"
        raise RefusedError("arrays.header", reason) from None
    if not all(side >= 0 for side in shape):
        raise RefusedError("arrays.header", f"{path}: a shape of {shape} is no array's")
    return ArrayHeader(tuple(map(int, shape)), dtype, bool(columns_first), stream.tell())


def array_members(jail: Jail, path: str) -> dict[str, ArrayHeader]:
    """Return the headers of the arrays in an `.npz` by name; of an `.npy` its one, under an empty name.

    Nothing but headers is read, and types that cannot be read are listed too.

    Raises:
        RefusedError: what `Jail.members` and `read_header` raise; the first member an archive must not have.
    """
    if not path.casefold().endswith(".npz"):
        return {"": read_header(jail.head(path, HEAD), path)}
    held = jail.members(path)
    for _, refusal in held.refused:
        raise refusal
    names = (address.removeprefix(f"{path}!/") for address in held.addresses)
    return {name: read_header(jail.head(f"{path}!/{name}", HEAD), f"{path}!/{name}") for name in names}


def small_array(jail: Jail, address: str) -> NDArray[Any]:
    """Return a whole array of numbers or text, as labels are: bool, integers (floats if whole) or Unicode text.

    Raises:
        RefusedError: `arrays.too_large` above `MAX_LABEL_BYTES`, `arrays.dtype`, `arrays.object`, `arrays.values` for
            floats that are not whole, and what reading raises.
    """
    blob = jail.read(address)
    header = _sound_header(blob)
    if header.nbytes > MAX_LABEL_BYTES:
        why = f"{address} has {header.nbytes:,} bytes; labels have at most {MAX_LABEL_BYTES:,}"
        raise RefusedError("arrays.too_large", why)
    values = np.array(_values(blob, header))
    if values.dtype.kind == "f":
        return _whole(values, np.int64, address)
    if values.dtype.kind not in "biuU":
        raise RefusedError("arrays.dtype", f"{address} holds {values.dtype}; labels are whole numbers or text")
    return values.astype(values.dtype.newbyteorder("="))


class ArrayFile:
    """An opened stack of images, or of instance maps.

    Args:
        blob: the array, in memory or at its place.
        spacing_mm: (row, column) spacing of its images where the source knows it, passed on.

    Attributes:
        count: number of images.

    Raises:
        RefusedError: `arrays.header`, `arrays.truncated`, `arrays.trailing`, `arrays.object`, `arrays.dtype`,
            `arrays.shape`, `arrays.too_large`.
    """

    def __init__(self, blob: Blob, spacing_mm: tuple[float, float] | None = None) -> None:
        self._path, self._spacing_mm = blob.path, spacing_mm
        header = _sound_header(blob)
        shape = header.shape
        if header.dtype.kind not in "biuf" or header.dtype.itemsize > 8:
            why = f"{blob.path} holds {header.dtype}; images are uint8 or whole floats, masks whole numbers"
            raise RefusedError("arrays.dtype", why)
        if len(shape) not in (3, 4) or 0 in shape:
            why = f"{blob.path} has the shape {shape}; expected (images, rows, columns) or a fourth side of channels"
            raise RefusedError("arrays.shape", why)
        per_plane = header.nbytes // shape[0]
        if per_plane > MAX_PAGE_BYTES or shape[1] * shape[2] > MAX_PIXELS or shape[0] > MAX_PLANES:
            why = f"{blob.path} has the shape {shape}; the limits are {MAX_PLANES:,} images of {MAX_PIXELS:,} pixels"
            raise RefusedError("arrays.too_large", f"{why} and {MAX_PAGE_BYTES:,} bytes")
        values = _values(blob, header)
        self._array = values if len(shape) == 4 else values[..., None]
        self.count = shape[0]

    def place(self, index: int) -> str:
        """Return what names a plane within its file."""
        return f"page={index}"

    def cost(self, index: int) -> int:
        """Return an upper bound of the bytes the encoded image takes; refuses what is no array of images."""
        self._check_picture()
        height, width, bands = self._array[index].shape
        return png_bound(height, width, bands)

    def plane(self, index: int) -> Plane:
        """Return one image, (H, W) gray or (H, W, 3) RGB.

        Raises:
            RefusedError: `arrays.shape` or `arrays.dtype` for what is no array of images, `arrays.values` for floats
                that are not the whole numbers 0 to 255.
        """
        self._check_picture()
        samples = self._array[index]
        pixels = _whole(samples, np.uint8, f"{self._path}, image {index}")
        return Plane(pixels=pixels[:, :, 0] if pixels.shape[2] == 1 else pixels, spacing_mm=self._spacing_mm)

    def labels(self, index: int, channel: int | None = None) -> NDArray[np.int32]:
        """Return the numbers of one plane of a mask, (H, W) int32; `channel` may stay None where there is only one.

        Raises:
            RefusedError: `arrays.channel`, and `arrays.values` when a number is no integer of 32 bits.
        """
        samples = self._array[index, :, :, self._channel(channel)]
        return _whole(samples, np.int32, f"{self._path}, plane {index}")

    def label_areas(self, channel: int | None = None) -> list[dict[int, int]]:
        """Return, plane by plane, each number of a channel (0 too) with the pixels it covers; raises as `labels`.

        The array is read once for all channels.
        """
        at = self._channel(channel)
        return [areas[at] for areas in self._areas]

    @cached_property
    def _areas(self) -> list[list[dict[int, int]]]:
        found = []
        for index, samples in enumerate(self._array):
            numbers = _whole(np.moveaxis(samples, -1, 0), np.int32, f"{self._path}, plane {index}")
            found.append([count_values(plane) for plane in numbers])
        return found

    def _channel(self, channel: int | None) -> int:
        channels = self._array.shape[3]
        if channel is None and channels == 1:
            return 0
        if channel is None or not 0 <= channel < channels:
            why = f"{self._path} has {channels} channels, counted from 0; {channel} is asked for"
            raise RefusedError("arrays.channel", why)
        return channel

    def _check_picture(self) -> None:
        dtype, bands = self._array.dtype, self._array.shape[3]
        if bands not in (1, 3):
            why = f"{self._path} has the shape {self._array.shape}; the last side of images is 1 or 3"
            raise RefusedError("arrays.shape", why)
        if dtype != np.uint8 and dtype.kind != "f":
            why = f"{self._path} holds {dtype}; images are uint8, or floats with the whole numbers 0 to 255"
            raise RefusedError("arrays.dtype", why)


@lru_cache(maxsize=2)
def mask_array(blob: Blob) -> ArrayFile:
    """Return an opened array of masks; the last ones keep what was counted in them, for the next mark and image."""
    return ArrayFile(blob)


def count_values(labels: NDArray[np.int32]) -> dict[int, int]:
    """Return each value of a mask with the pixels it covers."""
    if labels.min() >= 0 and labels.max() < _COMPACT:
        counts = np.bincount(labels.ravel())
        return {int(value): int(counts[value]) for value in np.flatnonzero(counts)}
    values, counts = np.unique(labels, return_counts=True)
    return {int(value): int(count) for value, count in zip(values, counts, strict=True)}


def _sound_header(blob: Blob) -> ArrayHeader:
    """Return the header of an array without objects, as large as its file."""
    held = len(blob.data) if blob.place is None else blob.place.stat().st_size
    header = read_header(blob.data[:HEAD] if blob.place is None else _start(blob.place), blob.path)
    if header.dtype.hasobject:
        why = f"{blob.path} holds Python objects, which only pickle could read; save it as numbers or text"
        raise RefusedError("arrays.object", why)
    if header.dtype.itemsize == 0:
        raise RefusedError("arrays.dtype", f"{blob.path} holds values of no bytes; save it as numbers or text")
    due = header.offset + header.nbytes
    if held < due:
        why = f"{blob.path} has {held:,} of the {due:,} bytes its header promises; fetch it again"
        raise RefusedError("arrays.truncated", why)
    if held > due:
        why = f"{blob.path} has {held - due:,} bytes more than its header promises; save one array a file"
        raise RefusedError("arrays.trailing", why)
    return header


def _start(place: Path) -> bytes:
    with place.open("rb") as handle:
        return handle.read(HEAD)


def _values(blob: Blob, header: ArrayHeader) -> NDArray[Any]:
    """Return the numbers of an array whose header is sound, in memory or mapped."""
    order: Any = "F" if header.columns_first else "C"
    if header.nbytes == 0:
        return np.zeros(header.shape, header.dtype)
    if blob.place is None:
        flat = np.frombuffer(blob.data, header.dtype, math.prod(header.shape), header.offset)
        return flat.reshape(header.shape, order=order)
    return np.memmap(blob.place, header.dtype, "r", header.offset, header.shape, order)


def _whole(samples: NDArray[Any], dtype: DTypeLike, what: str) -> NDArray[Any]:
    """Return a copy of numbers in an integer type they all fit into."""
    with np.errstate(invalid="ignore"):  # what does not fit comes out different, and is refused
        numbers: NDArray[Any] = np.ascontiguousarray(samples).astype(dtype)
    if samples.dtype != numbers.dtype and (numbers != samples).any():
        name = np.dtype(dtype).name
        raise RefusedError("arrays.values", f"{what} holds values that are no whole numbers of {name}")
    return numbers
