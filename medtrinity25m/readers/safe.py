"""The one door for files from outside: path jail, magic bytes, size caps, complete decompression.

Out of the door come bytes with their SHA-256 and the format they really have, or a `RefusedError` whose code
starts with `file.` or `archive.`; never a half-read file. A file inside an archive or a table has the address
`container!/member` (see `members`) and is treated like any other.

**Why**

- *The file's name must agree with its content*: a `.png` that holds a DICOM file or a web page is the commonest sign
  of a broken download, and which of the two is meant cannot be known here.
- *Arrays, slides and videos are read in place*: they are larger than a worker's memory. Their SHA-256 is taken once a
  process, again when size, time or inode say that the file is another.
"""

from __future__ import annotations

import hashlib
import os
import stat
import zlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Literal

from isal import isal_zlib

from medtrinity25m.errors import ConfigError, RefusedError
from medtrinity25m.readers import members
from medtrinity25m.readers.container import Container, Members, Recent, Stamp
from medtrinity25m.triplet import Frozen

FileKind = Literal["png", "jpeg", "tiff", "webp", "bmp", "dicom", "nifti", "nifti_gz", "npy", "slide", "video"]
InPlace = Literal["npy", "slide", "video"]

MAX_FILE_BYTES = 4 << 30  # larger than any single-file series or whole-body volume in the public collections
MAX_DECODED_BYTES = 2 << 30  # 1024 x 1024 x 1024 voxels of int16: what one worker may hold
ARRAY_BYTES = 256 << 20  # of an array in an archive, held in memory; a larger one is unpacked to the cache folder
GZIP_MAX_RATIO = 1032  # deflate cannot expand further (RFC 1951: 258 bytes from two bits), so no honest file does
NUMPY = b"\x93NUMPY"
BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)  # bytes of the versions of the header, which is the next field
# the stub of isal calls the class an instance
Damage: type[Exception] = isal_zlib.IsalError  # type: ignore[assignment]
JUNK = ("Thumbs.db", "desktop.ini", ".DS_Store")  # written by desktops into every folder they show

_SUFFIXES: dict[str, FileKind] = {
    ".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".jpe": "jpeg", ".tif": "tiff", ".tiff": "tiff",
    ".webp": "webp", ".bmp": "bmp", ".npy": "npy", ".dcm": "dicom", ".dicom": "dicom",
    ".nii": "nifti", ".nii.gz": "nifti_gz",
}  # fmt: skip
_FOREIGN = {
    b"GIF8": "GIF", b"%PDF": "PDF", b"PK\x03\x04": "ZIP", b"NRRD": "NRRD", b"\x89HDF": "HDF5",
    b"<": "HTML, XML or SVG", b"{": "JSON", b"\x1f\x8b": "gzip (not of a NIfTI volume)", b"ustar": "tar",
}  # fmt: skip


class Blob(Frozen):
    """A file's whole content, its SHA-256 in hex, and the format its first bytes show.

    `place` is where a file lies that is read there; then `data` is empty.
    """

    path: str
    data: bytes
    sha256: str
    kind: FileKind
    place: Path | None = None


