"""What a picture shows, in words: a describer fills the text fields, the claims and the provenance."""

from __future__ import annotations

from typing import Protocol

from medtrinity25m.triplet import Sample


class Describer(Protocol):
    """Anything that describes one sample; used as `each(describer)`.

    It fills `global_text`, `local_text`, `relation_text`, `caption`, `claims`, `provenance` and the `text` of
    each region, and changes nothing else.
    """

    def __call__(self, sample: Sample, /) -> Sample:
        """Return `sample` described."""
        ...
