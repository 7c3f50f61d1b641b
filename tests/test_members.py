"""Files in archives and tables are files like any other: same bytes, same checks; what is hostile has a reason."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import multiprocessing
import os
import pickle
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xxhash
from PIL import Image

from medtrinity25m.errors import DiskError, RefusedError
from medtrinity25m.readers import container, parquet_rows, spool, tar_archive
from medtrinity25m.readers.members import split
from medtrinity25m.readers.safe import Jail

RNG = np.random.default_rng(0)
ARCHIVES = ("x.zip", "x.tar", "x.tar.gz", "x.TGZ", "x.tar.zst")


def png(seed: int = 0) -> bytes:
    """A small picture."""
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (9, 7), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


FILES = {"a/b/one.png": png(1), "a/b/two.png": png(2), "ä ö/drei!.png": png(3), "notes.txt": b"nothing to see"}


def tarred(files: dict[str, bytes]) -> bytes:
    """A plain tar archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def packed(name: str, files: dict[str, bytes]) -> bytes:
    """An archive in the format its name says."""
    if name.endswith(".zip"):
        return zipped(files)
    data = tarred(files)
    if name.endswith(".zst"):
        return bytes(pa.compress(data, codec="zstd", asbytes=True))
    return data if name.endswith(".tar") else gzip.compress(data, mtime=0)


@pytest.fixture
def jail(tmp_path: Path) -> Jail:
    """An empty source folder, with a cache folder beside it that is not there yet."""
    (tmp_path / "root").mkdir()
    return Jail(tmp_path / "root", tmp_path / "cache")


def refused(code: str, *words: str) -> pytest.RaisesExc[RefusedError]:
    """Expect a refusal with exactly this code, that names these words."""
    return pytest.RaisesExc(
        RefusedError, check=lambda error: error.code == code and all(word in error.detail for word in words)
    )


@pytest.mark.parametrize(("address", "parts"), [
    ("25M/shard_8.tar.zst!/a/b/img.jpg", ("25M/shard_8.tar.zst", "a/b/img.jpg")),
    ("images.ZIP!/x/0001.png", ("images.ZIP", "x/0001.png")),
    ("data/t-0.parquet!/image/1234", ("data/t-0.parquet", "image/1234")),
    ("p.npz!/train_images", ("p.npz", "train_images")),
    ("x.zip!/y.zip!/z.png", ("x.zip", "y.zip!/z.png")),
    ("wow!/x.png", None), ("x.zip", None), ("x.zip!/", None), ("x.7z!/a", None), (".zip!/a", None),
])  # fmt: skip
def test_addresses(address: str, parts: tuple[str, str] | None) -> None:
    """The first container in an address is the one; a folder whose name ends in an exclamation mark is none."""
    assert split(address) == parts


@pytest.mark.parametrize("name", ARCHIVES)
def test_members_are_files(jail: Jail, name: str) -> None:
    """Every archive lists its files in order and gives each one's bytes, hash and format, whatever its script."""
    (jail.root / name).write_bytes(packed(name, FILES))
    held = jail.members(name)
    assert held.addresses == tuple(sorted(f"{name}!/{member}" for member in FILES))
    assert held.refused == ()
    for member, data in FILES.items():
        address = f"{name}!/{member}"
        assert jail.read_bytes(address) == data
        assert jail.locate(address) == jail.root / name
        assert jail.digest(address) == hashlib.sha256(data).hexdigest()
        assert jail.head(address, 5) == data[:5]
    blob = jail.read(f"{name}!/a/b/one.png")
    assert (blob.kind, blob.data, blob.place) == ("png", FILES["a/b/one.png"], None)
    assert blob.sha256 == hashlib.sha256(FILES["a/b/one.png"]).hexdigest()


