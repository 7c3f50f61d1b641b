"""From a checked data set to the stored values of one frame (PS3.3 C.7.6.3, PS3.5 8 and A.4).

What the header promises is checked against what the file holds before anything is decoded: sizes a picture can
have, the byte caps, as many bytes or fragments as the frames need, and for compressed frames the size that the
codestream itself states. A frame is decoded alone, so a cine of 2,000 frames never lies in memory.

**Why** a table of decoders instead of pydicom's own choice: which plug-ins happen to be installed must not
change a pixel, pylibjpeg-libjpeg is under the GPL, and gdcm can take the process down with it.
"""

from __future__ import annotations

import re
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder

from medtrinity25m.errors import RefusedError
from medtrinity25m.readers.dicom_attributes import filled, integer, words
from medtrinity25m.readers.dicom_stream import PIXEL_TAGS, Stream
from medtrinity25m.readers.sandbox import DecoderError, gdcm
from medtrinity25m.triplet import Frozen

MAX_FILE_BYTES = 16 << 30  # all frames together: five minutes of HD colour; one at a time is ever decoded
MAX_FRAME_BYTES = 512 << 20  # one frame decoded: a 13,000 x 13,000 RGB image, beyond any detector
MAX_FRAMES = 1_000_000  # a whole slide in tiles of 256 x 256 has about 200,000
KEYWORDS = dict(zip(PIXEL_TAGS, ("FloatPixelData", "DoubleFloatPixelData", "PixelData"), strict=True))
FLOAT_BITS = {"FloatPixelData": 32, "DoubleFloatPixelData": 64}
GREY = ("MONOCHROME1", "MONOCHROME2")
PHOTOMETRIC = {1: (*GREY, "PALETTE COLOR"), 3: ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")}
CODECS: dict[str, str] = {
    uid.RLELossless: "pydicom",
    uid.JPEGBaseline8Bit: "pillow",
    uid.JPEGExtended12Bit: "pillow",  # for 8 bits only
    uid.JPEGLossless: "gdcm",
    uid.JPEGLosslessSV1: "gdcm",
    uid.JPEGLSLossless: "gdcm",
    uid.JPEGLSNearLossless: "gdcm",
    uid.JPEG2000Lossless: "pylibjpeg",  # pylibjpeg-openjpeg
    uid.JPEG2000: "pylibjpeg",
    uid.HTJ2KLossless: "pylibjpeg",
    uid.HTJ2KLosslessRPCL: "pylibjpeg",
    uid.HTJ2K: "pylibjpeg",
}
"""Transfer syntax → pydicom's name of the decoder; gdcm, in `sandbox`, only where there is no other."""

END_OF_IMAGE = b"\xff\xd9"  # EOI of JPEG and JPEG-LS, EOC of JPEG 2000: the last marker of a codestream
TAIL = 64  # bytes in which it is looked for: fragments are padded to even length, by some writers to a block
BOXES = 4096  # bytes before a codestream when a JP2 file was put in whole: its boxes, and no profile
DECODE_ERRORS = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,  # pydicom's own "all plugins failed", NotImplementedError
    TypeError,
    ValueError,
    struct.error,
)
"""What pydicom and the plug-ins raise on damaged frames, found by damaging real ones."""


class PixelLayout(Frozen):
    """The Image Pixel module, checked: every number is one that an image can have.

    Args:
        signed: Pixel Representation (0028,0103) is two's complement.
        bits_stored: of each sample; equal to `bits_allocated` for float pixels.
        photometric: Photometric Interpretation (0028,0004) of the stored frames.
        keyword: PixelData, FloatPixelData or DoubleFloatPixelData.
    """

    rows: int
    columns: int
    frames: int
    samples: int
    bits_allocated: int
    bits_stored: int
    signed: bool
    planar: int
    photometric: str
    keyword: str

    @property
    def frame_bits(self) -> int:
        """Bits of one native frame; YBR_FULL_422 shares its colours between two pixels."""
        bits = self.rows * self.columns * self.samples * self.bits_allocated
        return bits * 2 // 3 if self.photometric == "YBR_FULL_422" else bits

    @property
    def grey(self) -> bool:
        """Whether pixels are single grey values."""
        return self.photometric in GREY


