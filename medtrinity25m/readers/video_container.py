"""Which container a video file is, and whether all of it is there, by the containers' own lengths.

**Why** before FFmpeg sees the file: it decides by content, so a playlist named `.mp4` would make it open other
files and addresses; and it reads a file that ends early to where it ends, with no word to the caller. A cut file is
refused whole, not read up to the cut: what is missing is at hand where the file came from. Sources: ISO/IEC 14496-12
(boxes), OpenDML 1.02 (RIFF chunks), RFC 8794 (EBML).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from medtrinity25m.errors import RefusedError

MAX_BOXES = 1_000_000  # fragmented files hold two a fragment, so this is days of video; a file of empty boxes ends here
_FIRST_BOXES = (b"ftyp", b"styp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")  # what MP4 and MOV begin with
_EBML, _SEGMENT, _VOID = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67", b"\xec"
_MATRIX = {0: 40, 1: 52}  # offset of the transformation matrix in the body of a tkhd box, by the box's version


def check_container(path: Path) -> None:
    """Refuse a file that is no video, or not there to its end.

    Raises:
        RefusedError: `video.not_a_video`, `video.truncated`, `video.corrupt`, `video.unsupported` (mirrored or
            sheared by its header), `video.unreadable`.
    """
    try:
        with path.open("rb") as handle:
            size = os.fstat(handle.fileno()).st_size
            head = handle.read(12)
            if head[4:8] in _FIRST_BOXES:
                _check_mp4(handle, size)
                return
            if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
                _check_avi(handle, size)
                return
            if head[:4] == _EBML:
                _check_matroska(handle, size)
                return
    except OSError as error:
        raise RefusedError("video.unreadable", f"the file cannot be read: {error.strerror}") from None
    raise RefusedError("video.not_a_video", "the file begins as no MP4, MOV, AVI, MKV or WebM; convert or remove it")


def _truncated(what: str) -> RefusedError:
    return RefusedError("video.truncated", f"{what}; fetch the file again, or repair the recording and copy it anew")


def _boxes(handle: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield type, start and end of the content of each ISO box between two offsets."""
    for _ in range(MAX_BOXES):
        handle.seek(start)
        head = handle.read(min(16, end - start))
        if not head.strip(b"\0") and len(head) < 8:  # padding after the last box
            return
        length, kind, body = int.from_bytes(head[:4], "big"), head[4:8], 8
        if length == 1:
            length, body = int.from_bytes(head[8:16], "big"), 16
        elif length == 0:
            length = end - start
        if len(head) < body or start + length > end:
            raise _truncated(f"box {kind!r} promises {length:,} bytes at byte {start:,}, {end - start:,} are left")
        if length < body:
            raise RefusedError("video.corrupt", f"a box at byte {start:,} says it has {length} bytes")
        yield kind, start + body, start + length
        start += length
        if start == end:
            return
    raise RefusedError("video.corrupt", f"the file has more than {MAX_BOXES:,} boxes")


def _check_mp4(handle: BinaryIO, size: int) -> None:
    boxes = list(_boxes(handle, 0, size))
    movie = next(((start, end) for kind, start, end in boxes if kind == b"moov"), None)
    if movie is None:
        raise _truncated("there is no moov box, which says where the frames lie: the recording was never finished")
    for track, start, end in _boxes(handle, *movie):
        if track == b"trak":
            _check_matrix(handle, start, end)


def _check_matrix(handle: BinaryIO, start: int, end: int) -> None:
    """Refuse a track that is shown mirrored or sheared: OpenCV would turn it by the nearest angle instead."""
    for kind, body, after in _boxes(handle, start, end):
        if kind != b"tkhd":
            continue
        handle.seek(body)
        content = handle.read(min(after - body, 100))
        at = _MATRIX.get(content[0] if content else 0, 52)
        a, b, _, c, d = (int.from_bytes(content[at + 4 * i : at + 4 * i + 4], "big", signed=True) for i in range(5))
        upright, turned = b == c == 0 and a * d >= 0, a == d == 0 and b * c <= 0
        if not (upright or turned):
            why = "the header mirrors or shears the picture; encode it as it is to be seen"
            raise RefusedError("video.unsupported", why)


def _check_avi(handle: BinaryIO, size: int) -> None:
    """Walk the RIFF chunks: one, or several of a GiB each in files of OpenDML; other bytes may follow the last."""
    start = 0
    while start + 12 <= size:
        handle.seek(start)
        head = handle.read(12)
        if head[:4] != b"RIFF" or head[8:12] not in (b"AVI ", b"AVIX"):
            return
        length = int.from_bytes(head[4:8], "little")
        if length < 4 or start + 8 + length > size:
            what = (
                "0, so the recording was never finished" if length < 4 else f"{length:,}, {size - start - 8:,} are left"
            )
            raise _truncated(f"the RIFF chunk at byte {start:,} promises a length of {what}")
        start += 8 + length + length % 2


def _check_matroska(handle: BinaryIO, size: int) -> None:
    """Find the segment and compare its end with the file's; one of unknown length, as live recordings have, passes."""
    start = 0
    while start < size:
        handle.seek(start)
        head = handle.read(12)
        name = _VOID if head[:1] == _VOID else head[:4]
        if name not in (_EBML, _SEGMENT, _VOID):
            raise RefusedError("video.corrupt", f"there is no Matroska element at byte {start:,}")
        width, length = _vint(head[len(name) :])
        end = start + len(name) + width + (length or 0)
        if not width or end > size:
            raise _truncated(f"the file has {size:,} bytes, its elements promise {max(end, size + 1):,}")
        if name == _SEGMENT:
            return
        start = end
    raise _truncated("there is no Segment element, which holds the frames")


def _vint(head: bytes) -> tuple[int, int | None]:
    """Return the width and value of an EBML length; width 0 where there is none, value None where it is unknown."""
    if not head or not head[0]:
        return 0, None
    width = 9 - head[0].bit_length()
    value = int.from_bytes(head[:width], "big") & ((1 << 7 * width) - 1)
    if len(head) < width:
        return 0, None
    return width, None if value == (1 << 7 * width) - 1 else value
