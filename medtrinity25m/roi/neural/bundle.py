"""Any MONAI segmentation bundle as an expert for volumes, run by its own inference config.

What happens to a volume is what `python -m monai.bundle run` would do with it: it is written as a NIfTI file in
canonical RAS+ orientation and goes through the config's `preprocessing`, `network_def`, `inferer` and `postprocessing`;
only what saves files is left out. The keys are those of MONAI's evaluators, `image` and `pred`.

**Why**

- *The config's evaluator itself is not run*: it needs PyTorch-Ignite, a data loader and an output folder to hand one
  volume through four objects, and it reads the checkpoint by unpickling whatever is inside.
- *A bundle's config is a program*, so that its card must say `trusted = true`; weights are data (`weights_only`).
- *The score of a label* is the mean of its probability over the voxels that the config's `AsDiscreted` gave to it, on
  the grid where that happened: afterwards the probabilities are gone. Logits that go into an argmax without
  `Activationsd` are turned into probabilities by a softmax, which is what such networks are trained with. A bundle
  without `AsDiscreted` over such values knows no probability: its findings get 1, and `min_score` cannot hold them
  back.
- *A result on another grid* is put back by its affine with the nearest voxel, as MONAI's saver would have done for a
  config without `Invertd`.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import softmax

from medtrinity25m.errors import ConfigError, RefusedError
from medtrinity25m.roi.card import Card
from medtrinity25m.roi.neural.local_model import find_file, find_model, first_line, need, once, wanted_numbers
from medtrinity25m.roi.protocol import Volume, VolumeExpert, VolumeFinding
from medtrinity25m.roi.run_options import MonaiBundle

METADATA = "configs/metadata.json"
NETWORK_IDS = ("network_def", "network")
_SAME_MM = 1e-3  # affines come back from inverted transforms with the rounding of float32
_FAILURES = (RuntimeError, ValueError, KeyError, TypeError, IndexError, AttributeError, OSError)
"""What components of a bundle raise; MONAI wraps most of it in RuntimeError."""
_BLEND = 1e-3  # probabilities of blended windows leave 0 to 1 by rounding
Scores = Callable[[int], float]


def bundle_expert(card: Card) -> VolumeExpert:
    """Return an expert that runs a bundle; it is loaded when it is first asked, once a process.

    Raises:
        ConfigError: MONAI is not installed, the card does not say `trusted = true`, a file is missing or its hash
            differs, or a key of `[labels]` is no number.
    """
    run = _run_of(card)
    if not run.trusted:
        raise ConfigError(
            f"expert {card.id}: the config of a MONAI bundle is a program that can do anything you can; look at it, "
            "and write trusted = true under [run] when you know its author"
        )
    wanted_numbers(card)
    root = find_model(card, run.model)
    find_file(card, root, run.config)
    find_file(card, root, run.weights)
    need(card, "models", "torch", "monai")
    return BundleExpert(card)


@dataclass(frozen=True)
class BundleExpert:
    """A MONAI bundle asked about volumes."""

    card: Card

    def __call__(self, volume: Volume, /) -> list[VolumeFinding]:
        """Return one finding for each label of the card that the bundle found.

        Raises:
            ConfigError: the bundle cannot be loaded, or its output has no place on the volume's grid.
            RefusedError: `expert.failed`, when a step of the bundle does not take this volume.
        """
        if self.card.needs == "HU" and volume.values_unit != "HU":
            return []
        return _findings(self.card, once(self.card, _load), volume)


@dataclass(frozen=True)
class _Bundle:
    """The parts of a config that make a prediction, ready to be called."""

    preprocessing: Callable[[dict[str, Any]], dict[str, Any]]
    network: Any
    inferer: Callable[[Any, Any], Any]
    steps: tuple[Callable[[dict[str, Any]], dict[str, Any]], ...]
    """Post-processing, one transform after another, without savers."""
    device: Any


def _run_of(card: Card) -> MonaiBundle:
    if not isinstance(card.run, MonaiBundle):
        raise TypeError(f"{card.id} is not run as a MONAI bundle")
    return card.run


def _load(card: Card) -> _Bundle:
    """Read the config, make its parts and load the weights."""
    import torch
    from monai.bundle import ConfigParser
    from monai.transforms import Compose, SaveImage, SaveImaged

    run = _run_of(card)
    root = find_model(card, run.model).resolve()
    parser = ConfigParser()
    try:
        parser.read_config(find_file(card, root, run.config))
        if (root / METADATA).is_file():
            parser.read_meta(root / METADATA)
    except (ValueError, OSError) as error:
        raise ConfigError(f"expert {card.id}: {root / run.config} cannot be read: {first_line(error)}") from error
    _check_metadata(card, parser.get("_meta_", {}))
    parser["bundle_root"] = str(root)
    with _importable(root), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "NvImgCodec", UserWarning)  # a decoder for DICOM on a GPU; this reads NIfTI
        network = _part(card, parser, *NETWORK_IDS)
        post = _part(card, parser, "postprocessing")
        pre, inferer = _part(card, parser, "preprocessing"), _part(card, parser, "inferer")
        default = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        device = _part(card, parser, "device") if "device" in parser else default
    _load_weights(card, network, find_file(card, root, run.weights))
    steps = post.flatten().transforms if isinstance(post, Compose) else (post,)
    kept = tuple(step for step in steps if not isinstance(step, SaveImage | SaveImaged))
    return _Bundle(pre, network.to(device).eval(), inferer, kept, device)


def _check_metadata(card: Card, metadata: Any) -> None:
    """Refuse a bundle that needs several images at once, such as four MRI contrasts."""
    value: Any = metadata
    for key in ("network_data_format", "inputs", "image", "num_channels"):
        value = value.get(key) if isinstance(value, dict) else None
    if isinstance(value, int) and value != 1:
        raise ConfigError(f"expert {card.id}: the bundle wants {value} channels at once; a volume has one")


def _part(card: Card, parser: Any, *ids: str) -> Any:
    """Return the first of the components `ids` that the config has."""
    for id_ in ids:
        if id_ in parser:
            try:
                return parser.get_parsed_content(id_)
            except (*_FAILURES, ImportError, SyntaxError, NameError) as error:
                cause = error.__cause__ or error
                raise ConfigError(
                    f"expert {card.id}: {id_!r} of the bundle's config cannot be made: {first_line(cause)}"
                ) from error
    raise ConfigError(f"expert {card.id}: the bundle's config {_run_of(card).config} has no {' or '.join(ids)}")


def _load_weights(card: Card, network: Any, path: Path) -> None:
    """Load a state dict, or the one a training checkpoint keeps under `model` or `state_dict`."""
    import pickle

    import torch

    if not isinstance(network, torch.nn.Module):
        raise ConfigError(f"expert {card.id}: the bundle's network is a {type(network).__name__}, no torch module")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise ConfigError(
            f"expert {card.id}: {path} holds something else than tensors, or is damaged; save the state dict alone"
        ) from error
    for key in ("model", "state_dict"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    try:
        network.load_state_dict(state)
    except (RuntimeError, TypeError) as error:
        raise ConfigError(f"expert {card.id}: {path} does not fit the network of the config: {error}") from error


@contextmanager
def _importable(root: Path) -> Iterator[None]:
    """Let a config import the bundle's own `scripts`, and let the next bundle import its own."""
    before = set(sys.modules)
    sys.path.insert(0, str(root))
    try:
        yield
    finally:
        sys.path.remove(str(root))
        for name in set(sys.modules) - before:
            top = name.partition(".")[0]
            if (root / top).is_dir() or (root / f"{top}.py").is_file():
                del sys.modules[name]


