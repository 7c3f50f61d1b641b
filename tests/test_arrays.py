"""NumPy stacks: planes and instance maps come out exact, large ones are mapped, and no header is believed."""

from __future__ import annotations

import io
import pickle
import struct
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from medtrinity25m.errors import RefusedError
from medtrinity25m.keys import Key
from medtrinity25m.readers import arrays, safe
from medtrinity25m.readers.arrays import ArrayFile, array_members, mask_array, small_array
from medtrinity25m.readers.entry import Entry, Refusal
from medtrinity25m.readers.expand import Expand
from medtrinity25m.readers.load import Loader
from medtrinity25m.readers.marks import MaskCache, annotate
from medtrinity25m.readers.record import FileMark, Plane, Record
from medtrinity25m.readers.safe import Blob, Jail
from medtrinity25m.registry import load_source
from medtrinity25m.release.png import encode_image
from medtrinity25m.triplet import Sample

RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 256, (5, 6, 9)).astype(np.uint8)
RGB = RNG.integers(0, 256, (5, 6, 9, 3)).astype(np.uint8)
MASKS = RNG.integers(0, 40, (5, 6, 9, 6)) * (RNG.random((5, 6, 9, 6)) > 0.5)


def npy(array: NDArray[Any], **options: Any) -> bytes:
    """The bytes NumPy writes for an array."""
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def header(shape: str, dtype: str = "'|u1'", version: int = 1, order: str = "False") -> bytes:
    """A header written by hand."""
    text = f"{{'descr': {dtype}, 'fortran_order': {order}, 'shape': {shape}, }}".encode()
    length = struct.pack("<H" if version == 1 else "<I", len(text) + 1)
    return b"\x93NUMPY" + bytes([version, 0]) + length + text + b"\n"


@pytest.fixture
def jail(tmp_path: Path) -> Jail:
    """An empty source folder, with a cache folder beside it that is not there yet."""
    (tmp_path / "data").mkdir()
    return Jail(tmp_path / "data", tmp_path / "cache")


def opened(data: bytes, **options: Any) -> ArrayFile:
    """An array in memory."""
    return ArrayFile(Blob(path="x.npy", data=data, sha256="", kind="npy"), **options)


def refused(code: str, *words: str) -> pytest.RaisesExc[RefusedError]:
    """Expect a refusal with exactly this code, that names these words."""
    return pytest.RaisesExc(
        RefusedError, check=lambda error: error.code == code and all(word in error.detail for word in words)
    )


