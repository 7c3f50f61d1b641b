"""`README.md` of a release: YAML front matter with the configs, and a card whose every number is computed."""

from __future__ import annotations

from importlib.resources import files
from string import Template
from typing import Any

import yaml

from medtrinity25m.features import FEATURES, METADATA_FEATURES, PASSAGE_FEATURES, QUALITY, Feature
from medtrinity25m.quality.bootstrap import bootstrap
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
        describers=_table(("describer", "rows"), manifest["describers"].items()),
        model=_model(manifest),
        knowledge=_knowledge(manifest),
        quality=_quality(manifest),
        checker=_checker(manifest["checker"]),
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


def _model(manifest: Manifest) -> str:
    """Return what asking a model came to, or nothing where none was asked."""
    asked = manifest["exchange"]
    if not asked:
        return "No model was asked: the texts say what was measured, and what the metadata hold."
    tokens = f"{asked['prompt_tokens']:,} prompt and {asked['completion_tokens']:,} completion tokens"
    lines = [
        f"A model was asked about {asked['rows']:,} rows in {asked['requests']:,} requests ({tokens}). Of what it "
        f"said, {asked['contradicted']:,} statements contradicted the row; {asked['repaired']:,} rows were shown to it "
        "again. Rows whose text is measured after all, by reason:",
        _table(("reason", "rows"), manifest["fallbacks"].items() or [("none", 0)]),
        "Prompts, by SHA-256 of their files:",
        _table(("prompt", "rows"), manifest["prompts"].items()),
    ]
    return "\n\n".join(lines)


def _knowledge(manifest: Manifest) -> str:
    base = manifest["knowledge_base"]
    cited = f"{manifest['knowledge']['rows']:,} passages are cited; they are the config `knowledge`."
    if base is None:
        return f"{cited} They are the vocabularies' entries for the terms of a row."
    corpora = ", ".join(f"`{_cell(name)}`" for name in base["searched"] or base["corpora"])
    found = (
        f"They come from a base of {base['snippets']:,} (corpora {corpora}; snapshot `{base['snapshot'][:16]}`), at "
        f"most {base['top_k']} a row, found by BM25 and `{_cell(base['embedder'])}`; `score` is the exact similarity."
    )
    return "\n\n".join((f"{cited} {found}", *base["notices"]))


def _quality(manifest: Manifest) -> str:
    """Return the means of the scores with intervals, from how many rows have how many points."""
    lines = []
    for attribute in (name for name in QUALITY if name in manifest["quality"]):
        rows = manifest["quality"][attribute]
        counts: dict[tuple[float, ...], int] = {(float(points), 1.0): count for points, count in rows.items()}
        mean = bootstrap(counts)
        lines.append((attribute, f"{mean.estimate:.2f}", f"{mean.low:.2f}–{mean.high:.2f}", mean.n))
    return _table(("attribute", "mean", "95 % interval", "rows"), lines or [("none", "–", "–", 0)])


def _checker(measured: dict[str, Any]) -> str:
    """Return how often the checker erred on texts of this release."""
    rates = {f"caught: {kind}": rate for kind, rate in measured["kinds"].items()}
    rates = {"caught: all": measured["recall"], **rates, "false alarm: text": measured["flagged_texts"]}
    rates |= {"false alarm: statement": measured["flagged_statements"]}
    shown = [(name, _share(rate["rate"]), f"{_share(rate['low'])} to {_share(rate['high'])}", rate["n"])
             for name, rate in rates.items()]  # fmt: skip
    return _table(("what", "share", "95 % interval", "of"), shown)


def _share(rate: float | None) -> str:
    return "–" if rate is None else f"{100 * rate:.1f} %"


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
