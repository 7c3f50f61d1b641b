"""From marks to annotations: boxes, outlines, run lengths and mask files land on the pixels they were drawn on."""

from __future__ import annotations

import gzip
import hashlib
import io
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError

from medtrinity25m.errors import ConfigError, RefusedError
from medtrinity25m.readers import safe
from medtrinity25m.readers.marks import MaskCache, annotate, decode_coco_rle, fill
from medtrinity25m.readers.raster import orient_array
from medtrinity25m.readers.record import BoxMark, FileMark, OverlayMark, Plane, PolygonMark, RleMark
from medtrinity25m.readers.safe import Jail
from medtrinity25m.triplet import Annotation
from packages import package_file

HEIGHT, WIDTH = 6, 9
REGION = np.zeros((HEIGHT, WIDTH), np.bool_)
REGION[1:3, 2:7] = True
REGION[4, 8] = True


def plane(orientation: int = 1, height: int = HEIGHT, width: int = WIDTH) -> Plane:
    """A picture whose stored sides are given, turned by an EXIF orientation."""
    return Plane(pixels=orient_array(np.zeros((height, width), np.uint8), orientation), orientation=orientation)


def png(array: NDArray[Any], **options: Any) -> bytes:
    """A PNG of an array."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG", **options)
    return buffer.getvalue()


@pytest.fixture
def jail(tmp_path: Path) -> Jail:
    """An empty source folder."""
    return Jail(tmp_path)


def put(jail: Jail, name: str, data: bytes, **fields: Any) -> FileMark:
    """Write a mask file; return the mark that names it."""
    (jail.root / name).write_bytes(data)
    return FileMark(**({"path": name, "sha256": hashlib.sha256(data).hexdigest(), "label": "lesion"} | fields))


def marked(jail: Jail, *marks: Any, on: Plane | None = None, **options: Any) -> tuple[Annotation, ...]:
    """Annotate a picture with a fresh cache."""
    return annotate(marks, plane() if on is None else on, jail, MaskCache(1 << 20), **options)


def code_of(jail: Jail, *marks: Any, **options: Any) -> str:
    """The code that marks are refused with."""
    with pytest.raises(RefusedError) as caught:
        marked(jail, *marks, **options)
    return caught.value.code


def test_a_box_is_given_as_drawn(jail: Jail) -> None:
    """A box keeps its corners, also fractions of pixels and what lies outside; fractions of the size are scaled."""
    boxes = (
        BoxMark(label="a", xyxy=(1.5, -2, 4, 100)),
        BoxMark(label="b", xyxy=(0.0, 0.5, 0.5, 1.0), unit="fraction"),
    )
    one, two = marked(jail, *boxes)
    assert (one.label, one.box) == ("a", (1.5, -2, 4, 100))
    assert (two.label, two.box) == ("b", (0, 3, 4.5, 6))


@pytest.mark.parametrize("corner", [math.nan, math.inf, -math.inf])
def test_a_box_without_numbers_is_no_mark(corner: float) -> None:
    """A corner that is NaN or infinite, as JSON may hold it, never reaches a plan."""
    with pytest.raises(ValidationError, match="finite"):
        BoxMark(label="a", xyxy=(0, 0, corner, 2))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_drawings_turn_with_the_image(jail: Jail, orientation: int) -> None:
    """Box, outline, run lengths and a mask file of one region cover the same pixels after any EXIF orientation."""
    x0, y0, x1, y1 = 2, 1, 7, 3
    stored = np.zeros((HEIGHT, WIDTH), np.bool_)
    stored[y0:y1, x0:x1] = True
    ring = tuple(number - 0.5 for number in (x0, y0, x1, y0, x1, y1, x0, y1))
    runs = np.diff(np.flatnonzero(np.diff(np.concatenate([[2], stored.T.ravel(), [2]]).astype(int)))).tolist()
    shown = orient_array(stored, orientation)
    rows, columns = np.nonzero(shown)
    box, *masks = marked(
        jail,
        BoxMark(label="a", xyxy=(x0, y0, x1, y1)),
        PolygonMark(label="a", rings=(ring,)),
        RleMark(label="a", size=(HEIGHT, WIDTH), counts=tuple(runs)),
        put(jail, "m.png", png(stored), mask_kind="binary"),
        on=plane(orientation),
    )
    assert box.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert len(masks) == 3
    for annotation in masks:
        np.testing.assert_array_equal(annotation.mask, shown)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_mask_with_its_own_orientation_fits_the_shown_image(jail: Jail, orientation: int) -> None:
    """A mask file that says how it is to be turned is turned by that alone, whatever the image says."""
    tags = Image.Exif()
    tags[0x0112] = orientation
    upright = REGION if orientation < 5 else REGION.T
    mark = put(jail, "m.png", png(upright, exif=tags), mask_kind="binary")
    shown = orient_array(upright, orientation)
    (found,) = marked(jail, mark, on=plane(1, *shown.shape))
    np.testing.assert_array_equal(found.mask, shown)
    (turned,) = marked(jail, mark, on=plane(6, shown.shape[1], shown.shape[0]))
    np.testing.assert_array_equal(turned.mask, shown)


def inside(rings: tuple[tuple[float, ...], ...], x: int, y: int) -> bool:
    """The even-odd rule for one point, by counting the edges left of it, exactly as Sunday's textbook has it."""
    count = 0
    for ring in rings:
        points = list(zip(ring[::2], ring[1::2], strict=True))
        for (ax, ay), (bx, by) in zip(points, points[1:] + points[:1], strict=True):
            if (ay <= y) != (by <= y) and ax + Fraction(y - ay) * Fraction(bx - ax) / Fraction(by - ay) <= x:
                count += 1
    return count % 2 == 1


