"""Cells outlined by Cellpose 4 (Cellpose-SAM), through its own package; from version 4.2 on.

Every cell it finds is kept, one instance each. The score is the mean of the network's cell probability, the sigmoid of
its third output, over the pixels of all cells of the image. Cellpose starts outlines from pixels above 0.5, so scores
lie between 0.5 and 1 but for pixels filled in as holes; a `min_score` below 0.5 leaves everything in.

**Why**

- *Version 4 only*: it has one network and cannot read the weights of version 3, such as the `cyto3` of the MedTrinity
  paper. The paper kept two components an image; nothing here needs such a limit.
- *The file is read as tensors only before Cellpose opens it.* Cellpose looks into it once without saying
  `weights_only`, and PyTorch before 2.6 then unpickles whatever it holds.
- *Weights that do not fill the network are refused*: Cellpose leaves what a file lacks at random.
- *Models asked for by name come through the Hub's client*, from where Cellpose takes them. Its own download turns the
  check of certificates off, and leaves it off for everything else in the process.
- *Images go through one by one*: their tiles fill the passes, and no result depends on who else came along.
- *bfloat16 on GPUs, float32 on CPUs*, as for other networks.
"""

from __future__ import annotations

import importlib.util
import os
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from medtrinity25m.errors import ConfigError
from medtrinity25m.roi.card import Card
from medtrinity25m.roi.neural.local_model import find_model, first_line, need, once
from medtrinity25m.roi.protocol import Expert, Finding, Query
from medtrinity25m.roi.run_options import Cellpose

NAMES = ("cpsam_v2", "cpsam", "cpdino", "cpdino-vitb")
"""Models that Cellpose 4 knows by name: files of `REPOSITORY`."""

REPOSITORY = "mouseland/cellpose-sam"
OLDEST = (4, 2)
TRAINED_DIAMETER = 30  # pixels; `diameter_px` rescales the image so that its cells get this size
TILES = 8  # Cellpose's own default; an image has as many tiles as it needs


def cellpose_expert(card: Card) -> Expert:
    """Return an expert that runs Cellpose; its model is loaded when it is first asked, once a process.

    Raises:
        ConfigError: Cellpose 4 is not installed, the weights are missing or their hash differs, a model given by name
            is unknown or cannot be downloaded, or the card does not say in one word what a cell is. Later, when the
            model is loaded: the weights are not data, or not those of such a network.
    """
    run = _run_of(card)
    if card.dimensions != 2:
        raise ConfigError(f"expert {card.id}: Cellpose is asked about images; write dimensions = 2")
    _label(card)
    if not _named(card, run.model):
        find_model(card, run.model)
    need(card, "cellpose", "cellpose", "torch")
    _check_version(card)
    if _named(card, run.model):
        _check_dino(card, run.model.startswith("cpdino"))
        _cached(card, run.model)
    return CellposeExpert(card)


@dataclass(frozen=True)
class CellposeExpert:
    """Cellpose asked about images."""

    card: Card

    def __call__(self, queries: Sequence[Query], /) -> list[list[Finding]]:
        """Return one finding for each image with cells: its instances, (H, W) int32, 1 to the number of cells.

        Raises:
            ConfigError: the model cannot be loaded, or stopped.
        """
        model, label = once(self.card, _load), _label(self.card)
        found: list[list[Finding]] = []
        for query in queries:
            cells, logits = _outline(self.card, model, query.pixels)
            inside = cells > 0
            score = float(expit(logits[inside].astype(np.float64)).mean()) if inside.any() else 0.0
            found.append([Finding(label=label, instances=cells, score=score)] if inside.any() else [])
        return found


def _run_of(card: Card) -> Cellpose:
    if not isinstance(card.run, Cellpose):
        raise TypeError(f"{card.id} is not run by Cellpose")
    return card.run


def _label(card: Card) -> str:
    """Return the card's word for a cell: its only label, or `cell`."""
    if len(card.labels) > 1:
        raise ConfigError(
            f"expert {card.id}: Cellpose outlines one kind of thing, but [labels] has {', '.join(card.labels)}; "
            'write one line, such as cell = "cell"'
        )
    word = next(iter(card.labels), "cell")
    meaning = card.meaning(word)
    if meaning is None or meaning.label is None:
        raise ConfigError(f"expert {card.id}: [labels] leaves out all that Cellpose finds; map {word} to a term")
    return word


def _check_version(card: Card) -> None:
    try:
        found = version("cellpose")
    except PackageNotFoundError:
        found = "of unknown version"
    numbers = re.match(r"(\d+)\.(\d+)", found)
    own = tuple(map(int, numbers.groups())) if numbers else ()
    if own < OLDEST or own[0] != OLDEST[0]:
        raise ConfigError(
            f"expert {card.id}: cellpose {found} is installed, this runs version 4 from 4.2 on: "
            "pip install 'cellpose>=4.2,<5'"
        )


