"""Golden rows: one row a demo source, as text, so that a changed word or pixel shows in review.

`make golden` writes them anew.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds

GOLDEN = Path(__file__).parent / "golden" / "demo.json"
TEXTS = ("coarse_caption", "global_text", "local_text", "relation_text", "caption")


def rows(release: Path) -> dict[str, Any]:
    """Return one row of each source, the one with most regions, then the first by id."""
    table = ds.dataset(release / "data", format="parquet").to_table().to_pylist()
    chosen: dict[str, Any] = {}
    for row in sorted(table, key=lambda row: (-len(row["rois"]), row["id"])):
        chosen.setdefault(row["source"], _plain(row))
    return dict(sorted(chosen.items()))


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    image = row["image"]["bytes"]
    return {
        "id": row["id"],
        "image": f"sha256 {hashlib.sha256(image).hexdigest()}, {len(image)} bytes",
        **{name: row[name] for name in ("modality", "view", "image_left", "organs", "disease", "window", *TEXTS)},
        "rois": [{name: roi[name] for name in ("bbox", "label", "origin", "count", "position")} for roi in row["rois"]],
        "claims": [
            f"{claim['field']}[{claim['start']}:{claim['end']}] {claim['attribute']} = {claim['value']} "
            f"{claim['unit'] or ''} ({claim['evidence']})"
            for claim in row["claims"]
        ],
    }


def test_the_demo_s_rows_are_the_golden_ones(demo_release, pytestconfig):
    """Pixels, regions, texts and claims of one row a source are what was last reviewed."""
    found = rows(demo_release)
    if pytestconfig.getoption("update_golden"):
        GOLDEN.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    assert found == json.loads(GOLDEN.read_text(encoding="utf-8"))
