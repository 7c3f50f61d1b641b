"""The one door: nothing outside the root is read, nothing is taken for what it is not, no half file gets in."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import struct
import time
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from medtrinity25m.errors import ConfigError, RefusedError
from medtrinity25m.readers import safe
from medtrinity25m.readers.safe import Jail, gunzip, sniff


def image_bytes(form: str) -> bytes:
    """A small picture in one of Pillow's formats."""
    buffer = io.BytesIO()
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(buffer, form)
    return buffer.getvalue()


def nifti_header(order: str = "<", version: int = 1) -> bytes:
    """The fields of a NIfTI header that tell the format, nothing else filled in."""
    if version == 1:
        return struct.pack(order + "i", 348) + bytes(340) + b"n+1\0"
    return struct.pack(order + "i", 540) + b"n+2\0\r\n\x1a\n" + bytes(528)


EXPLICIT = b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100"
IMPLICIT = b"\x08\x00\x05\x00\x0a\x00\x00\x00ISO_IR 100"
KNOWN: dict[str, bytes] = {
    "png": image_bytes("PNG"),
    "jpeg": image_bytes("JPEG"),
    "tiff": image_bytes("TIFF"),
    "webp": image_bytes("WEBP"),
    "bmp": image_bytes("BMP"),
    "dicom": bytes(128) + b"DICM" + EXPLICIT,
    "nifti": nifti_header(),
    "nifti_gz": gzip.compress(nifti_header(), mtime=0),
}
VARIANTS = [
    ("dicom", EXPLICIT),
    ("dicom", IMPLICIT),
    ("dicom", b"\x7fELF" + bytes(124) + b"DICM" + EXPLICIT),
    ("nifti", nifti_header(">")),
    ("nifti", nifti_header(version=2)),
    ("nifti", nifti_header(">", version=2)),
    ("nifti_gz", gzip.compress(nifti_header(version=2), mtime=0)),
    ("tiff", b"MM\0*\0\0\0\x08"),
    ("tiff", b"II+\0\x08\0\0\0"),
]
FOREIGN = {
    "GIF": b"GIF89a" + bytes(20),
    "PDF": b"%PDF-1.7\n",
    "ZIP": b"PK\x03\x04" + bytes(30),
    "HTML, XML or SVG": b"\n <!doctype html><title>404</title>",
    "JSON": b'{"error": "not found"}',
    "NRRD": b"NRRD0004\n",
    "HDF5": b"\x89HDF\r\n\x1a\n",
}


@pytest.fixture
def jail(tmp_path: Path) -> Jail:
    """A folder with a picture, beside another folder it may not lead to."""
    root = tmp_path / "root"
    (root / "deep" / "er").mkdir(parents=True)
    (root / "a.png").write_bytes(KNOWN["png"])
    (root / "deep" / "er" / "b.png").write_bytes(KNOWN["png"])
    (tmp_path / "root-not").mkdir()
    (tmp_path / "root-not" / "secret.png").write_bytes(KNOWN["png"])
    return Jail(root)


def refused(code: str) -> pytest.RaisesExc[RefusedError]:
    """Expect a refusal with exactly this code."""
    return pytest.RaisesExc(RefusedError, check=lambda error: error.code == code)


def test_a_file_inside_is_read_whole(jail: Jail) -> None:
    """A relative path gives the bytes, their SHA-256 and the format."""
    blob = jail.read("deep/er/b.png")
    assert (blob.data, blob.kind, blob.path) == (KNOWN["png"], "png", "deep/er/b.png")
    assert blob.sha256 == hashlib.sha256(KNOWN["png"]).hexdigest()


@pytest.mark.parametrize("path", [
    "../root-not/secret.png", "deep/../../root-not/secret.png", "/etc/passwd", "a.png\0.jpg", "..", "deep/../..",
])  # fmt: skip
def test_nothing_outside_the_root_is_opened(jail: Jail, path: str) -> None:
    """A path that climbs out, is absolute or holds NUL is refused before anything is opened."""
    with refused("file.outside_root"):
        jail.read(path)


