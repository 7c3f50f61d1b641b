"""Stages: typed, picklable callables over samples, and the three functions that compose them.

A stage maps an iterable of samples to an iterator of samples: one in, one out, same order, lazy. A stage
that refuses a sample marks it (`sample.reject(...)`); later stages hand it on untouched; only the writer
separates. `tests/conftest.py` states this law once (`assert_stage`) for every stage.

**Why** classes and not closures: a stage travels to worker processes, so it must pickle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from medtrinity25m.errors import RefusedError
from medtrinity25m.triplet import Sample


class Stage(Protocol):
    """Anything that turns samples into as many samples, in order, lazily."""

    def __call__(self, samples: Iterable[Sample], /) -> Iterator[Sample]:
        """Yield what becomes of each sample."""
        ...


@dataclass(frozen=True)
class each:  # noqa: N801 - reads as a verb in a list of stages: each(locate)
    """Apply `function` to every sample that is not rejected.

    A `RefusedError` raised by `function` rejects that sample with its code; any other exception is a bug
    and stops the run.
    """

    function: Callable[[Sample], Sample]

    def __call__(self, samples: Iterable[Sample], /) -> Iterator[Sample]:
        """Yield the function's results, refusals as marks."""
        for sample in samples:
            if sample.rejected is not None:
                yield sample
                continue
            try:
                yield self.function(sample)
            except RefusedError as refusal:
                yield sample.reject(refusal.code, refusal.detail)


@dataclass(frozen=True)
class batched:  # noqa: N801 - reads as a verb in a list of stages: batched(describe, 16)
    """Apply `function` to lists of up to `size` samples; rejected ones bypass it in their place.

    `function` returns one sample for each it was given, in order; it marks its own refusals, because a
    refusal raised for a batch could not say which sample it is about.
    """

    function: Callable[[Sequence[Sample]], Sequence[Sample]]
    size: int

    def __call__(self, samples: Iterable[Sample], /) -> Iterator[Sample]:
        """Yield the function's results in the places of what it was given."""
        source = iter(samples)
        while batch := list(islice(source, self.size)):
            live = [sample for sample in batch if sample.rejected is None]
            done = list(self.function(live)) if live else []
            if len(done) != len(live):
                raise ValueError(f"{self.function!r} returned {len(done)} samples for {len(live)}")
            fresh = iter(done)
            yield from (sample if sample.rejected is not None else next(fresh) for sample in batch)


def run(samples: Iterable[Sample], *stages: Stage) -> Iterator[Sample]:
    """Send samples through the stages, first to last, pulling one at a time."""
    stream = iter(samples)
    for stage in stages:
        stream = stage(stream)
    return stream