class PixelReader:
    """Decodes the frames of one file.

    Raises:
        RefusedError: `dicom.unsupported_syntax`, `dicom.bad_geometry`, `dicom.too_large`, `dicom.structure`,
            `dicom.pixel_short`, `dicom.pixel_excess`: what the header promises is not what the file can hold.
    """

    def __init__(self, stream: Stream) -> None:
        tag = next(tag for tag in PIXEL_TAGS if tag in stream.elements)
        self.syntax = stream.syntax
        self._body = stream.body
        self._element = stream.elements[tag]
        self._parts: list[list[tuple[int, int]]] = []
        if self.syntax.is_encapsulated and self.syntax not in CODECS:
            why = f"no decoder for {self.syntax.name}; transcode the file"
            raise RefusedError("dicom.unsupported_syntax", why)
        self.layout = _layout(stream.dataset, KEYWORDS[tag])
        if self.syntax == uid.JPEGExtended12Bit and self.layout.bits_stored > 8:
            why = "no decoder for JPEG Extended with 12 bits; transcode the file"
            raise RefusedError("dicom.unsupported_syntax", why)
        _check_caps(self.layout)
        if not self.syntax.is_encapsulated:
            _check_length(self.layout, self._element.length)
        elif stream.fragments is None:
            why = f"the pixel data are not in fragments, as {self.syntax.name} needs"
            raise RefusedError("dicom.structure", why)
        else:
            self._parts = frame_parts(stream, self.layout.frames)

    def frame(self, index: int) -> NDArray[Any]:
        """Return the stored values of one frame, (H, W) or (H, W, 3), YBR as RGB, palettes not applied.

        Raises:
            RefusedError: `dicom.decode`, the detail naming the codec; `dicom.too_large` when memory runs out.
        """
        try:
            return self._compressed(index) if self._parts else self._native(index)
        except MemoryError:
            raise RefusedError("dicom.too_large", "there is not enough memory to decode a frame") from None

    def _options(self) -> dict[str, Any]:
        layout = self.layout
        return {
            "rows": layout.rows,
            "columns": layout.columns,
            "samples_per_pixel": layout.samples,
            "bits_allocated": layout.bits_allocated,
            "bits_stored": layout.bits_stored,
            "photometric_interpretation": layout.photometric,
            "pixel_representation": int(layout.signed),
            "planar_configuration": layout.planar,
            "pixel_keyword": layout.keyword,
        }

    def _native(self, index: int) -> NDArray[Any]:
        source = memoryview(self._body)[self._element.start : self._element.start + self._element.length]
        options = self._options() | {"number_of_frames": self.layout.frames, "allow_excess_frames": False}
        options["pixel_vr"] = self._element.vr or "OW"
        try:
            return get_decoder(self.syntax).as_array(source, index=index, **options)[0]
        except DECODE_ERRORS as error:
            why = f"frame {index}: {self.syntax.name}: {type(error).__name__}"
            raise RefusedError("dicom.decode", why) from None

    def _compressed(self, index: int) -> NDArray[Any]:
        frame = b"".join(self._body[start : start + length] for start, length in self._parts[index])
        where = f"frame {index}: {self.syntax.name}"
        if self.syntax != uid.RLELossless:
            _check_codestream(frame, self.layout, where)
        source = encapsulate([frame], has_bot=False)
        options = self._options() | {"number_of_frames": 1}
        plugin = CODECS[self.syntax]
        try:
            if plugin == "gdcm":
                found, photometric = gdcm.decode(str(self.syntax), options, source)
            else:
                decoder = get_decoder(self.syntax)
                found, properties = decoder.as_array(source, index=0, decoding_plugin=plugin, **options)
                photometric = str(properties["photometric_interpretation"])
        except DecoderError as error:
            raise RefusedError("dicom.decode", f"{where}: {error}") from None
        except DECODE_ERRORS as error:
            raise RefusedError("dicom.decode", f"{where}: {plugin} ({type(error).__name__})") from None
        if self.layout.samples == 3 and photometric != "RGB":
            raise RefusedError("dicom.decode", f"{where}: {plugin} leaves the colours as {photometric}")
        return found


