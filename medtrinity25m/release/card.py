"""`README.md` of a release: YAML front matter with the configs, and a card whose every number is computed."""

from __future__ import annotations

from importlib.resources import files
from string import Template
from typing import Any

import yaml

from medtrinity25m.features import FEATURES, METADATA_FEATURES, PASSAGE_FEATURES, Feature
from medtrinity25m.release.configs import ReleaseConfig, release_configs
from medtrinity25m.release.manifest import Manifest

FEATURES_OF = {"all": FEATURES, "metadata": METADATA_FEATURES, "knowledge": PASSAGE_FEATURES}
SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
)


def make_card(manifest: Manifest) -> str:
    """Return the whole README.md."""
    template = Template((files("medtrinity25m.dataset_card") / "template.md").read_text(encoding="utf-8"))
    rows = manifest["rows"]
    body = template.substitute(
        title="MedTrinity-25M",
        version=manifest["pipeline_version"],
        example_config=next(iter(manifest["modalities"])),
        funnel=_table(("step", "records"), [("read", rows["read"]), *_reasons(manifest), ("written", rows["written"])]),
        counts="\n\n".join(
            _counts(manifest, name) for name in ("splits", "modalities", "diseases", "organs", "sources")
        ),
        origins=_table(("origin", "regions"), manifest["origins"].items() or [("none", 0)]),
        corrections=_corrections(manifest),
        sources=_table(
            ("source", "title", "licence", "homepage"), [_source(about) for about in manifest["about_sources"]]
        ),
    )
    # key order carries meaning in `dataset_info`, hence no sorting
    front = yaml.safe_dump(front_matter(manifest), sort_keys=False, allow_unicode=True, width=120)
    return f"---\n{front}---\n\n{body}"


def front_matter(manifest: Manifest) -> dict[str, Any]:
    """Return the YAML block: licence, size, tasks, configs with their files, and exact counts."""
    configs = release_configs(manifest)
    licenses = sorted({about["license"] for about in manifest["about_sources"]})
    return {
        "pretty_name": "MedTrinity-25M",
        "license": "other",
        "license_name": "per-row",
        "license_details": ", ".join(licenses),
        "language": ["en"],
        "annotations_creators": ["machine-generated", "expert-generated"],
        "task_categories": ["image-to-text", "image-text-to-text", "image-segmentation", "object-detection"],
        "tags": ["medical", "region-of-interest", "radiology", "pathology", "medtrinity"],
        "size_categories": [next((name for end, name in SIZES if manifest["rows"]["written"] < end), "10M<n<100M")],
        "configs": [_config(config, manifest["build"]) for config in configs],
        "dataset_info": [_info(config) for config in configs],
    }


def _config(config: ReleaseConfig, build: str) -> dict[str, Any]:
    entry: dict[str, Any] = {"config_name": config.name}
    if config.name == "all":
        entry["default"] = True
    # without the build's id a rebuilt folder is served from the cache of the old one
    entry["description"] = f"build {build}"
    entry["data_files"] = [{"split": split, "path": paths} for split, paths in config.files.items()]
    if config.filters:
        entry["filters"] = [list(condition) for condition in config.filters]
    return entry


def _info(config: ReleaseConfig) -> dict[str, Any]:
    entry: dict[str, Any] = {"config_name": config.name}
    if config.name in FEATURES_OF:  # the other configs' shards say the same in their own schema
        entry["features"] = _yaml_features(FEATURES_OF[config.name])
    splits = [
        {"name": split, "num_bytes": config.bytes[split], "num_examples": rows} for split, rows in config.rows.items()
    ]
    return entry | {"splits": splits, "dataset_size": sum(config.bytes.values())}


def _yaml_features(features: dict[str, Feature]) -> list[dict[str, Any]]:
    return [{"name": name, **_yaml_feature(feature)} for name, feature in features.items()]


def _yaml_feature(feature: Feature) -> dict[str, Any]:
    """Return a feature as the Hub's YAML dialect spells it."""
    if isinstance(feature, list):
        inner = _yaml_feature(feature[0])
        return {"list": inner.get("dtype", inner.get("struct", inner))}
    match feature.get("_type"):
        case "Value":
            return {"dtype": feature["dtype"]}
        case "Image":
            return {"dtype": "image"}
        case "Sequence":
            return {"sequence": feature["feature"]["dtype"], "length": feature["length"]}
        case _:
            return {"struct": _yaml_features(feature)}


def _reasons(manifest: Manifest) -> list[tuple[str, int]]:
    return [(f"rejected: `{code}`", -count) for code, count in manifest["rejected_by_reason"].items()]


def _counts(manifest: Manifest, name: str) -> str:
    return _table((name, "rows"), sorted(manifest[name].items(), key=lambda pair: (-pair[1], pair[0])))


def _corrections(manifest: Manifest) -> str:
    if not manifest["corrections"]:
        return "No metadata were corrected."
    columns = ("source", "by", "column", "was", "value", "rows")
    return _table(columns, [[line[name] for name in columns] for line in manifest["corrections"]])


def _source(about: dict[str, Any]) -> tuple[str, str, str, str]:
    return about["id"], about["title"], about["license"], about["homepage"] or "–"


def _table(header: tuple[str, ...], rows: Any) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows])


def _cell(value: object) -> str:
    """Return a value as a table cell that can hold no markup of its own."""
    if isinstance(value, int):
        return f"{value:,}"
    text = " ".join(str(value).split()).replace("&", "&amp;").replace("<", "&lt;").replace("|", "&#124;")
    return text.replace("[", "&#91;").replace("](", "&#93;(")