@pytest.mark.parametrize("name", ARCHIVES)
def test_members_are_judged_like_files(jail: Jail, name: str) -> None:
    """A member of another content than its name says, an empty one and one that is not there are refused as ever."""
    files = {"web.png": b"<!doctype html>", "jpeg.png": b"\xff\xd8\xff\xe0", "empty.png": b"", "b": b"text"}
    (jail.root / name).write_bytes(packed(name, files))
    for member, code in (("web.png", "file.magic_mismatch"), ("jpeg.png", "file.magic_mismatch"),
                         ("empty.png", "file.empty"), ("b", "file.not_an_image"), ("c", "file.missing"),
                         ("web", "file.missing"), ("../b", "file.missing")):  # fmt: skip
        with refused(code, member):
            jail.read(f"{name}!/{member}")
    with refused("file.missing", "c"):
        jail.locate(f"{name}!/c")


def test_the_container_stands_in_the_jail(jail: Jail) -> None:
    """An archive outside the root, by path or link, is not opened; nor is one that is not there, or is a folder."""
    outside = jail.root.parent / "x.zip"
    outside.write_bytes(zipped(FILES))
    (jail.root / "link.zip").symlink_to(outside)
    (jail.root / "folder.zip").mkdir()
    for path, code in (("../x.zip", "file.outside_root"), (str(outside), "file.outside_root"),
                       ("link.zip", "file.outside_root"), ("none.zip", "file.missing"),
                       ("folder.zip", "file.not_regular")):  # fmt: skip
        with refused(code):
            jail.read(f"{path}!/a/b/one.png")
        with refused(code):
            jail.members(path)
    with refused("archive.unsupported", "x.7z"):
        (jail.root / "x.7z").write_bytes(b"7z")
        jail.members("x.7z")


@pytest.mark.parametrize("name", ["x.zip", "x.tar"])
def test_names_that_lead_out_are_refused_by_name(jail: Jail, name: str) -> None:
    """Absolute names and names that climb are not listed but reported, and not read by any spelling."""
    unsafe = ("../evil.png", "/etc/evil.png", "a/../../evil.png", "a/..")
    (jail.root / name).write_bytes(packed(name, dict.fromkeys(unsafe, png()) | {"./a//good.png": png()}))
    held = jail.members(name)
    assert held.addresses == (f"{name}!/a/good.png",)
    assert [address for address, _ in held.refused] == sorted(f"{name}!/{member}" for member in unsafe)
    assert {refusal.code for _, refusal in held.refused} == {"archive.unsafe_member"}
    for member in unsafe:
        with refused("archive.unsafe_member", member):
            jail.read(f"{name}!/{member}")
    assert jail.read(f"{name}!/a/good.png").data == png()


def twice(name: str) -> bytes:
    """An archive with two files of one name, spelled in two ways, and one sound file."""
    if name == "x.tar":
        return tarred({"a.png": png(1), "./a.png": png(2), "b.png": png()})
    return zipped({"a.png": png(1), "./a.png": png(2), "b.png": png()})


@pytest.mark.parametrize("name", ["x.zip", "x.tar"])
def test_a_name_that_occurs_twice_is_nobodys(jail: Jail, name: str) -> None:
    """Of two files of one name neither is taken: which one a reader sees depends on the reader."""
    (jail.root / name).write_bytes(twice(name))
    held = jail.members(name)
    assert held.addresses == (f"{name}!/b.png",)
    assert [address for address, _ in held.refused] == [f"{name}!/a.png"]
    with refused("archive.unsafe_member", "more than once"):
        jail.read(f"{name}!/a.png")


