"""The classical experts: what they find on drawn and real images, and that they give nothing where nothing is."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from medtrinity25m.errors import ConfigError
from medtrinity25m.roi.backends import make_expert
from medtrinity25m.roi.card import packaged_cards
from medtrinity25m.roi.classical import METHODS, classical_expert
from medtrinity25m.roi.protocol import Finding, Query
from medtrinity25m.roi.run_options import Classical

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
import expert_cases
import expert_phantoms as drawn
import experts

CARDS = {name: card for name, card in packaged_cards().items() if isinstance(card.run, Classical)}
TOLERANCE = 0.006  # of a figure: rounding to three places, and another version's floating point


def query(pixels: np.ndarray, modality: str = "xray", **more: Any) -> Query:
    return Query(pixels=pixels, modality=modality, **more)


def example(expert: str, seed: int = 0) -> Query:
    """A drawn picture of what an expert is for."""
    draw: dict[str, Callable[[int], Query]] = {
        "ct_lungs": lambda seed: expert_cases.ct(drawn.thorax(seed)[0]),
        "ct_body": lambda seed: expert_cases.ct(drawn.thorax(seed)[0]),
        "dermoscopy_lesion": lambda seed: query(drawn.skin(seed)[0]),
        "he_nuclei": lambda seed: query(drawn.stained(seed)[0]),
        "fundus_disc": lambda seed: query(drawn.retina(seed)[0]),
        "fundus_vessels": lambda seed: query(drawn.retina(seed)[0]),
        "fluorescence_cells": lambda seed: query(glowing(seed)),
        "ultrasound_sector": lambda seed: query(drawn.scan(seed)[0]),
    }
    return draw[expert](seed)


def glowing(seed: int) -> np.ndarray:
    """Nuclei of a drawn H&E field, as if they glowed on a dark ground."""
    labels = drawn.stained(seed)[1]
    level = np.random.default_rng(seed).uniform(60, 200, labels.max() + 1)
    level[0] = 10
    soft = ndimage.gaussian_filter(level[labels], 1.2)
    return np.random.default_rng(seed).poisson(soft).clip(0, 255).astype(np.uint8)


def grain(seed: int) -> np.ndarray:
    """A dark ground with the noise of few photons and nothing else."""
    return np.random.default_rng(seed).poisson(12, (200, 200)).astype(np.uint8)


def turned(asked: Query, how: Callable[[np.ndarray], np.ndarray]) -> Query:
    """A query with pixels and values turned or mirrored."""
    values = None if asked.values is None else np.ascontiguousarray(how(asked.values))
    return asked.with_(pixels=np.ascontiguousarray(how(asked.pixels)), values=values)


def assert_valid(findings: list[Finding], asked: Query) -> None:
    """Every finding has a mask or instances of the picture's size, with something on it."""
    for finding in findings:
        array = finding.mask if finding.mask is not None else finding.instances
        assert array is not None
        assert array.shape == asked.pixels.shape[:2]
        assert array.any()
        assert array.dtype == (np.bool_ if finding.mask is not None else np.int32)


