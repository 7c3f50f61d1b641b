"""Where each file of a plain tar archive lies, found by walking its headers; contents are not read.

Read are the formats of V7, POSIX (ustar and pax) and GNU tar with their long names. Sources: POSIX.1-2017 pax
("Interchange Format"), GNU tar manual ("Basic Tar Format").

**Why** not `tarfile`: it takes a damaged header in the middle for the end of the archive, and a file cut between
two members for a whole one; it holds a kilobyte a member, and the archives of a large release have a million.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from medtrinity25m.errors import RefusedError

BLOCK = 512
MAX_EXTENDED = 1 << 20  # bytes of a long name or of pax fields; a path has at most 4,096
MAX_DIGITS = 22  # of an octal or decimal number below 2^64
_REGULAR = b"0\x007"  # 7 is "contiguous", which nobody treats apart
_NO_DATA = b"123456"  # links, devices, folders and pipes: whatever size they state, no content follows
_KINDS = {
    b"1": "is a hard link", b"2": "is a symbolic link", b"3": "is a device", b"4": "is a device", b"6": "is a pipe",
    b"S": "is a sparse file", b"M": "continues on another volume",
}  # fmt: skip


class Found(NamedTuple):
    """One member: where its content lies, and why it may not be used, if so. `name` is as the archive has it."""

    name: bytes
    offset: int
    size: int
    why: str | None = None


def walk(place: Path, path: str) -> Iterator[Found]:
    """Yield the members of a tar archive that are no folders, in its order; `path` is for messages.

    Raises:
        RefusedError: `archive.damaged` for a wrong checksum, a member that reaches behind the end, a missing end
            mark, or anything but zeros behind it.
    """
    with place.open("rb") as file:
        total = os.fstat(file.fileno()).st_size
        reader = _Reader(file.fileno(), total, path)
        while (found := reader.next()) is not None:
            if found.name:
                yield found
        reader.check_end()


class _Reader:
    """A place in an archive; `os.pread` shares no position with anybody."""

    def __init__(self, handle: int, total: int, path: str) -> None:
        self._handle, self._total, self._path = handle, total, path
        self._at = 0

    def next(self) -> Found | None:
        """Return the next member, one without a name for a folder, or None at the end mark."""
        said: dict[str, bytes] = {}
        while True:
            block = self._read(self._at, BLOCK)
            if block == bytes(BLOCK):
                return None
            size, kind = self._checked(block), block[156:157]
            start = self._at + BLOCK
            if kind not in b"LKxXg":
                return self._member(block, kind, start, size, said)
            if size > MAX_EXTENDED:
                raise self._damaged(f"a name of {size:,} bytes")
            body = self._read(start, size)
            self._at = start + _padded(size)
            if kind == b"L":
                said["path"] = body.partition(b"\0")[0]
            elif kind in b"xX":
                said |= self._fields(body)

    def check_end(self) -> None:
        """See that nothing but zeros follows the end mark: a second archive there would be passed over."""
        while part := os.pread(self._handle, 1 << 20, self._at):
            if part.strip(b"\0"):
                raise self._damaged("something follows the end mark (archives joined by cat?)")
            self._at += len(part)

    def _member(self, block: bytes, kind: bytes, start: int, size: int, said: dict[str, bytes]) -> Found:
        if "size" in said:
            size = self._number(said["size"], 10)
        why = _KINDS.get(kind) or (None if kind in _REGULAR + b"5" else f"is of the unknown kind {kind!r}")
        if kind == b"S":
            start = self._behind_sparse_map(block, start)
        if any(key.startswith("GNU.sparse.") for key in said):
            why = _KINDS[b"S"]
        data = 0 if kind in _NO_DATA else size
        if start + data > self._total:
            raise self._damaged("a member reaches behind the end of the file")
        self._at = start + _padded(data)
        name = said.get("GNU.sparse.name") or said.get("path") or _name(block)
        folder = kind == b"5" or (kind == b"\0" and name.endswith(b"/"))
        return Found(b"" if folder else name or b".", start, data, why)

    def _behind_sparse_map(self, block: bytes, start: int) -> int:
        """Return where the content of an old GNU sparse file starts: behind the blocks of its map."""
        more = block[482]
        while more:
            more = self._read(start, BLOCK)[504]
            start += BLOCK
        return start

    def _checked(self, block: bytes) -> int:
        """Return the size a header states, its checksum being right (some old writers summed signed bytes)."""
        stated, rest = self._number(block[148:156]), block[:148] + block[156:]
        unsigned = sum(rest) + 8 * 32  # the field itself counts as spaces
        if stated != unsigned and stated != unsigned - 256 * sum(byte > 127 for byte in rest):
            raise self._damaged("a wrong checksum")
        return self._number(block[124:136])

    def _number(self, field: bytes, base: int = 8) -> int:
        """Return a number: digits, ended by a space or NUL, or GNU's binary form."""
        if field[:1] == b"\x80":
            return int.from_bytes(field[1:], "big")
        digits = field.partition(b"\0")[0].strip()
        allowed = b"01234567" if base == 8 else b"0123456789"
        if len(digits) > MAX_DIGITS or digits.strip(allowed):  # int() would take signs and underscores
            raise self._damaged(f"{field[:20]!r} in place of a number")
        return int(digits or b"0", base)

    def _fields(self, body: bytes) -> dict[str, bytes]:
        """Return pax fields: records of "length key=value" and a line end."""
        fields: dict[str, bytes] = {}
        while body.strip(b"\0"):
            digits, _, rest = body.partition(b" ")
            length = self._number(digits, 10)
            key, mark, value = rest[: max(0, length - len(digits) - 1)].partition(b"=")
            if not mark or not value.endswith(b"\n") or length > len(body):
                raise self._damaged("pax fields that cannot be read")
            fields[key.decode("utf-8", "backslashreplace")] = value[:-1]
            body = body[length:]
        return fields

    def _read(self, at: int, size: int) -> bytes:
        data = os.pread(self._handle, size, at)
        if len(data) != size:
            raise self._damaged("the file ends early")
        return data

    def _damaged(self, what: str) -> RefusedError:
        why = f"{self._path} as tar: {what}, at byte {self._at:,}; fetch the file again"
        return RefusedError("archive.damaged", why)


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _name(block: bytes) -> bytes:
    """Return the name in a header; only POSIX has a prefix to it, where GNU keeps times."""
    name, prefix = block[:100].partition(b"\0")[0], block[345:500].partition(b"\0")[0]
    return prefix + b"/" + name if prefix and block[257:263] == b"ustar\0" else name
