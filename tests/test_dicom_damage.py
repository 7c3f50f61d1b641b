"""Damaged, dishonest and hostile DICOM: always a named refusal, never half an image, never another exception."""

from __future__ import annotations

import random
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import pixel_array
from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from dicom_files import as_bytes, drawn, header_of, real
from medtrinity25m.errors import RefusedError
from medtrinity25m.readers import sandbox
from medtrinity25m.readers.dicom import DicomFile
from medtrinity25m.readers.dicom_stream import parse

SMALL = np.arange(64, dtype=np.uint16).reshape(8, 8)
MIXED = ("CT_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm", "MR_small_RLE.dcm", "examples_overlay.dcm")
CODED = ("MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "SC_rgb_jpeg_dcmtk.dcm", "SC_rgb_jpeg_gdcm.dcm")


def outcome(data: bytes) -> str:
    """The code of the refusal of a file, `plane` when its frames decode; any other exception fails the test."""
    try:
        file = DicomFile(data)
        for index in range(min(file.count, 2)):
            file.plane(index)
            for group in file.overlay_groups:
                file.overlay(group, index)
    except RefusedError as refusal:
        return refusal.code if refusal.detail else "nothing is said"
    return "plane"


def boundaries(data: bytes) -> Iterator[int]:
    """Where the top-level elements of a file begin."""
    yield from (element.start for element in parse(data).elements.values())


def test_a_cut_header_is_truncated_wherever_it_is_cut() -> None:
    """CT_small cut at each element and at 300 other places before its pixels: always `dicom.truncated`."""
    data = real("CT_small.dcm")
    pixels = parse(data).elements[0x7FE00010].start - 12
    anywhere = random.Random(5).sample(range(133, pixels), 300)
    cuts = {at + shift for at in boundaries(data) for shift in (-12, -8, -1, 0) if 133 <= at + shift <= pixels}
    assert {outcome(data[:cut]) for cut in (*cuts, *anywhere)} == {"dicom.truncated"}


@pytest.mark.slow
def test_a_cut_header_is_truncated_at_every_byte() -> None:
    """The same at all of the 6,000 places."""
    data = real("CT_small.dcm")
    pixels = parse(data).elements[0x7FE00010].start - 12
    assert {outcome(data[:cut]) for cut in range(133, pixels + 1)} == {"dicom.truncated"}


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "emri_small.dcm"])
def test_cut_pixels_are_short(name: str) -> None:
    """A file that ends inside its pixel data gives no plane, however little is missing."""
    data = real(name)
    element = parse(data).elements[0x7FE00010]
    end = element.start + element.length
    cuts = (element.start, element.start + 1, (element.start + end) // 2, end - 9, end - 8, end - 1)
    assert {outcome(data[:cut]) for cut in cuts} == {"dicom.pixel_short"}


def test_flipped_bits_never_raise_anything_else() -> None:
    """Seven hundred flips, in headers and in codestreams of every decoder: a plane or a refusal."""
    chance = random.Random(11)
    seen = set()
    for name in (*MIXED, *CODED):
        data = real(name)
        stream = parse(data)
        limits = [stream.elements[0x7FE00010].start] * 50 + [len(data)] * 28
        for limit in limits:
            damaged = bytearray(data)
            for _ in range(chance.choice((1, 1, 3))):
                damaged[chance.randrange(132, limit)] ^= 1 << chance.randrange(8)
            seen.add(outcome(bytes(damaged)))
    assert {"plane", "dicom.structure", "dicom.decode", "dicom.pixel_short", "dicom.truncated"} <= seen


def test_noise_is_not_dicom() -> None:
    """Random bytes, with and without a DICM prefix, are refused."""
    chance = random.Random(12)
    for size in (0, 1, 131, 132, 133, 140, 500, 5000):
        noise = chance.randbytes(size)
        assert outcome(noise).startswith("dicom.")
        assert outcome(bytes(128) + b"DICM" + noise).startswith("dicom.")
        assert outcome(b"\x08\0" + noise).startswith("dicom.")


def test_nothing_behind_the_preamble_is_empty() -> None:
    """A preamble alone is empty; with file meta information alone the data set was cut off."""
    assert outcome(bytes(128) + b"DICM") == "dicom.empty"
    data = real("CT_small.dcm")
    assert outcome(data[: min(boundaries(data)) - 8]) == "dicom.truncated"


def test_a_length_that_swallows_others_is_a_lie() -> None:
    """A text whose length takes in the next elements, or runs past the end over them, is structure, not text."""
    data = drawn(SMALL, PatientName="Doe^J", PatientID="77", StudyDate="20200101", AccessionNumber="A1B2C3D4")
    name = data.index(b"PN\6\0") + 2
    for length in (0xFFFE, 6 + 8 + 2, 4, 0, 5):
        lie = data[:name] + struct.pack("<H", length) + data[name + 2 :]
        assert outcome(lie) == "dicom.structure", length
    born, sex = b"\x10\0\x30\0DA\x08\x0019800101", b"\x10\0\x40\0CS\2\0F "
    at = data.index(b"\x28\0\2\0US")
    assert outcome(data[:at] + born + sex + data[at:]) == "plane"
    assert outcome(data[:at] + sex + born + data[at:]) == "dicom.structure"
    assert outcome(data[:at] + born + born + data[at:]) == "dicom.structure"
    long = data.index(b"OW\0\0") + 4
    assert outcome(data[:long] + struct.pack("<L", 0x7FFFFFFF) + data[long + 4 :]) == "dicom.pixel_short"


def test_native_pixels_have_a_length() -> None:
    """Undefined lengths are for sequences and compressed pixels; native pixels and other values have one."""
    data = drawn(SMALL)
    at = data.index(b"OW\0\0") + 4
    assert outcome(data[:at] + b"\xff\xff\xff\xff" + data[at + 4 :]) == "dicom.structure"
    other = b"\x09\0\x10\x10OB\0\0\xff\xff\xff\xff\xfe\xff\xdd\xe0\0\0\0\0"
    before = data.index(b"\x28\0\2\0US")
    assert outcome(data[:before] + other + data[before:]) == "dicom.structure"
    fragments = encapsulate([SMALL.tobytes()], has_bot=False)
    whole = data[: at - 8] + b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff" + fragments + b"\xfe\xff\xdd\xe0\0\0\0\0"
    assert outcome(whole) == "dicom.structure"
    assert (
        outcome(drawn(SMALL, PixelData=SMALL.tobytes()).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0"))
        == "dicom.structure"
    )


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ({"Rows": 0}, "bad_geometry"),
        ({"Columns": None}, "bad_geometry"),
        ({"Rows": 65535, "Columns": 65535}, "too_large"),
        ({"Rows": 9}, "pixel_short"),
        ({"Rows": 4}, "pixel_excess"),
        ({"Rows": 7}, "plane"),  # an odd row more is padding, not a frame
        ({"NumberOfFrames": 1_000_000_000}, "too_large"),
        ({"NumberOfFrames": 2}, "pixel_short"),
        ({"NumberOfFrames": -1}, "bad_geometry"),
        ({"BitsAllocated": 7}, "bad_geometry"),
        ({"BitsStored": 17, "HighBit": 16}, "bad_geometry"),
        ({"HighBit": 3}, "bad_geometry"),
        ({"SamplesPerPixel": 0}, "bad_geometry"),
        ({"SamplesPerPixel": 4}, "bad_geometry"),
        ({"PhotometricInterpretation": "CMYK"}, "bad_geometry"),
        ({"PhotometricInterpretation": "RGB"}, "bad_geometry"),
        ({"PixelRepresentation": 2}, "bad_geometry"),
    ],
)
def test_geometry_no_image_has(attributes: dict[str, object], code: str) -> None:
    """Sizes, bits and frames are checked against each other and against the bytes before anything is decoded."""
    found = outcome(drawn(SMALL, **attributes))
    assert found == (code if code == "plane" else f"dicom.{code}")


