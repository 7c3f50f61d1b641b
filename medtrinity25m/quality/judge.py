"""Has a multimodal model score descriptions on the five attributes, by the rubric the program scores by.

The model is given the clean image, the image with its regions outlined, what the row records, and the four texts; it
answers JSON. What it did not answer, or answered otherwise than asked, is counted by reason and never becomes a
score: a failure that counts as 0 would measure the server.

**Why** one call a row and no comparison of two texts: a pairwise judge prefers the first and the longer one (Zheng
et al. 2023); scores by a rubric can be set beside those of the program and of people. The judge is a model: its
table names it, and people check it with the review kit (`review/`).
"""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from medtrinity25m.description.exchange import Answer, Model, Request, Usage
from medtrinity25m.description.pictures import boxed_picture, clean_picture
from medtrinity25m.description.quotation import quoted
from medtrinity25m.quality.scores import ATTRIBUTES, LEVELS, RUBRIC
from medtrinity25m.triplet import Quality, Sample

BATCH = 64  # rows whose pictures are in memory at once; the backend bounds how many are asked at a time
TRIES = 2  # a reply that is no JSON is asked for once more; further tries would only hide that the model cannot
MAX_SIDE = 1024  # pixels: models cut a picture down to about this, and larger ones only cost tokens
MAX_TEXT = 4000  # characters of one text: ten times the longest caption
TEXTS = ("global_text", "local_text", "relation_text", "caption")

Points = Annotated[int, Field(strict=True, ge=0, le=2)]


class Verdict(BaseModel):
    """What the judge must answer."""

    model_config = ConfigDict(extra="forbid")

    modality: Points
    structures: Points
    roi: Points
    texture: Points
    relation: Points
    reason: str = Field(max_length=2000)

    def quality(self) -> Quality:
        """Return the scores as a row holds them."""
        levels = {name: float(getattr(self, name)) for name in ATTRIBUTES}
        return Quality(**levels, total=sum(levels.values()))


@dataclass(frozen=True)
class Judged:
    """One row's scores by the judge, and why."""

    id: str
    quality: Quality
    reason: str


@dataclass
class JudgeReport:
    """What a judge made of rows: `asked` = scored + failed."""

    model: str
    prompt_sha256: str
    asked: int = 0
    judged: list[Judged] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    """Reason code → rows that got no score."""
    usage: Usage = field(default_factory=Usage)

    def as_json(self) -> dict[str, Any]:
        """Return it for JSON, rows included."""
        return {
            "model": self.model,
            "prompt_sha256": self.prompt_sha256,
            "asked": self.asked,
            "failures": dict(sorted(self.failures.items())),
            "usage": self.usage.model_dump(),
            "rows": [{"id": one.id, "quality": one.quality.model_dump(), "reason": one.reason} for one in self.judged],
        }


@dataclass(frozen=True)
class FakeJudge:
    """Answers every request with the same content, for tests; `content` None stands for a failure."""

    content: str | None
    failure: str = "mllm.refused"
    name: str = "fake"

    def answer(self, requests: Sequence[Request], /) -> list[Answer]:
        """Return the one answer as often as it is asked."""
        made = Answer(failure=self.failure) if self.content is None else Answer(content=self.content)
        return [made] * len(requests)


