"""Whole volumes put before experts, once: what was found is kept by content and cut into planes.

A result is stored under a hash of the volume's content, of how it is read, and of the expert's card and weights, so a
rebuild, another shard and another worker find it again, and a changed model does not.

**Why** planes and not volumes are stored: a row needs one plane, cropped to where something is; a whole-body label map
of a hundred structures would be gigabytes of zeros.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrinity25m.errors import RefusedError
from medtrinity25m.readers.load import STACK
from medtrinity25m.readers.nifti import NiftiFile
from medtrinity25m.readers.open import open_image
from medtrinity25m.readers.safe import Jail
from medtrinity25m.readers.volume import dicom_grid, nifti_grid
from medtrinity25m.registry import Source
from medtrinity25m.release.plan import read_stacks
from medtrinity25m.release.workspace import committed
from medtrinity25m.roi.backends import volume_expert_of
from medtrinity25m.roi.card import Card
from medtrinity25m.roi.protocol import Finding, Volume
from medtrinity25m.triplet import Sample, VolumePlace

AT_HAND = 2  # volumes whose results stay in memory: rows of a volume follow each other


@dataclass(frozen=True)
class Structure:
    """Something found in a volume: its planes `first` …, cropped to rows from `top` and columns from `left`."""

    label: str
    score: float
    first: int
    top: int
    left: int
    crop: NDArray[np.bool_]

    def plane(self, index: int, height: int, width: int) -> NDArray[np.bool_] | None:
        """Return what lies on one plane, (height, width) bool, or None."""
        at = index - self.first
        if not 0 <= at < len(self.crop) or not self.crop[at].any():
            return None
        full = np.zeros((height, width), np.bool_)
        rows, columns = self.crop[at].shape
        full[self.top : self.top + rows, self.left : self.left + columns] = self.crop[at]
        return full


@dataclass(frozen=True)
class VolumeRoom:
    """Where volumes meet 3-D experts.

    Args:
        sources: each source with its folder.
        folder: keeps results from one build to the next.
        stacks: the plan's list of series; see `release.plan.read_stacks`.
    """

    sources: Mapping[str, tuple[Source, Path]]
    folder: Path
    stacks: Path

    def findings(self, card: Card, sample: Sample) -> list[Finding]:
        """Return what an expert found in the volume of a sample, on the sample's plane.

        Raises:
            RefusedError: the sample's planes are no volume; the expert cannot be asked about them.
        """
        if sample.place is None:
            raise RefusedError("volume.incomplete", f"{sample.locator} is a picture that stands alone")
        found = []
        for structure in self._structures(card, sample, sample.place):
            mask = structure.plane(sample.place.index, sample.height, sample.width)
            if mask is not None:
                found.append(Finding(label=structure.label, mask=mask, score=structure.score))
        return found

    def _structures(self, card: Card, sample: Sample, place: VolumePlace) -> tuple[Structure, ...]:
        """Return a volume's structures: those at hand, those stored, else what the expert finds now."""
        source, root = self.sources[sample.source]
        at = (str(root), place.volume, card.fingerprint)
        if at not in _at_hand:
            jail = Jail(root, self.folder)
            planes = self._planes(sample.source, place)
            stored = self.folder / f"{_name(card, [jail.digest(path) for path, _ in planes], source, planes)}.npz"
            structures = _stored(stored)
            if structures is None:
                structures = _find(card, source, jail, sample, planes)
                stored.parent.mkdir(parents=True, exist_ok=True)
                with committed(stored) as part:
                    _write(part, structures)
            while len(_at_hand) >= AT_HAND:
                del _at_hand[next(iter(_at_hand))]
            _at_hand[at] = structures
        return _at_hand[at]

    def _planes(self, source: str, place: VolumePlace) -> tuple[tuple[str, int], ...]:
        """Return the files (with the frame) a volume is made of."""
        if not place.volume.startswith(STACK):
            return ((place.volume, 0),)
        return _series(self.stacks, self.stacks.stat().st_mtime_ns)[source, place.volume.removeprefix(STACK)]


@lru_cache(maxsize=2)
def _series(path: Path, changed_ns: int) -> dict[tuple[str, str], tuple[tuple[str, int], ...]]:
    """Return the series of a plan, read once a process and again when `changed_ns` says so."""
    del changed_ns
    return read_stacks(path)


_at_hand: dict[tuple[str, str, str], tuple[Structure, ...]] = {}


def _stored(path: Path) -> tuple[Structure, ...] | None:
    """Return a stored result, None where there is none or a lost machine cut it off."""
    try:
        return _read(path)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None


def _find(
    card: Card, source: Source, jail: Jail, sample: Sample, planes: tuple[tuple[str, int], ...]
) -> tuple[Structure, ...]:
    """Return what an expert finds in a volume, read anew."""
    file = open_image(jail.read(planes[0][0]), source, sample.organs, sample.modality)
    grid = nifti_grid(file) if isinstance(file, NiftiFile) else dicom_grid(jail, planes)
    volume = Volume(
        voxels=grid.voxels,
        affine=grid.affine,
        modality=sample.modality,
        values_unit=sample.values_unit,
        organs=sample.organs,
        diseases=sample.diseases,
    )
    cut = (_cropped(grid.planes_of(one.mask), one.label, one.score) for one in volume_expert_of(card)(volume))
    return tuple(structure for structure in cut if structure is not None)


def _name(card: Card, digests: list[str], source: Source, planes: tuple[tuple[str, int], ...]) -> str:
    """Return the name of a result: of the volume's content, how it is read, and who looked."""
    frames = [frame for _, frame in planes]
    how = [digests, frames, source.slices.axis, source.slices.volume, source.values, card.fingerprint]
    return f"{card.id}-{hashlib.sha256(json.dumps(how).encode()).hexdigest()[:32]}"


def _cropped(planes: NDArray[np.bool_], label: str, score: float) -> Structure | None:
    """Return a structure cut to where it is, None where it is nowhere."""
    spans = []
    for axis in range(3):
        hit = np.flatnonzero(planes.any(axis=tuple(other for other in range(3) if other != axis)))
        if not hit.size:
            return None
        spans.append(slice(int(hit[0]), int(hit[-1]) + 1))
    first, top, left = (span.start for span in spans)
    return Structure(label, score, first, top, left, planes[tuple(spans)].copy())


def _write(path: Path, structures: tuple[Structure, ...]) -> None:
    about = [
        {"label": s.label, "score": s.score, "first": s.first, "top": s.top, "left": s.left, "shape": s.crop.shape}
        for s in structures
    ]
    arrays: dict[str, Any] = {f"crop{at}": np.packbits(s.crop) for at, s in enumerate(structures)}
    arrays["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    with path.open("wb") as handle:
        np.savez_compressed(handle, **arrays)


def _read(path: Path) -> tuple[Structure, ...]:
    with np.load(path, allow_pickle=False) as arrays:
        about = json.loads(arrays["about"].tobytes())
        return tuple(
            Structure(
                one["label"], one["score"], one["first"], one["top"], one["left"],
                np.unpackbits(arrays[f"crop{at}"], count=int(np.prod(one["shape"])))
                .astype(np.bool_)
                .reshape(one["shape"]),
            )
            for at, one in enumerate(about)
        )  # fmt: skip