@pytest.mark.parametrize("levels", [100, 900, 5000])
@pytest.mark.parametrize("defined", [True, False])
def test_deep_nesting_is_refused(levels: int, defined: bool) -> None:
    """Sequences nested beyond 64, with and without lengths, never reach the interpreter's own limit."""
    inner = b""
    for _ in range(levels):
        if defined:
            item = b"\xfe\xff\0\xe0" + struct.pack("<L", len(inner)) + inner
            inner = b"\x08\0\x15\x11SQ\0\0" + struct.pack("<L", len(item)) + item
        else:
            item = b"\xfe\xff\0\xe0\xff\xff\xff\xff" + inner + b"\xfe\xff\r\xe0\0\0\0\0"
            inner = b"\x08\0\x15\x11SQ\0\0\xff\xff\xff\xff" + item + b"\xfe\xff\xdd\xe0\0\0\0\0"
    data = drawn(SMALL)
    at = data.index(b"\x28\0\2\0US")
    assert outcome(data[:at] + inner + data[at:]) == "dicom.too_deep"


def test_a_deflate_bomb_stays_small() -> None:
    """A fifth of a megabyte that inflates to a fifth of a gigabyte is refused at the cap, a cut one as truncated."""
    data = drawn(SMALL)
    head = data[: min(boundaries(data)) - 8].replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99")
    head = head.replace(b"\2\0\x10\0UI\x14\0", b"\2\0\x10\0UI\x16\0")
    engine = zlib.compressobj(9, wbits=-15)
    packed = b"".join(engine.compress(bytes(1 << 24)) for _ in range(12)) + engine.flush()
    assert len(packed) < 1 << 18
    begun = time.monotonic()
    assert outcome(head + packed) == "dicom.too_large"
    assert time.monotonic() - begun < 5
    assert outcome(head + packed[:1000]) == "dicom.truncated"
    assert outcome(head + b"\xff" * 100) == "dicom.decode"
    good = header_of("image_dfl.dcm")
    assert good.file_meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian
    assert outcome(real("image_dfl.dcm")) == "plane"


