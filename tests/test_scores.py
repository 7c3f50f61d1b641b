"""The five scores: what a description gets for what it says, leaves out and gets wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cases import described, disc, shaded
from medtrinity25m.features import FEATURES, QUALITY
from medtrinity25m.pipeline import each
from medtrinity25m.quality.release_rows import draw, metadata_rows, rows_with_id
from medtrinity25m.quality.scores import ASPECTS, ATTRIBUTES, LEVELS, RUBRIC, Described, Said, Score, held, score
from medtrinity25m.triplet import Annotation, Sample


def lesion() -> Sample:
    """An MR image of a liver with one dark lesion, measured and described."""
    mark = disc(70, 80, 16, 11)
    return described(
        shaded((mark, 40)),
        Annotation(label="lesion", mask=mark),
        modality="mri",
        organs=("liver",),
        diseases=("lesion",),
        disease="lesion",
    )


def levels(row: Described) -> tuple[float, ...]:
    """The five scores."""
    quality = score(row)
    return tuple(getattr(quality, name) for name in ATTRIBUTES)


def without(row: Described, *attributes: str) -> Described:
    """The row with its claims about these attributes left out."""
    return replace(row, claims=tuple(one for one in row.claims if one.attribute.partition(":")[0] not in attributes))


def judged(row: Described, attribute: str, verdict: str) -> Described:
    """The row with every claim about an attribute judged otherwise."""
    return replace(
        row, claims=tuple(one._replace(verdict=verdict) if one.attribute == attribute else one for one in row.claims)
    )


def test_what_the_measured_describer_says_of_a_lesion_gets_full_marks():
    """Modality, organ and disease, place and size, brightness and shape, midline: ten of ten."""
    quality = score(Described.of_sample(lesion()))

    assert levels(Described.of_sample(lesion())) == (2, 2, 2, 2, 2)
    assert quality.total == 10


@pytest.mark.parametrize(
    ("attribute", "name"),
    [
        ("modality", "modality"),
        ("organ", "structures"),
        ("disease", "structures"),
        ("area_share", "roi"),
        ("position_horizontal", "roi"),
        ("intensity", "texture"),
        ("half", "relation"),
    ],
)
def test_one_contradicted_claim_makes_its_attribute_zero_and_no_other(attribute, name):
    """Whatever else is right about it; a wrong side is worse than no side."""
    row = Described.of_sample(lesion())
    assert attribute in {one.attribute for one in row.claims}
    wrong = dict(zip(ATTRIBUTES, levels(judged(row, attribute, "contradicted")), strict=True))

    assert wrong.pop(name) == 0
    if attribute != "half":
        wrong.pop("relation", None)  # a claim in the relation text may be about it as well
    assert set(wrong.values()) == {2}


@pytest.mark.parametrize(
    ("left_out", "name", "expected"),
    [
        (("modality",), "modality", 1),  # the side at the left edge is still said
        (("modality", "image_left", "view"), "modality", 0),
        (("organ",), "structures", 1),
        (("organ", "disease", "label"), "structures", 0),
        (("area_share", "width", "height"), "roi", 1),
        (("area_share", "width", "height", "position_horizontal", "position_vertical", "patient_side"), "roi", 0),
        (("texture", "shape", "margin"), "texture", 1),
        (("texture", "shape", "margin", "intensity"), "texture", 0),
        (("half", "midline_gap", "regions_in"), "relation", 0),
    ],
)
def test_leaving_things_out_that_the_row_holds_costs_points(left_out, name, expected):
    """A part is 1, nothing is 0."""
    sided = lesion().with_(image_left="right")
    row = Described.of_sample(sided)
    row = replace(row, claims=(*row.claims, Said("global_text", "image_left", "right", False, "supported")))

    assert getattr(score(without(row, *left_out)), name) == expected


def test_what_nobody_can_check_is_worth_one():
    """A model's text on texture that the row cannot decide is neither right nor wrong."""
    row = Described.of_sample(lesion())
    for attribute in ("intensity", "texture", "margin", "shape"):
        row = judged(row, attribute, "unsupported")

    assert score(row).texture == 1


def test_more_unsupported_than_supported_claims_keep_an_attribute_at_one():
    """A text that names the organ and invents five more is no complete description."""
    row = Described.of_sample(lesion())
    said = sum(one.attribute in ("organ", "disease", "label") for one in row.claims)
    invented = [Said("caption", "organ", f"organ {i}", False, "unsupported") for i in range(3 * said)]

    assert score(replace(row, claims=(*row.claims, *invented[:1]))).structures == 2
    assert score(replace(row, claims=(*row.claims, *invented))).structures == 1


