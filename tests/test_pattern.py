"""Path patterns."""

from __future__ import annotations

import pytest

from medtrinity25m.errors import ConfigError, RefusedError
from medtrinity25m.readers.pattern import cell_of, empty, fields_of, fill, fill_wild, match_path, reach


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
        ("{eye:L|R}{case}.png", "Lx.png", {"eye": "L", "case": "x"}),
        ("{eye:L|R}.png", "M.png", None),
        ("{word:a.b|c}.png", "axb.png", None),
        ("{case}.png", "a\nb.png", {"case": "a\nb"}),
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


ROW = {
    "data": "{'x': 1, 'y': None}",
    "json": '{"a": {"b": [1]}}',
    "bad": "{'x': ",
    "none": "{}",
    "blank": " ",
    "a.b": "own",
}


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("data.x", (True, 1)),
        ("data.y", (True, None)),
        ("data.z", (False, None)),
        ("json.a.b", (True, [1])),
        ("json.a.c", (False, None)),
        ("bad.x", (False, None)),
        ("none.x", (True, None)),
        ("blank.x", (True, None)),
        ("gone.x", (True, None)),
        ("a.b", (True, "own")),
        ("gone", (False, None)),
    ],
)
def test_a_dotted_name_reaches_into_a_cell_and_says_whether_it_found_anything(name, found):
    """An empty cell is an empty answer; a cell that holds something else is none. A column's own name comes first."""
    assert reach(ROW, name) == found
    assert cell_of(ROW, name) == found[1]


@pytest.mark.parametrize(
    "text", ["{'f': open('x')}", "{1: __import__('os')}", "[" * 60_000, "{" * 300, "{'a\\d': 1}[0]"]
)
def test_a_cell_is_never_run(text):
    """Literals only, and no depth ends the process."""
    assert reach({"c": text}, "c.f") == (False, None)


def test_blank_cells_are_empty_and_words_are_not():
    """NaN in every way pandas writes it; a zero is a value."""
    assert all(empty(cell) for cell in (None, "", " \t", "nan", "NaN", float("nan")))
    assert not any(empty(cell) for cell in (0, False, "0", "none", [], {}))


@pytest.mark.parametrize(
    ("template", "path", "fits"),
    [
        ("{a}/**", "x*/1/2", True),
        ("{a}/**", "xy/1", False),
        ("**/{b}", "q/y?", True),
        ("**/{b}", "y?", True),
        ("**/{b}", "qy?", False),
        ("*/{b}", "q/r/y?", False),
        ("*-{b}-*.png", "1-2-y?-3.png", True),
        ("*-{b}-*.png", "1/2-y?-3.png", False),
        ("**/m/**/{b}", "m/m/m/y?", True),
        ("**/m/**/{b}", "m/xy?", False),
        ("a**a{b}", "ay?", False),
    ],
)
def test_wildcards_are_those_of_the_template_and_not_of_a_cell(template, path, fits):
    """A `*` or `?` in a cell stands for itself."""
    assert fill_wild(template, {"a": "x*", "b": "y?"}, "").fits(path) is fits