COORDINATE = st.integers(-12, 40).map(lambda quarter: quarter / 4)  # exact in binary, so that edges are met exactly
RING = st.lists(COORDINATE, min_size=0, max_size=8).map(lambda ring: tuple(ring + ring[::-1]))


@settings(deadline=None)
@given(st.lists(RING, max_size=3).map(tuple))
@example(((0.0, 0.0, 4.0, 0.0, 4.0, 4.0, 0.0, 4.0), (1.0, 1.0, 3.0, 1.0, 3.0, 3.0, 1.0, 3.0)))
def test_outlines_are_filled_by_the_even_odd_rule(rings: tuple[tuple[float, ...], ...]) -> None:
    """A pixel is inside exactly when its centre is, holes and crossings included, in any direction of drawing."""
    mask = fill(rings, (HEIGHT, WIDTH))
    expected = [[inside(rings, x, y) for x in range(WIDTH)] for y in range(HEIGHT)]
    np.testing.assert_array_equal(mask, expected)


@given(st.integers(0, WIDTH), st.integers(0, WIDTH), st.integers(0, HEIGHT), st.integers(0, HEIGHT))
def test_outlines_along_pixel_edges_enclose_their_pixels(x0: int, x1: int, y0: int, y1: int) -> None:
    """A COCO rectangle, moved by half a pixel, covers width times height pixels; neighbours share none."""
    (x0, x1), (y0, y1) = sorted((x0, x1)), sorted((y0, y1))
    ring = tuple(number - 0.5 for number in (x0, y0, x1, y0, x1, y1, x0, y1))
    mask = fill((ring,), (HEIGHT, WIDTH))
    assert mask.sum() == mask[y0:y1, x0:x1].sum() == (x1 - x0) * (y1 - y0)


def test_a_circle_has_its_area() -> None:
    """A fine outline of a circle covers its area to half a percent, and agrees with scikit-image but on the edge."""
    angles = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    ring = np.stack([200 + 150 * np.cos(angles), 180 + 150 * np.sin(angles)], axis=1)
    mask = fill((tuple(ring.ravel()),), (400, 400))
    assert mask.sum() == pytest.approx(np.pi * 150**2, rel=0.005)
    draw = pytest.importorskip("skimage.draw")
    assert (mask != draw.polygon2mask((400, 400), ring[:, ::-1])).sum() <= 8


def test_an_outline_of_an_odd_number_of_coordinates_is_refused(jail: Jail) -> None:
    """Half a point is no point; what is not finite never reaches a plan."""
    assert code_of(jail, PolygonMark(label="a", rings=((1.0, 2.0, 3.0),))) == "mask.bad_polygon"
    with pytest.raises(ValidationError, match="finite"):
        PolygonMark(label="a", rings=((0.0, math.nan, 1.0, 1.0, 2.0, 0.0),))


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=10).map(lambda ring: (*ring, *ring)))
def test_any_numbers_make_an_outline(ring: tuple[float, ...]) -> None:
    """Coordinates of any size, up to the largest floats, fill something without a warning."""
    assert fill((ring,), (HEIGHT, WIDTH)).shape == (HEIGHT, WIDTH)