def _layout(dataset: Dataset, keyword: str) -> PixelLayout:
    floats = FLOAT_BITS.get(keyword)
    frames = integer(dataset, "NumberOfFrames") if filled(dataset, "NumberOfFrames") else 1
    bits = floats or integer(dataset, "BitsAllocated")
    found: dict[str, Any] = {
        "rows": integer(dataset, "Rows"),
        "columns": integer(dataset, "Columns"),
        "frames": frames,
        "samples": integer(dataset, "SamplesPerPixel"),
        "bits_allocated": bits,
        "bits_stored": floats or integer(dataset, "BitsStored"),
        "signed": 0 if floats else integer(dataset, "PixelRepresentation"),
        "planar": integer(dataset, "PlanarConfiguration") or 0,
        "photometric": next(iter(words(dataset, "PhotometricInterpretation")), None),
        "keyword": keyword,
    }
    missing = [name for name, value in found.items() if value is None]
    if missing:
        why = f"the header has no usable {', '.join(missing)} of the pixels"
        raise RefusedError("dicom.bad_geometry", why)
    high = integer(dataset, "HighBit")
    if not _possible(found) or high not in (None, found["bits_stored"] - 1):  # PS3.5 8.1.1
        shown = {name: value for name, value in found.items() if name not in ("photometric", "keyword")}
        raise RefusedError("dicom.bad_geometry", f"no image has such pixels: {shown}, high bit {high}")
    return PixelLayout(**found)


def _possible(found: dict[str, Any]) -> bool:
    """Say whether an image can be like that (PS3.3 C.7.6.3.1, PS3.5 8.1.1)."""
    return (
        0 < found["rows"] <= 0xFFFF
        and 0 < found["columns"] <= 0xFFFF
        and found["frames"] > 0
        and found["photometric"] in PHOTOMETRIC.get(found["samples"], ())
        and found["bits_allocated"] in (1, 8, 16, 32, 64)
        and 0 < found["bits_stored"] <= found["bits_allocated"]
        and found["signed"] in (0, 1)
        and found["planar"] in (0, 1)
        and (found["photometric"] != "YBR_FULL_422" or found["columns"] % 2 == 0)
    )