def test_every_method_has_a_card_and_every_card_a_method() -> None:
    """A method nobody can ask and a card nobody answers are both mistakes."""
    assert {card.run.method for card in CARDS.values()} == set(METHODS)  # type: ignore[union-attr]
    assert set(CARDS) == set(METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_a_card_is_complete(name: str) -> None:
    """It has no weights, says what its words mean, where it ends, and where each of its figures comes from."""
    card = CARDS[name]
    assert card.weights_license is None
    assert card.note
    assert card.labels
    assert all(card.meaning(word) is not None for word in card.labels)
    assert card.min_score > 0
    assert {each.source for each in card.accuracy} == {experts.SOURCE}


@pytest.mark.parametrize("name", METHODS)
def test_an_expert_travels_to_workers_and_answers_the_same_there(name: str) -> None:
    """It pickles; asked twice it says the same, word for word."""
    expert = pickle.loads(pickle.dumps(make_expert(CARDS[name])))
    asked = example(name).with_(modality=CARDS[name].modalities[0])
    first, again = expert([asked, asked])
    assert first
    assert [finding.score for finding in first] == [finding.score for finding in again]
    for one, other in zip(first, again, strict=True):
        assert np.array_equal(one.mask, other.mask) if one.mask is not None else True
        assert np.array_equal(one.instances, other.instances) if one.instances is not None else True


@pytest.mark.parametrize("name", METHODS)
def test_what_an_expert_finds_uses_only_words_its_card_explains(name: str) -> None:
    """A label that the card does not explain would be dropped without a word."""
    found = METHODS[name](example(name))
    assert {finding.label for finding in found} <= set(CARDS[name].labels)
    assert_valid(found, example(name))


@pytest.fixture(scope="module")
def quick_figures() -> list[experts.Figure]:
    """The figures that need installed packages only, measured now."""
    try:
        return experts.figures(quick=True)
    except FileNotFoundError as error:
        pytest.skip(str(error))


def carried(name: str) -> dict[tuple[str, str], float]:
    return {(each.metric, each.on): each.value for each in CARDS[name].accuracy}


@pytest.mark.parametrize("name", METHODS)
def test_a_card_says_what_was_measured(name: str, quick_figures: list[experts.Figure]) -> None:
    """The figures of a card are those that `benchmarks/experts.py` computes today."""
    measured = [figure.accuracy for figure in quick_figures if figure.expert == name]
    assert measured
    for each in measured:
        assert carried(name)[each.metric, each.on] == pytest.approx(each.value, abs=TOLERANCE)


@pytest.mark.slow
def test_cards_say_what_was_measured_on_fetched_data_and_nothing_else(quick_figures: list[experts.Figure]) -> None:
    """The same for data that must be fetched; and no card has a figure that nobody computes."""
    try:
        slow = experts.figures(quick=False)
    except FileNotFoundError as error:
        pytest.skip(str(error))
    for name in METHODS:
        measured = {
            (figure.accuracy.metric, figure.accuracy.on): figure.accuracy.value
            for figure in (*quick_figures, *slow)
            if figure.expert == name
        }
        assert carried(name) == pytest.approx(measured, abs=TOLERANCE)


def test_drawn_pictures_are_marked_as_drawn() -> None:
    """A figure on drawings never looks like one on patients."""
    for card in CARDS.values():
        for each in card.accuracy:
            assert each.synthetic == ("drawn pictures" in each.on)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("name", "draw"),
    [
        ("dermoscopy_lesion", lambda seed: query(drawn.skin(seed, lesion=False)[0])),
        ("ct_lungs", lambda seed: expert_cases.ct(drawn.thorax(seed, lungs=False)[0])),
        ("fundus_disc", lambda seed: query(drawn.retina(seed, disc=False)[0])),
        ("he_nuclei", lambda seed: query(drawn.stained(seed, nuclei=False)[0])),
        ("fluorescence_cells", lambda seed: query(grain(seed))),
    ],
)
def test_without_the_structure_there_is_no_region(name: str, draw: Callable[[int], Query], seed: int) -> None:
    """Skin without a lesion, a chest without lungs, a retina without a disc: nothing above the card's threshold."""
    assert experts.ask(name, draw(seed)) == []


@pytest.fixture(scope="module")
def other_kinds() -> list[expert_cases.Wrong]:
    """Some of the images that the benchmark counts false findings on."""
    names = {"explicit_VR-UN.dcm", "ihc.png", "microaneurysms.png", "page.png", "black", "noise", "smooth noise"}
    try:
        return [wrong for wrong in expert_cases.wrong_images() if wrong.name in names]
    except FileNotFoundError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", METHODS)
def test_another_kind_of_picture_gives_no_region(name: str, other_kinds: list[expert_cases.Wrong]) -> None:
    """Some real images of other modalities, called what the expert is for; the slow test looks at forty."""
    chosen = [wrong for wrong in other_kinds if name not in wrong.shows]
    assert len(chosen) >= 6
    assert [wrong.name for wrong in chosen if experts.ask(name, wrong.query)] == []


