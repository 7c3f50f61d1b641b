"""The members of zip and tar archives, one after the other, and what is wrong with an archive.

**Why** the end of a tar is looked at: `tarfile` takes a damaged header in the middle for the end and returns as if all
were well. Here everything behind the place where it stopped must be zeros, and there must be some: the end mark.
"""

from __future__ import annotations

import bz2
import io
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from isal import igzip

from medtrinity25m.errors import FetchError
from medtrinity25m.fetch.tools import missing_package

Member = tuple[str, IO[bytes]]
SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2", ".tar.zst", ".tzst")
PACKED = (".rar", ".7z", ".z01", ".001")  # archives, or parts of some, that nothing here can open
MAX_HEADER_BYTES = 1 << 20  # of a tar's long names and extended attributes, which are read into memory whole
_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError)
_LONG = (
    tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE,
)  # fmt: skip


def named_as_archive(name: str) -> bool:
    """Say whether a name is that of an archive. `.npz` and `.docx` are zips as well, and stay what they are."""
    return name.casefold().endswith(SUFFIXES)


def is_zip(archive: Path) -> bool:
    """Say whether the content starts as a zip does; an archive that is none is taken for a tar."""
    with archive.open("rb") as handle:
        return handle.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


@contextmanager
def damage_told(archive: Path) -> Iterator[None]:
    """Turn what the decoders raise for a damaged archive into a `FetchError` naming it."""
    try:
        yield
    except NotImplementedError as error:  # Deflate64, which Windows writes into zips above 2 GB
        raise FetchError(f"{archive.name}: {error}; unpack it with 7-Zip") from None
    except _DAMAGE as error:
        raise FetchError(f"{archive.name} is damaged or ends early: {error}; remove it and fetch again") from None
    except OSError as error:
        if error.errno is not None:  # the disk; gzip and bzip2 raise bare OSErrors for damage
            raise
        raise FetchError(f"{archive.name} is damaged or ends early: {error}; remove it and fetch again") from None


def zip_members(archive: Path, left_out: list[str], at: Callable[[int], None]) -> Iterator[Member]:
    """Yield (name, stream) of every file; the stream checks the CRC at its end.

    Args:
        archive: a zip.
        left_out: names of links and devices are appended to it.
        at: is told how many packed bytes are behind us.
    """
    with zipfile.ZipFile(archive) as container:
        behind = 0
        for info in container.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if info.flag_bits & 1:
                raise FetchError(f"{archive.name} is locked with a password; unpack it by hand")
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                left_out.append(info.filename)
            elif not info.is_dir():
                with container.open(info) as stream:
                    yield info.filename, stream
            behind += info.compress_size
            at(behind)


def zip_sizes(archive: Path) -> tuple[int, int]:
    """Return (files, bytes when unpacked) as the archive declares them."""
    with zipfile.ZipFile(archive) as container:
        return len(container.infolist()), sum(info.file_size for info in container.infolist())


def tar_members(archive: Path, left_out: list[str], at: Callable[[int], None]) -> Iterator[Member]:
    """Yield (name, stream) of every file of a tar, plain or packed with gzip, xz, bzip2 or zstd; see `zip_members`."""
    with archive.open("rb") as packed, _unpacked(archive, packed) as plain:
        watched = _Watched(plain)
        with tarfile.open(fileobj=watched, mode="r|", tarinfo=_Header) as container:
            for member in container:
                stream = container.extractfile(member) if member.isreg() else None
                if stream is not None:
                    yield member.name, stream
                elif not member.isdir():
                    left_out.append(member.name)
                container.members.clear()  # type: ignore[attr-defined]  # a million headers are a gigabyte
                at(packed.tell())
        while watched.read(1 << 20):
            continue
        if watched.content > container.offset or watched.length <= container.offset:
            raise tarfile.ReadError(f"no member and no end mark at byte {container.offset:,}")


class _Header(tarfile.TarInfo):
    """A header whose extension is not larger than names and attributes are."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Header:
        header = super().frombuf(buf, encoding, errors)
        if header.type in _LONG and header.size > MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {header.size:,} bytes")
        return header


class _Watched(io.RawIOBase):
    """A stream that remembers how long it was and where its last byte other than zero ended."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__()
        self.stream = stream
        self.length = 0
        self.content = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self.stream.read(size)
        if held := len(data.rstrip(b"\0")):
            self.content = self.length + held
        self.length += len(data)
        return data


def _unpacked(archive: Path, packed: IO[bytes]) -> Any:
    """Return the stream without its compression."""
    magic = packed.read(6)
    packed.seek(0)
    if magic.startswith(b"\x1f\x8b"):
        return igzip.IGzipFile(fileobj=packed, mode="rb")  # type: ignore[no-untyped-call]
    if magic.startswith(b"\xfd7zXZ\x00"):
        return lzma.LZMAFile(packed)
    if magic.startswith(b"BZh"):
        return bz2.BZ2File(packed)
    if magic.startswith(b"\x28\xb5\x2f\xfd"):
        return _zstd(archive, packed)
    return packed


def _zstd(archive: Path, packed: IO[bytes]) -> Any:
    try:
        import zstandard
    except ImportError:
        raise missing_package("zstandard", f"{archive.name} is packed with Zstandard and") from None
    return zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True, closefd=False)