def test_links_may_not_lead_out(jail: Jail) -> None:
    """Links to a file, a folder or a chain that ends outside are refused; links within the root are followed."""
    outside = jail.root.parent / "root-not"
    (jail.root / "file.png").symlink_to(outside / "secret.png")
    (jail.root / "folder").symlink_to(outside)
    (jail.root / "chain.png").symlink_to(jail.root / "file.png")
    (jail.root / "inside.png").symlink_to("deep/er/b.png")
    for path in ("file.png", "folder/secret.png", "chain.png"):
        with refused("file.outside_root"):
            jail.read(path)
    assert jail.read("inside.png").data == KNOWN["png"]


def test_the_root_itself_may_be_a_link(jail: Jail) -> None:
    """A source folder given by a link is that folder."""
    link = jail.root.parent / "link"
    link.symlink_to(jail.root)
    assert Jail(link).read("a.png").data == KNOWN["png"]


def test_a_root_that_is_no_folder_is_a_mistake_in_the_config(jail: Jail) -> None:
    """A missing folder, or a file in its place, is named at once."""
    for path in (jail.root / "none", jail.root / "a.png"):
        with pytest.raises(ConfigError, match="is not a folder"):
            Jail(path)


def test_only_regular_files_are_read(jail: Jail) -> None:
    """A folder, a pipe, a loop of links and a missing file each have their reason, and none blocks."""
    os.mkfifo(jail.root / "pipe.png")
    (jail.root / "loop.png").symlink_to("loop.png")
    for path, code in (("deep", "file.not_regular"), ("pipe.png", "file.not_regular"), ("none.png", "file.missing"),
                       ("loop.png", "file.unreadable"), ("a.png/b.png", "file.unreadable")):  # fmt: skip
        with refused(code):
            jail.read(path)


def test_names_no_file_system_takes(jail: Jail) -> None:
    """A name of a megabyte, or one that is no valid Unicode, is refused like any other bad path."""
    for path in ("x" * (1 << 20), "\udcff.png"):
        with pytest.raises(RefusedError):
            jail.read(path)


def test_the_listing_is_sorted_and_without_junk(jail: Jail) -> None:
    """All files are listed by POSIX path in one order, desktop junk is not, and linked folders are not entered."""
    for name in ("Thumbs.db", ".DS_Store", "._a.png", "deep/desktop.ini", "deep/z.png"):
        (jail.root / name).write_bytes(b"x")
    (jail.root / "folder").symlink_to(jail.root.parent / "root-not")
    assert jail.files() == ["a.png", "deep/er/b.png", "deep/z.png", "folder"]


def test_a_file_above_the_cap_is_not_read(jail: Jail) -> None:
    """A sparse file larger than the cap is refused by its size, in no time and no memory."""
    with (jail.root / "huge.png").open("wb") as handle:
        handle.truncate(safe.MAX_FILE_BYTES + 1)
    start = time.perf_counter()
    with refused("file.too_large"):
        jail.read("huge.png")
    assert time.perf_counter() - start < 0.5


@pytest.mark.parametrize(("kind", "data"), [*KNOWN.items(), *VARIANTS])
def test_the_content_tells_the_format(kind: str, data: bytes) -> None:
    """Each format is known from its first bytes: both byte orders, both versions, with and without preamble."""
    assert sniff(data) == kind


@pytest.mark.parametrize(
    "data", [b"", b"\x00", b"plain text, no image at all", b"BMW is a car, not a bitmap", *FOREIGN.values()]
)
def test_other_content_is_none_of_them(data: bytes) -> None:
    """What is no image of the eight formats is not taken for one."""
    assert sniff(data) is None


@given(st.binary(max_size=700))
@example(b"\x1f\x8b")
@example(b"\x1f\x8b\x08" + bytes(600))
def test_any_bytes_can_be_sniffed(data: bytes) -> None:
    """No bytes make the look at them fail."""
    assert sniff(data) in {None, *KNOWN}


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tiff", ".webp", ".bmp", ".dcm", ".nii", ".nii.gz"])
@pytest.mark.parametrize("kind", KNOWN)
def test_name_and_content_must_agree(jail: Jail, suffix: str, kind: str) -> None:
    """A file is read under a suffix of its own format and refused under any other."""
    (jail.root / f"x{suffix}").write_bytes(KNOWN[kind])
    if safe.claimed_kind(f"x{suffix}") == kind:
        assert jail.read(f"x{suffix}").kind == kind
        return
    with pytest.raises(RefusedError, match="is named as") as caught:
        jail.read(f"x{suffix}")
    assert caught.value.code == "file.magic_mismatch"


