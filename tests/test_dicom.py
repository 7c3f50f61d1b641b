"""DICOM headers and pixels: what a file says is what a plane shows, by the formulas of the standard."""

from __future__ import annotations

import io
import logging
import warnings
from collections import Counter
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import apply_color_lut, pixel_array
from pydicom.uid import ExplicitVRBigEndian, JPEGBaseline8Bit

from dicom_files import AXIAL, drawn, every_file, header_of, real, sequence
from medtrinity25m.errors import ConfigError, RefusedError
from medtrinity25m.readers.dicom import DicomFile
from medtrinity25m.readers.window import PRESETS

REFUSED = {  # the files of both packages that no plane comes from, and why
    "JPEG-lossy.dcm": "dicom.unsupported_syntax",  # JPEG Extended, 12 bits
    "JPGExtended.dcm": "dicom.unsupported_syntax",
    "JPEG2000-embedded-sequence-delimiter.dcm": "dicom.decode",  # its codestream was overwritten for a test
    "MR_truncated.dcm": "dicom.pixel_short",
    "emri_small_jpeg_2k_lossless_too_short.dcm": "dicom.pixel_short",  # the sequence delimiter is cut off
    "rtplan_truncated.dcm": "dicom.truncated",
    "DICOMDIR-nooffset": "dicom.truncated",
    "badVR.dcm": "dicom.bad_geometry",  # Number of Frames is "1A"
    "meta_missing_tsyntax.dcm": "dicom.bad_geometry",
    "nested_priv_SQ.dcm": "dicom.bad_geometry",
    "no_meta.dcm": "dicom.not_dicom",  # a stray byte before the data set
}
HEADERS_ONLY = ("IM0000", "chr", "UN_sequence", "no_meta_group_length", "priv_SQ")  # an image class, no pixels
GREYS = np.linspace(-1200, 2000, 64 * 64).reshape(64, 64).astype(np.int16)
CT = {"Modality": "CT", "RescaleSlope": 1, "RescaleIntercept": 0, "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"]}


def window(values: NDArray[Any], center: float, width: float) -> NDArray[np.int16]:
    """PS3.3 C.11.2.1.2.1 word for word, to 0..255."""
    y = ((values - (center - 0.5)) / (width - 1) + 0.5) * 255
    y = np.where(values <= center - 0.5 - (width - 1) / 2, 0, y)
    return np.rint(np.where(values > center - 0.5 + (width - 1) / 2, 255, y)).astype(np.int16)


def exact(values: NDArray[Any], center: float, width: float) -> NDArray[np.int16]:
    """PS3.3 C.11.2.1.3.2 word for word, to 0..255."""
    y = np.clip(((values - center) / width + 0.5) * 255, 0, 255)
    return np.rint(y).astype(np.int16)


def close(pixels: NDArray[np.uint8], expected: NDArray[Any]) -> None:
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(np.int16) - expected).max() <= 1


def test_every_file_gives_planes_or_a_reason() -> None:
    """Each file of pydicom and pydicom-data gives its first and last plane, or the refusal that is written down."""
    kinds: Counter[str] = Counter()
    for path in every_file():
        code = None
        try:
            file = DicomFile(path.read_bytes())
            kinds[file.header.kind] += 1
            for index in {0, file.count - 1} if file.header.kind == "image" else ():
                plane = file.plane(index)
                assert plane.pixels.shape[:2] == (file.header.rows, file.header.columns)
                assert plane.pixels.size == file.cost(index)
                assert plane.encoded is None
        except RefusedError as refusal:
            code = refusal.code
        foreign = path.suffix in (".txt", ".icc", ".dump", ".json", ".gz") or path.name == "README"
        bare = path.name.startswith(HEADERS_ONLY) and code is not None
        expected = "dicom.not_dicom" if foreign else "dicom.truncated" if bare else None
        assert code == REFUSED.get(path.name, expected), path.name
    assert kinds == {"image": 164, "other": 15, "segmentation": 4, "rtstruct": 1}