def test_what_covers_nothing_is_no_annotation(jail: Jail) -> None:
    """A contour of two points or beside the image and an empty mask file give nothing."""
    zeros = np.zeros((HEIGHT, WIDTH), np.uint8)
    marks = (
        PolygonMark(label="a", rings=((1, 1, 5, 5),)),
        PolygonMark(label="a", rings=((100, 1, 120, 1, 110, 5),)),
        PolygonMark(label="a", rings=()),
        put(jail, "b.png", png(zeros), mask_kind="binary"),
        put(jail, "i.png", png(zeros), mask_kind="instances"),
        put(jail, "c.png", png(zeros), mask_kind="classes", labels={"1": ("liver",)}),
    )
    assert marked(jail, *marks) == ()


@pytest.mark.parametrize(
    "mark",
    [
        RleMark(label="a", size=(HEIGHT, WIDTH), counts=(HEIGHT * WIDTH,)),
        PolygonMark(label="a", rings=((1, 1, 5, 5),), rule="union"),
    ],
)
def test_a_drawn_object_without_a_pixel_is_refused(jail: Jail, mark: RleMark | PolygonMark) -> None:
    """A COCO object that covers nothing is a fault of the file, as an empty box is."""
    assert code_of(jail, mark) == "mask.empty"


def test_the_parts_of_a_polygon_are_united(jail: Jail) -> None:
    """Overlapping parts of one COCO object count once and leave no hole; a DICOM ring in a ring is one."""
    rings = ((-0.5, -0.5, 5.5, -0.5, 5.5, 4.5, -0.5, 4.5), (0.5, 0.5, 3.5, 0.5, 3.5, 2.5, 0.5, 2.5))
    (united,) = marked(jail, PolygonMark(label="a", rings=rings, rule="union"))
    (holed,) = marked(jail, PolygonMark(label="a", rings=rings))

    assert (united.mask.sum(), holed.mask.sum()) == (30, 24)


KNOWN_RLE = {  # made once with pycocotools 2.0.11
    b";320009": ((5, 7), (11, 3, 2, 3, 2, 3, 11)),
    b"0<": ((3, 4), (0, 12)),
    b"`0": ((4, 4), (16,)),
    b"T^2b^1jn1": ((2000, 3), (2500, 1490, 2010)),
}


@pytest.mark.parametrize("text", KNOWN_RLE)
def test_cocos_string_is_decoded(text: bytes) -> None:
    """Strings of the COCO API give its run lengths, as bytes and as text; plain lists are passed on."""
    size, runs = KNOWN_RLE[text]
    assert decode_coco_rle(text, size) == runs
    assert decode_coco_rle(text.decode(), size) == runs
    assert decode_coco_rle(list(runs), size) == runs