def test_links_and_devices_are_no_files(jail: Jail) -> None:
    """Links and devices in tar and zip are reported, not followed; folders are nothing to report."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE):
            info = tarfile.TarInfo(f"{kind.decode()}.png")
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
    (jail.root / "x.tar").write_bytes(buffer.getvalue())
    held = jail.members("x.tar")
    assert held.addresses == ()
    assert [address for address, _ in held.refused] == [f"x.tar!/{kind}.png" for kind in "1236"]
    with zipfile.ZipFile(jail.root / "x.zip", "w") as archive:
        for mode, name in ((stat.S_IFLNK, "link.png"), (stat.S_IFCHR, "device.png"), (stat.S_IFREG, "file.png")):
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, "/etc/passwd")
        archive.mkdir("folder")
    held = jail.members("x.zip")
    assert held.addresses == ("x.zip!/file.png",)
    assert [address for address, _ in held.refused] == ["x.zip!/device.png", "x.zip!/link.png"]
    with refused("archive.unsafe_member", "link"):
        jail.read("x.zip!/link.png")


def test_names_of_no_script_are_reported_readably(jail: Jail) -> None:
    """A name that is no UTF-8 cannot stand in a table of the release: it is refused under an escaped spelling."""
    (jail.root / "x.tar").write_bytes(tarred({"\udcff\udcfe.png": png()}))
    ((address, refusal),) = jail.members("x.tar").refused
    assert address == r"x.tar!/\udcff\udcfe.png"
    assert refusal.detail.encode()


def test_desktop_junk_is_passed_over(jail: Jail) -> None:
    """What desktops add to archives is neither listed nor reported."""
    junk = ["__MACOSX/._a.png", ".DS_Store", "a/Thumbs.db", "/._evil"]
    (jail.root / "x.zip").write_bytes(zipped(dict.fromkeys(junk, b"x") | {"a.png": png()}))
    held = jail.members("x.zip")
    assert (held.addresses, held.refused) == (("x.zip!/a.png",), ())


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_stored_and_deflated_members_are_read(jail: Jail, method: int) -> None:
    """Both give the bytes, and a flipped bit in either is refused."""
    data = bytearray(zipped({"a.png": png()}, method))
    (jail.root / "x.zip").write_bytes(data)
    assert jail.read("x.zip!/a.png").data == png()
    data[data.index(b"a.png") + 40] ^= 4
    (jail.root / "x.zip").write_bytes(data)
    with refused("archive.damaged", "x.zip"):
        jail.read("x.zip!/a.png")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_not_unpacked(jail: Jail, method: int) -> None:
    """Members whose unpacking nothing bounds are listed, and refused when they are read."""
    (jail.root / "x.zip").write_bytes(zipped({"a.png": bytes(10 << 20)}, method))
    assert jail.members("x.zip").addresses == ("x.zip!/a.png",)
    with refused("archive.unsupported", "x.zip!/a.png"):
        jail.read("x.zip!/a.png")


def central(data: bytes, at: int, form: str, value: int) -> bytes:
    """A zip whose central directory says something else of its first member."""
    start = data.index(b"PK\x01\x02")
    changed = bytearray(data)
    struct.pack_into(form, changed, start + at, value)
    return bytes(changed)


@pytest.mark.parametrize(("data", "code"), [
    (central(zipped({"a.png": png()}), 16, "<I", 1), "archive.damaged"),
    (central(zipped({"a.png": png()}), 24, "<I", 3_000_000_000), "archive.damaged"),
    (central(zipped({"a.png": png()}), 24, "<I", len(png()) + 1), "archive.damaged"),
    (central(zipped({"a.png": png()}), 24, "<I", len(png()) - 1), "archive.damaged"),
    (central(zipped({"a.png": png()}), 42, "<I", 9), "archive.damaged"),
    (central(zipped({"a.png": png()}), 10, "<H", 9), "archive.unsupported"),
    (central(zipped({"a.png": png()}), 8, "<H", 1), "archive.encrypted"),
    (zipped({"a.png": png()})[:-30], "archive.damaged"),
    (zipped({"a.png": png()})[20:], "archive.damaged"),
    (b"", "archive.damaged"), (b"no zip", "archive.damaged"),
])  # fmt: skip
def test_zips_that_lie(jail: Jail, data: bytes, code: str) -> None:
    """Wrong CRC, sizes deflate cannot reach or does not, wrong places, passwords and cut files are refused, named."""
    (jail.root / "x.zip").write_bytes(data)
    with refused(code, "x.zip"):
        jail.read("x.zip!/a.png")


def test_members_above_the_cap(jail: Jail, monkeypatch: pytest.MonkeyPatch) -> None:
    """A member of more bytes than a worker may hold is refused before it is unpacked, in zip and in tar."""
    monkeypatch.setattr(container, "MAX_MEMBER_BYTES", 10)
    for name in ("x.zip", "x.tar", "x.tar.gz"):
        (jail.root / name).write_bytes(packed(name, {"ten": bytes(10), "more": bytes(11)}))
        assert jail.read_bytes(f"{name}!/ten") == bytes(10)
        with refused("archive.too_large", "more"):
            jail.read_bytes(f"{name}!/more")


@pytest.mark.parametrize("name", ["x.tar.gz", "x.tar.zst"])
def test_compressed_tar_is_unpacked_once(jail: Jail, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first reading unpacks to the cache folder, later ones read there; another state of the archive is another."""
    (jail.root / name).write_bytes(packed(name, FILES))
    jail.read(f"{name}!/a/b/one.png")
    copies = sorted(path.name for path in (jail.root.parent / "cache").glob("*.tar"))
    assert len(copies) == 1
    assert copies[0].startswith(f"{name}-")
    with monkeypatch.context() as patch:
        patch.setattr(tar_archive.TarArchive, "_unpack", None)
        assert jail.read(f"{name}!/a/b/two.png").data == FILES["a/b/two.png"]
        assert Jail(jail.root, jail.root.parent / "cache").read(f"{name}!/a/b/two.png").kind == "png"
    (jail.root / name).write_bytes(packed(name, {"new.png": png(9)}))
    assert jail.members(name).addresses == (f"{name}!/new.png",)
    assert jail.read(f"{name}!/new.png").data == png(9)


