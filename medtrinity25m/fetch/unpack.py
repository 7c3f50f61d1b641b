"""Unpacking an archive that a stranger made: inside one folder, files only, no more than it can honestly hold.

The same call goes on after a kill: a member that stands already is compared with the archive and not written again.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from medtrinity25m.errors import DiskError, FetchError
from medtrinity25m.fetch.archives import damage_told, is_zip, tar_members, zip_members, zip_sizes
from medtrinity25m.fetch.meter import Meter, folder_bytes
from medtrinity25m.fetch.paths import safe_path
from medtrinity25m.release.workspace import PART, disk_errors

CHUNK = 1 << 20


@dataclass(frozen=True)
class Limits:
    """What an archive may hold.

    Deflate cannot expand further than 1032 times (RFC 1951: 258 bytes from two bits); a zip beyond it counts bytes
    twice. Segmentation masks without compression of their own come near 500, so nothing lower would be right.
    """

    ratio: int = 1032
    unpacked_bytes: int = 4 << 40
    members: int = 20_000_000


def unpack(archive: Path, folder: Path, meter: Meter, limits: Limits) -> list[str]:
    """Unpack a zip or tar into a folder on the same file system.

    Returns:
        The names of links, devices and pipes, none of which were made.

    Raises:
        FetchError: the archive is damaged, leads out of the folder, or holds more than the limits allow.
        DiskError: no room.
    """
    left_out: list[str] = []
    packed = archive.stat().st_size
    room = min(limits.unpacked_bytes, packed * limits.ratio)
    writer = _Writer(archive, folder, room, limits.members)
    with disk_errors(folder), damage_told(archive), meter.counting(f"unpacking {archive.name}", packed) as count:
        zipped = is_zip(archive)
        if zipped:
            _check_declared(writer, *zip_sizes(archive))
        for name, stream in (zip_members if zipped else tar_members)(archive, left_out, count.at):
            writer.put(name, stream)
    if not writer.written:
        raise FetchError(f"{archive.name} holds no file")
    return left_out


def _check_declared(writer: _Writer, members: int, unpacked: int) -> None:
    """Refuse a bomb before the first byte of it is written."""
    writer.allow(members, unpacked)
    writer.folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(writer.folder).free
    if unpacked > free and unpacked - folder_bytes(writer.folder) > free:  # what a killed attempt wrote stays
        raise DiskError(f"{writer.archive.name} needs {unpacked:,} bytes and {free:,} are free; make room, then go on")


class _Writer:
    """Puts members into a folder and counts what came."""

    def __init__(self, archive: Path, folder: Path, room: int, members: int) -> None:
        self.archive = archive
        self.folder = folder
        self.room = room
        self.members = members
        self.written = 0
        self._bytes = 0
        self._part = archive.with_name(archive.name + PART)  # never among the members

    def allow(self, members: int, size: int) -> None:
        """Refuse what no honest archive of this size holds."""
        if members > self.members or size > self.room:
            what = f"{members:,} files and {size:,} bytes" if members > self.members else f"{size:,} bytes"
            raise FetchError(f"{self.archive.name} unpacks to {what} or more: a bomb, or one to be unpacked by hand")

    def put(self, name: str, stream: IO[bytes]) -> None:
        """Write one file, or compare it with the one that stands."""
        try:
            target = self.folder / safe_path(name)
        except ValueError as error:
            raise FetchError(f"{self.archive.name}: the member {name!r} {error}; nothing more was unpacked") from None
        self.written += 1
        self.allow(self.written, self._bytes)
        try:
            if target.exists():
                self._compare(target, stream)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                self._write(target, stream)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            raise FetchError(f"{self.archive.name}: {name!r} is a file and a folder") from None

    def _write(self, target: Path, stream: IO[bytes]) -> None:
        with self._part.open("wb") as out:
            while chunk := self._read(stream):
                out.write(chunk)
        self._part.replace(target)

    def _compare(self, target: Path, stream: IO[bytes]) -> None:
        with target.open("rb") as there:
            while chunk := self._read(stream):
                if there.read(len(chunk)) != chunk:
                    break
            else:
                if not there.read(1):
                    return
        why = "an archive before it holds another file of that name, or the power failed; remove the .fetch folder"
        raise FetchError(f"{self.archive.name}: {target} is there already and differs: {why}")

    def _read(self, stream: IO[bytes]) -> bytes:
        data = stream.read(CHUNK)
        self._bytes += len(data)
        self.allow(self.written, self._bytes)
        return data