@pytest.mark.parametrize("place", ["x.npy", "x.npz", "stored.npz", "large.npz", "x.zip", "x.tar"])
@pytest.mark.parametrize(("array", "shown"), [
    (GRAY, GRAY), (GRAY[..., None], GRAY), (RGB, RGB), (RGB.astype(np.float64), RGB), (GRAY.astype(">f4"), GRAY),
    (np.asfortranarray(RGB), RGB), (RGB.astype(np.float16), RGB),
], ids=["gray", "one-channel", "rgb", "float64", "big-endian", "columns-first", "float16"])  # fmt: skip
def test_planes_are_exact(
    jail: Jail, place: str, array: NDArray[Any], shown: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stack of any layout, as a file or in an archive, in memory or mapped, gives each of its images as it is."""
    address = put(jail, place, array)
    if place == "large.npz":
        monkeypatch.setattr(safe, "ARRAY_BYTES", 100)
    blob = jail.read(address)
    assert blob.kind == "npy"
    assert (blob.place is None) == (place not in ("x.npy", "large.npz"))
    file = ArrayFile(blob, (0.5, 0.25))
    assert file.count == 5
    for index in (4, 0, 2):
        plane = file.plane(index)
        np.testing.assert_array_equal(plane.pixels, shown[index])
        assert plane.pixels.dtype == np.uint8
        assert type(plane.pixels) is np.ndarray  # not a view of the file
        assert plane.pixels.flags.c_contiguous
        assert (plane.encoded, plane.window, plane.orientation, plane.spacing_mm) == (None, None, 1, (0.5, 0.25))
        assert len(encode_image(plane.pixels)) <= file.cost(index)
    assert len(list(jail.root.parent.glob("cache/train_images-*"))) == 2 * (place == "large.npz")  # and its lock


def put(jail: Jail, place: str, array: NDArray[Any]) -> str:
    """Write an array to a file or into an archive; return its address."""
    path = jail.root / place
    match place:
        case "x.npy":
            path.write_bytes(npy(array))
            return place
        case "x.zip":
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("deep/images.npy", npy(array))
            return f"{place}!/deep/images.npy"
        case "x.tar":
            with tarfile.open(path, "w") as tar:
                info = tarfile.TarInfo("images.npy")
                info.size = len(npy(array))
                tar.addfile(info, io.BytesIO(npy(array)))
            return f"{place}!/images.npy"
        case _:
            (np.savez if place == "stored.npz" else np.savez_compressed)(path, train_images=array)
            return f"{place}!/train_images"


def test_a_large_file_costs_what_is_looked_at(jail: Jail) -> None:
    """Of a file of 64 MiB a plane of one is read within 8 MiB of memory."""
    with (jail.root / "x.npy").open("wb") as file:
        file.write(header("(64, 1024, 1024)"))
        file.seek((64 << 20) - 1, 1)
        file.write(b"\x07")
    blob = jail.read("x.npy")
    tracemalloc.start()
    stack = ArrayFile(blob)
    assert stack.plane(63).pixels[-1, -1] == 7
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (blob.data, blob.place) == (b"", jail.root / "x.npy")
    assert peak < 8 << 20


@pytest.mark.parametrize(("array", "code"), [
    (GRAY.astype(np.int64), "arrays.dtype"), (GRAY > 9, "arrays.dtype"), (GRAY.astype(np.uint16), "arrays.dtype"),
    (GRAY / 255, "arrays.values"), (GRAY + 0.5, "arrays.values"), (GRAY * -1.0, "arrays.values"),
    (GRAY * 2.0, "arrays.values"), (np.full((2, 3, 4), np.nan), "arrays.values"),
    (np.full((2, 3, 4), np.inf), "arrays.values"), (MASKS.astype(np.float64), "arrays.shape"),
    (np.moveaxis(RGB, -1, 1), "arrays.shape"),
])  # fmt: skip
def test_what_is_no_picture_is_not_shown(array: NDArray[Any], code: str) -> None:
    """Other types, fractions, numbers outside of 0 to 255 and other channels are refused, and named."""
    with refused(code, "x.npy"):
        file = opened(npy(array))
        file.cost(0)
        file.plane(0)


@pytest.mark.parametrize(("array", "code"), [
    (np.zeros(7, np.uint8), "arrays.shape"), (np.uint8(3), "arrays.shape"),
    (np.zeros((2, 3), np.uint8), "arrays.shape"), (np.zeros((2, 3, 4, 3, 1), np.uint8), "arrays.shape"),
    (np.zeros((0, 3, 4), np.uint8), "arrays.shape"),
    (np.zeros((2, 3, 0), np.uint8), "arrays.shape"), (np.zeros((2, 3, 4), "U3"), "arrays.dtype"),
    (np.zeros((2, 3, 4), np.complex64), "arrays.dtype"), (np.zeros((2, 3, 4), [("a", "u1")]), "arrays.dtype"),
    (np.zeros((2, 3, 4), "M8[s]"), "arrays.dtype"), (np.zeros((2, 3, 4), "S0"), "arrays.dtype"),
])  # fmt: skip
def test_what_is_no_stack_is_not_opened(array: NDArray[Any], code: str) -> None:
    """Another number of sides, an empty stack, text, complex numbers, dates and records are refused."""
    with refused(code, "x.npy"):
        opened(npy(np.asarray(array)))


class Evil:
    """Would touch a file if anybody unpickled it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
def test_objects_are_never_unpickled(jail: Jail, name: str) -> None:
    """An array of Python objects is refused wherever it lies, and nothing in it runs."""
    array = np.array([Evil(jail.root / "touched")] * 3, dtype=object)
    address = put(jail, name, array)
    for call in (lambda: small_array(jail, address), lambda: ArrayFile(jail.read(address))):
        with refused("arrays.object", name):
            call()
    assert array_members(jail, name)[address.partition("!/")[2]].dtype == object
    assert not (jail.root / "touched").exists()


def test_a_pickle_is_no_array(jail: Jail) -> None:
    """A pickle that is called `.npy`, which NumPy would offer to load, is refused by its first bytes."""
    (jail.root / "x.npy").write_bytes(pickle.dumps(Evil(jail.root / "touched")))
    with refused("file.magic_mismatch", "x.npy"):
        jail.read("x.npy")
    with zipfile.ZipFile(jail.root / "x.npz", "w") as archive:
        archive.writestr("a.npy", pickle.dumps(Evil(jail.root / "touched")))
        archive.writestr("b.npy", b"")
    with refused("file.not_an_image", "x.npz!/a"):
        jail.read("x.npz!/a")
    with refused("file.empty", "x.npz!/b"):
        jail.read("x.npz!/b")
    assert not (jail.root / "touched").exists()


SOUND = npy(GRAY)


@pytest.mark.parametrize(("data", "code"), [
    (SOUND[:-1], "arrays.truncated"), (SOUND[:130], "arrays.truncated"), (SOUND + b"\0", "arrays.trailing"),
    (SOUND + SOUND, "arrays.trailing"), (SOUND[:100], "arrays.header"), (SOUND[:7], "arrays.header"),
    (header("(1000000, 1000000, 1000000, 3)"), "arrays.truncated"), (header("(-5, 6, 9)"), "arrays.header"),
    (header("(5, 6, -9)", order="True"), "arrays.header"), (header("(5, 6, 9)", version=2) + bytes(270), None),
    (header("(5, 6, 9)", version=3) + bytes(270), "arrays.header"), (header("5") + bytes(270), "arrays.header"),
    (header("(5, 6, 9L)") + bytes(270), None), (header("(True, 2, 3)") + bytes(6), None),
    (header("(5, 6, 9)", "[('a', 'O')]") + bytes(270), "arrays.object"),
    (header("(5, 6, 9)", "'|O'") + bytes(270), "arrays.object"), (header("()") + bytes(1), "arrays.shape"),
    (header("(2**70,)") + bytes(1), "arrays.header"), (header("(1180591620717411303424, 2, 3)"), "arrays.truncated"),
    (header("(5, 6, 9)", "'|u1', " + "'x': " + "(" * 3000) + bytes(270), "arrays.header"),
    (header("(5, 6, __import__('os').system('true'))") + bytes(270), "arrays.header"),
    (header("(5, 6, 9)", "'|u1'" + " " * 20000) + bytes(270), "arrays.header"),
    (header("(2000000, 1, 1)") + bytes(2000000), "arrays.too_large"),
])  # fmt: skip
def test_headers_that_lie(data: bytes, code: str | None) -> None:
    """Sizes the file does not have, code, nesting and unknown versions are refused; old Python 2 headers are read."""
    if code is None:
        opened(data)
        return
    with refused(code, "x.npy"):
        opened(data)


@settings(max_examples=150, deadline=None)
@given(at=st.integers(0, 127), value=st.integers(0, 255), cut=st.integers(0, len(SOUND)))
@example(at=8, value=255, cut=len(SOUND))
def test_any_damage_gives_an_array_or_a_reason(at: int, value: int, cut: int) -> None:
    """A byte of the header changed and the file cut: an array, or a refusal; no other error, no warning."""
    damaged = bytearray(SOUND)
    damaged[at] = value
    try:
        file = opened(bytes(damaged[:cut]))
        file.plane(0)
    except RefusedError as error:
        assert error.code.startswith("arrays.")  # noqa: PT017


def test_masks_are_one_channel_of_one_plane(jail: Jail) -> None:
    """Integers, floats that are whole and bool give their numbers, channel by channel."""
    for dtype in (np.float64, np.int64, np.uint16, ">i4"):
        file = opened(npy(MASKS.astype(dtype)))
        for index, channel in ((0, 0), (4, 5), (2, 3)):
            labels = file.labels(index, channel)
            assert labels.dtype == np.int32
            np.testing.assert_array_equal(labels, MASKS[index, :, :, channel])
    np.testing.assert_array_equal(opened(npy(GRAY > 9)).labels(1), GRAY[1] > 9)
    np.testing.assert_array_equal(opened(npy(GRAY)).labels(1, 0), GRAY[1])
    for channel in (None, 6):
        with refused("arrays.channel", "x.npy", "6 channels"):
            opened(npy(MASKS)).labels(0, channel)
    for values in (MASKS + 0.5, MASKS + 2.0**31, MASKS.astype(np.uint64) + 2**40, MASKS * np.nan):
        with refused("arrays.values", "x.npy"):
            opened(npy(values)).labels(0, 0)


def test_areas_are_counted_for_every_plane(jail: Jail) -> None:
    """Each number of each plane has its pixels, large and negative numbers too."""
    for masks in (MASKS, MASKS * 100_000, -MASKS):
        file = opened(npy(masks))
        for channel in range(6):
            areas = file.label_areas(channel)
            for index in range(5):
                values, pixels = np.unique(masks[index, :, :, channel], return_counts=True)
                assert areas[index] == dict(zip(values.tolist(), pixels.tolist(), strict=True))


def test_members_are_listed_by_their_headers(jail: Jail, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names, shapes and types are known without unpacking anything but headers."""
    np.savez_compressed(jail.root / "x.npz", train_images=RGB, train_labels=np.arange(5), **{"a.b/c": GRAY})
    monkeypatch.setattr(safe.Jail, "read_bytes", None)
    found = array_members(jail, "x.npz")
    assert {name: (one.shape, one.dtype) for name, one in found.items()} == {
        "train_images": ((5, 6, 9, 3), np.uint8), "train_labels": ((5,), np.int64), "a.b/c": ((5, 6, 9), np.uint8),
    }  # fmt: skip
    (jail.root / "y.npy").write_bytes(npy(MASKS.astype(np.float64)))
    assert array_members(jail, "y.npy")[""].shape == MASKS.shape


@pytest.mark.parametrize(("values", "expected"), [
    (np.arange(5), np.arange(5)), (np.arange(10).reshape(5, 2).astype(">i2"), np.arange(10).reshape(5, 2)),
    (np.array(["Breast", "Colon", "Bile-duct"]), np.array(["Breast", "Colon", "Bile-duct"])),
    (np.array([0.0, 1.0, 14.0]), np.array([0, 1, 14])), (np.array([True, False]), np.array([True, False])),
    (np.zeros((0, 2), np.int64), np.zeros((0, 2))),
    (np.asfortranarray(np.arange(6).reshape(2, 3)), [[0, 1, 2], [3, 4, 5]]),
])  # fmt: skip
@pytest.mark.parametrize("place", ["x.npy", "x.npz"])
def test_labels_are_read_whole(jail: Jail, place: str, values: NDArray[Any], expected: Any) -> None:
    """Integers of any order, text, flags and whole floats come out as they were saved."""
    found = small_array(jail, put(jail, place, values))
    np.testing.assert_array_equal(found, expected)
    assert found.dtype.kind in "biU"


def test_labels_that_are_none(jail: Jail, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fractions, bytes, dates and more than labels can need are refused by their address."""
    for values, code in ((np.array([0.5]), "arrays.values"), (np.array([b"x"]), "arrays.dtype"),
                         (np.array(["2020-01-01"], "M8[D]"), "arrays.dtype")):  # fmt: skip
        with refused(code, "x.npy"):
            small_array(jail, put(jail, "x.npy", values))
    monkeypatch.setattr(arrays, "MAX_LABEL_BYTES", 39)
    with refused("arrays.too_large", "x.npz!/train_images"):
        small_array(jail, put(jail, "x.npz", np.arange(5)))
    with refused("file.missing", "labels"):
        small_array(jail, "x.npz!/labels")


def test_damaged_members_are_refused(jail: Jail, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong CRC is seen in memory and on the way to the cache folder; a bomb and a lie are refused by their sizes."""
    address = put(jail, "stored.npz", RGB)
    data = bytearray((jail.root / "stored.npz").read_bytes())
    data[400] ^= 1
    (jail.root / "stored.npz").write_bytes(data)
    for limit in (safe.ARRAY_BYTES, 100):
        monkeypatch.setattr(safe, "ARRAY_BYTES", limit)
        with refused("archive.damaged", "stored.npz"):
            jail.read(address)
    assert [path.suffix for path in (jail.root.parent / "cache").iterdir()] == [".lock"]
    with refused("archive.needs_cache", "x.npz"):
        Jail(jail.root).read(put(jail, "x.npz", RGB))


def test_an_array_in_an_archive_is_unpacked_once(jail: Jail, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading the same member again, as every record does, gives the same bytes without another unpacking."""
    address = put(jail, "x.npz", RGB)
    first = jail.read(address)
    assert jail.read(address) is first
    assert jail.digest(address) == first.sha256
    monkeypatch.setattr(safe, "ARRAY_BYTES", 100)
    mapped = jail.read(address)
    assert mapped.sha256 == first.sha256
    assert mapped.place is not None
    assert mapped.place.read_bytes() == first.data
    time = mapped.place.stat().st_mtime_ns
    assert jail.read(address).place == mapped.place
    assert mapped.place.stat().st_mtime_ns == time


def stack(jail: Jail) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """Write pictures and instance maps as PanNuke has them: float64, a channel a class, the last one background."""
    rng = np.random.default_rng(5)
    pictures = rng.integers(0, 256, (4, 20, 30, 3)).astype(np.uint8)
    masks = np.zeros((4, 20, 30, 3))
    masks[0, 2:5, 2:9, 0], masks[0, 10:15, 2:9, 0], masks[2, 4:9, 20:25, 1] = 3, 700, 1
    masks[..., 2] = masks.max(axis=3) == 0
    for folder in ("Images", "Masks"):
        (jail.root / folder).mkdir()
    np.save(jail.root / "Images" / "images.npy", pictures.astype(np.float64))
    np.save(jail.root / "Masks" / "masks.npy", masks)
    return pictures, masks


def marks(*labels: str) -> tuple[FileMark, ...]:
    """A mark a channel of the stack."""
    return tuple(
        FileMark(path="Masks/masks.npy", mask_kind="instances", label=label, channel=channel)
        for channel, label in enumerate(labels)
    )


def built(jail: Jail, toml: Path, entry: Entry) -> tuple[list[Record], list[Sample]]:
    """Expand an entry and load its records."""
    source = load_source(toml)
    records = Expand(source, jail, Key(b"k" * 16))(entry)
    assert not isinstance(records, Refusal), records
    return records, list(Loader(source, pickle.loads(pickle.dumps(jail)))(records))


def test_from_stacks_to_samples(jail: Jail, source_toml: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stack becomes one sample an image, with the instances of its own plane; the masks are counted once for all."""
    pictures, masks = stack(jail)
    counted: list[str] = []
    real = arrays._whole
    monkeypatch.setattr(arrays, "_whole", lambda *args: (counted.append(args[2]), real(*args))[1])
    mask_array.cache_clear()
    toml = source_toml('[layout]\nkind = "folder_per_class"\n', modality="histopathology")
    records, samples = built(jail, toml, Entry("Images/images.npy", marks=marks("lesion", "polyp")))
    assert sum(what.startswith("Masks") for what in counted) == 4 + 2 * 4  # to count, then to load: planes, marks
    assert [record.index for record in records] == [0, 1, 2, 3]
    assert [record.locator for record in records] == [f"Images/images.npy#page={index}" for index in range(4)]
    assert len({record.id for record in records}) == 4
    for index, sample in enumerate(samples):
        assert sample.rejected is None, sample.rejected
        np.testing.assert_array_equal(sample.pixels, pictures[index])
        found = {one.label: one.instances for one in sample.annotations}
        assert set(found) == {label for at, label in enumerate(("lesion", "polyp")) if masks[index, :, :, at].any()}
        for at, label in enumerate(("lesion", "polyp")):
            if label in found:
                np.testing.assert_array_equal(found[label], masks[index, :, :, at])


def test_planes_without_a_mark_may_be_left_out(jail: Jail, source_toml: Any) -> None:
    """The slice rule sees which planes of a stack have instances."""
    stack(jail)
    toml = source_toml('[layout]\nkind = "folder_per_class"\n[slices]\nkeep = "roi"\n', modality="histopathology")
    records, _ = built(jail, toml, Entry("Images/images.npy", marks=marks("lesion", "polyp")))
    assert [record.index for record in records] == [0, 2]


def test_a_stack_of_masks_must_fit(jail: Jail, source_toml: Any) -> None:
    """Another number of planes, a channel too many and a channel of a picture are refused by the mask's name."""
    stack(jail)
    np.save(jail.root / "Masks" / "few.npy", MASKS)
    np.savez(jail.root / "p.npz", train_images=RGB)
    toml = source_toml('[layout]\nkind = "folder_per_class"\n', modality="histopathology")
    expand = Expand(load_source(toml), jail, Key(b"k" * 16))
    plain = marks("lesion")[0]
    few, too_many, none = plain.with_(path="Masks/few.npy"), plain.with_(channel=3), plain.with_(channel=None)
    for mark, code in ((few, "mask.size_mismatch"), (too_many, "arrays.channel"), (none, "arrays.channel")):
        refusal = expand(Entry("Images/images.npy", marks=(mark,)))
        assert isinstance(refusal, Refusal)
        assert (refusal.code, mark.path in refusal.detail) == (code, True)
    Image.fromarray(GRAY[0]).save(jail.root / "m.png")
    shown = Plane(pixels=GRAY[0])
    with refused("mask.format", "m.png"):
        annotate((plain.with_(path="m.png"),), shown, jail, MaskCache(1 << 20))
    with refused("mask.size_mismatch", "few.npy"):
        annotate((few.with_(index=(1,)),), Plane(pixels=RGB[0, :3]), jail, MaskCache(1 << 20))
    with refused("mask.index", "few.npy"):
        annotate((few.with_(index=(5,)),), shown, jail, MaskCache(1 << 20))