def _findings(card: Card, bundle: _Bundle, volume: Volume) -> list[VolumeFinding]:
    """Run one volume through a bundle and cut the labels out of the result."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "volume.nii"
        image = nib.Nifti1Image(volume.voxels, volume.affine)  # type: ignore[no-untyped-call]  # nibabel's
        nib.save(image, path)
        made, score_of = _predict(card, bundle, path)
    output = _on_grid(card, made, volume)
    found: list[VolumeFinding] = []
    for number in wanted_numbers(card):
        if len(output) > 1 and number >= len(output):
            raise ConfigError(
                f"expert {card.id}: [labels] maps channel {number}, but the bundle gives {len(output)}, counted from 0"
            )
        mask = output[number] > 0 if len(output) > 1 else output[0] == number
        if mask.any():
            found.append(VolumeFinding(label=str(number), mask=mask, score=score_of(number)))
    return found


def _predict(card: Card, bundle: _Bundle, path: Path) -> tuple[Any, Scores]:
    """Return the post-processed prediction of an image file, (C, X, Y, Z), and the scores of its labels."""
    import torch
    from monai.data import decollate_batch, list_data_collate
    from monai.transforms import AsDiscreted

    doing = "preprocessing"
    score_of: Scores = lambda _: 1.0  # noqa: E731
    try:
        item = bundle.preprocessing({"image": str(path)})
        batch = list_data_collate([item])
        doing = "inference"
        with torch.no_grad():
            batch["pred"] = bundle.inferer(batch["image"].to(bundle.device), bundle.network)
        _check_prediction(card, batch["image"], batch["pred"])
        item = decollate_batch(batch)[0]
        for step in bundle.steps:
            doing = type(step).__name__
            before = item["pred"]
            item = step(item)
            if isinstance(step, AsDiscreted) and "pred" in step.keys:
                score_of = _scores(before, item["pred"])
    except _FAILURES as error:
        detail = f"expert {card.id} stopped in {doing}: {first_line(error.__cause__ or error)}"
        raise RefusedError("expert.failed", detail) from error
    return item["pred"], score_of


def _check_prediction(card: Card, image: Any, prediction: Any) -> None:
    """Refuse a network whose output has no known place in its input."""
    import torch

    if not isinstance(prediction, torch.Tensor) or image.shape[2:] != prediction.shape[2:]:
        shape = tuple(prediction.shape) if isinstance(prediction, torch.Tensor) else type(prediction).__name__
        raise ConfigError(f"expert {card.id}: the bundle's network made {shape} of {tuple(image.shape)}")


def _scores(before: Any, after: Any) -> Scores:
    """Return the function label → mean probability inside, from both sides of `AsDiscreted`."""
    scores: NDArray[np.float32] = np.asarray(before.detach().cpu(), np.float32)
    labels = np.asarray(after.detach().cpu())
    if scores.min() < -_BLEND or scores.max() > 1 + _BLEND:
        if len(scores) == 1:
            return lambda _: 1.0
        scores = softmax(scores, axis=0)

    def score_of(number: int) -> float:
        inside = labels[0] == number if len(labels) == 1 else labels[number] > 0
        if not inside.any():  # a later step gave the label its number
            return 1.0
        channel = scores[number if len(scores) > 1 else 0]
        return float(np.clip(channel[inside].mean(dtype=np.float64), 0, 1))

    return score_of


def _on_grid(card: Card, made: Any, volume: Volume) -> NDArray[Any]:
    """Return a prediction as (C, X, Y, Z) on the volume's own grid."""
    output = np.asarray(made.detach().cpu())
    if output.ndim == 3:
        output = output[None]
    affine = getattr(made, "affine", None)
    here = np.asarray(volume.affine if affine is None else affine.cpu(), np.float64)
    shape = volume.voxels.shape
    if output.ndim != 4 or (affine is None and output.shape[1:] != shape):
        raise ConfigError(
            f"expert {card.id}: the bundle's postprocessing gives {output.shape}, the volume has {shape}; "
            "its config needs Invertd"
        )
    if output.shape[1:] == shape and np.abs(here - volume.affine).max() <= _SAME_MM:
        return output
    way = np.linalg.inv(here) @ volume.affine
    moved = [
        ndimage.affine_transform(channel, way[:3, :3], way[:3, 3], output_shape=shape, order=0, mode="constant")
        for channel in output
    ]
    return np.stack(moved)