@pytest.mark.parametrize("name", ["x.tar.gz", "x.tar.zst"])
def test_without_a_cache_folder_compressed_tar_is_refused(jail: Jail, name: str) -> None:
    """The refusal says what is missing; plain tar and zip need no cache folder."""
    bare = Jail(jail.root)
    (jail.root / name).write_bytes(packed(name, FILES))
    for call in (bare.members, lambda path: bare.read(f"{path}!/a/b/one.png")):
        with refused("archive.needs_cache", name, "cache folder"):
            call(name)
    for plain in ("x.tar", "x.zip"):
        (jail.root / plain).write_bytes(packed(plain, FILES))
        assert bare.read(f"{plain}!/a/b/one.png").data == FILES["a/b/one.png"]


def with_checksum(content: bytes, checksum: int) -> bytes:
    """A Zstandard frame of one stored block, with a checksum of the content (RFC 8878 3.1.1)."""
    head = b"\x28\xb5\x2f\xfd" + bytes([0b10100100]) + struct.pack("<I", len(content))
    return head + struct.pack("<I", len(content) << 3 | 1)[:3] + content + struct.pack("<I", checksum)


def test_a_wrong_checksum_of_zstandard_is_seen(jail: Jail) -> None:
    """The checksum the zstd command writes is checked: right it is read, wrong it is refused."""
    content = tarred({"a.png": png()})
    right = xxhash.xxh64(content).intdigest() & 0xFFFFFFFF
    (jail.root / "x.tar.zst").write_bytes(with_checksum(content, right))
    assert jail.read("x.tar.zst!/a.png").data == png()
    (jail.root / "x.tar.zst").write_bytes(with_checksum(content, right ^ 1))
    with refused("archive.damaged", "x.tar.zst"):
        jail.members("x.tar.zst")


GZ = packed("x.tar.gz", FILES)
ZST = packed("x.tar.zst", FILES)


def _said(value: str | bytes) -> str:
    """Name a case by what does not change from one run to the next: archives hold the time they were made."""
    return value if isinstance(value, str) else f"{len(value)} bytes"


