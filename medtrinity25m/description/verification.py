"""A reply held against its row: the texts as they would ship, and a verdict on every statement in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from medtrinity25m.description.reply import Reply
from medtrinity25m.quality.check import check
from medtrinity25m.quality.evidence import Evidence
from medtrinity25m.quality.extract.sentences import sentences
from medtrinity25m.quality.statement import Checked
from medtrinity25m.triplet import Claim, Sample, TextField

FIELDS: tuple[TextField, ...] = ("global_text", "local_text", "relation_text", "caption")
OF_ONE_REGION = ("area_share", "width", "height", "size", "position_horizontal", "position_vertical")
"""What a region's own text says of that region and of no other."""


@dataclass(frozen=True)
class Verified:
    """The texts of a reply, each region's part of the local text, and what checking them came to."""

    texts: dict[TextField, str | None]
    regions: dict[int, str]
    checked: tuple[Checked, ...]

    @property
    def wrong(self) -> list[Checked]:
        """The statements that the row contradicts."""
        return [one for one in self.checked if one.verdict == "contradicted"]

    def claims(self, measured: Sample) -> tuple[Claim, ...]:
        """Return the claims of the row; where nothing is marked, saying so is the measured text's claim."""
        own = () if self.regions else tuple(claim for claim in measured.claims if claim.field == "local_text")
        made = [*(one.claim() for one in self.checked), *own]
        return tuple(sorted(made, key=lambda claim: (FIELDS.index(claim.field), claim.start, claim.end)))


def verify_reply(reply: Reply, places: Mapping[int, str], measured: Sample, evidence: Evidence) -> Verified:
    """Return the texts of a reply about regions at `places`, checked; `evidence` is that of `measured`."""
    regions = reply.regions(places)
    own: dict[TextField, str | None] = {
        "global_text": reply.global_text,
        "local_text": " ".join(regions.values()) or None,
        "relation_text": reply.relation_text or None,
        "caption": reply.caption,
    }
    checked = list(check(evidence, own))
    if len(regions) > 1:
        checked = _with_regions_apart(checked, regions, evidence)
    checked += [gap for field, text in own.items() for gap in _unchecked(field, text, checked)]
    texts = own if regions else {**own, "local_text": measured.local_text}
    return Verified(texts, regions, tuple(checked))


def _with_regions_apart(checked: Sequence[Checked], regions: Mapping[int, str], evidence: Evidence) -> list[Checked]:
    """Return the verdicts, those on a region's own text replaced where that region alone contradicts it."""
    found: dict[tuple[str, int, int, str], Checked] = {(c.field, c.start, c.end, c.attribute): c for c in checked}
    offset = 0
    for index, text in regions.items():
        alone = replace(evidence, rois=(evidence.rois[index],))
        for one in check(alone, {"local_text": text}):
            if one.verdict == "contradicted" and one.attribute in OF_ONE_REGION:
                moved = one.with_(start=one.start + offset, end=one.end + offset, roi=index)
                found[moved.field, moved.start, moved.end, moved.attribute] = moved
        offset += len(text) + 1
    return list(found.values())


def _unchecked(field: TextField, text: str | None, checked: Sequence[Checked]) -> Iterator[Checked]:
    """Yield every sentence of a text in which nothing could be checked, as a statement of the model's own."""
    spans = [(one.start, one.end) for one in checked if one.field == field]
    for sentence in sentences(text or ""):
        if not any(first < sentence.end and sentence.start < last for first, last in spans):
            place: dict[str, Any] = {"field": field, "start": sentence.start, "end": sentence.end}
            yield Checked(**place, attribute="statement", value="", verdict="unsupported", evidence="model")
