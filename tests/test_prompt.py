"""What a model is asked: the pictures, the facts, the quotations, the questions of the modality, and a schema."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

import cases
from medtrinity25m.caption import CoarseCaption
from medtrinity25m.description.measured import MeasuredDescriber
from medtrinity25m.description.prompt import MOST_PASSAGES, PASSAGE_CHARS, Question, question_for, variant
from medtrinity25m.description.prompt_files import prompt_sha256
from medtrinity25m.description.prompting import Prompting
from medtrinity25m.knowledge.snippet import Snippet
from medtrinity25m.registry import vocabulary
from medtrinity25m.triplet import Sample


def asked(maker: Callable[[], Sample], *passages: Snippet, **options: Any) -> Question:
    return question_for(CoarseCaption()(maker()), passages, Prompting(**options), "tiny")


def words(question: Question) -> str:
    return "\n".join(part for part in question.request.parts if isinstance(part, str))


def pictures(question: Question) -> list[np.ndarray]:
    parts = [part for part in question.request.parts if isinstance(part, bytes)]
    return [np.asarray(Image.open(io.BytesIO(part)).convert("RGB")) for part in parts]


def snippet(text: str, number: int = 1) -> Snippet:
    return Snippet(
        id=f"made:{number}", title=f"Title {number}", text=text, corpus="made", license="CC0-1.0", locator="made.txt"
    )


@pytest.mark.parametrize("maker", cases.MAKERS, ids=lambda maker: maker.__name__)
def test_every_kind_of_row_makes_a_question(maker):
    """No name is left unfilled, every told region is in facts, task and schema, and the hash names the files."""
    sample = CoarseCaption()(maker())
    question = asked(maker)
    text = question.request.system + words(question)

    assert not re.search(r"\$[a-z_]+", text)
    assert {i for i, roi in enumerate(sample.rois) if roi.text} == set(question.places)
    for index, place in question.places.items():
        assert place == sample.rois[index].position
        assert f'Region {index}: call it "' in text
        assert sample.rois[index].text in text
    assert sample.coarse_caption in text
    assert sample.global_text in text
    assert question.request.prompt_sha256 == prompt_sha256(
        ["describe.system", "describe.user", variant(sample.modality)]
    )
    shape = json.loads(words(question).rsplit("\n", 1)[1])
    assert [region["roi"] for region in shape.get("local", [])] == list(question.places)


def test_regions_are_asked_about_in_the_order_in_which_they_are_told():
    """Of many regions the largest three, the largest first; none of the others is drawn or asked about."""
    question = asked(cases.many)

    assert len(question.places) == 3
    assert question.places == {index: cases.many().rois[index].position for index in question.places}
    areas = [cases.many().rois[index].area_fraction for index in question.places]
    assert areas == sorted(areas, reverse=True)
    assert 'call it "the largest region"' in words(question)


def test_every_modality_has_its_questions():
    """Slides are asked for structures, not for organs; each of the ten is asked something."""
    for modality in vocabulary("modality").terms:
        base = MeasuredDescriber()(cases.bare().with_(modality=modality))
        text = words(question_for(CoarseCaption()(base), [], Prompting(), "tiny"))
        assert ("major structures" in text) == (modality in ("histopathology", "microscopy"))
        assert ("which organs" in text) == (modality in ("ct", "mri", "xray", "ultrasound", "pet"))


def test_two_pictures_are_sent_or_only_the_one_with_the_boxes():
    """Clean and boxed, of the same size; models that take one picture get the boxed one."""
    clean, boxed = pictures(asked(cases.ct))
    (alone,) = pictures(asked(cases.ct, pictures="boxed"))

    assert clean.shape == boxed.shape == (cases.HEIGHT, cases.WIDTH, 3)
    assert not np.any(np.all(clean == (0, 255, 0), axis=-1))
    assert np.any(np.all(boxed == (0, 255, 0), axis=-1))
    assert np.array_equal(alone, boxed)


@pytest.mark.parametrize("maker", [cases.bare, cases.dermoscopy])
def test_without_a_region_to_show_the_image_is_sent_alone(maker):
    """A box around the whole image would say nothing."""
    (only,) = pictures(asked(maker))

    assert not np.any(np.all(only == (0, 255, 0), axis=-1))


def test_pictures_are_reduced_to_the_side_that_was_asked_for():
    """`max_side` is of the longer side."""
    assert pictures(asked(cases.ct, max_side=64))[0].shape == (49, 64, 3)


def test_passages_are_quoted_one_by_one_short_and_few():
    """A long passage is cut, a ninth one is left out."""
    question = asked(cases.ct, *(snippet(f"passage number {i} " + "word " * 2000, i) for i in range(12)))
    blocks = re.findall(r'<passage number="(\d+)" title="Title \d+">\n(.*)\n</passage>', words(question))

    assert [int(number) for number, _ in blocks] == list(range(1, MOST_PASSAGES + 1))
    assert all(len(text) <= PASSAGE_CHARS for _, text in blocks)


def test_the_published_text_is_quoted_unless_told_otherwise():
    """`reference_text: false` leaves it out."""

    def maker() -> Sample:
        return cases.ct().with_(reference_text="What somebody <wrote>.")

    assert "<reference>\nWhat somebody ‹wrote›.\n</reference>" in words(asked(maker))
    assert "‹wrote›" not in words(asked(maker, reference_text=False))


def test_the_same_sample_is_the_same_request_and_anything_else_is_another():
    """What was once answered is found again, and only that."""
    requests = [
        asked(cases.ct).request,
        asked(cases.ct, pictures="boxed").request,
        asked(cases.ct, temperature=0.1).request,
        asked(cases.ct, max_tokens=100).request,
        asked(cases.ct, snippet("The liver is large.")).request,
        asked(lambda: cases.ct().with_(pixels=cases.ct().pixels // 2)).request,
        asked(cases.ct).more("again", "Again."),
    ]

    assert asked(cases.ct).request.sha256 == requests[0].sha256
    assert len({request.sha256 for request in requests}) == len(requests)