TURNS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mirrored": lambda array: array[:, ::-1],
    "upside down": lambda array: array[::-1],
    "quarter turn": np.rot90,
}


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("name", METHODS)
def test_a_turned_picture_gives_the_turned_answer(name: str, turn: str) -> None:
    """No method depends on which way up a picture is, but for the ultrasound fan, whose depth runs down."""
    if name == "ultrasound_sector" and turn != "mirrored":
        pytest.skip("an ultrasound screen has its top up")
    asked, how = example(name, 1), TURNS[turn]
    straight = experts.union(METHODS[name](asked), asked.pixels.shape)
    other = turned(asked, how)
    found = experts.union(METHODS[name](other), other.pixels.shape)
    assert experts.dice(found, how(straight)) > 0.95


SMALL = [(8, 8), (1, 1), (1, 300), (300, 2), (33, 33), (140, 140)]


@pytest.mark.parametrize("shape", SMALL, ids=str)
@pytest.mark.parametrize("name", METHODS)
def test_tiny_and_constant_pictures_give_nothing(name: str, shape: tuple[int, int]) -> None:
    """Black, white and gray of every size, gray and in color, with and without values."""
    for level in (0, 128, 255):
        for pixels in (np.full(shape, level, np.uint8), np.full((*shape, 3), level, np.uint8)):
            values = np.full(shape, 12.0 * level - 1024, np.float32)
            assert METHODS[name](query(pixels, values=values, values_unit="HU")) == []


@pytest.mark.parametrize("name", ["dermoscopy_lesion", "he_nuclei", "fundus_disc", "fundus_vessels"])
def test_methods_that_need_color_abstain_on_gray(name: str) -> None:
    """Without color there is nothing to tell skin, stain or retina by."""
    assert METHODS[name](query(example(name).pixels.mean(axis=2).astype(np.uint8))) == []


@pytest.mark.parametrize("name", ["ct_lungs", "ct_body"])
def test_ct_methods_abstain_without_hounsfield_units(name: str) -> None:
    """Pixels of a window are no densities, neither are values of an unknown unit or nonsense in place of them."""
    asked = example(name)
    assert METHODS[name](asked.with_(values=None, values_unit=None)) == []
    assert METHODS[name](asked.with_(values_unit=None)) == []
    assert METHODS[name](asked.with_(values=np.full_like(asked.values, np.nan))) == []
    assert classical_expert(CARDS[name])([asked.with_(values=None, values_unit=None, modality="ct")]) == [[]]


@pytest.mark.parametrize("name", METHODS)
def test_an_expert_abstains_from_modalities_its_card_does_not_name(name: str) -> None:
    """Asked about a PET image, nobody looks."""
    assert classical_expert(CARDS[name])([example(name).with_(modality="pet")]) == [[]]


def test_an_unknown_method_is_a_mistake_in_the_card() -> None:
    """The message names the methods there are."""
    card = CARDS["ct_body"].with_(run=Classical(kind="classical", method="ct_liver"))
    with pytest.raises(ConfigError, match="'ct_liver' is no classical method; use one of ct_lungs"):
        classical_expert(card)


def test_windpipe_and_table_are_left_out() -> None:
    """The drawn chest has a windpipe between its lungs and lies on a table."""
    values, lungs, body = drawn.thorax(3)
    found = METHODS["ct_lungs"](expert_cases.ct(values))
    assert len(found) == 2
    assert not experts.union(found, values.shape)[122:139, 152:169].any()
    assert not (found[0].mask & found[1].mask).any()  # type: ignore[operator]
    (patient,) = METHODS["ct_body"](expert_cases.ct(values))
    assert not patient.mask[284:].any()  # type: ignore[index]
    assert experts.dice(patient.mask, body) > 0.99  # type: ignore[arg-type]
    assert experts.dice(experts.union(found, values.shape), lungs > 0) > 0.99


