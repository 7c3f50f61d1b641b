"""`MedTrinity25M`: a `datasets` builder over a release's Parquet shards. All reading is the library's own.

::

    builder = MedTrinity25M(config_name="ct", data_dir="medtrinity-25m")
    builder.as_streaming_dataset(split="train")             # nothing is copied
    builder.download_and_prepare(num_proc=2)                # or prepare an Arrow copy
    builder.as_dataset(split="train")

`data_dir` is a local folder or anything fsspec opens (`hf://datasets/<org>/medtrinity-25m`). The configs are those of
the release's manifest, as the card has them: `all`, modalities, diseases, `metadata`, `knowledge`.

**Why** `datasets.packaged_modules`: it is not documented as public, but a reader of ours would be a second way to
do the same; the test suite runs on the oldest and the newest `datasets` that are supported.
"""

from __future__ import annotations

import json
import posixpath
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import datasets
import fsspec
from datasets.packaged_modules.parquet.parquet import Parquet, ParquetConfig

from medtrinity25m.features import FEATURES, METADATA_FEATURES, PASSAGE_FEATURES, Feature
from medtrinity25m.registry import vocabulary
from medtrinity25m.release.configs import ReleaseConfig, release_configs

TABLES = {"metadata": METADATA_FEATURES, "knowledge": PASSAGE_FEATURES}


@dataclass
class MedTrinityConfig(ParquetConfig):  # type: ignore[misc]  # datasets ships no types for its packaged modules
    """A config of a release, by name; everything else of `ParquetConfig` may be given too."""


def _config_names() -> list[str]:
    modalities, diseases = vocabulary("modality").terms, vocabulary("disease").terms
    return ["all", *modalities, *diseases, "none", "unknown", *TABLES]


class MedTrinity25M(Parquet):  # type: ignore[misc]  # see above
    """Image–ROI–description triplets, by modality or by disease.

    Raises:
        ValueError: the config is unknown, or `data_dir` is missing.
        FileNotFoundError: `data_dir` holds no release, or the release has no rows for the config.
    """

    BUILDER_CONFIG_CLASS = MedTrinityConfig
    BUILDER_CONFIGS: ClassVar[list[MedTrinityConfig]] = [MedTrinityConfig(name=name) for name in _config_names()]
    DEFAULT_CONFIG_NAME = "all"

    def __init__(self, *args: Any, data_dir: str | Path | None = None, **kwargs: Any) -> None:
        if data_dir is None:
            raise ValueError(
                "data_dir is missing; give the folder or URL of a release: MedTrinity25M(data_dir='medtrinity-25m')"
            )
        # a relative folder would be resolved against nothing, and be empty without a word
        self._root = str(data_dir) if "://" in str(data_dir) else str(Path(data_dir).resolve())
        self._manifest = _read_manifest(self._root)
        kwargs.setdefault("dataset_name", "medtrinity-25m")
        kwargs.setdefault("hash", self._manifest["build"])  # a rebuilt folder is not served from the old one's cache
        super().__init__(*args, data_dir=self._root, **kwargs)

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(features=_features(TABLES.get(self.config.name, FEATURES)))

    def _split_generators(self, dl_manager: datasets.DownloadManager) -> list[datasets.SplitGenerator]:
        release = self._release_config()
        if release.filters and self.config.filters is None:
            self.config.filters = [list(condition) for condition in release.filters]
        self.config.data_files = datasets.data_files.DataFilesDict.from_patterns(
            {split: [posixpath.join(self._root, path) for path in paths] for split, paths in release.files.items()}
        )
        generators: list[datasets.SplitGenerator] = super()._split_generators(dl_manager)
        return generators

    def _release_config(self) -> ReleaseConfig:
        configs = {config.name: config for config in release_configs(self._manifest)}
        found = configs.get(self.config.name)
        if found is None or not found.files:
            where = f"under {self._root!r}; expected data/<modality>/<split>-*.parquet"
            raise FileNotFoundError(f"no shards for {self.config.name!r} {where}; it has {', '.join(configs)}")
        return found


def _read_manifest(root: str) -> dict[str, Any]:
    try:
        with fsspec.open(posixpath.join(root, "manifest.json"), "rt", encoding="utf-8") as handle:
            manifest: dict[str, Any] = json.load(handle)
            return manifest
    except FileNotFoundError:
        raise FileNotFoundError(f"{root!r} holds no manifest.json; it is not a finished release") from None


def _features(features: dict[str, Feature]) -> datasets.Features:
    """Return the features as this version of `datasets` spells them."""
    return datasets.Features.from_dict(features)