class Jail:
    """A folder nothing can be read outside of.

    Args:
        root: the folder a source was unpacked to. It may itself be a link; what it holds may not lead out.
        cache: the folder that compressed tar archives and large members are unpacked to; made when it is needed.
    """

    def __init__(self, root: Path, cache: Path | None = None) -> None:
        self.root = root.resolve()
        self.cache = None if cache is None else cache.absolute()
        if not self.root.is_dir():
            raise ConfigError(f"{root} is not a folder; give the folder the source was unpacked to")

    def files(self) -> list[str]:
        """Return every file below the root as a POSIX path relative to it, sorted; desktop junk left out."""
        return sorted(self._walk(self.root))

    def _walk(self, folder: Path) -> Iterator[str]:
        for entry in os.scandir(folder):
            if _is_junk(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from self._walk(Path(entry.path))
            else:
                yield Path(entry.path).relative_to(self.root).as_posix()

    def members(self, container: str) -> Members:
        """Return what an archive below the root holds, desktop junk left out.

        Raises:
            RefusedError: `archive.damaged`, `archive.unsupported`, `archive.needs_cache`, `archive.too_large`, and
                what `locate` raises.
        """
        found = self._container(container).members()
        return Members(
            tuple(address for address in found.addresses if not _is_junk(address)),
            tuple((address, refusal) for address, refusal in found.refused if not _is_junk(address)),
        )

    def locate(self, path: str) -> Path:
        """Return the real place of a file, of a member the place of its container; refuses what is not there.

        Refused is also what leads outside the root, and what is no regular file.
        """
        inside = members.split(path)
        if inside is None:
            return self._locate(path)
        container = self._container(inside[0])
        container.check(inside[1])
        return container.place

    def read_bytes(self, path: str) -> bytes:
        """Return the whole content of one file or member under the size cap."""
        inside = members.split(path)
        return self._read_file(path) if inside is None else self._container(inside[0]).read(inside[1])

    def read(self, path: str) -> Blob:
        """Return one image file, its format known from its content and confirmed by its name.

        An array (`.npy`, a member of an `.npz`) is read in place if it is a file or larger than `ARRAY_BYTES`.
        """
        return self._array(path) if _is_array(path) else _blob(path, self.read_bytes(path))

    def read_in_place(self, path: str, kind: InPlace) -> Blob:
        """Return a file of any size by its place; of a member, by that of its copy in the cache folder."""
        inside = members.split(path)
        place = self._locate(path) if inside is None else self._container(inside[0]).extract(inside[1])
        try:
            return Blob(path=path, data=b"", sha256=_digest(Stamp.of(place)), kind=kind, place=place)
        except OSError as error:
            raise RefusedError("file.unreadable", f"{path}: {error.strerror}") from None

    def digest(self, path: str) -> str:
        """Return the SHA-256 in hex of a file or member; an array of any size is not held in memory for it."""
        if _is_array(path):
            return self.read(path).sha256
        return hashlib.sha256(self.read_bytes(path)).hexdigest()

    def head(self, path: str, size: int) -> bytes:
        """Return the first bytes of a file or member, at most 4 MiB, with nothing checked."""
        inside = members.split(path)
        if inside is not None:
            return self._container(inside[0]).head(inside[1], size)
        try:
            with self._locate(path).open("rb") as handle:
                return handle.read(size)
        except OSError as error:
            raise RefusedError("file.unreadable", f"{path}: {error.strerror}") from None

    def _container(self, path: str) -> Container:
        return members.open_container(path, self._locate(path), self.cache)

    def _array(self, path: str) -> Blob:
        """Return an array, which must start as one."""
        inside = members.split(path)
        if inside is not None and (container := self._container(inside[0])).size(inside[1]) <= ARRAY_BYTES:
            stamp = Stamp.of(container.place)
            blob = _ARRAYS.get((stamp, path), lambda: _held(path, container.read(inside[1])))
            start = blob.data[:8]
        else:
            blob = self.read_in_place(path, "npy")
            start = b"" if blob.place is None else _start(blob.place)
        if not start.startswith(NUMPY):
            raise RefusedError("file.magic_mismatch", f"{path} is named as an array but holds none; fetch it again")
        return blob

    def _locate(self, path: str) -> Path:
        if "\0" in path or PurePosixPath(path).is_absolute():
            raise RefusedError("file.outside_root", f"{path!r} is not a path relative to the source's folder")
        try:
            real = (self.root / path).resolve()
            if not real.is_relative_to(self.root):
                raise RefusedError("file.outside_root", f"{path} leads outside the source's folder; copy the file in")
            mode = real.stat().st_mode
        except FileNotFoundError:
            raise RefusedError("file.missing", f"{path} does not exist below the source's folder") from None
        except (OSError, RuntimeError) as error:
            raise RefusedError("file.unreadable", f"{path}: {getattr(error, 'strerror', None) or error}") from None
        if not stat.S_ISREG(mode):
            raise RefusedError("file.not_regular", f"{path} is a folder, a link to one, a device or a pipe")
        return real

    def _read_file(self, path: str) -> bytes:
        real = self._locate(path)
        try:
            with real.open("rb") as handle:
                size = os.fstat(handle.fileno()).st_size
                if size > MAX_FILE_BYTES:
                    raise RefusedError("file.too_large", f"{path} has {size:,} bytes; the limit is {MAX_FILE_BYTES:,}")
                data = handle.read(size + 1)
        except OSError as error:
            raise RefusedError("file.unreadable", f"{path}: {error.strerror}") from None
        if len(data) != size:
            raise RefusedError(
                "file.changed", f"{path} changed while it was read; build again when nobody writes to it"
            )
        return data


_ARRAYS: Recent[Blob] = Recent(ARRAY_BYTES)


def _is_array(path: str) -> bool:
    """Say whether a name claims a NumPy array: a file, or a member of an `.npz`."""
    inside = members.split(path)
    return claimed_kind(path) == "npy" or (inside is not None and inside[0].casefold().endswith(".npz"))


def _is_junk(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name in JUNK or name.startswith("._")


def _blob(path: str, data: bytes) -> Blob:
    return Blob(path=path, data=data, sha256=hashlib.sha256(data).hexdigest(), kind=_agreed_kind(path, data))


def _held(path: str, data: bytes) -> tuple[Blob, int]:
    return _blob(path, data), len(data)


def _start(place: Path) -> bytes:
    with place.open("rb") as handle:
        return handle.read(8)


@lru_cache(maxsize=4096)
def _digest(stamp: Stamp) -> str:
    """Return the SHA-256 of a file of any size, once a state and process."""
    with stamp.place.open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    if Stamp.of(stamp.place) != stamp:
        why = f"{stamp.place.name} changed while it was read; build again when nobody writes to it"
        raise RefusedError("file.changed", why)
    return digest


def _agreed_kind(path: str, data: bytes) -> FileKind:
    """Return the format the content shows, or refuse when there is none or the name says another."""
    if not data:
        raise RefusedError("file.empty", f"{path} has no bytes")
    kind = sniff(data)
    claimed = claimed_kind(path)
    if kind is None:
        other = next((name for magic, name in _FOREIGN.items() if data.lstrip()[:8].startswith(magic)), None)
        code = "file.not_an_image" if claimed is None else "file.magic_mismatch"
        holds = f"holds {other}" if other else "holds no known image format"
        raise RefusedError(code, f"{path} {holds}; expected PNG, JPEG, TIFF, WebP, BMP, DICOM or NIfTI")
    if claimed is not None and claimed != kind:
        raise RefusedError(
            "file.magic_mismatch", f"{path} is named as {claimed} but holds {kind}; rename it or fetch it again"
        )
    return kind


def claimed_kind(path: str) -> FileKind | None:
    """Return the format a file's name claims, or None when its suffix claims none."""
    name = path.casefold()
    return next((kind for suffix, kind in _SUFFIXES.items() if name.endswith(suffix)), None)


def sniff(data: bytes) -> FileKind | None:
    """Return the format the first bytes show, or None."""
    if data[128:132] == b"DICM":  # before the others: a preamble may make a DICOM file a TIFF as well (PS3.10 7.1)
        return "dicom"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "tiff"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[:2] == b"BM" and int.from_bytes(data[14:18], "little") in BMP_HEADERS:
        return "bmp"
    if data.startswith(NUMPY):
        return "npy"
    if _bare_dicom(data):
        return "dicom"
    if _nifti_header(data):
        return "nifti"
    if data[:2] == b"\x1f\x8b" and _nifti_header(_gzip_head(data)):
        return "nifti_gz"
    return None


def _bare_dicom(data: bytes) -> bool:
    """Say whether a data set without preamble starts here: group 0002 or 0008 and a plausible first element."""
    if len(data) < 12:
        return False
    little, big = int.from_bytes(data[:2], "little"), int.from_bytes(data[:2], "big")
    element = int.from_bytes(data[2:4], "little" if little in (2, 8) else "big")
    explicit = data[4:6].isalpha() and data[4:6].isupper()
    implicit = int.from_bytes(data[4:8], "little") <= 1024  # first elements of groups 2 and 8 are short
    return (little in (2, 8) or big in (2, 8)) and element <= 0x0100 and (explicit or implicit)


def _nifti_header(data: bytes) -> bool:
    """Say whether a NIfTI-1 or NIfTI-2 single-file header starts here (sizeof_hdr and magic, either order)."""
    size = {int.from_bytes(data[:4], order) for order in ("little", "big")}
    return (348 in size and data[344:348] == b"n+1\0") or (540 in size and data[4:8] == b"n+2\0")


def _gzip_head(data: bytes) -> bytes:
    """Return the first bytes of a gzip stream, or none when it does not start as one."""
    try:
        return zlib.decompressobj(wbits=31).decompress(data[:4096], 1024)
    except zlib.error:
        return b""


def gunzip(data: bytes, path: str, limit: int = MAX_DECODED_BYTES) -> bytes:
    """Return the content of a gzip file, read to its end so that the CRC of RFC 1952 was checked.

    Raises:
        RefusedError: `file.gzip_limit` beyond `limit` bytes, `file.gzip_truncated`, `file.gzip_checksum` for a
            wrong CRC, length or code, `file.gzip_trailing` for bytes after the last member.
    """
    parts: list[bytes] = []
    total, rest = 0, data
    while rest.strip(b"\0"):  # zero padding after the last member is customary on tapes and block devices
        if parts and not rest.startswith(b"\x1f\x8b"):
            raise RefusedError("file.gzip_trailing", f"{path}: {len(rest):,} bytes follow the gzip stream")
        engine = isal_zlib.decompressobj(wbits=31)
        try:
            part = engine.decompress(rest, limit - total + 1)
        except Damage as error:
            reason = f"{path}: the gzip stream is damaged ({error}); fetch the file again"
            raise RefusedError("file.gzip_checksum", reason) from None
        total += len(part)
        if total > limit:
            raise RefusedError("file.gzip_limit", f"{path} unpacks to more than {limit:,} bytes")
        if not engine.eof:
            raise RefusedError("file.gzip_truncated", f"{path}: the gzip stream ends early; fetch the file again")
        parts.append(part)
        rest = engine.unused_data
    return b"".join(parts)