@pytest.mark.parametrize(("name", "data"), [
    *((("x.tar.gz", GZ[:end])) for end in (0, 5, 20, len(GZ) // 2, len(GZ) - 8, len(GZ) - 1)),
    *((("x.tar.zst", ZST[:end])) for end in (0, 3, 20, len(ZST) // 2, len(ZST) - 1)),
    ("x.tar.gz", GZ[:-8] + b"\0\0\0\0" + GZ[-4:]), ("x.tar.gz", GZ + b"garbage"), ("x.tar.zst", ZST + b"garbage"),
    ("x.tar.gz", ZST), ("x.tar.zst", GZ), ("x.tar", GZ), ("x.tar.gz", gzip.compress(b"no tar archive at all", mtime=0)),
    ("x.tar.gz", gzip.compress(tarred(FILES)[:1536], mtime=0)), ("x.tar", b""),
], ids=_said)  # fmt: skip
def test_damaged_archives_leave_nothing_behind(jail: Jail, name: str, data: bytes) -> None:
    """Cut short, with a wrong CRC, with more behind, of another kind: refused by name, and no copy stays."""
    (jail.root / name).write_bytes(data)
    for _ in range(2):
        with refused("archive.damaged", name):
            jail.members(name)
    assert not list(jail.root.parent.glob("cache/*.part"))
    assert not list(jail.root.parent.glob("cache/*.index"))


@pytest.mark.parametrize("name", ["x.tar.gz", "x.tar.zst"])
def test_a_bomb_is_stopped(jail: Jail, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive that unpacks to more than its size allows is refused, and what was written is removed."""
    monkeypatch.setattr(tar_archive, "MAX_RATIO", 100)
    monkeypatch.setattr(tar_archive, "SLACK", 0)
    (jail.root / name).write_bytes(packed(name, {"zeros": bytes(32 << 20)}))
    with refused("archive.too_large", name):
        jail.members(name)
    assert not list((jail.root.parent / "cache").glob("*.part"))
    assert not list((jail.root.parent / "cache").glob("*.tar"))


def read_there(root: Path, cache: Path, ready: Any, name: str, replies: Any) -> None:
    """Read an archive in another process, at the same moment as others."""
    jail = Jail(root, cache)
    ready.wait(60)
    replies.put([jail.read(f"{name}!/{member}.png").sha256 for member in range(20)])


def test_processes_may_unpack_at_once(jail: Jail) -> None:
    """Processes that need the same archive at the same time all read it whole, and one copy is left."""
    name, made = "x.tar.zst", {f"{seed}.png": png(seed) for seed in range(20)}
    (jail.root / name).write_bytes(packed(name, made | {"much": RNG.bytes(8 << 20)}))
    context = multiprocessing.get_context("spawn")
    ready, replies = context.Barrier(3), context.SimpleQueue()
    cache = jail.root.parent / "cache"
    workers = [context.Process(target=read_there, args=(jail.root, cache, ready, name, replies)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    expected = [hashlib.sha256(data).hexdigest() for data in made.values()]
    assert [replies.get() for _ in workers] == [expected] * 3
    assert len(list(cache.glob("*.tar"))) == len(list(cache.glob("*.index"))) == 1
    assert not list(cache.glob("*.part"))


def test_without_locks_the_copy_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file system has no locks, a second writer replaces the first one's copy by the same bytes."""

    def no_lock(*_: object) -> None:
        raise OSError("no locks here")

    monkeypatch.setattr(spool.fcntl, "flock", no_lock)
    seen: list[Path] = []

    def write(out: Any) -> None:
        if not seen:
            seen.append(spool.spooled(tmp_path / "cache", "x", 1, ".tar", write_again))
        out.write(b"content")

    def write_again(out: Any) -> None:
        seen.append(tmp_path)
        out.write(b"content")

    place = spool.spooled(tmp_path / "cache", "x", 1, ".tar", write)
    assert seen == [tmp_path, place]
    assert place.read_bytes() == b"content"
    assert not list((tmp_path / "cache").glob("*.part"))


def test_a_full_disk_is_the_disks_fault(jail: Jail, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the cache folder has no room, the run stops with the path, and the archive is not called damaged."""

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (jail.root / "x.tar.gz").write_bytes(GZ)
    with monkeypatch.context() as patch:
        patch.setattr(spool.os, "fsync", full)
        with pytest.raises(DiskError, match=r"No space left on device while x\.tar\.gz was unpacked"):
            jail.members("x.tar.gz")
    cache = jail.root.parent / "cache"
    assert [path.suffix for path in cache.iterdir()] == [".lock"]
    (cache / "file").touch()
    with pytest.raises(DiskError, match="file"):
        Jail(jail.root, cache / "file" / "cache").members("x.tar.gz")


def test_a_copy_that_vanishes_is_made_again(jail: Jail) -> None:
    """Someone may empty the cache folder between two readings."""
    (jail.root / "x.tar.gz").write_bytes(GZ)
    for _ in range(2):
        assert jail.read("x.tar.gz!/a/b/one.png").data == FILES["a/b/one.png"]
        for path in (jail.root.parent / "cache").iterdir():
            path.unlink()


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive_that_changed_is_read_anew(jail: Jail, name: str) -> None:
    """Nothing that is kept open, and no copy, outlives the state of the file it was made from."""
    for seed in range(3):
        (jail.root / name).write_bytes(packed(name, {"a.png": png(seed)}))
        os.utime(jail.root / name, ns=(0, seed))  # two writings within one tick of the clock would look alike
        assert jail.read(f"{name}!/a.png").data == png(seed)


def test_a_jail_travels(jail: Jail) -> None:
    """A jail that has archives open still goes to another process, cache folder and all."""
    for name in ARCHIVES:
        (jail.root / name).write_bytes(packed(name, FILES))
        jail.read(f"{name}!/a/b/one.png")
    there = pickle.loads(pickle.dumps(jail))
    assert (there.root, there.cache) == (jail.root, jail.cache)
    assert len(pickle.dumps(jail)) < 1000


def rows(jail: Jail, name: str = "x.parquet", groups: int = 2, **columns: Any) -> None:
    """Write a Parquet file of given columns."""
    pq.write_table(pa.table(columns), jail.root / name, row_group_size=groups)


def pictures(count: int = 5) -> list[dict[str, object]]:
    """Images as `datasets` writes them."""
    return [{"bytes": png(seed), "path": f"{seed}.png"} for seed in range(count)]


def test_rows_of_a_table_are_files(jail: Jail) -> None:
    """A binary column and a column of {bytes, path} give each row's bytes, whatever row group they are in."""
    plain = pa.array([picture["bytes"] for picture in pictures()], pa.binary())
    rows(jail, image=pictures(), plain=plain, large=plain.cast(pa.large_binary()), label=list(range(5)))
    for row in (4, 0, 3, 1, 2):
        for column in ("image", "plain", "large"):
            blob = jail.read(f"x.parquet!/{column}/{row}")
            assert (blob.data, blob.kind, blob.path) == (png(row), "png", f"x.parquet!/{column}/{row}")
    assert jail.locate("x.parquet!/image/4") == jail.root / "x.parquet"
    assert jail.head("x.parquet!/image/4", 4) == png(4)[:4]


def test_the_name_in_a_table_claims_nothing(jail: Jail) -> None:
    """A row is what its bytes are, even in a column that is called like a file."""
    rows(jail, **{"scan.jpg": [{"bytes": png(), "path": "x.jpg"}]})
    assert jail.read("x.parquet!/scan.jpg/0").kind == "png"


@pytest.mark.parametrize(("member", "code"), [
    ("image/5", "file.missing"), ("image/-1", "file.missing"), ("image/x", "file.missing"), ("image/", "file.missing"),
    ("none/0", "file.missing"), ("0", "file.missing"), ("image/²", "file.missing"),
    ("image/" + "9" * 30, "file.missing"),
    ("label/0", "archive.unsupported"), ("other/0", "archive.unsupported"), ("hollow/0", "archive.no_bytes"),
])  # fmt: skip
def test_rows_that_are_none(jail: Jail, member: str, code: str) -> None:
    """A row or column that is not there, holds no files or is empty, is refused by its address."""
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    hollow = pa.array([{"bytes": None, "path": "x.png"}] * 5, kind)
    rows(jail, image=pictures(), label=list(range(5)), other=[{"path": "x"}] * 5, hollow=hollow)
    with refused(code, "x.parquet"):
        jail.read(f"x.parquet!/{member}")


def test_a_table_is_not_listed(jail: Jail) -> None:
    """Which column holds files is for the layout to say."""
    rows(jail, image=pictures())
    with refused("archive.unsupported", "x.parquet"):
        jail.members("x.parquet")


def test_one_row_group_is_read_and_kept(jail: Jail, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of one group cost one reading; a row of another group another one, and no more."""
    rows(jail, image=pictures())
    read: list[int] = []
    real = parquet_rows.ParquetRows._group

    def counted(self: Any, opened: Any, leaf: str, group: int) -> Any:
        read.append(group)
        return real(self, opened, leaf, group)

    monkeypatch.setattr(parquet_rows.ParquetRows, "_group", counted)
    for row in (0, 1, 0, 2, 3, 1, 4):
        jail.read(f"x.parquet!/image/{row}")
    assert read == [0, 1, 2]


def test_what_is_kept_has_a_limit() -> None:
    """Values beyond the limit push out the ones used longest ago; the last one is kept whatever its size."""
    recent: container.Recent[str] = container.Recent(10)
    made: list[str] = []

    def maker(name: str, size: int) -> Callable[[], tuple[str, int]]:
        return lambda: (made.append(name) or name, size)  # type: ignore[func-returns-value]

    for name, size in (("a", 4), ("b", 4), ("a", 4), ("c", 4), ("a", 4), ("b", 4), ("d", 99), ("d", 99), ("a", 4)):
        assert recent.get(name, maker(name, size)) == name
    assert made == ["a", "b", "c", "b", "d", "a"]


def test_a_flipped_bit_in_a_table_is_seen(jail: Jail) -> None:
    """With page checksums in the file, bytes that changed are refused and not handed on."""
    table = pa.table({"image": pa.array([RNG.bytes(5000)], pa.binary())})
    pq.write_table(table, jail.root / "x.parquet", write_page_checksum=True, use_dictionary=False, compression="none")
    data = bytearray((jail.root / "x.parquet").read_bytes())
    data[2500] ^= 1
    (jail.root / "x.parquet").write_bytes(data)
    with refused("archive.damaged", "x.parquet"):
        jail.read_bytes("x.parquet!/image/0")


def test_no_truncation_of_a_table_is_silent(jail: Jail) -> None:
    """A Parquet file cut anywhere, or that is none, is refused by name."""
    rows(jail, image=pictures())
    data = (jail.root / "x.parquet").read_bytes()
    for cut in (*range(0, len(data), 97), len(data) - 1):
        (jail.root / "x.parquet").write_bytes(data[:cut])
        with refused("archive.damaged", "x.parquet"):
            jail.read("x.parquet!/image/0")


def test_a_table_of_one_repeated_value_is_stopped(jail: Jail, monkeypatch: pytest.MonkeyPatch) -> None:
    """A column that unpacks to more than a worker may hold is refused although its footer states a few kilobytes."""
    repeated = pa.DictionaryArray.from_arrays(pa.array([0] * 2000, pa.int32()), pa.array([bytes(1 << 20)], pa.binary()))
    place = jail.root / "x.parquet"
    pq.write_table(pa.table({"image": repeated}), place, compression="zstd", store_schema=False)
    footer = pq.ParquetFile(place).metadata.row_group(0).column(0)
    assert place.stat().st_size < 2_000
    assert footer.total_uncompressed_size < 1_100_000
    monkeypatch.setattr(parquet_rows, "MAX_MEMBER_BYTES", 64 << 20)
    before = pa.total_allocated_bytes()
    with refused("archive.too_large", "x.parquet"):
        jail.read("x.parquet!/image/0")
    assert pa.default_memory_pool().max_memory() - before < 200 << 20
