"""Small trees that reproduce how the sources' official downloads are laid out: real names, drawn pixels.

One module a source, named like its TOML. Each has `make(root) -> Expected`, which writes the tree and says what a
plan of it must hold; `tests/test_sources.py` runs them all.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Expected:
    """What a plan of the tree holds.

    Args:
        rows: records, over all files.
        modalities: of the records.
        patients: distinct patient pseudonyms; 0 where the source publishes none.
        splits: official splits the records carry; empty where the source has none.
        diseases: vocabulary ids in `diseases` of all records together.
        organs: the same for `organs`.
        rois: regions after `Locate`, in all rows together.
        healthy: rows whose `disease` is `none`.
        texts: rows with a `reference_text`.
        refused: reason code → number of quarantine lines the tree must give (unlabeled leftovers, missing files).
    """

    rows: int
    modalities: frozenset[str] | set[str]
    patients: int = 0
    splits: frozenset[str] | set[str] = frozenset()
    diseases: frozenset[str] | set[str] = frozenset()
    organs: frozenset[str] | set[str] = frozenset()
    rois: int = 0
    healthy: int = 0
    texts: int = 0
    refused: tuple[tuple[str, int], ...] = ()