@pytest.mark.parametrize(
    "names",
    [
        "MR_small MR_small_RLE MR_small_bigendian MR_small_expb MR_small_implicit MR_small_jp2klossless "
        "MR_small_jpeg_ls_lossless MR_small_padded",
        "emri_small emri_small_RLE emri_small_big_endian emri_small_jpeg_2k_lossless emri_small_jpeg_ls_lossless",
        "693_UNCI 693_J2KI",
        "693_UNCR 693_J2KR",
        "RG1_UNCI RG1_J2KI",
        "SC_rgb SC_rgb_rle SC_rgb_expb SC_rgb_gdcm2k_uncompressed SC_rgb_jpeg_gdcm",
        "OBXXXX1A OBXXXX1A_rle OBXXXX1A_expb",
        "rtdose rtdose_rle rtdose_expb",
        "gdcm-US-ALOKA-16 gdcm-US-ALOKA-16_big",
    ],
)
def test_transfer_syntaxes_decode_alike(names: str) -> None:
    """One image in several transfer syntaxes gives one array of pixels and one of values."""
    first, *others = (DicomFile(real(f"{name}.dcm")) for name in names.split())
    for index in {0, first.count - 1}:
        expected = first.plane(index)
        for other in others:
            plane = other.plane(index)
            np.testing.assert_array_equal(plane.pixels, expected.pixels)
            assert (plane.values is None) == (expected.values is None)
            if expected.values is not None:
                np.testing.assert_array_equal(plane.values, expected.values)


@pytest.mark.parametrize("name", ["MR2_UNCR.dcm", "693_UNCR.dcm", "RG1_UNCR.dcm", "RG3_UNCR.dcm", "6154", "17106"])
def test_the_header_window_is_the_standards(name: str) -> None:
    """The first window of a header, on rescaled values; MONOCHROME1 comes out inverted."""
    dataset = header_of(name)
    values = pixel_array(dataset).astype(float) * dataset.get("RescaleSlope", 1) + dataset.get("RescaleIntercept", 0)
    expected = window(values, dataset.WindowCenter, dataset.WindowWidth)
    plane = DicomFile(real(name)).plane(0)
    close(plane.pixels, 255 - expected if dataset.PhotometricInterpretation == "MONOCHROME1" else expected)
    assert plane.window is not None
    assert (plane.window.center, plane.window.width) == (dataset.WindowCenter, dataset.WindowWidth)
    assert plane.window.name == "header"
    assert plane.values is not None
    np.testing.assert_allclose(plane.values, values)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_applied_to_hounsfield_units(preset: Any) -> None:
    """A preset named by the source overrules a CT's own window and is recorded under its name."""
    dataset = header_of("693_UNCR.dcm")
    values = pixel_array(dataset).astype(float) * dataset.RescaleSlope + dataset.RescaleIntercept
    plane = DicomFile(real("693_UNCR.dcm"), preset).plane(0)
    close(plane.pixels, exact(values, *PRESETS[preset]))
    assert plane.window is not None
    assert plane.window.name == preset
    assert plane.values_unit == "HU"


def test_a_preset_means_nothing_without_hounsfield_units() -> None:
    """On MR a CT preset is left alone and the header's window holds; a stated window applies to anything."""
    by_preset = DicomFile(real("MR_small.dcm"), "lung").plane(0)
    by_header = DicomFile(real("MR_small.dcm")).plane(0)
    np.testing.assert_array_equal(by_preset.pixels, by_header.pixels)
    stated = DicomFile(real("MR_small.dcm"), (500.0, 300.0)).plane(0)
    assert by_header.values is not None
    close(stated.pixels, exact(by_header.values, 500, 300))
    assert stated.window is not None
    assert stated.window.name == "source"
    with pytest.raises(ConfigError):
        DicomFile(real("MR_small.dcm"), (500.0, 0.0))


def test_without_a_window_percentiles_show_the_patient() -> None:
    """CT_small has no window: the 0.5th and 99.5th percentile of its values, padding left out."""
    dataset = header_of("CT_small.dcm")
    stored = pixel_array(dataset).astype(float)
    inside = stored[stored != dataset.PixelPaddingValue] * dataset.RescaleSlope + dataset.RescaleIntercept
    low, high = np.percentile(inside, [0.5, 99.5])
    plane = DicomFile(real("CT_small.dcm")).plane(0)
    close(plane.pixels, exact(stored + dataset.RescaleIntercept, (low + high) / 2, high - low))
    assert plane.window is not None
    assert plane.window.name == "percentile"


