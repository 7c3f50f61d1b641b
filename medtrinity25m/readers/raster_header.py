"""What a PNG, JPEG, TIFF, WebP or BMP file claims, checked against its bytes before any pixel is decoded.

Walks the file's own structure (chunks, segments, directories) and returns the size of every page. Afterwards
it is known that no page asks for more memory than allowed, that the file reaches its end marker, that every
PNG CRC is right and that TIFF data lies within the file.

**Why** by hand and not by the decoders: Pillow allocates a WebP canvas when it opens the file, reads a PNG whose
rows end early as black without a word, skips the CRC of IDAT, and judges sizes by pixels, so that 81 million
pixels of 16-bit RGBA (648 MB) pass. Sources: W3C PNG third edition, ITU-T T.81, TIFF 6.0 and BigTIFF, RFC 9649.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from isal import isal_zlib

from medtrinity25m.errors import RefusedError
from medtrinity25m.readers.bitmap import read_bitmap
from medtrinity25m.readers.safe import Damage

RasterKind = Literal["png", "jpeg", "tiff", "webp", "bmp"]
Stream = tuple[int, int, tuple[memoryview, ...]]
"""Width, height and compressed parts of one PNG image: the still one, or a frame of an animation."""

MAX_PAGE_BYTES = 512 << 20  # decoded samples of one page; with Pillow's and NumPy's copies still under 2 GiB
MAX_PIXELS = 89_478_485  # Pillow warns every reader above it (its MAX_IMAGE_PIXELS); tile what is larger
MAX_PAGES = 65_536  # a long recording at 30 a second lasts 36 minutes; each costs 30 µs to list
MAX_INFLATE = 1 << 20  # bytes unpacked at a time when only their number is wanted

_DEFLATE = (8, 32946)  # TIFF Compression: Adobe deflate, and its older number
_BANDS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # PNG colour type → samples a pixel, 11.2.1
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}  # allowed ones, 11.2.1
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column, first row, column step and row step of the seven passes of an interlaced PNG (8.1)."""
_SOF = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # JPEG frame headers; the three are DHT, JPG and DAC, T.81 B.1
_MARKER = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]", re.DOTALL)  # no stuffed byte, no restart marker: ends a scan
_TYPES = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}  # TIFF field types that hold integers
_TAGS = {
    254: "subfile", 256: "width", 257: "height", 258: "bits", 259: "compression", 262: "photometric",
    274: "orientation", 277: "bands", 278: "strip_rows", 284: "planar", 317: "predictor", 322: "tile_width",
    323: "tile_height", 339: "format", 273: "offsets", 324: "offsets", 279: "counts", 325: "counts", 32997: "depth",
}  # fmt: skip
_WEBP_SIDE = 16_384  # 14 bits, RFC 9649 3.4
_SECONDARY = 0b101  # NewSubfileType: reduced-resolution copy, or transparency mask, of another page


@dataclass(frozen=True)
class Page:
    """One image of a file as its header describes it; `bits` is the depth of a sample, `bands` samples a pixel.

    The fields after `bands` are TIFF's; `ifd` is the position of the page's directory in the file's chain.
    """

    width: int
    height: int
    bits: int
    bands: int
    ifd: int = 0
    compression: int = 1
    photometric: int = 1
    planar: int = 1
    predictor: int = 1
    format: int = 1
    orientation: int = 1
    segments: tuple[tuple[int, int], ...] = field(default=(), repr=False)
    segment_bytes: int = 0


@dataclass(frozen=True)
class Header:
    """A file's pages, whether anything but zeros follows its end, and, for PNG, what `check_rows` needs."""

    pages: tuple[Page, ...]
    trailing: bool = False
    streams: tuple[Stream, ...] = field(default=(), repr=False)
    interlaced: bool = False
    lossy: bool = False


def read_header(data: bytes, path: str, kind: RasterKind) -> Header:
    """Return the checked header of a raster file; `path` is for messages only.

    Raises:
        RefusedError: `raster.truncated` (ends early), `raster.corrupt` (contradicts itself, wrong CRC),
            `raster.too_large` (over `MAX_PAGE_BYTES`, `MAX_PIXELS` or `MAX_PAGES`).
    """
    reader = {"png": _png, "jpeg": _jpeg, "tiff": _tiff, "webp": _webp, "bmp": _bmp}[kind]
    try:
        header = reader(data, path)
    except (struct.error, IndexError, OverflowError):  # a field lies behind the end of the file
        raise RefusedError("raster.truncated", f"{path}: the {kind} header ends early; fetch the file again") from None
    for page in header.pages:
        _check_size(page, path)
    if len(header.pages) > MAX_PAGES:
        raise RefusedError("raster.too_large", f"{path} has {len(header.pages):,} pages; the limit is {MAX_PAGES:,}")
    return header


