"""TotalSegmentator as an expert for volumes, through its own Python API.

Its weights are fetched by TotalSegmentator itself when a task is first run, some of them only with a license number;
`totalseg_download_weights -t <task>` fetches them beforehand, which is also what keeps many workers from fetching the
same files at once.

**Why**

- *Its usage statistics are switched off*: it reports every prediction to its makers' server, and what runs over
  patients' images opens no connection that nobody asked for.
- *Every finding has the score 1*: it gives labels, not probabilities, so `min_score` cannot hold anything back.
- *It reads its weights by nnU-Net's unpickling*, unlike `neural.nnunet`: they come from one release page, by its code.
"""

from __future__ import annotations

from dataclasses import dataclass

import nibabel as nib
import numpy as np

from medtrinity25m.errors import ConfigError, RefusedError
from medtrinity25m.roi.card import Card
from medtrinity25m.roi.neural.local_model import first_line, need
from medtrinity25m.roi.protocol import Volume, VolumeExpert, VolumeFinding
from medtrinity25m.roi.run_options import TotalSegmentator


def totalsegmentator_expert(card: Card) -> VolumeExpert:
    """Return an expert that runs a task of TotalSegmentator.

    Raises:
        ConfigError: TotalSegmentator is not installed, or `[labels]` maps nothing.
    """
    if not any((meaning := card.meaning(word)) and meaning.label for word in card.labels):
        raise ConfigError(f'expert {card.id}: [labels] maps nothing; write structures by name, such as liver = "liver"')
    need(card, "totalsegmentator", "totalsegmentator")
    return TotalSegmentatorExpert(card)


@dataclass(frozen=True)
class TotalSegmentatorExpert:
    """TotalSegmentator asked about volumes."""

    card: Card

    def __call__(self, volume: Volume, /) -> list[VolumeFinding]:
        """Return one finding for each structure of the card that was found.

        Raises:
            ConfigError: the task has no such structure, or needs a license number that is not set.
            RefusedError: `expert.failed`, when it does not take this volume, or its weights cannot be fetched.
        """
        if self.card.needs == "HU" and volume.values_unit != "HU":
            return []
        import torch
        from totalsegmentator import python_api
        from totalsegmentator.map_to_binary import class_map

        run = self.card.run
        if not isinstance(run, TotalSegmentator):
            raise TypeError(f"{self.card.id} is not run by TotalSegmentator")
        values = {name: value for value, name in class_map.get(run.task, {}).items()}
        strange = sorted(set(self.card.labels) - set(values))
        if strange:
            raise ConfigError(f"expert {self.card.id}: task {run.task} of TotalSegmentator has no {', '.join(strange)}")
        python_api.send_usage_stats = lambda *_, **__: None
        image = nib.Nifti1Image(volume.voxels, volume.affine)  # type: ignore[no-untyped-call]  # nibabel's
        device = "gpu" if torch.cuda.is_available() else "cpu"
        try:
            made = python_api.totalsegmentator(image, ml=True, task=run.task, fast=run.fast, quiet=True, device=device)
        except SystemExit as error:  # how it says that a license number is missing
            raise ConfigError(
                f"expert {self.card.id}: TotalSegmentator ended at task {run.task}; some tasks need a license number, "
                "see its README"
            ) from error
        except (RuntimeError, ValueError, OSError) as error:
            raise RefusedError("expert.failed", f"expert {self.card.id} stopped: {first_line(error)}") from error
        labels = np.asarray(made.dataobj)
        if labels.shape != volume.voxels.shape:
            raise ConfigError(f"expert {self.card.id}: labels of {labels.shape} for a volume of {volume.voxels.shape}")
        masks = {name: labels == values[name] for name in self.card.labels if self._means_something(name)}
        return [VolumeFinding(label=name, mask=mask, score=1.0) for name, mask in masks.items() if mask.any()]

    def _means_something(self, name: str) -> bool:
        meaning = self.card.meaning(name)
        return meaning is not None and meaning.label is not None