@given(arrays(np.bool_, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_the_coco_api_agrees(mask: NDArray[np.bool_]) -> None:
    """Whatever the COCO API encodes comes back as the same mask."""
    api = pytest.importorskip("pycocotools.mask")
    encoded = api.encode(np.asfortranarray(mask.astype(np.uint8)))
    runs = decode_coco_rle(encoded["counts"], mask.shape)
    values = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    np.testing.assert_array_equal(values.reshape(mask.shape[::-1]).T, mask)


@pytest.mark.parametrize("counts", [
    b";32000", b";320009" * 2, "", [], [35, 1], [-1, 36], [30.5, 4.5], "é!", b"\x10", "o" * 40, "P", [10, 20],
])  # fmt: skip
def test_run_lengths_that_do_not_fill_the_mask(counts: Any) -> None:
    """Damaged strings, negative, broken or missing numbers and wrong sums are refused."""
    with pytest.raises(RefusedError) as caught:
        decode_coco_rle(counts, (5, 7))
    assert caught.value.code == "mask.bad_rle"


@given(st.binary(max_size=40) | st.text(max_size=20) | st.lists(st.integers(), max_size=6))
def test_any_run_lengths_are_runs_or_a_reason(counts: bytes | str | list[int]) -> None:
    """No input makes decoding fail in another way."""
    try:
        runs = decode_coco_rle(counts, (4, 5))
    except RefusedError:
        return
    assert sum(runs) == 20


def test_run_lengths_go_down_columns(jail: Jail) -> None:
    """The second pixel of a run is below the first."""
    (found,) = marked(jail, RleMark(label="a", size=(HEIGHT, WIDTH), counts=(1, 2, HEIGHT * WIDTH - 3)))
    assert found.mask is not None
    assert np.argwhere(found.mask).tolist() == [[1, 0], [2, 0]]


def test_every_nonzero_pixel_is_the_region(jail: Jail) -> None:
    """In a binary mask 1 and 255 mean the same, in PNG and in NIfTI."""
    values = REGION * np.uint8(255)
    values[1, 2] = 1
    (found,) = marked(jail, put(jail, "m.png", png(values), mask_kind="binary"))
    assert found.label == "lesion"
    np.testing.assert_array_equal(found.mask, REGION)


def test_classes_become_one_annotation_a_label(jail: Jail) -> None:
    """Values of one label are united, a value may belong to two, and 0 is background unless it has a label."""
    values = np.zeros((HEIGHT, WIDTH), np.uint8)
    values[0], values[1], values[2], values[3] = 1, 2, 3, 255
    labels = {"1": ("liver",), "2": ("liver",), "3": ("lesion", "liver"), "255": (), "7": ("kidney",)}
    mark = put(jail, "m.png", png(values), mask_kind="classes", label=None, labels=labels)
    found = {annotation.label: annotation.mask for annotation in marked(jail, mark)}
    assert sorted(found) == ["lesion", "liver"]
    np.testing.assert_array_equal(found["liver"], (values >= 1) & (values <= 3))
    np.testing.assert_array_equal(found["lesion"], values == 3)
    (zero, *_) = marked(jail, mark.with_(labels=labels | {"0": ("spleen",)}))
    assert zero.label == "spleen"
    np.testing.assert_array_equal(zero.mask, values == 0)


def test_an_unexplained_value_is_refused(jail: Jail) -> None:
    """A class that [labels] does not know is not dropped in silence; the refusal says how to map it."""
    mark = put(jail, "m.png", png(REGION * np.uint8(9)), mask_kind="classes", labels={"1": ("liver",)})
    with pytest.raises(RefusedError, match=r'value 9, .* to "background"') as caught:
        marked(jail, mark)
    assert caught.value.code == "label.unknown"


def test_instances_keep_their_numbers(jail: Jail) -> None:
    """An instance mask of 16 bits stays one map of numbers."""
    values = np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH) * 900
    (found,) = marked(jail, put(jail, "m.png", png(values), mask_kind="instances"))
    np.testing.assert_array_equal(found.instances, values)


def test_palette_masks_are_indices(jail: Jail) -> None:
    """The colours of a palette mask do not matter, its indices do."""
    image = Image.fromarray(REGION.astype(np.uint8) * 2, "L")
    image.putpalette([255, 255, 255, 9, 9, 9, 0, 0, 0])
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    mark = put(jail, "m.png", buffer.getvalue(), mask_kind="classes", labels={"2": ("liver",)})
    (found,) = marked(jail, mark)
    np.testing.assert_array_equal(found.mask, REGION)


def test_lossy_masks_are_dark_or_light(jail: Jail) -> None:
    """A binary mask saved as JPEG is cut at half, since ringing leaves low values around; as classes it is refused."""
    region = np.zeros((40, 40), np.uint8)
    region[8:30, 11:27] = 255
    buffer = io.BytesIO()
    Image.fromarray(region).save(buffer, "JPEG", quality=60)
    assert (np.asarray(Image.open(buffer)) > 0).sum() != (region > 0).sum()
    mark = put(jail, "m.jpg", buffer.getvalue(), mask_kind="binary")
    (found,) = marked(jail, mark, on=plane(1, 40, 40))
    np.testing.assert_array_equal(found.mask, region > 0)
    for kind in ("classes", "instances"):
        assert (
            code_of(jail, mark.with_(mask_kind=kind, labels={"255": ("liver",)}), on=plane(1, 40, 40)) == "mask.lossy"
        )


def test_pages_of_one_mark_are_united(jail: Jail) -> None:
    """Several pages of a TIFF mask cover together what each covers; the first that says something counts."""
    pages = [np.zeros((HEIGHT, WIDTH), np.uint8) for _ in range(3)]
    pages[0][0, 0], pages[1][0, :2], pages[2][5, 5] = 1, 2, 3
    buffer = io.BytesIO()
    first, *more = (Image.fromarray(page) for page in pages)
    first.save(buffer, "TIFF", save_all=True, append_images=more)
    mark = put(jail, "m.tif", buffer.getvalue(), mask_kind="instances", index=(0, 1))
    (found,) = marked(jail, mark)
    assert found.instances is not None
    assert found.instances[0, :3].tolist() == [1, 2, 0]
    assert found.instances[5, 5] == 0
    for index in ((3,), (-1,), ()):
        assert code_of(jail, mark.with_(index=index)) == "mask.index"


@pytest.mark.parametrize("axis", ["axial", "coronal", "sagittal"])
def test_slices_of_a_label_volume(jail: Jail, axis: Any) -> None:
    """A NIfTI mask is cut along the given axis, its slice chosen by the mark, in the picture's orientation."""
    volume = np.zeros((5, 6, 7), np.uint8)
    volume[4, 3, 2] = 6  # far right, in the middle, low
    data = gzip.compress(nib.Nifti1Image(volume, np.eye(4)).to_bytes())
    shape, index, pixel = {
        "axial": ((6, 5), 2, (2, 0)),
        "coronal": ((7, 5), 3, (4, 0)),
        "sagittal": ((7, 6), 4, (4, 2)),
    }[axis]
    mark = put(jail, "m.nii.gz", data, mask_kind="classes", labels={"6": ("liver",)}, index=(index,))
    (found,) = marked(jail, mark, on=plane(1, *shape), axis=axis)
    assert found.mask is not None
    assert np.argwhere(found.mask).tolist() == [list(pixel)]
    assert marked(jail, mark.with_(index=(0,)), on=plane(1, *shape), axis=axis) == ()


def test_sizes_must_agree(jail: Jail) -> None:
    """A mask of another size than its image is refused with both sizes, whatever kind it is."""
    wrong = np.ones((HEIGHT, WIDTH + 1), np.uint8)
    volume = nib.Nifti1Image(wrong.T[:, :, None], np.eye(4)).to_bytes()
    for mark in (
        put(jail, "m.png", png(wrong), mask_kind="binary"),
        put(jail, "m.nii", volume, mask_kind="binary"),
        RleMark(label="a", size=(HEIGHT, WIDTH + 1), counts=(0, HEIGHT * (WIDTH + 1))),
    ):
        with pytest.raises(RefusedError, match=r"6 x 10 .* 6 x 9") as caught:
            marked(jail, mark)
        assert caught.value.code == "mask.size_mismatch"
    turned = put(jail, "t.png", png(REGION), mask_kind="binary")
    assert code_of(jail, turned, on=plane(1, WIDTH, HEIGHT)) == "mask.size_mismatch"


def test_a_mask_that_changed_is_refused(jail: Jail) -> None:
    """A mask file with another hash than the plan's is not used; without a hash it is taken as it is."""
    mark = put(jail, "m.png", png(REGION), mask_kind="binary")
    (jail.root / "m.png").write_bytes(png(~REGION))
    assert code_of(jail, mark) == "file.changed"
    assert marked(jail, mark.with_(sha256=""))[0].mask is not None


def test_damage_and_absence_are_the_jails_business(jail: Jail) -> None:
    """A missing mask, one outside the folder, a truncated and a coloured one carry their own reasons."""
    colours = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    cases = {
        "file.missing": FileMark(path="none.png", mask_kind="binary", label="a"),
        "file.outside_root": FileMark(path="../", mask_kind="binary", label="a"),
        "raster.truncated": put(jail, "cut.png", png(REGION)[:-9], mask_kind="binary"),
        "raster.mask_colour": put(jail, "c.png", png(colours), mask_kind="binary"),
        "mask.format": put(jail, "s.png", png(REGION), mask_kind="segment"),
    }
    for code, mark in cases.items():
        assert code_of(jail, mark) == code


def test_a_region_without_a_name_is_a_mistake_in_the_config(jail: Jail) -> None:
    """A binary mask that nobody named is no fault of the file."""
    with pytest.raises(ConfigError, match="set mask_label"):
        marked(jail, put(jail, "m.png", png(REGION), mask_kind="binary", label=None))


def test_overlays_come_from_the_image(jail: Jail) -> None:
    """The region of an overlay group is asked of the image's file; an image that has none cannot be asked."""
    mark = OverlayMark(label="lesion", group=0x6002)
    asked: list[int] = []

    def overlay(group: int) -> NDArray[np.bool_]:
        asked.append(group)
        return REGION

    (found,) = marked(jail, mark, overlay=overlay)
    assert asked == [0x6002]
    np.testing.assert_array_equal(found.mask, REGION)
    assert code_of(jail, mark) == "mask.format"
    assert code_of(jail, mark, overlay=lambda group: REGION.T) == "mask.size_mismatch"


def test_frames_of_a_segmentation(jail: Jail) -> None:
    """Frames of a DICOM SEG are united to one region of the image's size; another kind of mask may not be DICOM."""
    data = package_file("pydicom", "data", "test_files", "liver_1frame.dcm").read_bytes()
    mark = put(jail, "seg.dcm", data, mask_kind="segment", label="liver")
    (found,) = marked(jail, mark, on=plane(1, 512, 512))
    assert found.label == "liver"
    assert found.mask is not None
    assert found.mask.shape == (512, 512)
    assert 1000 < found.mask.sum() < 512 * 256
    assert code_of(jail, mark) == "mask.size_mismatch"
    assert code_of(jail, mark.with_(mask_kind="binary"), on=plane(1, 512, 512)) == "mask.format"


def test_the_order_of_marks_is_kept(jail: Jail) -> None:
    """Annotations follow the marks, each with its own label."""
    marks = [BoxMark(label=name, xyxy=(0, 0, 1, 1)) for name in "cab"]
    assert [annotation.label for annotation in marked(jail, *marks)] == list("cab")


def test_mask_files_are_opened_once(jail: Jail, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices of one volume cost one read; what exceeds the cache is read again, the oldest forgotten first."""
    reads: list[str] = []
    real = safe.Jail.read

    def read(self: Jail, path: str) -> safe.Blob:
        reads.append(path)
        return real(self, path)

    monkeypatch.setattr(safe.Jail, "read", read)
    volume = nib.Nifti1Image(np.ones((WIDTH, HEIGHT, 4), np.uint8), np.eye(4)).to_bytes()
    marks = {name: put(jail, f"{name}.nii", volume, mask_kind="binary") for name in "abc"}
    cache = MaskCache(2 * WIDTH * HEIGHT * 4)
    for name, index in (("a", 0), ("a", 1), ("b", 3), ("a", 2), ("c", 0), ("a", 3), ("b", 0)):
        annotate([marks[name].with_(index=(index,))], plane(), jail, cache)
    assert reads == ["a.nii", "b.nii", "c.nii", "b.nii"]
    small = MaskCache(10)
    for _ in range(2):
        annotate([marks["a"]], plane(), jail, small)
    assert reads[4:] == ["a.nii", "a.nii"]


def test_the_cache_knows_axes_and_folders_apart(tmp_path: Path) -> None:
    """The same path in another folder, or along another axis, is another mask."""
    cache = MaskCache(1 << 20)
    volume = np.zeros((4, 4, 4), np.uint8)
    volume[0, 0, 3] = 1
    found = []
    for folder, array in (("one", volume), ("two", volume[::-1])):
        (tmp_path / folder).mkdir()
        jail = Jail(tmp_path / folder)
        mark = put(jail, "m.nii", nib.Nifti1Image(array.copy(), np.eye(4)).to_bytes(), mask_kind="binary", sha256="")
        for axis, index in (("axial", 3), ("coronal", 0)):
            (annotation,) = annotate([mark.with_(index=(index,))], plane(1, 4, 4), jail, cache, axis=axis)
            assert annotation.mask is not None
            found.append(np.argwhere(annotation.mask).tolist())
    assert found == [[[3, 3]], [[0, 3]], [[3, 0]], [[0, 0]]]
