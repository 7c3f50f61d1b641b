"""The Arrow schema of the shipped row, with the metadata `datasets` reads its features from.

The features are written in the older dialect (`[feature]` for a list, `Sequence` for a fixed length): every
`datasets` from 3.6 to the latest reads it, while releases before 4 cannot read the newer `List`. The schema is
written by hand so that building needs no import of `datasets`, which takes seconds.
"""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

Feature = Any
"""A node of a features tree: {"dtype": …, "_type": "Value"}, {"_type": "Image"}, a dict of nodes, or [node]."""


def _value(dtype: str) -> Feature:
    return {"dtype": dtype, "_type": "Value"}


STRING, INT, FLOAT = _value("string"), _value("int32"), _value("float64")
IMAGE: Feature = {"_type": "Image"}


def _fixed(feature: Feature, length: int) -> Feature:
    return {"feature": feature, "length": length, "_type": "Sequence"}


ROI_FEATURES: dict[str, Feature] = {
    "bbox": _fixed(INT, 4),
    "mask": IMAGE,
    "label": STRING,
    "origin": STRING,
    "expert": STRING,
    "score": FLOAT,
    "count": INT,
    "area_fraction": FLOAT,
    "position": STRING,
    "size_mm": _fixed(FLOAT, 2),
    "text": STRING,
}
CLAIM_FEATURES: dict[str, Feature] = {
    "field": STRING, "start": INT, "end": INT, "attribute": STRING, "roi": INT, "value": STRING, "unit": STRING,
    "evidence": STRING, "verdict": STRING,
}  # fmt: skip
QUALITY = ("modality", "structures", "roi", "texture", "relation", "total")
FEATURES: dict[str, Feature] = {
    "id": STRING,
    "image": IMAGE,
    "width": INT,
    "height": INT,
    "modality": STRING,
    "view": STRING,
    "laterality": STRING,
    "image_left": STRING,
    "organs": [STRING],
    "diseases": [STRING],
    "disease": STRING,
    "corrections": [{"column": STRING, "was": STRING, "value": STRING, "by": STRING}],
    "rois": [ROI_FEATURES],
    "coarse_caption": STRING,
    "global_text": STRING,
    "local_text": STRING,
    "relation_text": STRING,
    "caption": STRING,
    "reference_text": STRING,
    "claims": [CLAIM_FEATURES],
    "knowledge": [{"passage_id": STRING, "score": FLOAT}],
    "quality": dict.fromkeys(QUALITY, FLOAT),
    "provenance": {
        "describer": STRING, "model": STRING, "prompt_sha256": STRING, "reply_sha256": STRING,
        "fallback": STRING, "repairs": INT, "experts": [STRING], "pipeline_version": STRING,
    },
    "source": STRING,
    "license": STRING,
    "patient": STRING,
    "study": STRING,
    "slice_index": INT,
    "spacing_mm": _fixed(FLOAT, 2),
    "window": {"center": FLOAT, "width": FLOAT, "name": STRING},
}  # fmt: skip
"""Columns of `data/`: one row a triplet."""

METADATA_FEATURES: dict[str, Feature] = {
    name: [{key: node for key, node in ROI_FEATURES.items() if key != "mask"}] if name == "rois" else feature
    for name, feature in FEATURES.items()
    if name != "image"
}
"""Columns of `metadata/`: the same rows without image and mask bytes."""

PASSAGE_FEATURES: dict[str, Feature] = {
    "passage_id": STRING, "title": STRING, "text": STRING, "corpus": STRING, "license": STRING, "locator": STRING,
    "offset": INT, "terms": [STRING],
}  # fmt: skip
"""Columns of `knowledge/`: one row a passage that a row of `data/` cites."""

KEY_COLUMNS = ("id", "modality", "disease", "source", "license")
"""Columns with min/max statistics, which is what filters are pushed down to."""

_ARROW = {"string": pa.string(), "int32": pa.int32(), "float64": pa.float64()}


def arrow_type(feature: Feature) -> pa.DataType:
    """Return the Arrow type `datasets` stores a feature as."""
    if isinstance(feature, list):
        return pa.list_(arrow_type(feature[0]))
    match feature.get("_type"):
        case "Value":
            return _ARROW[feature["dtype"]]
        case "Image":
            return pa.struct({"bytes": pa.binary(), "path": pa.string()})
        case "Sequence":
            return pa.list_(arrow_type(feature["feature"]), feature["length"])
        case _:
            return pa.struct({name: arrow_type(node) for name, node in feature.items()})


def arrow_schema(features: dict[str, Feature]) -> pa.Schema:
    """Return the schema of a shard, `huggingface` metadata included."""
    fields = [pa.field(name, arrow_type(feature)) for name, feature in features.items()]
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    return pa.schema(fields, metadata=metadata)


def leaves(feature: Feature, name: str) -> list[str]:
    """Return the Parquet paths of a column's leaves, as compression and statistics are set by leaf."""
    if isinstance(feature, list):
        return leaves(feature[0], f"{name}.list.element")
    match feature.get("_type"):
        case "Value":
            return [name]
        case "Image":
            return [f"{name}.bytes", f"{name}.path"]
        case "Sequence":
            return leaves(feature["feature"], f"{name}.list.element")
        case _:
            return [leaf for key, node in feature.items() for leaf in leaves(node, f"{name}.{key}")]