def judge(rows: Iterable[Mapping[str, Any]], model: Model) -> JudgeReport:
    """Return what `model` makes of rows of `data/`.

    Raises:
        ConfigError, FetchError: as `Model.answer`.
    """
    report = JudgeReport(model.name, _prompt()[1])
    batch: list[Mapping[str, Any]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == BATCH:
            _judge_batch(batch, model, report)
            batch = []
    _judge_batch(batch, model, report)
    return report


def _judge_batch(rows: Sequence[Mapping[str, Any]], model: Model, report: JudgeReport) -> None:
    """Ask about some rows, once more where the reply could not be read, and add to the report."""
    report.asked += len(rows)
    requests = {row["id"]: request_for(row, model.name) for row in rows}
    outcome: dict[str, Verdict | str] = {}
    open_ids = list(requests)
    for attempt in range(TRIES):
        answers = model.answer([requests[row_id].with_(attempt=attempt) for row_id in open_ids]) if open_ids else []
        for row_id, answer in zip(open_ids, answers, strict=True):
            report.usage = _added(report.usage, answer.usage)
            outcome[row_id] = parse(answer)
        open_ids = [row_id for row_id in open_ids if outcome[row_id] in ("mllm.bad_json", "mllm.schema")]
    for row_id in requests:
        found = outcome[row_id]
        if isinstance(found, str):
            report.failures[found] += 1
        else:
            report.judged.append(Judged(row_id, found.quality(), found.reason))


def _added(one: Usage, other: Usage) -> Usage:
    return Usage(
        prompt_tokens=one.prompt_tokens + other.prompt_tokens,
        completion_tokens=one.completion_tokens + other.completion_tokens,
    )


def parse(answer: Answer) -> Verdict | str:
    """Return the verdict of an answer, or the reason code of why there is none."""
    if answer.content is None:
        return answer.failure or "mllm.unavailable"
    text = answer.content.strip()
    if text.startswith("```") and text.endswith("```"):
        text = text.removeprefix("```json").strip("`")
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError):
        return "mllm.bad_json"
    try:
        return Verdict.model_validate(raw)
    except ValidationError:
        return "mllm.schema"


@cache
def _prompt() -> tuple[str, str]:
    """Return the prompt's text and the SHA-256 of what it depends on."""
    text = (files("medtrinity25m") / "prompts" / "judge.md").read_text(encoding="utf-8")
    whole = json.dumps([text, RUBRIC, LEVELS])
    return text, hashlib.sha256(whole.encode()).hexdigest()


def request_for(row: Mapping[str, Any], model: str) -> Request:
    """Return the request about a row of `data/`."""
    text, sha256 = _prompt()
    material = json.dumps({"facts": _facts(row), "description": _texts(row)}, ensure_ascii=False, indent=1)
    # the fence depends on what it fences, so nothing written there can close it
    fence = f"<<<DATA {hashlib.sha256(material.encode()).hexdigest()[:16]}"
    system = text.partition("-->\n")[2].format(
        attributes="\n".join(f"- {name}: {words}" for name, words in RUBRIC.items()),
        levels="\n".join(f"- {points}: {words}" for points, words in LEVELS.items()),
        names=", ".join(f'"{name}"' for name in ATTRIBUTES),
        fence=fence,
        fence_end=f"{fence} END>>>",
    )
    titles = ["The image:", "The same image, its regions of interest in green boxes:"]
    shown = [part for pair in zip(titles, _pictures(row), strict=False) for part in pair]
    return Request(
        model=model,
        system=system,
        parts=(*shown, f"{fence}\n{material}\n{fence} END>>>"),
        reply_schema=Verdict.model_json_schema(),
        prompt_sha256=sha256,
        temperature=0.0,
        max_tokens=512,
    )


def _facts(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the row records and a judge may go by: vocabulary ids and measurements, no free text."""
    names = ("modality", "view", "laterality", "image_left", "organs", "diseases", "disease", "width", "height")
    about = {name: row[name] for name in (*names, "spacing_mm")}
    regions = [
        {name: roi[name] for name in ("label", "origin", "count", "position", "size_mm", "bbox")}
        | {"area_percent": round(100 * roi["area_fraction"], 1)}
        for roi in row["rois"]
    ]
    return about | {"regions": regions}


def _texts(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the texts as quotations: capped, without control characters and marks of chat templates."""
    return {name: quoted(row[name], MAX_TEXT) for name in TEXTS if row[name]}


def _pictures(row: Mapping[str, Any]) -> list[bytes]:
    """Return the clean image, and one with the regions' boxes where there are regions, as the describer saw them."""
    from PIL import Image

    with Image.open(io.BytesIO(row["image"]["bytes"])) as opened:
        pixels = np.asarray(opened.convert("L" if opened.mode in ("1", "L") else "RGB"))
    known = {name: row[name] for name in ("id", "modality", "source", "license")}
    sample = Sample(locator=row["id"], pixels=pixels, **known)
    boxes = {
        number: (x, y, x + width, y + height)
        for number, roi in enumerate(row["rois"], start=1)
        if roi["origin"] != "whole_image"
        for x, y, width, height in [roi["bbox"]]
    }
    clean = clean_picture(sample, MAX_SIDE)
    return [clean, boxed_picture(sample, boxes, MAX_SIDE)] if boxes else [clean]
