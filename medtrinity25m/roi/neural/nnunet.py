"""A trained nnU-Net v2 folder as an expert for volumes, through nnU-Net's own preprocessing and predictor.

**Why**

- *The checkpoint is not opened by nnU-Net*, which unpickles whatever it holds. It is read here as tensors and numbers
  only, and handed over; plans may still name any class of nnU-Net, so take folders from people you trust.
- *Volumes are turned to the orientation of the training files first*: nnU-Net keeps axes as they lie in a file.
- *The score of a label* is the mean of its probability over the voxels it won on the network's own grid. On the
  volume's grid the probabilities of a hundred structures would not fit into memory.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrinity25m.errors import ConfigError, RefusedError
from medtrinity25m.roi.card import Card
from medtrinity25m.roi.neural.feeding import turned, turned_back
from medtrinity25m.roi.neural.local_model import find_file, find_model, first_line, need, once, wanted_numbers
from medtrinity25m.roi.protocol import Volume, VolumeExpert, VolumeFinding
from medtrinity25m.roi.run_options import NnUNet

_NEEDED = ("network_weights", "init_args", "trainer_name")


def nnunet_expert(card: Card) -> VolumeExpert:
    """Return an expert that runs an nnU-Net folder; it is loaded when it is first asked, once a process.

    Raises:
        ConfigError: nnU-Net is not installed, a file is missing or its hash differs, or a key of `[labels]` is no
            number. Later, when it is loaded: the checkpoint is not data, or the folder is a cascade's second stage.
    """
    run = _run_of(card)
    wanted_numbers(card)
    root = find_model(card, run.model)
    for name in ("dataset.json", "plans.json", *_checkpoints(run)):
        find_file(card, root, name)
    need(card, "nnunet", "nnunetv2")
    return NnUNetExpert(card)


@dataclass(frozen=True)
class NnUNetExpert:
    """An nnU-Net asked about volumes."""

    card: Card

    def __call__(self, volume: Volume, /) -> list[VolumeFinding]:
        """Return one finding for each label of the card that the network found.

        Raises:
            ConfigError: the folder cannot be loaded, or wants several channels.
            RefusedError: `expert.failed`, when nnU-Net does not take this volume.
        """
        if self.card.needs == "HU" and volume.values_unit != "HU":
            return []
        predictor = once(self.card, _load)
        orientation = _run_of(self.card).orientation
        voxels, affine = turned(np.nan_to_num(volume.voxels), volume.affine, orientation)
        edges = np.linalg.norm(affine[:3, :3], axis=0).tolist()
        try:
            labels, scores = _predict(predictor, voxels.transpose(2, 1, 0)[None], edges[::-1])
        except (RuntimeError, ValueError, AssertionError, IndexError) as error:
            raise RefusedError("expert.failed", f"expert {self.card.id} stopped: {first_line(error)}") from error
        back = turned_back(labels.transpose(2, 1, 0), volume.affine, orientation)
        found = [(number, back == number) for number in wanted_numbers(self.card)]
        return [
            VolumeFinding(label=str(number), mask=mask, score=scores.get(number, 0.0))
            for number, mask in found
            if mask.any()
        ]


def _run_of(card: Card) -> NnUNet:
    if not isinstance(card.run, NnUNet):
        raise TypeError(f"{card.id} is not run by nnU-Net")
    return card.run


def _checkpoints(run: NnUNet) -> list[str]:
    return [f"fold_{fold}/{run.checkpoint}" for fold in run.folds]


def _load(card: Card) -> Any:
    """Return nnU-Net's predictor for a folder, its weights read as data."""
    run = _run_of(card)
    root = find_model(card, run.model)
    with contextlib.redirect_stdout(io.StringIO()):  # it prints which of its folders for training are not set
        import torch
        from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
        from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    checkpoints = [_checkpoint(card, find_file(card, root, name)) for name in _checkpoints(run)]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    predictor = nnUNetPredictor(
        use_mirroring=run.mirroring,
        perform_everything_on_device=device.type == "cuda",
        device=device,
        allow_tqdm=False,
    )
    try:
        dataset = json.loads((root / "dataset.json").read_text(encoding="utf-8"))
        plans = PlansManager(json.loads((root / "plans.json").read_text(encoding="utf-8")))
        channels = len(dataset.get("channel_names", dataset.get("modality", ())))
        if channels != 1:
            raise ConfigError(f"expert {card.id}: the network wants {channels} channels at once; a volume has one")
        first = checkpoints[0]
        configuration = plans.get_configuration(first["init_args"]["configuration"])
        if configuration.previous_stage_name is not None:
            raise ConfigError(f"expert {card.id}: {root} is the second stage of a cascade, which this does not run")
        predictor.manual_initialization(
            _network(first["trainer_name"], plans, configuration, dataset),
            plans,
            configuration,
            [checkpoint["network_weights"] for checkpoint in checkpoints],
            dataset,
            first["trainer_name"],
            first.get("inference_allowed_mirroring_axes"),
        )
        for checkpoint in checkpoints:
            predictor.network.load_state_dict(checkpoint["network_weights"])
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError, ImportError, OSError) as error:
        raise ConfigError(f"expert {card.id}: {root} is no nnU-Net folder that loads: {first_line(error)}") from error
    return predictor


