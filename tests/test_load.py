"""From records to samples."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from medtrinity25m.keys import Key
from medtrinity25m.readers.expand import Expand
from medtrinity25m.readers.layouts import list_source
from medtrinity25m.readers.load import Loader
from medtrinity25m.readers.safe import Jail
from medtrinity25m.registry import load_source

COCO = """{{"images": [{{"id": 1, "file_name": "a.jpg", "height": {height}, "width": {width}}}],
"categories": [{{"id": 1, "name": "polyp"}}],
"annotations": [{{"id": 1, "image_id": 1, "category_id": 1, "bbox": {box}}}]}}"""


@pytest.fixture
def loaded(source_toml, tmp_path):
    """List, expand and load the folder `data`."""

    def make(text: str):
        source, jail = load_source(source_toml(text)), Jail(tmp_path / "data")
        expand = Expand(source, jail, Key(b"k" * 16))
        records = [record for entry in list_source(source, jail).entries for record in expand(entry)]
        return list(Loader(source, jail)(records)), records

    return make


@pytest.mark.parametrize(
    ("size", "box", "expected"),
    [
        ((20, 40), [0, 0, 10, 5], (15.0, 0.0, 20.0, 10.0)),  # drawn as stored: turned with the image
        ((40, 20), [15, 0, 5, 10], (15.0, 0.0, 20.0, 10.0)),  # drawn as shown: left alone
    ],
)
def test_a_coco_box_is_read_on_the_image_whose_size_the_file_gives(loaded, tmp_path, size, box, expected):
    """EXIF 6 turns a stored 40 x 20 picture to 20 x 40; `width` and `height` say on which of them the box lies."""
    (tmp_path / "data" / "images").mkdir(parents=True)
    (tmp_path / "data" / "annotations").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.random.default_rng(0).integers(0, 255, (20, 40), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "data" / "images" / "a.jpg", exif=exif)
    text = COCO.format(height=size[0], width=size[1], box=box)
    (tmp_path / "data" / "annotations" / "x.json").write_text(text)

    (sample,), _ = loaded('[layout]\nkind = "coco"')

    assert sample.pixels.shape == (40, 20)
    assert sample.annotations[0].box == expected


def test_a_coco_file_about_another_size_is_refused(loaded, tmp_path):
    """Boxes of a resized copy would lie anywhere."""
    (tmp_path / "data" / "images").mkdir(parents=True)
    (tmp_path / "data" / "annotations").mkdir()
    Image.fromarray(np.arange(200, dtype=np.uint8).reshape(10, 20)).save(tmp_path / "data" / "images" / "a.jpg")
    (tmp_path / "data" / "annotations" / "x.json").write_text(COCO.format(height=40, width=80, box=[0, 0, 9, 9]))

    (sample,), _ = loaded('[layout]\nkind = "coco"')

    assert sample.rejected == "mask.size_mismatch"
    assert "images/a.jpg" in sample.detail


def test_a_file_that_changed_since_the_plan_is_refused(loaded, draw, tmp_path):
    """The plan's SHA-256 is checked again when the pixels are read."""
    path = draw("data/normal/a.png")
    _, records = loaded('[layout]\nkind = "folder_per_class"')
    draw("data/normal/a.png", seed=9)
    source = load_source(tmp_path / "made.toml")

    (sample,) = Loader(source, Jail(tmp_path / "data"))(records)

    assert (sample.rejected, path.name in sample.detail) == ("file.changed", True)


def test_an_image_of_one_value_is_refused(loaded, tmp_path):
    """There is nothing to describe on a slice outside of the patient."""
    (tmp_path / "data" / "normal").mkdir(parents=True)
    Image.fromarray(np.full((8, 8), 7, np.uint8)).save(tmp_path / "data" / "normal" / "a.png")

    (sample,), _ = loaded('[layout]\nkind = "folder_per_class"')

    assert sample.rejected == "image.blank"
