"""Vocabularies and sources: what they resolve and what they refuse."""

from __future__ import annotations

import pytest

from medtrinity25m.errors import ConfigError, UnknownTermError
from medtrinity25m.registry import load_source, packaged_sources, parse_source, vocabulary

GOOD = {
    "id": "made",
    "title": "Made",
    "license": "CC0-1.0",
    "redistribution": "images",
    "egress": "any",
    "modality": "ct",
    "layout": {"kind": "folder_per_class"},
}


def test_a_word_is_found_by_id_name_or_synonym_in_any_case():
    """`COVID-19`, `covid_19` and `Covid 19` are one disease."""
    find = vocabulary("disease").find

    assert {find("COVID-19"), find("covid_19"), find("Covid 19")} == {"covid_19"}


def test_an_unknown_term_names_the_nearest_known_ones():
    """A typo in a TOML is answered with what was probably meant."""
    with pytest.raises(UnknownTermError, match="nearest: .*pneumonia"):
        parse_source(GOOD | {"labels": {"x": "pnuemonia"}}, "made.toml")
    with pytest.raises(UnknownTermError, match="nearest: .*ultrasound"):
        parse_source(GOOD | {"modality": "ultrasond"}, "made.toml")


@pytest.mark.parametrize("name", ["license", "redistribution", "egress", "title", "layout"])
def test_required_keys_have_no_default(name):
    """The error names the file and the key."""
    with pytest.raises(ConfigError, match=f"made.toml: {name}: is missing and has no default"):
        parse_source({key: value for key, value in GOOD.items() if key != name}, "made.toml")


def test_an_unknown_key_is_an_error():
    """A misspelt key is not ignored."""
    with pytest.raises(ConfigError, match="modalty"):
        parse_source(GOOD | {"modalty": "ct"}, "made.toml")


def test_labels_mean_organs_diseases_or_the_reserved_words():
    """A list may hold both; `none` says healthy, `background` says no region."""
    source = parse_source(GOOD | {"labels": {"2": ["liver", "cyst"], "0": "background", "n": "none"}}, "made.toml")

    both = source.meaning("2")

    assert (both.organs, both.diseases, both.label) == (("liver",), ("cyst",), "cyst")
    assert source.meaning("0").background
    assert source.meaning("n").healthy
    assert source.meaning("Pneumonia").diseases == ("pneumonia",)
    assert source.meaning("no such word") is None


def test_a_file_that_is_not_toml_is_an_error_with_its_name(tmp_path):
    """The message says where."""
    path = tmp_path / "bad.toml"
    path.write_text("id = ")

    with pytest.raises(ConfigError, match=r"bad\.toml: is not TOML"):
        load_source(path)


def test_every_packaged_source_says_its_licence_and_loads():
    """The packaged TOMLs are valid and their ids are their file names."""
    assert all(source.license and source.citation for source in packaged_sources().values())
    assert "dsb2018_nuclei" in packaged_sources()


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"slices": {"keep": "every"}}, "step of at least 2"),
        ({"slices": {"keep": "largest", "step": 3}}, "step goes with"),
        ({"roi": {"min_area_px": 3, "min_area_mm2": 1.0}}, "not both"),
        ({"layout": {"kind": "table", "file": "a.csv", "image": "f", "box": ["x", "y"]}}, "four columns"),
        ({"layout": {"kind": "image_mask", "mask_kind": "classes", "mask_label": "cyst"}}, "does not go with"),
        ({"layout": {"kind": "zip"}}, "layout"),
        ({"window": [40, 0]}, "a width above 0"),
    ],
)
def test_contradictory_options_are_errors(part, message):
    """Options that would be ignored, or say two things, are refused."""
    with pytest.raises(ConfigError, match=message):
        parse_source(GOOD | part, "made.toml")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"titel": "x"}, "titel: is no key here; did you mean title"),
        ({"layout": {"kind": "folder_per_class", "image": "x"}}, "did you mean images"),
        ({"license": "(c) me"}, "license: .* use an SPDX id or LicenseRef-"),
        ({"id": "My Set"}, "id: 'My Set' cannot be used; use lower-case letters"),
        ({"spacing_mm": 0.5}, "spacing_mm: 0.5 is no list"),
        ({"organs": ["lungz"]}, "made.toml: 'lungz' is no term of the anatomy vocabulary; nearest: lung"),
        ({"egress": "all"}, "egress: .*; use any or local-only"),
    ],
)
def test_a_wrong_key_or_value_is_answered_with_what_was_meant(change, message):
    """What, where, and what to write instead."""
    with pytest.raises(ConfigError, match=message):
        parse_source(GOOD | change, "made.toml")


def test_the_word_of_every_large_collection_for_no_disease_is_known():
    """Words such as "No Finding", "normal" and "healthy" need no line in [labels]."""
    source = parse_source(GOOD, "made.toml")

    assert all(source.meaning(word).healthy for word in ("No Finding", "NORMAL", "healthy", "none"))


def test_a_star_in_a_label_stands_for_anything_and_an_exact_line_comes_first():
    """`Nodule*` means every label that begins so; the first of several that fit counts; brackets mean themselves."""
    labels = {"Nodule*": "pulmonary_nodule", "*": "unknown", "Nodule (calcified)": "calcification", "a[bc]*": "cyst"}
    source = parse_source(GOOD | {"labels": labels}, "made.toml")

    assert source.meaning("Nodule of the lung\nleft").diseases == ("pulmonary_nodule",)
    assert source.meaning("Nodule (calcified)").diseases == ("calcification",)
    assert source.meaning("nodule").diseases == ()
    assert source.meaning("ab").diseases == ()
    assert source.meaning("a[bc]x").diseases == ()  # the star before it takes everything
