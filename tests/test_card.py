"""The card: every number from the manifest, nothing in the data can break it."""

from __future__ import annotations

import yaml

from medtrinity25m.release.card import front_matter, make_card

HOSTILE = '---\nlicense: mit\n---\n| a | <script>alert(1)</script> [x](javascript:1) "quoted"'
MANIFEST_DATA = {
    "build": "abcdef012345",
    "pipeline_version": "0.1.0",
    "rows": {"read": 12, "written": 10, "rejected": 2},
    "rejected_by_reason": {"file.empty": 2},
    "splits": {"train": 8, "test": 2},
    "modalities": {"ct": 10},
    "diseases": {"cyst": 4, "none": 6},
    "organs": {"liver": 10},
    "sources": {"made": 10},
    "origins": {"mask": 4},
    "describers": {"measured": 9, "openai tiny": 1},
    "prompts": {"ab12": 1},
    "fallbacks": {"mllm.refused": 2},
    "exchange": {
        "completion_tokens": 50, "contradicted": 2, "prompt_tokens": 400, "repaired": 1, "requests": 4, "rows": 3,
    },
    "quality": {"modality": {"1": 2, "2": 8}, "total": {"7": 4, "9": 6}},
    "corrections": [
        {"source": "made", "by": HOSTILE, "column": "organs", "was": "brain", "value": "liver", "rows": 3}
    ],
    "about_sources": [{"id": "made", "title": HOSTILE, "license": "CC0-1.0", "homepage": None, "citation": None}],
    "shards": [
        {
            "name": "ct/train-00000-of-00001", "modality": "ct", "split": "train", "rows": 8, "bytes": 800,
            "diseases": {"cyst": 4, "none": 4}, "disease_bytes": {"cyst": 400, "none": 400},
        },
        {
            "name": "ct/test-00000-of-00001", "modality": "ct", "split": "test", "rows": 2, "bytes": 200,
            "diseases": {"none": 2}, "disease_bytes": {"none": 200},
        },
    ],
    "knowledge_base": None,
    "checker": {
        "kinds": {"side": {"hits": 9, "n": 10, "rate": 0.9, "low": 0.6, "high": 0.98}},
        "recall": {"hits": 9, "n": 10, "rate": 0.9, "low": 0.6, "high": 0.98},
        "flagged_texts": {"hits": 0, "n": 40, "rate": 0.0, "low": 0.0, "high": 0.09},
        "flagged_statements": {"hits": 0, "n": 0, "rate": None, "low": None, "high": None},
    },
    "knowledge": {"path": "knowledge/train-00000-of-00001.parquet", "rows": 3, "bytes": 30},
}  # fmt: skip


def test_the_front_matter_parses_to_what_was_written():
    """A hostile title neither ends the YAML nor adds a key."""
    card = make_card(MANIFEST_DATA)

    assert yaml.safe_load(card.split("\n---\n")[0].removeprefix("---\n")) == front_matter(MANIFEST_DATA)
    assert front_matter(MANIFEST_DATA)["license"] == "other"


def test_the_body_holds_no_markup_of_the_data():
    """Tags, links and table bars of a title are escaped."""
    body = make_card(MANIFEST_DATA).split("\n---\n", 1)[1]

    assert "<script>" not in body
    assert "[x](javascript" not in body
    assert sum(line.startswith("---") for line in body.splitlines()) == 0


def test_a_disease_config_lists_only_the_shards_that_hold_it():
    """Cysts are in one of two shards; the filter makes it exact."""
    configs = {config["config_name"]: config for config in front_matter(MANIFEST_DATA)["configs"]}

    assert configs["cyst"]["data_files"] == [{"split": "train", "path": ["data/ct/train-00000-of-00001.parquet"]}]
    assert configs["cyst"]["filters"] == [["disease", "==", "cyst"]]
    assert [name for name, config in configs.items() if config.get("default")] == ["all"]


def test_the_counts_are_those_of_the_manifest():
    """Funnel and tables."""
    card = make_card(MANIFEST_DATA)

    for line in (
        "| read | 12 |",
        "| rejected: `file.empty` | -2 |",
        "| written | 10 |",
        "| cyst | 4 |",
        "| mask | 4 |",
        "| openai tiny | 1 |",
        "| mllm.refused | 2 |",
        "| ab12 | 1 |",
        "| modality | 1.80 | 1.50–2.00 | 10 |",
        "| caught: side | 90.0 % | 60.0 % to 98.0 % | 10 |",
        "| false alarm: statement | – | – to – | 0 |",
    ):
        assert line in card
