"""Path patterns."""

from __future__ import annotations

import pytest

from medtrinity25m.errors import ConfigError, RefusedError
from medtrinity25m.readers.pattern import fields_of, fill, match_path


@pytest.mark.parametrize(
    ("pattern", "path", "fields"),
    [
        ("{label}/**", "covid/a/b.png", {"label": "covid"}),
        ("{label}/**", "covid/b.png", {"label": "covid"}),
        ("images/{case}_0000.nii.gz", "images/liver_12_0000.nii.gz", {"case": "liver_12"}),
        ("{split}/{label}/{patient}_*", "train/mel/P1_003.jpg", {"split": "train", "label": "mel", "patient": "P1"}),
        ("**/{case}.png", "a.png", {"case": "a"}),
        ("**/{case}.png", "x/y/a.png", {"case": "a"}),
        ("{case}/{case}_t1.nii", "p1/p1_t1.nii", {"case": "p1"}),
        ("{case}/{case}_t1.nii", "p1/p2_t1.nii", None),
        ("{label}/*", "covid/a/b.png", None),
        ("a+b/{case}.png", "a+b/(1).png", {"case": "(1)"}),
        ("images/*", "Images/a.png", None),
    ],
)
def test_a_pattern_gives_the_fields_of_the_paths_it_fits(pattern, path, fields):
    """Fields match inside one component, `**` across; case counts; regular-expression characters mean themselves."""
    assert match_path(pattern, path) == fields


def test_the_fields_of_a_pattern_are_its_names():
    """Two patterns are joined by the names they share."""
    assert fields_of("{split}/{case}.png") == {"split", "case"}


def test_a_malformed_field_is_a_config_error():
    """`{a-b}` is not silently literal."""
    for pattern in ("{a-b}/x", "{label/{case}.png", "x}.png"):
        with pytest.raises(ConfigError, match="a field is written"):
            match_path(pattern, "x")


def test_a_template_takes_columns_and_refuses_empty_ones():
    """A plain word names a column; a template fills several; an empty cell is a refusal that names it."""
    row = {"id": "7", "set": "train", "gone": ""}

    assert (fill("id", row, "line 2"), fill("{set}/{id}.png", row, "line 2")) == ("7", "train/7.png")
    with pytest.raises(RefusedError, match="line 2: column 'gone'"):
        fill("{gone}.png", row, "line 2")