@pytest.mark.parametrize("syntax", [JPEG2000, JPEGBaseline8Bit, JPEGLosslessSV1, JPEGLSLossless, RLELossless])
def test_garbage_frames_name_their_codec(syntax: str) -> None:
    """A frame that is no codestream, is cut, or states another size is refused with the codec's name."""
    garbage = encapsulate([random.Random(1).randbytes(200)])
    with pytest.raises(RefusedError, match=r"dicom\.decode") as refused:
        DicomFile(drawn(SMALL, syntax, PixelData=garbage)).plane(0)
    assert "JPEG" in refused.value.detail or "RLE" in refused.value.detail


def test_a_codestream_of_another_size_is_not_decoded() -> None:
    """A codestream that states another size than the header, however large, is refused before it is decoded."""
    frame = next(generate_frames(header_of("693_J2KR.dcm").PixelData, number_of_frames=1))
    huge = frame[:8] + struct.pack(">LL", 60_000, 60_000) + frame[16:]
    for stated in (frame, huge):
        data = drawn(SMALL, JPEG2000, PixelData=encapsulate([stated]))
        with pytest.raises(RefusedError, match="the codestream is"):
            DicomFile(data).plane(0)


CODED_ALIKE = (
    "693_J2KR.dcm",
    "SC_rgb_jpeg_dcmtk.dcm",
    "JPEG-LL.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "MR_small_RLE.dcm",
)


