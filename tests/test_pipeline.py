"""Stages and the functions that compose them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from medtrinity25m.errors import RefusedError
from medtrinity25m.pipeline import batched, each, run
from medtrinity25m.triplet import Sample


@dataclass(frozen=True)
class Name:
    text: str

    def __call__(self, sample: Sample) -> Sample:
        return sample.with_(caption=f"{sample.caption or ''}{self.text}")


def refuse(sample: Sample) -> Sample:
    raise RefusedError("test.no", f"{sample.locator} is not wanted")


def drop_one(samples: Sequence[Sample]) -> Sequence[Sample]:
    return samples[1:]


def title(samples: Sequence[Sample]) -> Sequence[Sample]:
    return [one.with_(caption=f"{len(samples)}") for one in samples]


def test_each_keeps_the_law_of_stages(assert_stage, sample):
    """`each` is lazy, keeps order, pickles and leaves rejected samples alone."""
    made = assert_stage(each(Name("a")), [sample])

    assert made[0].caption == "a"


def test_batched_keeps_the_law_of_stages(assert_stage, sample):
    """`batched` hands over at most `size` live samples and puts results back in their places."""
    made = assert_stage(batched(title, 2), [sample, sample.with_(id="1" * 32)])

    assert [one.caption for one in made] == ["2", "2"]


def test_run_applies_the_stages_in_order(sample):
    """The first stage is applied first."""
    assert next(run([sample], each(Name("a")), each(Name("b")))).caption == "ab"


def test_a_refusal_rejects_the_sample_with_its_code_and_reason(sample):
    """`RefusedError` becomes a mark; the pixels are let go."""
    made = next(run([sample], each(refuse), each(Name("later"))))

    assert (made.rejected, made.caption, made.pixels) == ("test.no", None, None)
    assert made.detail == "a.png is not wanted"


def test_a_batch_that_loses_a_sample_is_a_bug_and_stops(sample):
    """One in, one out holds for batches too."""
    with pytest.raises(ValueError, match="returned 1 samples for 2"):
        list(batched(drop_one, 2)([sample, sample]))


def test_any_other_error_is_a_bug_and_stops(sample):
    """Only refusals are data; a TypeError flies."""
    with pytest.raises(TypeError):
        list(each(lambda one: one + 1)([sample]))