@pytest.mark.parametrize("name", ["IM0001", "1.2.840.113619", "scan.ima", "X.PNG"])
def test_names_that_claim_nothing_and_capitals(jail: Jail, name: str) -> None:
    """A file without a known suffix is what its content is; capitals in a suffix do not matter."""
    data = KNOWN["png"] if name == "X.PNG" else KNOWN["dicom"]
    (jail.root / name).write_bytes(data)
    assert jail.read(name).kind == ("png" if name == "X.PNG" else "dicom")


@pytest.mark.parametrize(("holds", "data"), FOREIGN.items())
def test_the_refusal_says_what_was_found(jail: Jail, holds: str, data: bytes) -> None:
    """A web page, JSON or another format in place of an image is named; with an image's suffix as a mismatch."""
    for name, code in (("x.png", "file.magic_mismatch"), ("notes.txt", "file.not_an_image")):
        (jail.root / name).write_bytes(data)
        with pytest.raises(RefusedError, match=f"holds {holds}") as caught:
            jail.read(name)
        assert caught.value.code == code


def test_an_empty_file_is_empty(jail: Jail) -> None:
    """A file of no bytes, the commonest trace of a full disk, has its own reason."""
    (jail.root / "x.png").write_bytes(b"")
    with refused("file.empty"):
        jail.read("x.png")


CONTENT = np.random.default_rng(0).integers(0, 8, 6000).astype(np.uint8).tobytes()
PACKED = gzip.compress(CONTENT, mtime=0)


def flipped(bit: int) -> bytes:
    """The packed content with one bit turned over."""
    damaged = bytearray(PACKED)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def code_of(data: bytes) -> str | None:
    """The code a gzip file is refused with, or None when its content came back unchanged."""
    try:
        content = gunzip(data, "x")
    except RefusedError as error:
        return error.code
    assert content == CONTENT
    return None


def test_gzip_comes_back_whole() -> None:
    """One member, several members and customary zero padding unpack to the joined content."""
    assert gunzip(PACKED, "x") == CONTENT
    assert gunzip(PACKED + PACKED, "x") == CONTENT + CONTENT
    assert gunzip(PACKED + bytes(512), "x") == CONTENT


def test_no_flipped_bit_is_silent() -> None:
    """Of 400 files with one bit flipped anywhere, none unpacks to other content (and header bits may not matter)."""
    refusals = [code_of(flipped(bit)) for bit in np.random.default_rng(3).choice(len(PACKED) * 8, 400, replace=False)]
    assert {code for code in refusals if code} <= {"file.gzip_checksum", "file.gzip_truncated", "file.gzip_trailing"}
    assert refusals.count(None) <= 5  # time, level and system stand in the header, which no checksum covers


def test_no_truncation_is_silent() -> None:
    """Cut at any byte, a gzip file is refused: truncated, and damaged where the cut falls into a code."""
    for end in {*range(1, 40), *range(40, len(PACKED), 37), *range(len(PACKED) - 12, len(PACKED))}:
        with pytest.raises(RefusedError) as caught:
            gunzip(PACKED[:end], "x")
        assert caught.value.code == "file.gzip_truncated", end


def test_a_cut_second_member_is_refused() -> None:
    """A file whose last member ends early is not taken for the first member alone."""
    with refused("file.gzip_truncated"):
        gunzip(PACKED + PACKED[:-5], "x")


def test_what_follows_gzip_is_refused() -> None:
    """Bytes after the last member that are neither a member nor padding are not passed over."""
    with refused("file.gzip_trailing"):
        gunzip(PACKED + b"and more", "x")


@pytest.mark.parametrize("data", [b"not gzip at all", b"\x1f\x8b\x07" + bytes(30), zlib.compress(CONTENT)])
def test_what_is_no_gzip_is_refused(data: bytes) -> None:
    """Content that is not gzip, or not deflated, is refused as damaged."""
    with refused("file.gzip_checksum"):
        gunzip(data, "x")


def test_a_wrong_length_field_is_refused() -> None:
    """ISIZE that does not fit the content is refused even where the CRC does fit."""
    with refused("file.gzip_checksum"):
        gunzip(PACKED[:-4] + struct.pack("<I", len(CONTENT) + 1), "x")