@pytest.mark.parametrize(("organs", "label"), [((), "cell"), (("cell",), "cell"), (("cell_nucleus",), "nucleus")])
def test_glowing_objects_are_nuclei_only_where_the_metadata_say_so(organs: tuple[str, ...], label: str) -> None:
    """The picture alone does not tell a nucleus from a small cell."""
    (found,) = METHODS["fluorescence_cells"](query(glowing(0), organs=organs))
    assert found.label == label


def test_touching_cells_are_parted() -> None:
    """As many objects as were drawn, give or take a few that melt or are cut by the edge."""
    labels = drawn.stained(2)[1]
    (found,) = METHODS["fluorescence_cells"](query(glowing(2)))
    pairs, here, there = experts.matched(found.instances, labels)  # type: ignore[arg-type]
    assert 2 * pairs / (here + there) > 0.9


@pytest.mark.parametrize(("spacing_um", "finds"), [(0.5, True), (0.25, True), (10.0, False), (0.02, False)])
def test_blobs_of_another_size_than_nuclei_are_none(spacing_um: float, finds: bool) -> None:
    """Where the scale is known, a nucleus has a radius of 1.5 to 10 micrometers."""
    spacing = (spacing_um / 1000, spacing_um / 1000)
    assert bool(METHODS["he_nuclei"](example("he_nuclei").with_(spacing_mm=spacing))) == finds


def test_a_larger_copy_of_a_field_holds_the_same_cells() -> None:
    """Large objects are looked at in a smaller copy; their outlines come back at full size."""
    pixels, labels = glowing(1), drawn.stained(1)[1]
    large = np.kron(pixels, np.ones((3, 3))).astype(np.uint8)
    (found,) = METHODS["fluorescence_cells"](query(large))
    true = np.kron(labels, np.ones((3, 3), int))
    assert found.instances is not None
    assert found.instances.shape == large.shape
    assert experts.dice(found.instances > 0, true > 0) > 0.9


def test_the_acquisition_area_makes_no_region() -> None:
    """It is no anatomy: the card leaves the word out, whoever consults the expert."""
    meaning = CARDS["ultrasound_sector"].meaning("sector")
    assert meaning is not None
    assert meaning.background
    assert meaning.label is None


def test_importing_the_package_does_not_import_scikit_image() -> None:
    """A build that asks no classical expert does not pay for one."""
    code = "import sys, medtrinity25m.roi.classical as made; sys.exit('skimage' in sys.modules or not made.METHODS)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@st.composite
def pictures(draw: st.DrawFn) -> np.ndarray:
    """Random uint8 pictures of any small size: noise, blocks, clouds, two levels, a few dots, all channels or one."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    height, width = draw(st.integers(1, 170)), draw(st.integers(1, 170))
    shape = (height, width, 3) if draw(st.booleans()) else (height, width)
    noise = rng.random(shape)
    match draw(st.sampled_from(("noise", "blocks", "clouds", "levels", "dots", "red"))):
        case "blocks":
            noise = np.repeat(np.repeat(noise[::17], 17, axis=0)[:height, ::17], 17, axis=1)[:, :width]
        case "clouds":
            noise = ndimage.gaussian_filter(noise, (6, 6, *((0,) * (len(shape) - 2))))
            noise = (noise - noise.min()) / max(float(np.ptp(noise)), 1e-9)
        case "levels":
            noise = np.round(noise)
        case "dots":
            noise = (noise > 0.999).astype(float)
        case "red":
            noise = noise * (0.2, 0.1, 0.05)[: shape[2]] + 0.5 if len(shape) == 3 else noise / 4
    return (noise * 255).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", METHODS)
@settings(max_examples=15, deadline=None)
@given(pixels=pictures(), scale=st.sampled_from((1.0, 16.0, 4000.0)))
def test_no_picture_breaks_an_expert(name: str, pixels: np.ndarray, scale: float) -> None:
    """Whatever the pixels and values, the answer is a list of valid findings."""
    plane = pixels.max(axis=2) if pixels.ndim == 3 else pixels
    values = plane.astype(np.float32) * np.float32(scale) - 1024
    values[plane == 7] = np.nan
    asked = query(pixels, values=values, values_unit="HU")
    assert_valid(METHODS[name](asked), asked)
