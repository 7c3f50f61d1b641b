"""Experts are asked where nobody marked; what they are unsure of is no region, and that is said."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from medtrinity25m.description.measured import MeasuredDescriber
from medtrinity25m.errors import ConfigError
from medtrinity25m.pipeline import batched, each
from medtrinity25m.registry import ROIRule
from medtrinity25m.roi import backends
from medtrinity25m.roi.annotations import Locate
from medtrinity25m.roi.card import Card
from medtrinity25m.roi.consult import BATCH, Consult
from medtrinity25m.roi.protocol import Finding, Query
from medtrinity25m.triplet import Annotation, Sample

Answer = Callable[[Query], list[Finding]]


def card(name: str, **changes) -> Card:
    """Return a card of an expert that finds lungs."""
    fields = {
        "id": name, "title": name, "version": "1", "code_license": "Apache-2.0", "modalities": ["ct"],
        "labels": {"lung": "lung", "air": "background"}, "min_score": 0.5,
        "run": {"kind": "classical", "method": f"{name}_of_a_test"},
    }  # fmt: skip
    return Card(**(fields | changes))


@pytest.fixture
def teach(monkeypatch):
    """Put an answer in the place of the expert of a card; returns the sizes of the batches it was asked."""

    def put(of: Card, answer: Answer) -> list[int]:
        sizes: list[int] = []

        def ask(queries: Sequence[Query]) -> list[list[Finding]]:
            sizes.append(len(queries))
            return [answer(query) for query in queries]

        monkeypatch.setitem(backends._experts, of.fingerprint, ask)
        return sizes

    return put


def blob(label: str = "lung", score: float = 0.9, box=(5, 5, 15, 12)) -> Answer:
    """Return an expert that sees the same rectangle everywhere."""

    def answer(query: Query) -> list[Finding]:
        mask = np.zeros(query.pixels.shape[:2], bool)
        mask[box[1] : box[3], box[0] : box[2]] = True
        return [Finding(label=label, mask=mask, score=score)]

    return answer


def consult(*cards: Card, **more) -> Consult:
    return Consult({"drawn": {"ct": cards}}, **more)


LOCATE = Locate({"drawn": ROIRule()})


def test_the_stage_keeps_the_law(sample, teach, assert_stage):
    """One in, one out, in order, refused ones untouched."""
    one = card("one")
    teach(one, blob())
    done = assert_stage(batched(consult(one), BATCH), [sample])
    assert [len(found.annotations) for found in done if found.rejected is None] == [1]


def test_a_finding_becomes_a_region_with_its_expert_and_score(sample, teach):
    """The row tells a model's guess from a radiologist's mark, and how sure the model was."""
    one = card("one")
    teach(one, blob(score=0.75))
    found = LOCATE(consult(one)([sample])[0])
    assert [(roi.origin, roi.expert, roi.score, roi.label) for roi in found.rois] == [("expert", "one", 0.75, "lung")]
    assert found.rois[0].xyxy == (5, 5, 15, 12)


def test_below_the_threshold_there_is_no_region_and_the_text_says_who_looked(sample, teach):
    """Abstaining is an answer: no region, the expert in the provenance, and a sentence that claims none."""
    one = card("one", min_score=0.8)
    teach(one, blob(score=0.79))
    found = MeasuredDescriber()(LOCATE(consult(one)([sample])[0]))
    assert found.rois == ()
    assert found.provenance is not None
    assert found.provenance.experts == ("one",)
    assert found.local_text == "No region of interest was located in this image by the expert model one."
    said = {claim.attribute: claim.value for claim in found.claims if claim.field == "local_text"}
    assert said == {"roi_count": "0", "expert": "one"}


def test_small_specks_are_no_regions(sample, teach):
    """Pieces under the card's least area go, larger ones of the same mask stay."""
    one = card("one", min_area_px=20)

    def answer(query: Query) -> list[Finding]:
        mask = np.zeros(query.pixels.shape[:2], bool)
        mask[2:12, 2:12] = mask[30:33, 30:33] = True
        return [Finding(label="lung", mask=mask, score=0.9)]

    teach(one, answer)
    assert [roi.xyxy for roi in LOCATE(consult(one)([sample])[0]).rois] == [(2, 2, 12, 12)]


def test_background_and_unexplained_words_are_left_out(sample, teach):
    """Only words that the card or a vocabulary explains can be labels."""
    one = card("one")
    teach(one, lambda query: [*blob("air")(query), *blob("object_7")(query)])
    assert consult(one)([sample])[0].annotations == ()


def test_marks_of_people_are_not_overruled(sample, teach):
    """Where somebody marked the image nobody else is asked."""
    one = card("one")
    sizes = teach(one, blob())
    drawn = sample.with_(annotations=(Annotation(label="mass", box=(1.0, 1.0, 5.0, 5.0)),))
    assert consult(one)([drawn])[0] == drawn
    assert sizes == []


def test_an_expert_sees_only_what_it_is_for(sample, teach):
    """Not another modality, and no uncalibrated values where it needs Hounsfield units."""
    for one in (card("mr_only", modalities=["mri"]), card("hu", needs="HU")):
        sizes = teach(one, blob())
        done = consult(one)([sample])[0]
        assert (done.annotations, done.asked, sizes) == ((), (), [])


def test_images_are_asked_in_one_batch(sample, teach):
    """Ten samples, one call."""
    one = card("one")
    sizes = teach(one, blob())
    consult(one)([sample] * 10)
    assert sizes == [10]


def test_two_experts_vote_and_one_without_the_label_does_not(sample, teach):
    """Who knows the label is asked; who could not have seen it does not count against it."""
    first, second = card("first"), card("second")
    other = card("heart_only", labels={"heart": "heart"})
    teach(first, blob())
    teach(second, blob(box=(5, 5, 15, 10)))
    teach(other, lambda query: [])
    found = LOCATE(consult(first, second, other)([sample])[0])
    assert [(roi.expert, round(roi.score or 0, 3)) for roi in found.rois] == [("first+second", round(50 / 70, 3))]
    assert found.asked == ("first", "second", "heart_only")
    teach(second, lambda query: [])
    assert consult(first, second, other)([sample])[0].annotations == ()


def test_boxes_of_one_expert_prompt_another(sample, teach):
    """A model that outlines what lies in a box is given the boxes another expert found."""
    boxer = card("boxer")
    outliner = card(
        "outliner",
        run={"kind": "transformers", "model": "nowhere", "task": "box_prompt", "box_expert": "boxer"},
    )
    teach(boxer, blob())
    seen: list[tuple] = []

    def answer(query: Query) -> list[Finding]:
        seen.append(query.boxes)
        return []

    teach(outliner, answer)
    consult(outliner, boxers={"boxer": boxer})([sample])
    assert seen == [((5, 5, 15, 12),)]


def test_a_mask_of_another_size_is_the_experts_fault(sample, teach):
    """A wrong geometry in a card is an error of the config, never a region somewhere else."""
    one = card("one")
    teach(one, lambda query: [Finding(label="lung", mask=np.ones((3, 3), bool), score=1.0)])
    with pytest.raises(ConfigError, match="one gave a mask"):
        consult(one)([sample])


def test_the_stage_pickles_with_its_cards(sample):
    """It travels to worker processes."""
    stage = consult(card("one"))
    assert pickle.loads(pickle.dumps(each(LOCATE))) is not None
    assert pickle.loads(pickle.dumps(stage)) == stage
    assert isinstance(sample, Sample)
