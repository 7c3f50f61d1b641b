"""Seeded contradictions: false of their row, grammatical, even over the kinds, and always the same."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest

from checker_texts import hand_written
from medtrinity25m.quality.seed_page import Page
from medtrinity25m.quality.seeding import KINDS, Kind, Seeded, seed_contradictions, seeds_of

ROW: dict[str, Any] = {
    "modality": "ct",
    "organs": ["liver"],
    "disease": "hepatocellular_carcinoma",
    "diseases": ["hepatocellular_carcinoma"],
    "image_left": "right",
    "width": 500,
    "height": 500,
    "rois": [
        {"bbox": [50, 60, 100, 80], "label": "hepatocellular_carcinoma", "origin": "mask", "count": 1,
         "area_fraction": 0.024, "size_mm": (70.0, 56.0)},
    ],
}  # fmt: skip
HEALTHY: dict[str, Any] = {"modality": "xray", "organs": ["chest"], "disease": "none", "width": 9, "height": 9}


def changed(text: str, kind: Kind, row: dict[str, Any] = ROW) -> set[str]:
    """Return the false texts of one kind."""
    return {seeded.text for seed in range(20) for seeded in seeds_of(text, row, kind, seed)}


@pytest.fixture(scope="module")
def seeds() -> list[Seeded]:
    """A thousand seeds of the hand-written texts."""
    return seed_contradictions([(case.text, case.row) for _, case in hand_written()], 1000, 0)


def test_the_texts_give_a_thousand_seeds_of_every_kind(seeds: list[Seeded]) -> None:
    """At least 100 of each kind the issue names, all different."""
    number = {kind: sum(seeded.kind == kind for seeded in seeds) for kind in KINDS}
    assert len(seeds) == 1000
    assert all(number[kind] >= 100 for kind in KINDS if kind != "position"), number
    assert number["position"] >= 15  # few texts speak of upper and lower
    assert len({(seeded.origin, seeded.text) for seeded in seeds}) == 1000


def test_a_seed_changes_one_place_and_says_which(seeds: list[Seeded]) -> None:
    """The span is what was put in, its sentence holds it, and without it the clean text is left."""
    clean = [case.text for _, case in hand_written()]
    for seeded in seeds:
        start, end = seeded.span
        assert seeded.text[start:end] == seeded.after
        assert seeded.text[:start] + seeded.before + seeded.text[end:] == clean[seeded.origin]
        assert seeded.sentence[0] <= start < end <= seeded.sentence[1]


def test_seeds_are_sentences(seeds: list[Seeded]) -> None:
    """Articles fit, capitals stay, nothing is doubled."""
    for seeded in seeds:
        sentence = seeded.text[slice(*seeded.sentence)]
        assert not re.search(r"\b[Aa] (?:[aeio]|ultras|MR)|\b[Aa]n (?:CT|[bcdfgjkpqrtvwyz])", sentence), sentence
        assert not re.search(r"  |\b(\w+) \1\b|sss", sentence), sentence
        assert seeded.before != seeded.after


def test_equal_arguments_give_equal_seeds_in_any_process() -> None:
    """Neither the hash seed of Python nor a second call changes anything."""
    code = (
        "from medtrinity25m.quality.seeding import *;"
        "row={'modality':'mri','organs':['brain'],'disease':'glioma','width':9,'height':9};"
        "print([s.text for k in KINDS for s in seeds_of('This is an MRI scan of the brain, labeled glioma.',row,k)])"
    )
    run = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": h}
        )
        for h in ("1", "2")
    ]
    assert run[0].stdout == run[1].stdout
    assert "not an MRI scan" in run[0].stdout
    few = [(case.text, case.row) for _, case in hand_written()[:20]]
    assert seed_contradictions(few, 50, 1) == seed_contradictions(few, 50, 1)
    assert seed_contradictions(few, 50, 1) != seed_contradictions(few, 50, 2)


@pytest.mark.parametrize(
    ("kind", "text", "false"),
    [
        ("side", "The mass lies in the left half of the image.", "The mass lies in the right half of the image."),
        ("side", "The mass is on the patient's right side.", "The mass is on the patient's left side."),
        ("side", "The lesion is left-center.", "The lesion is right-center."),
        ("position", "It lies in the upper-middle part.", "It lies in the lower-middle part."),
        ("size", "It covers 2.4% of the image.", "It covers 12.0% of the image."),
        ("size", "The mass measures 7 cm.", "The mass measures 14 cm."),
        ("count", "There is a single lesion in it.", "There are three lesions in it."),
        ("negation", "Consistent with HCC.", "Not consistent with HCC."),
        ("negation", "This is a CT image.", "This is not a CT image."),
        ("modality", "This is a CT image.", "This is an MR image."),
        ("organ", "CT of the liver.", "CT of the brain."),
        ("disease", "It is labeled hepatocellular carcinoma.", "It is labeled appendicitis."),
    ],
)
def test_each_kind_says_something_false(kind: Kind, text: str, false: str) -> None:
    """One example a kind, out of those that a text allows."""
    assert false.casefold() in {one.casefold() for one in changed(text, kind)}


@pytest.mark.parametrize(
    ("kind", "text", "row"),
    [
        ("side", "The left lung is clear.", ROW),  # nothing is known of the left lung
        ("side", "The lesion lies on the left.", ROW),  # not true: the row has it on the right
        ("side", "The mass lies in the left half of the image.", ROW | {"rois": []}),
        ("side", "The right breast was resected in 2010.", ROW | {"laterality": "right"}),
        ("organ", "The spleen is also seen.", ROW),
        ("organ", "The mass lies in the liver.", ROW | {"organs": ["whole_body"]}),
        ("modality", "An MRI may be considered.", ROW),
        ("modality", "Compared with the CT of last year.", ROW),
        ("size", "The spleen measures 11 cm.", ROW),
        ("size", "It is 7 cm away from the midline.", ROW),
        ("size", "The mass is smaller than 7 cm.", ROW),
        ("count", "Three small cysts are known.", ROW),
        ("count", "The patient had two children.", ROW),
        ("negation", "No ascites.", ROW),  # nobody looked for ascites
        ("negation", "No pleural effusion.", HEALTHY | {"disease": "unknown"}),
        ("negation", "Patterns which are typically seen in hepatocellular carcinoma.", ROW),
        ("disease", "A history of melanoma.", ROW),
        ("disease", "It may be hepatocellular carcinoma.", ROW),
    ],
)
def test_what_the_row_does_not_decide_is_left_alone(kind: Kind, text: str, row: dict[str, Any]) -> None:
    """A change that nobody could catch is no seed."""
    assert changed(text, kind, row) == set()


def test_a_denial_is_turned_round_where_the_row_says_healthy() -> None:
    """`none` decides what `unknown` does not."""
    assert changed("No pleural effusion.", "negation", HEALTHY) == {"There is pleural effusion."}
    assert changed("No region of interest is annotated.", "negation", HEALTHY) == {"A region of interest is annotated."}
    assert changed("No region of interest is annotated.", "negation", ROW) == set()


def test_a_scaled_size_is_far_from_everything_the_row_holds() -> None:
    """With a second region of twice the size, doubling is no seed."""
    twice = {
        "bbox": [0, 0, 9, 9],
        "label": "liver",
        "origin": "mask",
        "count": 1,
        "area_fraction": 0.048,
        "size_mm": None,
    }
    text = "The mass covers 2.4% of the image."
    assert "The mass covers 4.8% of the image." in changed(text, "size")
    assert "The mass covers 4.8% of the image." not in changed(text, "size", ROW | {"rois": [*ROW["rois"], twice]})


def test_two_regions_on_two_sides_decide_no_side() -> None:
    """Unless the sentence says which of them it means."""
    other = ROW["rois"][0] | {"bbox": [400, 60, 50, 50], "label": "liver_cyst"}
    row = ROW | {"rois": [*ROW["rois"], other]}
    assert changed("The lesion lies in the left half of the image.", "side", row) == set()
    assert changed("The liver cyst lies in the right half of the image.", "side", row) == {
        "The liver cyst lies in the left half of the image."
    }


def test_sentences_keep_their_decimals() -> None:
    """A point in a number ends nothing."""
    page = Page("It covers 2.4% of it; 7.0 cm. No more.", ROW)
    assert [part.text.strip() for part in page.sentences] == ["It covers 2.4% of it;", "7.0 cm.", "No more."]
