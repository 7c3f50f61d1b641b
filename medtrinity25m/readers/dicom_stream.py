"""From the bytes of a DICOM file to its data set, after its structure was proved to hold (PS3.5 7, PS3.10 7).

Every element is walked first, in sequences too: each value must end inside what holds it, tags of a data set
must ascend (PS3.5 7.1), an undefined length must be one that the standard allows, and the last element must
end where the file ends. Only then pydicom parses the same bytes, up to the pixel data, which are never
copied.

**Why** a walk of our own: pydicom is made to get something out of any file. It ends silently where a file was
cut, and takes a wrong length at its word, so that a header cut at any of 6,156 places gave 5,842 data sets
without pixels and without an error. The walk costs about as much as the parse.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from dataclasses import dataclass

from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.uid import (
    UID,
    AllTransferSyntaxes,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from medtrinity25m.errors import RefusedError
from medtrinity25m.readers.dicom_attributes import READ_ERRORS

PREAMBLE = 128  # PS3.10 7.1: bytes before the prefix "DICM"
UNDEFINED = 0xFFFFFFFF  # PS3.5 7.1.1: the length of a value that ends with a delimiter
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD  # PS3.5 7.5
PIXEL_DATA = 0x7FE00010
PIXEL_TAGS = (0x7FE00008, 0x7FE00009, PIXEL_DATA)  # Float, Double Float Pixel Data; Pixel Data
_PIXELS = frozenset(PIXEL_TAGS)
TRANSFER_SYNTAX, META_CLASS, SOP_CLASS = 0x00020010, 0x00020002, 0x00080016
MAX_DEPTH = 64  # structured reports, the deepest honest objects, stay below 20; pydicom needs 5 calls a level
MAX_ELEMENTS = 2_000_000  # 20,000 frames with 100 attributes each; 16 MB of empty items would be as many
MAX_INFLATED = 128 << 20  # four 4096 x 4096 images of 16 bits; the syntax is for documents and single images
LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())  # 32-bit length, PS3.5 Table 7.1-1
TEXT_VRS = frozenset(b"AE AS CS DA DS DT IS LO LT PN SH ST TM UI".split())  # hold no NUL except as padding
SHORT_VRS = TEXT_VRS | frozenset(b"AT FD FL SL SS UL US".split())  # 16-bit length, PS3.5 Table 7.1-2
_VR = re.compile(b"|".join(sorted(LONG_VRS | SHORT_VRS)))


@dataclass(frozen=True, slots=True)
class Element:
    """Where the value of a top-level element lies in the body: offset and length in bytes."""

    start: int
    length: int
    vr: str


@dataclass(frozen=True, slots=True)
class Stream:
    """A parsed file. `dataset` holds everything before the pixel data; `body` the bytes they lie in.

    `fragments` are (offset, length) of the items of encapsulated pixel data in `body`, the Basic Offset Table
    first (PS3.5 A.4); None when the pixel data are native or absent.
    """

    dataset: Dataset
    syntax: UID
    sop_class: UID | None
    body: bytes
    elements: dict[int, Element]
    fragments: tuple[tuple[int, int], ...] | None


class _Walker:
    """Walks elements and items of `body`; `little` is the byte order. Raises `RefusedError`."""

    def __init__(self, body: bytes, little: bool) -> None:
        self.body = body
        self.end = len(body)
        self.order = "<" if little else ">"
        self.tag_of = struct.Struct(self.order + "HH").unpack_from
        self.u16 = struct.Struct(self.order + "H").unpack_from
        self.u32 = struct.Struct(self.order + "L").unpack_from
        self.fragments: tuple[tuple[int, int], ...] | None = None
        self.seen = 0

    def tag(self, at: int) -> int:
        group, element = self.tag_of(self.body, at)
        return int(group << 16 | element)

    def header(self, at: int, end: int, implicit: bool) -> tuple[int, str, int, int]:
        """Return tag, VR, offset of the value and its length for the element at `at`."""
        self.seen += 1
        if self.seen > MAX_ELEMENTS:
            raise RefusedError("dicom.too_large", f"the header has more than {MAX_ELEMENTS:,} elements")
        self.room(at, 8, end)
        tag, vr = self.tag(at), self.body[at + 4 : at + 6]
        if implicit or (vr not in LONG_VRS and vr not in SHORT_VRS):
            if not implicit and _letters(vr):
                raise _lies(f"element {_name(tag)} has a VR that the standard does not define")
            return tag, _looked_up(tag), at + 8, self.u32(self.body, at + 4)[0]
        if vr in SHORT_VRS:
            return tag, vr.decode(), at + 8, self.u16(self.body, at + 6)[0]
        self.room(at, 12, end)
        return tag, vr.decode(), at + 12, self.u32(self.body, at + 8)[0]

    def room(self, at: int, size: int, end: int) -> None:
        """Refuse when fewer than `size` bytes are left."""
        if end - at < size:
            raise self.ends("inside the header of an element", end)

    def ends(self, where: str, end: int) -> RefusedError:
        """Return the refusal of something that ends too early: with the file, or with what holds it."""
        return truncated(where) if end == self.end else _lies(f"an item or a sequence ends {where}")

    def top(self, at: int, implicit: bool, group: int | None = None) -> dict[int, Element]:
        """Return the elements from `at` to the end, or while they belong to `group`."""
        found: dict[int, Element] = {}
        last = -1
        while at < self.end and (group is None or self.body[at : at + 2] == bytes((group, 0))):
            if last >= PIXEL_TAGS[0] and not self.body[at:].strip(b"\0"):
                break  # blocks of zeros after the last element, as tapes and some archives leave them
            tag, vr, start, length = self.header(at, self.end, implicit)
            if tag <= last:
                raise _lies(f"element {_name(tag)} follows {_name(last)}, but tags ascend")
            at = self.value(tag, vr, start, length, self.end, implicit, 0)
            found[tag] = Element(start, at - start if length == UNDEFINED else length, vr)
            last = tag
        return found

    def value(self, tag: int, vr: str, start: int, length: int, end: int, implicit: bool, depth: int) -> int:
        """Return where the value of an element ends."""
        if length == UNDEFINED:
            return self.undefined(tag, vr, start, end, implicit, depth)
        if length > end - start:
            raise self.overrun(tag, vr, start, length, end)
        if vr == "SQ" and not tag >> 16 & 1:  # private sequences are never read, whatever they hold
            self.items(start, start + length, implicit, depth + 1, closed=True)
        elif vr.encode() in TEXT_VRS and not implicit and self.swallows(tag, start, start + length):
            raise _lies(f"the text of element {_name(tag)} holds other elements")
        return start + length

    def undefined(self, tag: int, vr: str, start: int, end: int, implicit: bool, depth: int) -> int:
        """Return where a value of undefined length ends: pixel fragments or a sequence (PS3.5 A.4, 7.5)."""
        if tag == PIXEL_DATA:
            after, fragments = self.encapsulated(start, end)
            self.fragments = fragments if depth == 0 else self.fragments  # an icon may be compressed too
            return after
        items_follow = vr == "" and end - start >= 4 and self.tag(start) == ITEM
        if vr not in ("SQ", "UN") and not items_follow:  # UN without a length is a sequence: PS3.5 6.2.2
            raise _lies(f"element {_name(tag)} has no length and is no sequence")
        return self.items(start, end, implicit, depth + 1, closed=False)

    def items(self, at: int, end: int, implicit: bool, depth: int, closed: bool) -> int:
        """Return where a sequence ends; `closed` when its length is known to be `end`."""
        if depth > MAX_DEPTH:
            raise RefusedError("dicom.too_deep", f"sequences are nested deeper than {MAX_DEPTH}")
        while at < end:
            self.room(at, 8, end)
            self.seen += 1
            tag, length = self.tag(at), self.u32(self.body, at + 4)[0]
            at += 8
            if tag == SEQUENCE_END:
                return at
            if tag != ITEM:
                raise _lies(f"a sequence holds {_name(tag)} where an item must begin")
            if length != UNDEFINED and length > end - at:
                raise self.ends("inside an item", end)
            if length == UNDEFINED:
                at = self.item(at, end, implicit, depth, closed=False)
            else:
                at = self.item(at, at + length, implicit, depth, closed=True)
        if not closed:
            raise self.ends("inside a sequence without a length", end)
        return at

    def item(self, at: int, end: int, implicit: bool, depth: int, closed: bool) -> int:
        """Return where an item ends. One of an explicit data set may be implicit; pydicom reads it so too."""
        implicit = implicit or not _letters(self.body[at + 4 : at + 6])
        while at < end:
            if not closed and end - at >= 8 and self.tag(at) == ITEM_END:
                return at + 8
            tag, vr, start, length = self.header(at, end, implicit)
            at = self.value(tag, vr, start, length, end, implicit, depth)
        if not closed:
            raise self.ends("inside an item without a length", end)
        return at

    def encapsulated(self, at: int, end: int) -> tuple[int, tuple[tuple[int, int], ...]]:
        """Return where encapsulated pixel data end, and the (offset, length) of their items (PS3.5 A.4)."""
        found: list[tuple[int, int]] = []
        while True:
            if end - at < 8:
                raise self.pixels_cut(end)
            tag, length = self.tag(at), self.u32(self.body, at + 4)[0]
            at += 8
            if tag == SEQUENCE_END:
                return at, tuple(found)
            if tag != ITEM or length == UNDEFINED:
                raise _lies("pixel data without a length hold something else than fragments")
            if length > end - at:
                raise self.pixels_cut(end)
            found.append((at, length))
            at += length

    def pixels_cut(self, end: int) -> RefusedError:
        """Return the refusal of pixel data that stop before their end."""
        if end != self.end:
            return _lies("an item ends inside its pixel data")
        return RefusedError("dicom.pixel_short", "the file ends inside the pixel data; fetch it again")

    def overrun(self, tag: int, vr: str, start: int, length: int, end: int) -> RefusedError:
        """Return the refusal of a value that is longer than what holds it: cut off, or a wrong length?"""
        have = end - start
        if tag in PIXEL_TAGS and end == self.end:
            why = f"the pixel data have {have:,} of {length:,} bytes; fetch the file again"
            return RefusedError("dicom.pixel_short", why)
        swallowed = self.body.find(struct.pack(self.order + "HH", 0x7FE0, 0x0010), start) > 0
        swallowed = swallowed or (vr.encode() in SHORT_VRS and self.swallows(tag, start, end))
        if swallowed or end != self.end:
            return _lies(f"element {_name(tag)} claims {length:,} bytes where {have:,} are left")
        return truncated(f"inside element {_name(tag)}")

    def swallows(self, tag: int, start: int, end: int) -> bool:
        """Say whether a text value holds a NUL and what may be the header of a following explicit element."""
        held = self.body[start:end]
        if b"\0" not in held.rstrip(b"\0 "):
            return False
        for match in _VR.finditer(held, 4):
            inner = self.tag(start + match.start() - 4)
            if tag < inner <= PIXEL_DATA and not inner >> 16 & 1:
                return True
        return False


def _name(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def _letters(vr: bytes) -> bool:
    return vr.isalpha() and vr.isupper()


def _looked_up(tag: int) -> str:
    """Return the VR of an implicit element, empty for one the dictionary does not know."""
    try:
        return dictionary_VR(tag)
    except KeyError:
        return ""


def truncated(what: str) -> RefusedError:
    """Return the refusal of a file that was cut."""
    return RefusedError("dicom.truncated", f"the file ends {what}; fetch it again")


def _lies(what: str) -> RefusedError:
    return RefusedError("dicom.structure", f"{what}; a length in the header is wrong")


def parse(data: bytes) -> Stream:
    """Return the parsed file.

    Raises:
        RefusedError: `dicom.not_dicom`, `dicom.empty` (a preamble alone), `dicom.truncated`,
            `dicom.structure`, `dicom.too_deep`, `dicom.too_large`, `dicom.pixel_short`, `dicom.decode` (a
            damaged deflate stream), `dicom.unsupported_syntax` (one that the standard does not define:
            nothing says how to read it).
    """
    start = PREAMBLE + 4 if data[PREAMBLE : PREAMBLE + 4] == b"DICM" else 0
    if start == 0 and data[:2] not in (b"\2\0", b"\x08\0", b"\0\x08"):
        why = "no DICM prefix, and what begins the file is not group 0002 or 0008"
        raise RefusedError("dicom.not_dicom", why)
    if start == len(data):
        raise RefusedError("dicom.empty", "the file holds a preamble and nothing else")
    meta = _Walker(data, little=True).top(start, implicit=False, group=2)
    start = max((element.start + element.length for element in meta.values()), default=start)
    if start == len(data):
        raise truncated("after the file meta information")
    syntax, body = _uid(data, meta.get(TRANSFER_SYNTAX)), data
    if syntax is not None and (syntax not in AllTransferSyntaxes or syntax.is_private):
        why = "the transfer syntax is private or unknown; convert the file"
        raise RefusedError("dicom.unsupported_syntax", why)
    if syntax == DeflatedExplicitVRLittleEndian:
        body, start = _inflate(data[start:]), 0
    syntax, implicit = _encoding(body, start, syntax)
    walker = _Walker(body, syntax.is_little_endian)
    try:
        elements = walker.top(start, implicit)
        dataset = _dataset(body, start, implicit, syntax.is_little_endian)
    except RecursionError:  # a caller near the interpreter's limit; MAX_DEPTH itself is far from it
        raise RefusedError("dicom.too_deep", "sequences are nested too deep to be read") from None
    if walker.fragments is not None and not syntax.is_encapsulated:
        why = f"pixel data without a length, though {syntax.name} is not compressed"
        raise RefusedError("dicom.structure", why)
    sop_class = _uid(body, elements.get(SOP_CLASS)) or _uid(data, meta.get(META_CLASS))
    if not data.startswith(b"DICM", PREAMBLE) and (sop_class is None or sop_class.name == sop_class):
        raise RefusedError("dicom.not_dicom", "no DICM prefix and no SOP Class UID of the standard")
    return Stream(dataset, syntax, sop_class, body, elements, walker.fragments)


def _uid(body: bytes, element: Element | None) -> UID | None:
    if element is None:
        return None
    raw = body[element.start : element.start + element.length]
    return UID(raw.decode("ascii", "replace").strip(" \0")) if raw.strip(b" \0") else None


def _encoding(body: bytes, start: int, syntax: UID | None) -> tuple[UID, bool]:
    """Return the transfer syntax and whether VRs are implicit: the first element decides, as in pydicom."""
    first = body[start + 4 : start + 6]
    explicit = first in SHORT_VRS or first in LONG_VRS
    if syntax is not None:
        return syntax, not explicit
    if not explicit:
        return ImplicitVRLittleEndian, True
    return (ExplicitVRBigEndian if body[start] == 0 else ExplicitVRLittleEndian), False


def _inflate(packed: bytes) -> bytes:
    """Return what a deflated data set unpacks to, under `MAX_INFLATED` (PS3.5 A.5).

    Bytes behind the stream are let be: some writers leave a gzip trailer there.
    """
    engine = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    try:
        body = engine.decompress(packed, MAX_INFLATED + 1)
    except zlib.error:
        raise RefusedError("dicom.decode", "the deflate stream is damaged; fetch the file again") from None
    if engine.eof and not body:
        raise RefusedError("dicom.empty", "the deflated data set has no elements")
    if len(body) > MAX_INFLATED:
        why = f"the deflated data set unpacks to more than {MAX_INFLATED:,} bytes"
        raise RefusedError("dicom.too_large", why)
    if not engine.eof:
        raise truncated("inside the deflate stream")
    return body


def _dataset(body: bytes, start: int, implicit: bool, little: bool) -> Dataset:
    """Return pydicom's data set of the elements before the pixel data."""
    source = io.BytesIO(body)  # shares the bytes
    source.seek(start)
    try:
        return read_dataset(source, implicit, little, stop_when=lambda tag, _vr, _length: tag in _PIXELS)
    except READ_ERRORS as error:
        why = f"the header cannot be parsed ({type(error).__name__})"
        raise RefusedError("dicom.structure", why) from None