def _check_caps(layout: PixelLayout) -> None:
    frame = layout.rows * layout.columns * layout.samples * -(-layout.bits_allocated // 8)
    if layout.frames > MAX_FRAMES or frame > MAX_FRAME_BYTES or frame * layout.frames > MAX_FILE_BYTES:
        what = f"{layout.frames:,} frames of {frame:,} bytes"
        why = f"the limits are {MAX_FRAMES:,}, {MAX_FRAME_BYTES:,} a frame and {MAX_FILE_BYTES:,} in all"
        raise RefusedError("dicom.too_large", f"the pixels decode to {what}; {why}")


def _check_length(layout: PixelLayout, actual: int) -> None:
    """Refuse native pixel data that are too short, or too long by a whole frame; less is padding."""
    expected = -(-layout.frame_bits * layout.frames // 8)
    what = f"the pixel data have {actual:,} bytes, {layout.frames} frame(s) need {expected:,}"
    if actual < expected:
        raise RefusedError("dicom.pixel_short", f"{what}; fetch the file again")
    if actual >= -(-layout.frame_bits * (layout.frames + 1) // 8):
        raise RefusedError("dicom.pixel_excess", f"{what}; its Rows, Columns or Number of Frames is wrong")


def frame_parts(stream: Stream, frames: int) -> list[list[tuple[int, int]]]:
    """Return for every frame the (offset, length) of its fragments in the body (PS3.5 A.4).

    One fragment a frame is the rule; else the Basic Offset Table says where frames begin, else the end
    markers of the codestreams do.
    """
    table, *fragments = stream.fragments or ((0, 0),)
    if len(fragments) < frames:
        why = f"{frames} frames are promised, {len(fragments)} fragments are there"
        raise RefusedError("dicom.pixel_short", why)
    if frames == 1 and stream.syntax != uid.RLELossless:
        parts = [fragments]
    elif len(fragments) == frames:
        return [[fragment] for fragment in fragments]
    elif stream.syntax == uid.RLELossless:  # PS3.5 A.4.2: one fragment a frame
        why = f"{frames} RLE frames are promised, {len(fragments)} are there"
        raise RefusedError("dicom.pixel_excess", why)
    else:
        parts = _by_table(stream, table, fragments) or _by_end_marker(stream, fragments)
    if len(parts) != frames:
        code = "dicom.pixel_short" if len(parts) < frames else "dicom.pixel_excess"
        raise RefusedError(code, f"{frames} frames are promised, {len(parts)} are there")
    return parts


def _by_table(stream: Stream, table: tuple[int, int], fragments: list[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """Group fragments by the Basic Offset Table, whose offsets count from the first fragment's item tag."""
    start, length = table
    offsets = [int(offset) for offset in np.frombuffer(stream.body[start : start + length // 4 * 4], "<u4")]
    begins = {at - fragments[0][0] for at, _ in fragments}
    if not offsets or offsets != sorted(set(offsets)) or offsets[0] != 0 or not begins.issuperset(offsets):
        return []
    parts: list[list[tuple[int, int]]] = []
    for at, size in fragments:
        if at - fragments[0][0] in offsets[len(parts) : len(parts) + 1]:
            parts.append([])
        parts[-1].append((at, size))
    return parts


def _by_end_marker(stream: Stream, fragments: list[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """Group fragments so that each group ends with the end of a codestream."""
    parts: list[list[tuple[int, int]]] = [[]]
    for start, length in fragments:
        parts[-1].append((start, length))
        if END_OF_IMAGE in stream.body[max(start, start + length - TAIL) : start + length]:
            parts.append([])
    return parts if parts[-1] else parts[:-1]


_JPEG_FRAME = re.compile(rb"\xff[\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf\xf7]")  # SOFn; SOF55 of JPEG-LS


def _check_codestream(frame: bytes, layout: PixelLayout, where: str) -> None:
    """Refuse a frame that states another size than the header, which the caps were for."""
    size = codestream_size(frame)
    if size is None:
        raise RefusedError("dicom.decode", f"{where}: no codestream begins there")
    if size != (layout.rows, layout.columns, layout.samples):
        stated = f"{layout.columns} x {layout.rows} x {layout.samples}"
        why = f"the codestream is {size[1]} x {size[0]} x {size[2]}, the header says {stated}"
        raise RefusedError("dicom.decode", f"{where}: {why}")


def codestream_size(frame: bytes) -> tuple[int, int, int] | None:
    """Return (rows, columns, components) that a JPEG, JPEG-LS or JPEG 2000 codestream states, or None."""
    if frame.startswith(b"\xff\xd8"):
        return _jpeg_size(frame)
    at = frame.find(b"\xff\x4f\xff\x51", 0, BOXES)  # SOC and SIZ
    if at < 0 or len(frame) < at + 42:
        return None
    right, bottom, left, top = struct.unpack_from(">4L", frame, at + 8)  # ISO/IEC 15444-1 A.5.1
    components = struct.unpack_from(">H", frame, at + 40)[0]
    return bottom - top, right - left, components


def _jpeg_size(frame: bytes) -> tuple[int, int, int] | None:
    """Walk the marker segments of ISO/IEC 10918-1 B.1.1 to the frame header."""
    at = 2
    while at + 10 <= len(frame) and frame[at] == 0xFF:
        marker = frame[at : at + 2]
        if marker == b"\xff\xff":  # fill byte
            at += 1
        elif _JPEG_FRAME.fullmatch(marker):
            rows, columns, components = struct.unpack_from(">HHB", frame, at + 5)
            return rows, columns, components
        elif marker == b"\xff\xda":  # a scan before its frame header
            return None
        else:
            at += 2 + struct.unpack_from(">H", frame, at + 2)[0]
    return None