def _checkpoint(card: Card, path: Path) -> dict[str, Any]:
    """Return a checkpoint's content: tensors, and the NumPy numbers nnU-Net logs beside them."""
    import pickle

    import torch

    multiarray: Any = np._core.multiarray  # type: ignore[attr-defined]  # where NumPy's own pickles point to
    kinds = {type(np.dtype(code)) for code in "?bhilqBHILQefd"}
    numbers = [np.dtype, *kinds, multiarray.scalar, (multiarray.scalar, "numpy.core.multiarray.scalar")]
    try:
        with torch.serialization.safe_globals(numbers):
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise ConfigError(
            f"expert {card.id}: {path} holds more than tensors and numbers, or is damaged; train or fetch it again"
        ) from error
    missing = [key for key in _NEEDED if not isinstance(checkpoint, dict) or key not in checkpoint]
    if missing:
        raise ConfigError(f"expert {card.id}: {path} is no checkpoint of nnU-Net v2, it has no {', '.join(missing)}")
    content: dict[str, Any] = checkpoint
    return content


def _network(trainer: str, plans: Any, configuration: Any, dataset: dict[str, Any]) -> Any:
    """Return the untrained network that a trainer class of nnU-Net builds from plans."""
    import inspect

    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
    from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels

    build = recursive_find_trainer_class_by_name(trainer).build_network_architecture
    heads = plans.get_label_manager(dataset).num_segmentation_heads
    inputs = determine_num_input_channels(plans, configuration, dataset)
    if "plans_manager" in inspect.signature(build).parameters:  # since 2.6
        return build(plans, configuration, inputs, heads, enable_deep_supervision=False)
    return build(
        configuration.network_arch_class_name,
        configuration.network_arch_init_kwargs,
        configuration.network_arch_init_kwargs_req_import,
        inputs,
        heads,
        enable_deep_supervision=False,
    )


def _predict(
    predictor: Any, image: NDArray[np.float32], spacing_mm: Sequence[float]
) -> tuple[NDArray[np.integer[Any]], dict[int, float]]:
    """Return the label values of a (1, Z, Y, X) image on its own grid, and the mean probability of each."""
    import torch
    from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape

    plans, configuration, manager = predictor.plans_manager, predictor.configuration_manager, predictor.label_manager
    preprocessor = configuration.preprocessor_class(verbose=False)
    properties: dict[str, Any] = {"spacing": list(spacing_mm)}
    data, _, properties = preprocessor.run_case_npy(
        image, None, properties, plans, configuration, predictor.dataset_json
    )
    logits = predictor.predict_logits_from_preprocessed_data(torch.from_numpy(np.asarray(data))).cpu()
    probabilities = manager.apply_inference_nonlin(logits)
    own = manager.convert_probabilities_to_segmentation(probabilities)
    values = manager.regions_class_order if manager.has_regions else manager.all_labels
    scores = {
        int(value): float(probabilities[head][own == value].mean())
        for head, value in enumerate(values)
        if (own == value).any()
    }
    labels = convert_predicted_logits_to_segmentation_with_correct_shape(
        logits, plans, configuration, manager, properties, return_probabilities=False
    )
    return np.asarray(labels), scores
