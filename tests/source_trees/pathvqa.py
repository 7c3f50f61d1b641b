"""PathVQA of the Hub: parquet files with the pictures inside."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from source_trees import Expected
from source_trees.drawing import noise


def _image(name: str) -> dict[str, object]:
    packed = io.BytesIO()
    Image.fromarray(noise(name, (32, 40, 3))).save(packed, "JPEG")
    return {"bytes": packed.getvalue(), "path": None}


def make(root: Path) -> Expected:
    """Two shards of training questions, one each of validation and test; one question names no modality."""
    shards = {
        "train-00000-of-00002": (
            ("histology of what organ is shown?", "liver"),
            ("what is present?", "gastrointestinal"),
        ),
        "train-00001-of-00002": (("does this immunohistochemistry show a tumor?", "yes"),),
        "validation-00000-of-00001": (("is this an x-ray of the hand?", "yes"),),
        "test-00000-of-00001": (("what does the blood smear show?", "sickle cells"),),
    }
    (root / "data").mkdir(parents=True)
    kind = pa.schema([
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ("question", pa.string()), ("answer", pa.string()),
    ])  # fmt: skip
    for shard, rows in shards.items():
        lines = [
            {"image": _image(f"{shard} {question}"), "question": question, "answer": answer}
            for question, answer in rows
        ]
        pq.write_table(pa.Table.from_pylist(lines, kind), root / "data" / f"{shard}.parquet")
    return Expected(
        rows=4,
        modalities={"histopathology", "xray", "microscopy"},
        splits={"train", "validation", "test"},
        texts=4,
        refused=(("modality.unknown", 1),),
    )