@pytest.mark.parametrize("name", CODED_ALIKE)
def test_a_cut_codestream_is_no_image(name: str) -> None:
    """A frame whose codestream ends early is refused by every codec, if only its last bytes are missing."""
    dataset = header_of(name)
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1)).rstrip(b"\0")
    for lost in (4, 100, len(frame) // 2):
        dataset.PixelData = encapsulate([frame[:-lost]])
        assert outcome(as_bytes(dataset, dataset.file_meta.TransferSyntaxUID)) == "dicom.decode"


def test_more_or_fewer_frames_than_promised() -> None:
    """Encapsulated frames are counted: too few and too many are refused."""
    frames = list(generate_frames(header_of("MR_small_RLE.dcm").PixelData, number_of_frames=1)) * 3
    for promised, code in (
        (1, "dicom.pixel_excess"),
        (2, "dicom.pixel_excess"),
        (3, "plane"),
        (4, "dicom.pixel_short"),
    ):
        data = drawn(np.zeros((64, 64), np.int16), RLELossless, PixelData=encapsulate(frames), NumberOfFrames=promised)
        assert outcome(data) == code


@pytest.mark.parametrize(
    "syntax", ["1.2.840.113619.5.2", "1.2.3.4", "1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.4.94"]
)
def test_transfer_syntaxes_without_a_decoder(syntax: str) -> None:
    """Private, unknown, MPEG and JPIP transfer syntaxes are refused when the file is opened."""
    data = drawn(SMALL, ExplicitVRLittleEndian)
    old, new = b"1.2.840.10008.1.2.1\0", syntax.encode() + b"\0" * (len(syntax) % 2)
    data = data.replace(b"UI\x14\0" + old, b"UI" + struct.pack("<H", len(new)) + new)
    with pytest.raises(RefusedError, match=r"dicom\.unsupported_syntax"):
        DicomFile(data)


def test_what_stands_in_the_preamble_does_not_matter() -> None:
    """A file that is also an ELF program reads like any other; one without preamble needs its SOP class."""
    data = real("CT_small.dcm")
    assert outcome(b"\x7fELF" + data[4:]) == "plane"
    bare = data[min(boundaries(data)) - 8 :]
    assert outcome(bare) == "plane"
    np.testing.assert_array_equal(DicomFile(bare).plane(0).pixels, DicomFile(data).plane(0).pixels)
    assert outcome(real("OT-PAL-8-face.dcm")) == "plane"
    assert DicomFile(real("rtstruct.dcm")).header.kind == "rtstruct"
    unnamed = bare.replace(b"1.2.840.10008.5.1.4.1.1.2\0", b"1.2.840.99999.5.1.4.1.1.2\0")
    assert outcome(unnamed) == "dicom.not_dicom"


def test_implicit_files_are_walked_too() -> None:
    """Implicit VR has no VRs to go by; cuts are found by lengths and by what is missing."""
    data = drawn(SMALL, ImplicitVRLittleEndian, PatientName="Doe^J")
    pixels = parse(data).elements[0x7FE00010].start - 8
    assert {outcome(data[:cut]) for cut in range(340, pixels)} <= {"dicom.truncated"}


def test_a_death_in_gdcm_is_a_refusal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """When the helper process dies or hangs the frame is refused, and the next one gets a new helper."""
    for name, script in (("dies.py", "import os; os._exit(1)"), ("hangs.py", "import time; time.sleep(60)")):
        (tmp_path / name).write_text(script)
        monkeypatch.setattr(sandbox, "WORKER", tmp_path / name)
        monkeypatch.setattr(sandbox, "TIMEOUT_S", 0.5)
        sandbox.gdcm.close()
        with pytest.raises(RefusedError, match="gdcm died or took too long"):
            DicomFile(real("JPEG-LL.dcm")).plane(0)
        monkeypatch.undo()
        plane = DicomFile(real("JPEG-LL.dcm")).plane(0)
        np.testing.assert_array_equal(plane.values, pixel_array(header_of("JPEG-LL.dcm")))


def test_what_gdcm_prints_is_evidence() -> None:
    """A JPEG Lossless frame cut in its middle, its end put back, decodes with a printed warning: it is refused."""
    dataset = header_of("JPEG-LL.dcm")
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    for keep, code in ((1.0, "plane"), (0.9, "dicom.decode"), (0.5, "dicom.decode")):
        cut = frame.rstrip(b"\0")[: int(len(frame) * keep) - 3] + b"\xff\xd9"
        dataset.PixelData = encapsulate([cut])
        assert outcome(as_bytes(dataset, JPEGLosslessSV1)) == code