def test_an_image_without_region_is_not_blamed_for_saying_nothing_of_one():
    """A normal radiograph said to be one: what there is not counts 1, and `held` says that it tells nothing."""
    row = Described.of_sample(
        described(shaded(), modality="xray", organs=("chest",), diseases=("none",), disease="none")
    )

    assert levels(row) == (2, 2, 2, 1, 1)
    assert held(row) == {"modality", "structures"}
    assert score(without(row, "disease")).structures == 1, "that nothing was found is something to say"


def test_a_whole_image_region_needs_no_place_and_no_relation():
    """A cropped lesion: that it is the whole image is all there is to say of where it lies."""
    row = Described.of_sample(
        described(
            shaded(),
            rule="whole_image",
            modality="dermoscopy",
            organs=("skin",),
            diseases=("melanoma",),
            disease="melanoma",
        )
    )

    assert row.whole_image
    assert levels(row) == (2, 2, 2, 1, 1)
    assert held(row) == {"modality", "structures", "roi"}
    assert score(without(row, "origin")).roi == 0


def test_several_regions_must_be_counted():
    """Two lesions: place and size of each without their number is a part."""
    one, two = disc(60, 80, 14), disc(190, 120, 10)
    marks = [Annotation(label="lesion", mask=mask) for mask in (one, two)]
    row = Described.of_sample(described(shaded((one, 40), (two, 40)), *marks, modality="mri", organs=("liver",)))

    assert score(row).roi == 2
    assert score(without(row, "roi_count", "ordinal")).roi == 1


def test_the_size_of_the_picture_is_not_the_size_of_a_region():
    """`The field of view is 350 mm` says nothing about the lesion."""
    row = without(Described.of_sample(lesion()), "area_share")
    bare = replace(
        row, claims=tuple(one for one in row.claims if one.attribute not in ("width", "height") or not one.about_region)
    )

    assert any(one.attribute == "width" for one in bare.claims)
    assert score(bare).roi == 1


def test_a_sentence_that_nothing_supports_is_half_a_relation():
    """`It displaces the vessels` in the relation text: said, and not to be decided."""
    row = without(Described.of_sample(lesion()), "half", "midline_gap", "regions_in")
    said = Said("relation_text", "statement", "", False, "unsupported")

    assert score(row).relation == 0
    assert score(replace(row, claims=(*row.claims, said))).relation == 1


def test_the_stage_keeps_the_law_and_agrees_with_the_shipped_row(assert_stage):
    """Filled once, in place, the same again."""
    sample = lesion()
    (made,) = assert_stage(each(Score()), [sample])

    assert made.quality == score(Described.of_sample(sample))
    assert made.with_(quality=None).digest() == sample.digest()


def test_every_demo_row_scores_the_same_from_data_and_from_metadata(demo_release):
    """Scores need no pixels, so statistics need none either; nothing measured is ever contradicted."""
    rows = list(metadata_rows(demo_release))
    whole = rows_with_id(demo_release, [row["id"] for row in rows], pixels=True)

    assert len(rows) > 20
    for row in rows:
        quality = score(Described.of_row(row))
        assert quality == score(Described.of_row(whole[row["id"]]))
        assert min(getattr(quality, name) for name in ATTRIBUTES) >= 1
        assert quality.total == sum(getattr(quality, name) for name in ATTRIBUTES)


def test_the_names_of_scores_are_those_of_the_column():
    """One list in the schema, one here."""
    assert (*ATTRIBUTES, "total") == QUALITY
    assert set(RUBRIC) == set(ATTRIBUTES) == {name for name, _ in ASPECTS.values()}
    assert set(LEVELS) == {0, 1, 2}
    assert set(FEATURES["quality"]) == set(QUALITY)


def test_a_draw_depends_on_seed_and_ids_alone(demo_release):
    """The same seed draws the same rows, a smaller draw is part of a larger one, and strata are even."""
    ids = [row["id"] for row in metadata_rows(demo_release, ("id",))]
    ten, twenty = (set(draw(demo_release, count, 7)) for count in (10, 20))
    modality = {row["id"]: row["modality"] for row in metadata_rows(demo_release, ("id", "modality"))}
    each_once = [modality[one] for one in draw(demo_release, len(set(modality.values())), 3, "modality")]

    assert ten < twenty < set(ids)
    assert draw(demo_release, 10, 7) == sorted(ten)
    assert set(draw(demo_release, 10, 8)) != ten
    assert sorted(each_once) == sorted(set(modality.values()))
    assert draw(demo_release, 10_000, 0) == sorted(ids)