def test_padding_does_not_move_the_window() -> None:
    """A file whose border is padding shows its inside as the same file without the border would."""
    inside = np.arange(1000, 1000 + 32 * 32, dtype=np.int16).reshape(32, 32)
    padded = np.full((64, 64), -2000, np.int16)
    padded[16:48, 16:48] = inside
    framed = DicomFile(drawn(padded, PixelPaddingValue=-2000)).plane(0).pixels[16:48, 16:48]
    np.testing.assert_array_equal(framed, DicomFile(drawn(inside)).plane(0).pixels)
    ranged = drawn(padded, PixelPaddingValue=-2000, PixelPaddingRangeLimit=-1000)
    np.testing.assert_array_equal(DicomFile(ranged).plane(0).pixels[16:48, 16:48], framed)


def test_the_body_part_chooses_a_preset() -> None:
    """A CT of the pancreas without a window of its own is shown in soft tissue, the head as brain."""
    plane = DicomFile(real("explicit_VR-UN.dcm")).plane(0)
    assert plane.window is not None
    assert plane.window.name == "soft_tissue"
    brain = DicomFile(drawn(GREYS, **CT, BodyPartExamined="BRAIN")).plane(0)
    close(brain.pixels, exact(GREYS, 40, 80))
    magnetic = DicomFile(drawn(GREYS, Modality="MR", BodyPartExamined="BRAIN")).plane(0)
    assert magnetic.window is not None
    assert magnetic.window.name == "percentile"


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (None, window(GREYS, 40, 400)),
        ("LINEAR", window(GREYS, 40, 400)),
        ("LINEAR_EXACT", exact(GREYS, 40, 400)),
        ("SIGMOID", np.rint(255 / (1 + np.exp(-4 * (GREYS - 40.0) / 400)))),
    ],
)
def test_voi_functions(function: str | None, expected: NDArray[Any]) -> None:
    """The three VOI LUT functions of PS3.3 C.11.2.1."""
    plane = DicomFile(drawn(GREYS, WindowCenter=[40, 9], WindowWidth=[400, 9], VOILUTFunction=function)).plane(0)
    close(plane.pixels, expected)


@pytest.mark.parametrize("width", [0, -5, 0.5])
def test_a_window_without_width_is_passed_over(width: float) -> None:
    """A width of zero, below zero, or below 1 for LINEAR is no window: the next rule holds."""
    plane = DicomFile(drawn(GREYS, WindowCenter=40, WindowWidth=width)).plane(0)
    assert plane.window is not None
    assert plane.window.name == "percentile"


def test_eight_bits_without_a_window_stay_as_stored() -> None:
    """8-bit MONOCHROME2 without rescale and window comes out unchanged, MONOCHROME1 inverted and nothing else."""
    stored = np.arange(256, dtype=np.uint8).reshape(16, 16)
    plane = DicomFile(drawn(stored)).plane(0)
    np.testing.assert_array_equal(plane.pixels, stored)
    assert plane.window is None
    inverted = DicomFile(drawn(stored, PhotometricInterpretation="MONOCHROME1")).plane(0)
    np.testing.assert_array_equal(inverted.pixels, 255 - stored)


def test_fewer_bits_fill_the_range() -> None:
    """One bit becomes black and white; six bits in eight are stretched and the window says so."""
    bits = np.random.default_rng(3).integers(0, 2, (2, 8, 12)).astype(np.uint8)
    packed = np.packbits(bits.ravel(), bitorder="little").tobytes()
    one = DicomFile(drawn(bits, BitsAllocated=1, BitsStored=1, NumberOfFrames=2, PixelData=packed))
    np.testing.assert_array_equal(one.plane(1).pixels, bits[1] * 255)
    six = DicomFile(drawn(np.arange(64, dtype=np.uint8).reshape(8, 8), BitsStored=6)).plane(0)
    np.testing.assert_array_equal(six.pixels, np.rint(np.arange(64).reshape(8, 8) * 255 / 63))
    assert six.window is not None
    assert six.window.name == "full_range"


def test_a_modality_lut_gives_the_values() -> None:
    """mlut_18: the values are the entries that PS3.3 C.11.1 looks up, first value and ends respected."""
    dataset = header_of("mlut_18.dcm")
    item = dataset.ModalityLUTSequence[0]
    count, start, _ = item.LUTDescriptor
    table = np.frombuffer(item.LUTData, "<u2") if isinstance(item.LUTData, bytes) else np.array(item.LUTData)
    expected = table[np.clip(pixel_array(dataset).astype(int) - start, 0, (count or 65536) - 1)]
    plane = DicomFile(real("mlut_18.dcm")).plane(0)
    np.testing.assert_array_equal(plane.values, expected)


