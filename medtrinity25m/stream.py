"""Reading a release back, row by row, by plain `datasets`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medtrinity25m.errors import ConfigError
from medtrinity25m.release.configs import release_configs
from medtrinity25m.release.manifest import read_manifest


def stream(folder: Path, config: str = "all", split: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield the rows of a local release, images decoded, split after split.

    Raises:
        ConfigError: the release has no such config or split; the message lists those it has.
        GateFailedError: the folder is not a finished release.
    """
    configs = {known.name: known for known in release_configs(read_manifest(folder))}
    if config not in configs:
        raise ConfigError(f"{folder} has no config {config!r}; it has {', '.join(configs)}")
    splits = list(configs[config].rows)
    if split is not None and split not in splits:
        raise ConfigError(f"config {config!r} of {folder} has no split {split!r}; it has {', '.join(splits)}")
    from datasets import load_dataset  # takes seconds to import, so only where rows are read

    loaded = load_dataset(str(folder), config, streaming=True)
    for name in splits if split is None else [split]:
        yield from loaded[name]