def _check_dino(card: Card, wanted: bool) -> None:
    if wanted and importlib.util.find_spec("dinov3") is None:
        raise ConfigError(
            f"expert {card.id}: Cellpose builds this model with dinov3, not installed here: "
            "pip install git+https://github.com/facebookresearch/dinov3"
        )


def _named(card: Card, model: str) -> bool:
    """Say whether a model is one that Cellpose knows by name; a file of that name beside the card goes first."""
    return model in NAMES and not card.place(model).exists()


def _cached(card: Card, name: str) -> Path | None:
    """Return where a named model lies on this machine, None where it is still to be downloaded.

    Raises:
        ConfigError: it does not lie here, and downloads are switched off.
    """
    from huggingface_hub import constants, try_to_load_from_cache

    chosen = os.environ.get("CELLPOSE_LOCAL_MODELS_PATH")
    own = (Path(chosen) if chosen else Path.home() / ".cellpose" / "models") / name
    if own.is_file():
        return own
    cached = try_to_load_from_cache(REPOSITORY, name)
    if isinstance(cached, str):
        return Path(cached)
    if constants.HF_HUB_OFFLINE:
        raise ConfigError(
            f"expert {card.id}: {name} is not on this machine, and HF_HUB_OFFLINE is set; unset it, or write the path "
            "of a local file as model"
        )
    return None


def _weights(card: Card) -> Path:
    """Return the file with the weights, downloaded where it must be, its hash checked."""
    run = _run_of(card)
    if not _named(card, run.model):
        return find_model(card, run.model)
    path = _cached(card, run.model) or _downloaded(card, run.model)
    return find_model(card, str(path.absolute()))


def _downloaded(card: Card, name: str) -> Path:
    from huggingface_hub import errors, hf_hub_download

    try:
        return Path(hf_hub_download(REPOSITORY, name))
    except (errors.HfHubHTTPError, OSError, ValueError) as error:
        raise ConfigError(
            f"expert {card.id}: {name} cannot be downloaded: {first_line(error)}; get it from "
            f"https://huggingface.co/{REPOSITORY} and write its path as model"
        ) from error


def _load(card: Card) -> Any:
    """Return Cellpose's model with the weights of a card."""
    path = _weights(card)
    state = _tensors(card, path)
    import torch

    gpu = torch.cuda.is_available()
    device = torch.device("cuda" if gpu else "cpu")
    try:
        model = _model_class()(pretrained_model=str(path), device=device, use_bfloat16=gpu)
    except (RuntimeError, ValueError, KeyError, AttributeError, OSError) as error:
        raise ConfigError(f"expert {card.id}: {path} is no model of Cellpose 4: {first_line(error)}") from error
    wanted = {name for name, weight in model.net.named_parameters() if weight.requires_grad}
    missing = sorted(wanted - state.keys())
    if missing:
        raise ConfigError(
            f"expert {card.id}: {path} lacks {len(missing)} of the network's {len(wanted)} weights, such as "
            f"{missing[0]}; save or fetch it again"
        )
    return model


def _model_class() -> Any:
    """Return Cellpose's model, imported so that other networks of the process keep their arithmetic."""
    import torch

    tf32 = torch.backends.cuda.matmul.allow_tf32
    try:
        from cellpose.models import CellposeModel
    finally:
        torch.backends.cuda.matmul.allow_tf32 = tf32  # Cellpose switches it on
    return CellposeModel


def _tensors(card: Card, path: Path) -> dict[str, Any]:
    """Return the tensors of a file that holds nothing else, not yet read from disk."""
    import pickle

    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError) as error:
        raise ConfigError(
            f"expert {card.id}: {path} holds more than tensors, or is damaged; save its state_dict, or fetch it again"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ConfigError(f"expert {card.id}: {path} is no state_dict, which Cellpose's models are")
    if "W2" not in state:
        raise ConfigError(f"expert {card.id}: {path} is no model of Cellpose 4, which cannot read those of version 3")
    _check_dino(card, "encoder.cls_token" in state)
    return state


def _outline(card: Card, model: Any, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return the cells of an image, (H, W) with 0 for none, and the logit of each pixel to be of a cell."""
    height, width = pixels.shape[:2]
    diameter = _run_of(card).diameter_px
    scale = 1 if diameter is None else TRAINED_DIAMETER / diameter
    if min(height, width) < 2 or min(height, width) * scale < 1:  # Cellpose divides by zero, or no pixel is left
        return np.zeros((height, width), np.int32), np.zeros((height, width), np.float32)
    image = pixels if pixels.ndim == 3 else pixels[:, :, None]
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sparse invariant checks", UserWarning)  # PyTorch, of Cellpose's code
            cells, flows, _ = model.eval(image, batch_size=TILES, channel_axis=2, diameter=diameter)
    except (RuntimeError, ValueError, IndexError) as error:
        raise ConfigError(
            f"expert {card.id}: Cellpose stopped at an image of {height} x {width}: {first_line(error)}"
        ) from error
    logits: NDArray[np.float32] = np.asarray(flows[2], np.float32).reshape(height, width)
    return np.asarray(cells).reshape(height, width).astype(np.int32), logits