def test_a_voi_lut_gives_the_greys() -> None:
    """vlut_04: the greys are the entries that PS3.3 C.11.2.1.1 looks up, scaled to 8 bits."""
    dataset = header_of("vlut_04.dcm")
    item = dataset.VOILUTSequence[0]
    count, start, bits = item.LUTDescriptor
    table = np.frombuffer(item.LUTData, "<u2") if isinstance(item.LUTData, bytes) else np.array(item.LUTData)
    looked_up = table[np.clip(pixel_array(dataset).astype(int) - start, 0, (count or 65536) - 1)]
    plane = DicomFile(real("vlut_04.dcm")).plane(0)
    close(plane.pixels, np.rint(looked_up * 255 / (2**bits - 1)).astype(int))
    assert plane.window is not None
    assert plane.window.name == "voi_lut"


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", ExplicitVRBigEndian])
def test_an_eight_bit_table_for_twelve_bit_pixels_does_not_wrap(syntax: str) -> None:
    """A VOI LUT with 4,096 entries of 8 bits is indexed by the pixel, not by the pixel modulo 256."""
    stored = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    entries = (np.arange(4096) // 16).astype(np.uint8)
    table = sequence({"LUTDescriptor": [4096, 0, 8], "LUTData": [int(entry) for entry in entries]})
    table[0]["LUTData"].VR = table[0]["LUTDescriptor"].VR = "US"
    data = stored.astype(">u2" if syntax == ExplicitVRBigEndian else "<u2").tobytes()
    plane = DicomFile(drawn(stored, syntax, BitsStored=12, VOILUTSequence=table, PixelData=data)).plane(0)
    np.testing.assert_array_equal(plane.pixels, entries.reshape(64, 64))


def test_palettes_become_rgb() -> None:
    """PALETTE COLOR pixels are looked up in the three tables, whose 16 bits are cut to the upper 8."""
    dataset = header_of("examples_palette.dcm")
    tables = [np.frombuffer(dataset[f"{c}PaletteColorLookupTableData"].value, "<u2") for c in ("Red", "Green", "Blue")]
    expected = np.stack([table[pixel_array(dataset)] >> 8 for table in tables], axis=-1)
    plane = DicomFile(real("examples_palette.dcm")).plane(0)
    np.testing.assert_array_equal(plane.pixels, expected)
    assert (plane.values, plane.window) == (None, None)


def test_segmented_palettes_become_rgb() -> None:
    """A segmented palette (PS3.3 C.7.9.2) gives what pydicom's expansion of it gives."""
    dataset = header_of("gdcm-US-ALOKA-16.dcm")
    expected = apply_color_lut(pixel_array(dataset), dataset) >> 8
    np.testing.assert_array_equal(DicomFile(real("gdcm-US-ALOKA-16.dcm")).plane(0).pixels, expected)


def test_ybr_becomes_rgb_by_the_formula() -> None:
    """The first and last frame of a colour cine: PS3.3 C.7.6.3.1.2 on what the JPEG holds."""
    dataset = header_of("examples_ybr_color.dcm")
    file = DicomFile(real("examples_ybr_color.dcm"))
    frames = list(generate_frames(dataset.PixelData, number_of_frames=30))
    for index in (0, 29):
        with Image.open(io.BytesIO(frames[index])) as image:
            image.draft("YCbCr", image.size)
            y, b, r = np.moveaxis(np.asarray(image).astype(float), -1, 0)
        rgb = [y + 1.402 * (r - 128), y - 0.344136 * (b - 128) - 0.714136 * (r - 128), y + 1.772 * (b - 128)]
        close(file.plane(index).pixels, np.clip(np.stack(rgb, axis=-1), 0, 255))
    assert file.count == 30


@pytest.mark.parametrize("bits", [8, 16, 32])
def test_colour_is_scaled_by_bits_stored(bits: int) -> None:
    """RGB of 8 bits stays as it is; deeper RGB is scaled to 8 and recorded as the full range."""
    eight = np.random.default_rng(1).integers(0, 256, (6, 7, 3))
    deep = (eight * ((2**bits - 1) // 255)).astype(f"u{bits // 8}")
    plane = DicomFile(drawn(deep)).plane(0)
    np.testing.assert_array_equal(plane.pixels, eight)
    assert (plane.window.name if plane.window else None) == (None if bits == 8 else "full_range")


def test_frames_in_several_fragments_are_joined() -> None:
    """Frames that are split into fragments are found by the Basic Offset Table, or by their end without one."""
    dataset = header_of("examples_ybr_color.dcm")
    frames = list(generate_frames(dataset.PixelData, number_of_frames=30))[:3]
    expected = DicomFile(real("examples_ybr_color.dcm"))
    shown = {"Rows": 240, "Columns": 320, "NumberOfFrames": 3, "PhotometricInterpretation": "YBR_FULL_422"}
    for table in (True, False):
        split = encapsulate(frames, fragments_per_frame=2, has_bot=table)
        file = DicomFile(drawn(np.zeros((2, 2, 3), np.uint8), JPEGBaseline8Bit, PixelData=split, **shown))
        for index in range(3):
            np.testing.assert_array_equal(file.plane(index).pixels, expected.plane(index).pixels)


def test_what_pydicom_has_to_say_stays_inside(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Values that pydicom warns about, quoting them, reach neither warnings, nor logs, nor the console."""
    data = drawn(GREYS, BodyPartExamined="ABDOMENS", PatientID="X", InstanceNumber=40, WindowWidth=400)
    data = data.replace(b"ABDOMENS", b"Doe^Jane").replace(b"IS\2\x0040", b"IS\2\x004D")
    with warnings.catch_warnings(record=True) as seen, caplog.at_level(logging.DEBUG):
        warnings.simplefilter("always")
        file = DicomFile(data)
        file.plane(0)
    assert not seen
    assert not caplog.records
    assert capfd.readouterr() == ("", "")
    assert (file.header.patient_id, file.header.body_part, file.header.instance_number) == ("X", "Doe^Jane", None)


def test_a_file_without_pixels_has_a_header_and_no_planes() -> None:
    """Reports and plans open as `other`: their header is there, a plane is refused."""
    for name in ("reportsi.dcm", "rtplan.dcm", "waveform_ecg.dcm", "ExplVR_LitEndNoMeta.dcm"):
        file = DicomFile(real(name))
        assert (file.header.kind, file.count) == ("other", 0)
        with pytest.raises(RefusedError, match=r"dicom\.no_pixels"):
            file.plane(0)
    with pytest.raises(RefusedError, match=r"dicom\.no_such_frame"):
        DicomFile(real("CT_small.dcm")).plane(1)


def test_per_frame_groups_hold_for_their_frame() -> None:
    """Rescale, window, place and spacing of a multi-frame file are each frame's own, else shared."""
    frames = [
        {
            "PixelValueTransformationSequence": sequence(
                {"RescaleSlope": 1, "RescaleIntercept": -1000 * i, "RescaleType": "HU"}
            ),
            "FrameVOILUTSequence": sequence({"WindowCenter": 40 * i, "WindowWidth": 400}),
            "PlanePositionSequence": sequence({"ImagePositionPatient": [0, 0, 5 * i]}),
        }
        for i in range(2)
    ]
    shared = {
        "PlaneOrientationSequence": sequence({"ImageOrientationPatient": AXIAL}),
        "PixelMeasuresSequence": sequence({"PixelSpacing": [0.5, 0.25]}),
    }
    stack = np.stack([GREYS, GREYS + 100])
    data = drawn(
        stack,
        Modality="CT",
        SOPClassUID="1.2.840.10008.5.1.4.1.1.2.1",
        NumberOfFrames=2,
        SharedFunctionalGroupsSequence=sequence(shared),
        PerFrameFunctionalGroupsSequence=sequence(*frames),
    )
    file = DicomFile(data)
    for index in range(2):
        plane = file.plane(index)
        values = stack[index] - 1000.0 * index
        np.testing.assert_array_equal(plane.values, values)
        close(plane.pixels, window(values, 40 * index, 400))
        assert (plane.values_unit, plane.view, plane.spacing_mm) == ("HU", "axial", (0.5, 0.25))
        assert file.header.geometry[index].position == (0, 0, 5 * index)