def png_bound(height: int, width: int, bands: int) -> int:
    """Return an upper bound of the bytes `release.png.encode_image` makes of a picture.

    Deflate stores what it cannot compress, 5 bytes more per 65,535 (RFC 1951 3.2.4); the frame is under 1 KiB.
    """
    rows = height * (width * bands + 1)
    return rows + rows // 1000 + 1024


def inflated_size(parts: Iterable[memoryview], limit: int) -> int:
    """Return how many bytes a zlib stream unpacks to, Adler-32 checked, or something above `limit`; holds 1 MiB.

    Raises:
        Damage: the stream is damaged.
        EOFError: it ends early.
    """
    engine, total = isal_zlib.decompressobj(), 0
    for part in parts:
        rest: bytes | memoryview = part
        while total <= limit and not engine.eof:
            unpacked = engine.decompress(rest, MAX_INFLATE)
            total += len(unpacked)
            rest = engine.unconsumed_tail
            if not unpacked and not rest:
                break
    if total <= limit and not engine.eof:
        raise EOFError
    return total


def check_rows(header: Header, path: str) -> None:
    """Unpack the rows of every PNG image of a header, keeping none, to see that all are there.

    Raises:
        RefusedError: `raster.truncated` when rows are missing, `raster.corrupt` when they cannot be unpacked.
    """
    page = header.pages[0]
    for width, height, parts in header.streams:
        need = _png_bytes(width, height, page.bits * page.bands, header.interlaced)
        try:
            found = inflated_size(parts, need)
        except EOFError:
            found = 0
        except Damage as error:
            raise RefusedError("raster.corrupt", f"{path}: compressed rows are damaged ({error})") from None
        if found < need:
            raise RefusedError("raster.truncated", f"{path}: rows of the {width} x {height} picture are missing")


def check_segments(page: Page, data: bytes, path: str) -> None:
    """See that no deflated strip or tile of a TIFF page unpacks to more than its share; raises `raster.corrupt`."""
    if page.compression not in _DEFLATE:
        return
    for offset, count in page.segments:
        try:
            size = inflated_size([memoryview(data)[offset : offset + count]], page.segment_bytes)
        except (EOFError, Damage):
            raise RefusedError("raster.corrupt", f"{path}: the data at byte {offset} cannot be unpacked") from None
        if size > page.segment_bytes:
            raise RefusedError("raster.corrupt", f"{path}: the data at byte {offset} unpacks to more than it should")


def _check_size(page: Page, path: str) -> None:
    if page.width < 1 or page.height < 1:
        raise RefusedError("raster.corrupt", f"{path} is {page.width} x {page.height} pixels: there is no image")
    size = page.width * page.height * page.bands * max(page.bits, 8) // 8
    if size > MAX_PAGE_BYTES or page.width * page.height > MAX_PIXELS:
        why = f"{path} has {page.width} x {page.height} pixels, {size:,} bytes decoded; the limits are {MAX_PIXELS:,} "
        raise RefusedError("raster.too_large", f"{why}pixels and {MAX_PAGE_BYTES:,} bytes; cut it into tiles")


def _png(data: bytes, path: str) -> Header:
    """Walk the chunks: lengths, CRCs, IHDR first, IEND last, frames of an animation as announced (APNG, 11.3.6)."""
    view, at, kind = memoryview(data), 8, b""
    ihdr, announced, frames = b"", 0, []
    streams: list[tuple[int, int, list[memoryview]]] = []
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            raise RefusedError("raster.truncated", f"{path} ends within chunk {kind!r}; fetch the file again")
        body = view[at + 8 : end - 4]
        if zlib.crc32(body, zlib.crc32(kind)) != int.from_bytes(data[end - 4 : end], "big"):
            raise RefusedError("raster.corrupt", f"{path}: wrong CRC in chunk {kind!r} at byte {at}; fetch it again")
        if (at == 8) != (kind == b"IHDR") or (kind == b"IHDR" and length != 13):
            raise RefusedError("raster.corrupt", f"{path}: the PNG does not start with one header (IHDR)")
        if kind == b"IHDR":
            ihdr = bytes(body)
        elif kind == b"acTL":
            announced = int.from_bytes(body[:4], "big")
        elif kind == b"fcTL":
            frames.append(struct.unpack_from(">IIII", body, 4))
            streams += [(*frames[-1][:2], [])] if streams else []
        elif kind == b"IDAT":
            streams = streams or [(*struct.unpack_from(">II", ihdr), [])]
            streams[0][2].append(body)
        elif kind == b"fdAT" and streams:
            streams[-1][2].append(body[4:])
        at = end
    return _png_header(ihdr, streams, announced, frames, bool(data[at:].strip(b"\0")), path)