def test_the_limit_holds_exactly() -> None:
    """Content of the limit's size is read; one byte more is refused, in one member or in two."""
    assert gunzip(PACKED, "x", limit=len(CONTENT)) == CONTENT
    with refused("file.gzip_limit"):
        gunzip(PACKED, "x", limit=len(CONTENT) - 1)
    with refused("file.gzip_limit"):
        gunzip(PACKED * 2, "x", limit=2 * len(CONTENT) - 1)


def test_a_bomb_costs_no_more_than_the_limit() -> None:
    """A file that would unpack to 256 MiB is stopped at a limit of 1 MiB, holding a few MiB."""
    bomb = gzip.compress(bytes(64 << 20), 9) * 4
    tracemalloc.start()
    with refused("file.gzip_limit"):
        gunzip(bomb, "x", limit=1 << 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def test_a_file_that_changes_is_noticed(jail: Jail, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that grew between its size and its content is refused, not read in part."""
    real = os.fstat

    def smaller(handle: int) -> os.stat_result:
        found = list(real(handle))
        found[6] -= 10
        return os.stat_result(found)

    monkeypatch.setattr(safe.os, "fstat", smaller)
    with refused("file.changed"):
        jail.read("a.png")


def test_files_of_any_size_are_read_in_place(jail: Jail, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slide or a video is known by its place and its SHA-256; what it is said to be is not doubted here."""
    monkeypatch.setattr(safe, "MAX_FILE_BYTES", 10)
    for kind in ("slide", "video", "npy"):
        blob = jail.read_in_place("deep/er/b.png", kind)  # type: ignore[arg-type]
        assert (blob.path, blob.data, blob.kind) == ("deep/er/b.png", b"", kind)
        assert blob.place == jail.root / "deep" / "er" / "b.png"
        assert blob.sha256 == hashlib.sha256(KNOWN["png"]).hexdigest()
    for path, code in (("../root-not/secret.png", "file.outside_root"), ("none.svs", "file.missing"),
                       ("deep", "file.not_regular")):  # fmt: skip
        with refused(code):
            jail.read_in_place(path, "slide")


def test_a_large_file_is_hashed_once(jail: Jail, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SHA-256 of a file in place is taken once a process, and again when the file is another."""
    hashed: list[int] = []
    real = hashlib.file_digest

    def counted(handle: io.BufferedReader, name: str) -> object:
        hashed.append(handle.fileno())
        return real(handle, name)

    monkeypatch.setattr(safe.hashlib, "file_digest", counted)
    first = jail.read_in_place("a.png", "slide")
    assert jail.read_in_place("a.png", "slide").sha256 == first.sha256
    assert len(hashed) == 1
    (jail.root / "a.png").write_bytes(KNOWN["webp"])
    assert jail.read_in_place("a.png", "slide").sha256 == hashlib.sha256(KNOWN["webp"]).hexdigest()
    assert len(hashed) == 2


def test_a_large_file_that_changes_is_noticed(jail: Jail, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is written to while its SHA-256 is taken is refused."""
    real = hashlib.file_digest

    def slow(handle: io.BufferedReader, name: str) -> object:
        (jail.root / "a.png").write_bytes(b"shorter")
        return real(handle, name)

    monkeypatch.setattr(safe.hashlib, "file_digest", slow)
    with refused("file.changed"):
        jail.read_in_place("a.png", "slide")


def test_a_member_in_place_is_its_copy(jail: Jail) -> None:
    """A slide in an archive is unpacked to the cache folder under its suffix, which readers of slides go by."""
    with zipfile.ZipFile(jail.root / "x.zip", "w") as archive:
        archive.writestr("a/scan.svs", KNOWN["tiff"])
    cache = jail.root.parent / "cache"
    blob = Jail(jail.root, cache).read_in_place("x.zip!/a/scan.svs", "slide")
    assert blob.place is not None
    assert (blob.place.parent, blob.place.suffix) == (cache, ".svs")
    assert blob.place.read_bytes() == KNOWN["tiff"]
    assert blob.sha256 == hashlib.sha256(KNOWN["tiff"]).hexdigest()
    with refused("archive.needs_cache"):
        jail.read_in_place("x.zip!/a/scan.svs", "slide")
