"""`BuildConfig`: one YAML file says which sources, where they lie, how to split, where to write.

::

    out: medtrinity-25m              # the folder to write; relative paths start at this file
    key_file: medtrinity25m.key      # or export MEDTRINITY25M_KEY
    sources:
      - source: my_liver.toml        # a TOML beside this file, or the id of a packaged source
        root: /data/liver            # the folder its official download was unpacked to
    split: {train: 0.8, validation: 0.1, test: 0.1}

`medtrinity25m schema` prints the JSON Schema of this file.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from medtrinity25m.corrections import CorrectionsFile, load_corrections
from medtrinity25m.description.egress import check_egress
from medtrinity25m.description.options import DescribeMeasured, DescribeOptions
from medtrinity25m.errors import ConfigError
from medtrinity25m.keys import Key, find_key
from medtrinity25m.knowledge.options import Knowledge
from medtrinity25m.registry import (
    SPLITS,
    Source,
    Split,
    explain,
    load_source,
    packaged_source,
    packaged_sources,
    vocabulary,
)
from medtrinity25m.roi.card import Card, load_card, packaged_cards
from medtrinity25m.roi.run_options import Transformers
from medtrinity25m.triplet import Frozen

NOT_SHAPING = {"out", "key_file", "sources", "cache", "corrections", "knowledge", "egress_allow"}
"""Keys that shape no row, or whose content does and is hashed by itself."""
HOW_ASKED = {
    "endpoint", "api_key_env", "concurrency", "tries", "timeout_s", "deadline_s", "patience_s", "path", "device",
    "batch", "replies",
}  # fmt: skip
"""Keys of `describe` that say where and how patiently a model is asked: a server may have moved when a build resumes.
What the model is called in the rows stands for the model."""
MAX_CONFIG_BYTES = 1 << 20  # a config is written by hand; an alias bomb or a data file is not one


class SourceEntry(Frozen):
    """One source to build from: its TOML (or packaged id) and the folder its files lie in."""

    source: str
    root: Path


class BuildConfig(Frozen):
    """Everything a build depends on besides the files and the key."""

    out: Path = Path("medtrinity-25m")
    key_file: Path | None = None
    sources: tuple[SourceEntry, ...] = Field(min_length=1)
    split: dict[Split, float] = {"train": 0.8, "validation": 0.1, "test": 0.1}
    cache: Path | None = None
    """Folder for unpacked archives and for what experts found in volumes; beside `out` unless said."""
    experts: dict[str, tuple[str, ...]] = {}
    """Modality → expert cards (ids, or TOMLs beside this file) asked where nobody marked an image and its source names
    no expert of its own."""
    knowledge: Knowledge | None = None
    """The knowledge base whose passages rows cite; `packaged` for what comes with the extra `knowledge`. Without one a
    row cites the vocabularies' entries of its terms."""
    describe: DescribeOptions = DescribeMeasured()
    """Who describes; `measured` needs no model."""
    egress_allow: tuple[str, ...] = ()
    """Origins (https://host[:port]) beside this machine to which sources marked `local-only` may be sent, because their
    terms allow these very servers."""
    corrections: tuple[Path, ...] | None = None
    """Files of corrections to the sources' metadata, or folders of them. Unless said: the folder `corrections` beside
    this file, where there is one."""
    limit: int | None = Field(default=None, ge=1)
    """At most so many rows a source, the first by path: a smoke run."""
    shard_mb: float = Field(default=256, gt=0, le=1024)
    """Upper bound of a shard. Readers hold one row group, not a shard; 256 MB keep an upload restartable."""
    row_group_mb: float = Field(default=12, gt=0, le=100)
    """Bytes of a row group: 8–16 MB read fastest over HTTP ranges; above 100 MB the Hub's viewer refuses."""
    base: Path = Field(default=Path(), exclude=True)
    """Folder that relative paths start from."""

    @field_validator("knowledge", mode="before")
    @classmethod
    def _base_alone(cls, knowledge: Any) -> Any:
        return {"base": knowledge} if isinstance(knowledge, str) else knowledge

    @field_validator("experts")
    @classmethod
    def _modalities(cls, experts: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for modality in experts:
            vocabulary("modality")[modality]
        return experts

    @field_validator("split")
    @classmethod
    def _shares(cls, split: dict[Split, float]) -> dict[Split, float]:
        if any(share < 0 for share in split.values()) or abs(sum(split.values()) - 1) > 1e-9:
            raise ValueError(f"shares {split} must be positive and add up to 1")
        return split

    @model_validator(mode="after")
    def _distinct(self) -> BuildConfig:
        names = [entry.source for entry in self.sources]
        if len(set(names)) != len(names):
            raise ValueError(f"a source is named twice: {', '.join(names)}")
        return self

    def path(self, path: Path) -> Path:
        """Return a path of the config as seen from here."""
        return path.expanduser() if path.expanduser().is_absolute() else self.base / path

    @property
    def folder(self) -> Path:
        """The folder the release is written to."""
        return self.path(self.out)

    @property
    def cache_folder(self) -> Path:
        """The folder that outlives a build; see `cache`."""
        return (
            self.folder.with_name(self.folder.name + ".work") / "cache" if self.cache is None else self.path(self.cache)
        )

    @cached_property
    def resolved(self) -> tuple[tuple[Source, Path], ...]:
        """The sources with the folders they are read from, in the order of their ids."""
        found = [(self._source(entry.source), self.path(entry.root)) for entry in self.sources]
        ids = [source.id for source, _ in found]
        if len(set(ids)) != len(ids):
            raise ConfigError(f"two sources have the same id: {', '.join(sorted(ids))}; rename one in its TOML")
        return tuple(sorted(found, key=lambda pair: pair[0].id))

    @cached_property
    def corrections_files(self) -> tuple[CorrectionsFile, ...]:
        """The corrections that are applied, in the order of their files' names."""
        usual = self.path(Path("corrections"))
        paths = [usual] if usual.is_dir() else []
        if self.corrections is not None:
            paths = [self.path(path) for path in self.corrections]
        return load_corrections(paths, (source.id for source, _ in self.resolved))

    @cached_property
    def cards(self) -> dict[str, Card]:
        """The expert cards that the sources and this config name, by the name they are called by there."""
        named = [name for source, _ in self.resolved for name in source.experts]
        named += [name for names in self.experts.values() for name in names]
        cards: dict[str, Card] = {}
        while named:
            name = named.pop(0)
            if name not in cards:
                cards[name] = self._card(name)
                if isinstance(run := cards[name].run, Transformers) and run.box_expert is not None:
                    named.append(run.box_expert)
        by_id: dict[str, Card] = {}
        for card in cards.values():
            if by_id.setdefault(card.id, card) is not card and by_id[card.id].fingerprint != card.fingerprint:
                raise ConfigError(f"two expert cards have the id {card.id}; rename one in its TOML")
        return cards

    @cached_property
    def panels(self) -> dict[str, dict[str, tuple[Card, ...]]]:
        """Who is asked about the images of each source, by modality."""
        for modality, names in self.experts.items():
            for card in (self.cards[name] for name in names):
                if modality not in card.modalities:
                    seen = ", ".join(card.modalities)
                    raise ConfigError(f"experts: {card.id} is asked about {modality}, but its card says {seen}")

        def seeing(names: tuple[str, ...], modality: str) -> tuple[Card, ...]:
            return tuple(self.cards[name] for name in names if modality in self.cards[name].modalities)

        return {
            source.id: {
                modality: cards
                for modality in vocabulary("modality").terms
                if (cards := seeing(source.experts or self.experts.get(modality, ()), modality))
            }
            for source, _ in self.resolved
            if source.roi.rule != "whole_image"
        }

    def check_egress(self) -> None:
        """Refuse to send anything of a `local-only` source to others, before a socket opens.

        Raises:
            ConfigError: an endpoint of this config is neither on this machine nor allowed.
        """
        endpoints = {
            "describe.endpoint": getattr(self.describe, "endpoint", None),
            "knowledge.server": None if self.knowledge is None else self.knowledge.server,
        }
        named = {place: url for place, url in endpoints.items() if url is not None}
        check_egress((source for source, _ in self.resolved), named, self.egress_allow)

    def _card(self, name: str) -> Card:
        if name in packaged_cards():
            return packaged_cards()[name]
        path = self._beside(name, "experts")
        if path is None:
            known = ", ".join(packaged_cards())
            raise ConfigError(f"expert {name!r}: no such TOML beside the config, and no packaged card ({known})")
        return load_card(path)

    def _beside(self, name: str, folder: str) -> Path | None:
        """Return the TOML of that name beside this config, if there is one."""
        places = (Path(name), Path(f"{name}.toml"), Path(folder) / f"{name}.toml")
        return next((found for place in places if (found := self.path(place)).is_file()), None)

    def _source(self, name: str) -> Source:
        if (packaged := packaged_source(name)) is not None:
            return packaged
        path = self._beside(name, "sources")
        if path is not None:
            return load_source(path)
        near = ", ".join(get_close_matches(name, packaged_sources(), n=3, cutoff=0.3)) or "none"
        raise ConfigError(
            f"source {name!r}: no such TOML beside the config, and no packaged source of that id (nearest: {near})"
        )

    def key(self) -> Key:
        """Return the key for ids and pseudonyms."""
        return find_key(None if self.key_file is None else self.path(self.key_file))

    def share_cuts(self) -> list[tuple[Split, float]]:
        """Return each split with the upper end of its share of [0, 1)."""
        cuts, end = [], 0.0
        for split in SPLITS:
            end += self.split.get(split, 0.0)
            cuts.append((split, end))
        return cuts

    def fingerprint(self) -> dict[str, Any]:
        """Return what shapes the rows: the config less its paths, and every source's TOML."""
        own = self.model_dump(mode="json", exclude=NOT_SHAPING)
        own["describe"] = {name: value for name, value in own["describe"].items() if name not in HOW_ASKED}
        sources = {source.id: source.model_dump(mode="json") for source, _ in self.resolved}
        experts = {card.id: card.fingerprint for card in self.cards.values()}
        corrections = {file.name: file.model_dump(mode="json") for file in self.corrections_files}
        return {"config": own, "sources": sources, "experts": experts, "corrections": corrections}


def load_config(path: Path, **overrides: Any) -> BuildConfig:
    """Read a config; `overrides` that are not None replace its top-level values.

    Raises:
        ConfigError: the file is missing, too large, not YAML, or says something it may not.
    """
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ConfigError(f"{path} has more than {MAX_CONFIG_BYTES:,} bytes; this is no config")
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=_PlainLoader)  # noqa: S506 - a SafeLoader, see below
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{path} holds no mapping; it needs at least sources: [...]")
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return BuildConfig(**(dict(raw) | given), base=path.parent)
    except (ValidationError, TypeError) as error:
        keys = [*BuildConfig.model_fields, *SourceEntry.model_fields]
        message = explain(error, keys) if isinstance(error, ValidationError) else str(error)
        raise ConfigError(f"{path}: {message}") from error


class _PlainLoader(yaml.SafeLoader):
    """SafeLoader without aliases: a few hundred bytes of them can unfold to gigabytes."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not allowed in a config")
        return super().compose_node(parent, index)