def _png_header(
    ihdr: bytes,
    streams: list[tuple[int, int, list[memoryview]]],
    announced: int,
    frames: list[tuple[int, ...]],
    trailing: bool,
    path: str,
) -> Header:
    """Return the header of a PNG whose chunks are sound."""
    width, height, depth, colour, *_, interlace = struct.unpack(">IIBBBBB", ihdr)
    if depth not in _DEPTHS.get(colour, ()) or interlace > 1 or not streams:
        what = f"depth {depth}, colour type {colour}, interlace {interlace}, {len(streams)} images"
        raise RefusedError("raster.corrupt", f"{path}: {what} is no PNG")
    if announced != len(frames) or any(x + w > width or y + h > height or not w * h for w, h, x, y in frames):
        raise RefusedError("raster.corrupt", f"{path}: {len(frames)} frames of {announced}, or one outside the picture")
    pages = max(1, len(frames) + (len(streams) > len(frames)))
    return Header(
        pages=(Page(width, height, depth, _BANDS[colour]),) * pages,
        trailing=trailing,
        streams=tuple((w, h, tuple(parts)) for w, h, parts in streams),
        interlaced=bool(interlace),
    )


def _png_bytes(width: int, height: int, bits: int, interlaced: bool) -> int:
    """Return the bytes of all filtered rows: one for the filter, then whole bytes of samples (7.2, 8.1)."""
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    sizes = ((-(-(width - x) // dx), -(-(height - y) // dy)) for x, y, dx, dy in passes)
    return sum(rows * (1 + (columns * bits + 7) // 8) for columns, rows in sizes if columns > 0 and rows > 0)


def _jpeg(data: bytes, path: str) -> Header:
    """Walk the segments to EOI; scans are searched for the marker that ends them (T.81 B.1.1)."""
    at, page = 2, None
    while True:
        if at + 4 > len(data) and data[at : at + 2] != b"\xff\xd9":
            raise RefusedError("raster.truncated", f"{path}: the JPEG ends without its end marker; fetch it again")
        lead, marker = data[at], data[at + 1]
        if lead != 0xFF:
            raise RefusedError("raster.corrupt", f"{path}: no JPEG marker at byte {at}")
        if marker in (0xFF, 0x01):  # fill byte; TEM, which has no length
            at += 1 if marker == 0xFF else 2
            continue
        if marker == 0xD9:
            break
        if marker in _SOF and page is None:
            bits, height, width, bands = struct.unpack_from(">BHHB", data, at + 4)
            page = Page(width, height, bits, bands)
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xDA:
            found = _MARKER.search(data, at)
            at = len(data) if found is None else found.end() - 2
    if page is None:
        raise RefusedError("raster.corrupt", f"{path}: the JPEG has no frame header")
    return Header((page,), trailing=bool(data[at + 2 :].strip(b"\0")), lossy=True)


def _webp(data: bytes, path: str) -> Header:
    """Read the canvas and count the animation's frames (RFC 9649 2.3 to 2.7)."""
    size = int.from_bytes(data[4:8], "little") + 8
    if size > len(data):
        raise RefusedError("raster.truncated", f"{path} has {len(data):,} of {size:,} bytes; fetch the file again")
    kinds, at = [], 12
    while at + 8 <= size:
        kinds.append(data[at : at + 4])
        at += 8 + (length := int.from_bytes(data[at + 4 : at + 8], "little")) + length % 2
    if data[12:16] == b"VP8X":
        width, height = (1 + int.from_bytes(data[low : low + 3], "little") for low in (24, 27))
    elif data[12:16] == b"VP8L":
        packed = int.from_bytes(data[21:25], "little")
        width, height = (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    elif data[12:16] == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    else:
        raise RefusedError("raster.corrupt", f"{path}: the WebP starts with {data[12:16]!r}, not with an image")
    if max(width, height) > _WEBP_SIDE:  # the canvas of an animation may claim more than any frame can fill
        why = f"{path} has a canvas of {width} x {height}; a WebP picture has at most {_WEBP_SIDE:,} a side"
        raise RefusedError("raster.too_large", why)
    pages = max(1, kinds.count(b"ANMF"))
    lossy = data.find(b"VP8 ", 12, size) >= 0  # frames of an animation hold theirs inside
    trailing = bool(data[size:].strip(b"\0"))
    return Header((Page(width, height, 8, 4),) * pages, trailing=trailing, lossy=lossy)


def _bmp(data: bytes, path: str) -> Header:
    bitmap = read_bitmap(data, path)
    return Header((Page(bitmap.width, bitmap.height, min(bitmap.bits, 8), max(bitmap.bits // 8, 1)),))


def _tiff(data: bytes, path: str) -> Header:
    """Follow the chain of directories; reduced copies and transparency masks of other pages are left out."""
    order = "<" if data[:2] == b"II" else ">"
    big = struct.unpack_from(order + "H", data, 2)[0] == 43
    at = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)[0]
    found: list[tuple[Page, int]] = []
    seen: set[int] = set()
    while at:
        if at in seen or len(seen) > MAX_PAGES:
            raise RefusedError("raster.corrupt", f"{path}: the TIFF directories form a loop, or are over {MAX_PAGES:,}")
        seen.add(at)
        tags, at = _directory(data, at, order, big, path)
        found.append(_tiff_page(tags, len(found), len(data), path))
    pages = tuple(page for page, subfile in found if not subfile & _SECONDARY) or tuple(page for page, _ in found)
    if not pages:
        raise RefusedError("raster.corrupt", f"{path}: the TIFF has no directory")
    return Header(pages, lossy=any(page.compression in (6, 7) for page in pages))  # old and new JPEG-in-TIFF


def _directory(data: bytes, at: int, order: str, big: bool, path: str) -> tuple[dict[str, list[int]], int]:
    """Return the integer fields of one directory that matter here, and the place of the next directory."""
    count = struct.unpack_from(order + ("Q" if big else "H"), data, at)[0]
    at += 8 if big else 2
    entry, room = (20, 8) if big else (12, 4)  # bytes of an entry; bytes of its value field
    tags: dict[str, list[int]] = {}
    for start in range(at, min(at + count * entry, len(data)), entry):
        tag, kind, number = struct.unpack_from(order + ("HHQ" if big else "HHI"), data, start)
        if tag not in _TAGS or kind not in _TYPES:
            continue
        form = np.dtype(order + _TYPES[kind])
        place = start + entry - room
        if number * form.itemsize > room:
            place = struct.unpack_from(order + ("Q" if big else "I"), data, place)[0]
        if place + number * form.itemsize > len(data):
            raise RefusedError("raster.truncated", f"{path}: TIFF field {tag} lies behind the end of the file")
        tags[_TAGS[tag]] = np.frombuffer(data, form, number, place).tolist()
    return tags, struct.unpack_from(order + ("Q" if big else "I"), data, at + count * entry)[0]


def _tiff_page(tags: dict[str, list[int]], ifd: int, size: int, path: str) -> tuple[Page, int]:
    """Return one page and its NewSubfileType, after checking that its strips or tiles lie within the file."""

    def one(name: str, default: int) -> int:
        return tags.get(name, [])[0] if tags.get(name) else default

    width, height, bands, planar = one("width", 0), one("height", 0), one("bands", 1), one("planar", 1)
    depths = set(tags.get("bits", [1]))
    if len(depths) != 1 or one("depth", 1) != 1 or not 1 <= bands <= 64:  # 64: spectral cameras stay below
        raise RefusedError("raster.unsupported", f"{path}: samples of several depths, or a volume in one TIFF page")
    bits = depths.pop()
    if not 1 <= bits <= 64:
        raise RefusedError("raster.unsupported", f"{path}: samples of {bits} bits")
    columns = one("tile_width", width)
    rows = one("tile_height", 0) or min(one("strip_rows", height), height)
    apart = bands if planar == 2 else 1
    share = (columns * bits * bands // apart + 7) // 8 * rows
    if share > MAX_PAGE_BYTES:
        raise RefusedError("raster.too_large", f"{path}: TIFF page {ifd} has tiles or strips of {share:,} bytes")
    need = -(-width // columns) * -(-height // rows) * apart if columns and rows else 0
    offsets, counts = tags.get("offsets", []), tags.get("counts", [])
    if len(offsets) < need or (counts and len(counts) < need):
        raise RefusedError("raster.corrupt", f"{path}: TIFF page {ifd} lists {len(offsets)} of {need} strips or tiles")
    segments = tuple(zip(offsets[:need], counts[:need] or [0] * need, strict=True))
    if any(offset + count > size for offset, count in segments):
        raise RefusedError("raster.truncated", f"{path}: TIFF page {ifd} lies partly behind the end of the file")
    page = Page(
        width, height, bits, bands, ifd, one("compression", 1), one("photometric", 1), planar,
        one("predictor", 1), one("format", 1), one("orientation", 1), segments, share,
    )  # fmt: skip
    return page, one("subfile", 0)
