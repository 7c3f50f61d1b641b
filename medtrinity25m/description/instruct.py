r"""Rows of a release as instruction data in LLaVA's format: what a teacher wrote, for a captioner to learn.

A record is `{"id", "image", "conversations": [{"from": "human", "value": "<image>\n…"}, {"from": "gpt", "value": …}]}`,
the file one JSON list, the images files beside it: what LLaVA's and LLaVA-Med's trainers read. Two tasks:

* `caption`: one of our wordings of "describe this image" → the row's caption. The image is the clean one.
* `describe`: word for word what the describing stage asks a model that takes one picture (`prompt.pictures: boxed`) →
  the JSON it must answer. A captioner taught this describes the next build (`describe: {backend: transformers, …}`):
  that is the hand-over, and its replies are read and checked like the teacher's.

Exported are rows of one split, never of `test`, whose text has no contradiction and is no fallback, of sources whose
license lets images be passed on. Which ones, and which wording each gets, is decided by a hash of seed and id.

**Why** `describe` leaves the system message in the human's words: LLaVA's trainer puts its own system prompt first; a
captioner whose chat template knows no system role is then asked with exactly these words. Negative result: that a
window and a mean are in HU is not among the facts of `describe`: a row has pixels, and no calibrated values.
"""

from __future__ import annotations

import hashlib
import heapq
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from medtrinity25m.description.backends.transformers import SYSTEM_END
from medtrinity25m.description.measured import MeasuredDescriber
from medtrinity25m.description.prompt import Question, question_for
from medtrinity25m.description.prompting import Prompting
from medtrinity25m.errors import ConfigError
from medtrinity25m.knowledge.snippet import Snippet
from medtrinity25m.registry import Split
from medtrinity25m.release.manifest import read_manifest
from medtrinity25m.release.png import decode_mask
from medtrinity25m.release.workspace import committed
from medtrinity25m.triplet import ROI, Facts, Sample

Task = Literal["caption", "describe"]
RECORDS, IMAGES = "instruct.json", "images"
IMAGE = "<image>"

WORDINGS = (
    "Describe this medical image.",
    "What does this medical image show? Describe it and its region of interest.",
    "Write a caption for this medical image: the image as a whole, the regions of interest, and how they are related.",
    "Give a factual description of the image in one paragraph.",
    "Describe the kind of image, what it shows, and where the region of interest lies and how it looks.",
    "Summarize what can be seen in this image, from the whole to the region of interest.",
    "Please describe the image in detail, naming place and extent of what is marked or unusual.",
    "Explain what is visible here, in plain sentences and without a diagnosis of your own.",
)
"""Our wordings of one request; several, so that the captioner learns the task and not a sentence."""

_LOOK = ("shape", "texture", "intensity", "margin")  # measured words that stand in for the reply's `texture`


@dataclass(frozen=True)
class Choice:
    """Which rows are exported, and as what.

    Args:
        task: `caption` or `describe`.
        number: at most so many rows, chosen by hash; None for all.
        seed: another one chooses other rows and wordings.
        describer: only rows whose text this describer wrote (`openai`, `measured`, …).
        split: of these rows; `test` is refused.
    """

    task: Task = "caption"
    number: int | None = None
    seed: int = 0
    describer: str | None = None
    split: Split = "train"


@dataclass(frozen=True)
class Export:
    """What was written, and why the other rows of the split were not."""

    records: int
    left_out: dict[str, int] = field(default_factory=dict)


def export(folder: Path, target: Path, choice: Choice) -> Export:
    """Write `target/instruct.json` and `target/images/`; images that stand already are left alone.

    Raises:
        ConfigError: the split is `test`, or no row can be exported; the message says why.
        GateFailedError: `folder` is not a finished release.
        DiskError: the disk refused a write.
    """
    if choice.split == "test":
        raise ConfigError("instruct: rows of the test split are for evaluation; export train or validation")
    manifest = read_manifest(folder)
    left_out: Counter[str] = Counter()
    chosen = _chosen(folder, manifest, choice, left_out)
    if not chosen:
        why = ", ".join(f"{count:,} {reason}" for reason, count in sorted(left_out.items())) or "it has no rows"
        raise ConfigError(f"instruct: nothing of split {choice.split} of {folder} can be exported: {why}")
    passages = _passages(folder, manifest) if choice.task == "describe" else {}
    with committed(target / RECORDS) as part, part.open("w", encoding="utf-8") as handle:
        between = "[\n"
        for row in _rows(folder, chosen):
            handle.write(between + json.dumps(_record(row, target, choice, passages), ensure_ascii=False))
            between = ",\n"
        handle.write("\n]\n")
    return Export(sum(map(len, chosen.values())), dict(sorted(left_out.items())))


def _chosen(
    folder: Path, manifest: Mapping[str, Any], choice: Choice, left_out: Counter[str]
) -> dict[str, frozenset[str]]:
    """Return the ids to export by shard, in the order of shards; count the others by reason."""
    import pyarrow.parquet as pq

    free = {source["id"] for source in manifest["about_sources"] if source["redistribution"] == "images"}
    fit: list[tuple[str, str, str]] = []
    for shard in manifest["shards"]:
        if shard["split"] != choice.split:
            continue
        path = folder / "metadata" / f"{shard['name']}.parquet"
        for row in pq.read_table(path, columns=["id", "source", "caption", "claims", "provenance"]).to_pylist():
            if reason := _unfit(row, free, choice):
                left_out[reason] += 1
            else:
                fit.append((_hash(choice.seed, row["id"]), row["id"], shard["name"]))
    kept = fit if choice.number is None else heapq.nsmallest(choice.number, fit)
    if len(kept) < len(fit):
        left_out["not chosen"] = len(fit) - len(kept)
    names = dict.fromkeys(shard["name"] for shard in manifest["shards"])
    by_shard = {name: frozenset(row_id for _, row_id, shard in kept if shard == name) for name in names}
    return {name: ids for name, ids in by_shard.items() if ids}


