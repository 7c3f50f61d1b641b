"""Zip files, also those that `.npz` files are.

**Why**

- *A size that deflate cannot reach is refused before anything is unpacked*: no code of deflate stands for more than
  258 bytes in two bits, so 1032 to 1 is the most an honest header can promise (RFC 1951).
- *Nothing but stored and deflated members is read*: `zipfile` unpacks what it has read of bzip2 and LZMA at once,
  so that a few kilobytes may take all memory.
"""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from medtrinity25m.errors import RefusedError
from medtrinity25m.readers.container import Container, Members, Stamp, attempt, pieces, settled

MAX_RATIO = 1032


@dataclass(frozen=True)
class ZipArchive(Container):
    """A zip file; of an `.npz`, members are called as NumPy calls them, without `.npy`."""

    def members(self) -> Members:
        """Return the regular files."""
        opened = self._opened()
        refused = ((self.address(name), self.unsafe(name, why)) for name, why in sorted(opened.refused.items()))
        return Members(tuple(self.address(name) for name in sorted(opened.files)), tuple(refused))

    def size(self, member: str) -> int:
        """Return the bytes a member promises to have."""
        return self._find(member)[1].file_size

    def pieces(self, member: str) -> Iterator[bytes]:
        """Yield a member's content; its CRC and its length are right when the end is reached."""
        file, info = self._find(member)
        address, found = self.address(member), 0
        with attempt(address, lambda: file.open(info)) as stream:
            for piece in pieces(stream.read, address):
                found += len(piece)
                yield piece
        if found != info.file_size:
            why = f"{address} holds {found:,} of {info.file_size:,} bytes; fetch the file again"
            raise RefusedError("archive.damaged", why)

    def _find(self, member: str) -> tuple[zipfile.ZipFile, zipfile.ZipInfo]:
        opened, address = self._opened(), self.address(member)
        if member in opened.refused:
            raise self.unsafe(member, opened.refused[member])
        if member not in opened.files:
            raise self.missing(member)
        info = opened.files[member]
        if info.flag_bits & 1:
            raise RefusedError("archive.encrypted", f"{address} is encrypted; unpack it with its password")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            why = f"{address} is packed by method {info.compress_type}; pack the archive anew with deflate"
            raise RefusedError("archive.unsupported", why)
        if info.compress_type == zipfile.ZIP_DEFLATED and info.file_size > info.compress_size * MAX_RATIO:
            why = f"{address} promises {info.file_size:,} bytes, which its {info.compress_size:,} cannot hold"
            raise RefusedError("archive.damaged", f"{why}; fetch the file again")
        return opened.file, info

    def _opened(self) -> _Opened:
        return _open(Stamp.of(self.place), self.path)


@dataclass(frozen=True)
class _Opened:
    file: zipfile.ZipFile
    files: dict[str, zipfile.ZipInfo]
    refused: dict[str, str]


@lru_cache(maxsize=8)
def _open(stamp: Stamp, path: str) -> _Opened:
    file = attempt(path, lambda: zipfile.ZipFile(stamp.place))
    array = path.casefold().endswith(".npz")
    return _Opened(file, *settled(_listed(file, array)))


def _listed(file: zipfile.ZipFile, array: bool) -> Iterator[tuple[str, str | None, zipfile.ZipInfo]]:
    for info in file.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)  # zero where the file was packed on Windows
        if not info.is_dir() and kind != stat.S_IFDIR:
            name = info.filename.removesuffix(".npy") if array else info.filename
            yield name, None if kind in (0, stat.S_IFREG) else "is a link or a device", info