def _unfit(row: Mapping[str, Any], free: set[str], choice: Choice) -> str | None:
    """Return why a row is not exported, or None."""
    made = row["provenance"] or {}
    if row["source"] not in free:
        return f"of {row['source']}, whose images may not be passed on"
    if not row["caption"]:
        return "without a caption"
    if made.get("fallback"):
        return "fell back to the measured text"
    if any(claim["verdict"] == "contradicted" for claim in row["claims"]):
        return "contradicted"
    if choice.describer is not None and made.get("describer") != choice.describer:
        return f"not by {choice.describer}"
    return None


def _hash(seed: int, row_id: str) -> str:
    return hashlib.sha256(f"{seed} {row_id}".encode()).hexdigest()


def _rows(folder: Path, chosen: Mapping[str, frozenset[str]]) -> Iterator[dict[str, Any]]:
    """Yield the chosen rows with their pixels, shard after shard, a row group in memory."""
    import pyarrow.parquet as pq

    for name, ids in chosen.items():
        with pq.ParquetFile(folder / "data" / f"{name}.parquet") as file:
            for group in range(file.num_row_groups):
                wanted = [row_id in ids for row_id in file.read_row_group(group, columns=["id"])["id"].to_pylist()]
                if any(wanted):
                    yield from file.read_row_group(group).filter(wanted).to_pylist()


def _record(row: Mapping[str, Any], target: Path, choice: Choice, passages: Mapping[str, Snippet]) -> dict[str, Any]:
    """Return one record, its image written."""
    if choice.task == "caption":
        picture: bytes = row["image"]["bytes"]
        wording = WORDINGS[int(_hash(choice.seed, row["id"])[-8:], 16) % len(WORDINGS)]
        human, gpt = f"{IMAGE}\n{wording}", row["caption"]
    else:
        picture, human, gpt = _describing(row, passages)
    name = f"{IMAGES}/{row['id']}{_suffix(picture)}"
    path = target / name
    if not (path.is_file() and path.read_bytes() == picture):
        with committed(path) as part:
            part.write_bytes(picture)
    turns = [{"from": "human", "value": human}, {"from": "gpt", "value": gpt}]
    return {"id": row["id"], "image": name, "conversations": turns}


def _suffix(image: bytes) -> str:
    return ".png" if image.startswith(b"\x89PNG") else ".jpg"


def _describing(row: Mapping[str, Any], passages: Mapping[str, Snippet]) -> tuple[bytes, str, str]:
    """Return picture, question and answer of the describing stage for a row."""
    measured = MeasuredDescriber()(sample_of(row))
    cited = [passages[found["passage_id"]] for found in row["knowledge"] if found["passage_id"] in passages]
    question = question_for(measured, cited, Prompting(pictures="boxed"), "captioner")
    picture = next(part for part in question.request.parts if isinstance(part, bytes))
    words = [f"{IMAGE}\n" if isinstance(part, bytes) else part for part in question.request.parts]
    human = "".join([question.request.system, SYSTEM_END, *words])
    return picture, human, json.dumps(_reply(row, measured, question), ensure_ascii=False)


def _reply(row: Mapping[str, Any], measured: Sample, question: Question) -> dict[str, Any]:
    """Return the reply that a row's texts would have been; `texture` is what was measured, which a row keeps."""
    local = []
    for index, place in question.places.items():
        look = [
            (measured.local_text or "")[claim.start : claim.end]
            for claim in measured.claims
            if claim.field == "local_text" and claim.roi == index and claim.attribute in _LOOK
        ]
        text = row["rois"][index]["text"]
        local.append({"roi": index, "location": place, "texture": ", ".join(look), "text": text})
    regions = {"local": local, "relation_text": row["relation_text"] or ""} if local else {}
    return {"global_text": row["global_text"], **regions, "caption": row["caption"], "abstain": False}


def sample_of(row: Mapping[str, Any]) -> Sample:
    """Return a sample to measure again from a shipped row: its picture, regions and columns."""
    import numpy as np
    from PIL import Image

    with Image.open(io.BytesIO(row["image"]["bytes"])) as image:
        pixels = np.asarray(image.convert("L" if image.mode in ("1", "L", "I;16") else "RGB"))
    facts = {name: row[name] for name in Facts.model_fields if name not in ("claims", "quality")}
    experts = tuple((row["provenance"] or {}).get("experts") or ())
    rois = tuple(_roi(roi) for roi in row["rois"])
    return Sample(**facts, locator=row["id"], pixels=pixels, rois=rois, asked=experts)


def _roi(roi: Mapping[str, Any]) -> ROI:
    x, y, width, height = roi["bbox"]
    own = {name: value for name, value in roi.items() if name not in ("bbox", "mask")}
    full = None if roi["mask"] is None else decode_mask(roi["mask"]["bytes"])
    crop = None if full is None else full[y : y + height, x : x + width]
    return ROI(**own, xyxy=(x, y, x + width, y + height), mask=crop)


def _passages(folder: Path, manifest: Mapping[str, Any]) -> dict[str, Snippet]:
    """Return the passages of a release by id."""
    import pyarrow.parquet as pq

    rows = pq.read_table(folder / manifest["knowledge"]["path"]).to_pylist()
    return {row["passage_id"]: _snippet(row) for row in rows}


def _snippet(row: Mapping[str, Any]) -> Snippet:
    own = {name: row[name] for name in Snippet.model_fields if row.get(name) is not None}
    return Snippet(**{**own, "id": row["passage_id"]})
