"""Bare segmentation networks, TorchScript or ONNX, as experts for images and for volumes.

The card's `geometry` says what the network expects. Both backends are fed by the same code (`neural.feeding`), and
their output becomes scores, masks and confidences by the same code, so they can only differ by their arithmetic.

**Why**

- *Logits of overlapping windows are blended before the activation*, weighted to the middle of each window, as
  MONAI's own evaluators do: a window's edge lacks context.
- *ONNX is the format to choose*: PyTorch 2.13 calls TorchScript deprecated, and an ONNX file holds no code, while a
  TorchScript file is a program, if one in a language without imports. `[sha256]` of the card pins either.
- *On a CPU inputs go through one by one*: a batch brings nothing there, and the last bits of a sum, and with them a
  pixel at a mask's edge, would depend on who else was in it.
- *bfloat16 on GPUs, float32 on CPUs*, where most kernels only get slower by it.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import expit, softmax

from medtrinity25m.errors import ConfigError
from medtrinity25m.roi.card import Card
from medtrinity25m.roi.neural.feeding import Floats, feed_image, feed_volume, image_masks, volume_masks
from medtrinity25m.roi.neural.local_model import find_model, first_line, need, once, wanted_numbers
from medtrinity25m.roi.protocol import Expert, Finding, Query, Volume, VolumeExpert, VolumeFinding
from medtrinity25m.roi.run_options import Network

GPU_BATCH = 8  # enough to keep a GPU busy with small networks; 64 maps of 512 x 512 in bfloat16 are 0.3 GB
Forward = Callable[[Floats], Floats]
"""(N, C, *size) in, (N, K, *size) out."""


def image_network(card: Card) -> Expert:
    """Return an expert for images; the model is loaded when it is first asked, once a process.

    Raises:
        ConfigError: a package or the file is missing, a hash differs, or the card does not fit an image network.
    """
    _check(card, axes=2)
    return ImageNetwork(card)


def volume_network(card: Card) -> VolumeExpert:
    """Return an expert for volumes; raises as `image_network` does."""
    _check(card, axes=3)
    return VolumeNetwork(card)


@dataclass(frozen=True)
class ImageNetwork:
    """A network asked about images."""

    card: Card

    def __call__(self, queries: Sequence[Query], /) -> list[list[Finding]]:
        """Return one finding a label and image; none for an image that lacks calibrated values it needs."""
        run, wanted = _run_of(self.card), wanted_numbers(self.card)
        fed = [feed_image(query, run.geometry) for query in queries]
        scores = once(self.card, _load).scores([array for array in fed if array is not None])
        found: list[list[Finding]] = [[] for _ in queries]
        for query, array, findings in zip(queries, fed, found, strict=True):
            if array is not None:
                height, width = query.pixels.shape[:2]
                masks = image_masks(next(scores), (height, width), run, wanted)
                findings.extend(Finding(label=str(k), mask=mask, score=score) for k, mask, score in masks)
        return found


@dataclass(frozen=True)
class VolumeNetwork:
    """A network asked about volumes."""

    card: Card

    def __call__(self, volume: Volume, /) -> list[VolumeFinding]:
        """Return one finding a label; none for a volume that lacks calibrated values the network needs."""
        run, wanted = _run_of(self.card), wanted_numbers(self.card)
        array = feed_volume(volume, run.geometry)
        if array is None:
            return []
        scores = next(once(self.card, _load).scores([array]))
        masks = volume_masks(scores, volume, run, wanted)
        return [VolumeFinding(label=str(k), mask=mask, score=score) for k, mask, score in masks]


@dataclass(frozen=True)
class _Scorer:
    """A loaded network with what its card says of its output; `batch` inputs go through at once."""

    card: Card
    forward: Forward
    batch: int

    def scores(self, arrays: Sequence[Floats]) -> Iterator[Floats]:
        """Yield (K, *size) scores of 0 to 1 for each (C, *size) array, in order."""
        for logits in self._logits(arrays):
            yield self._activated(logits)

    def _logits(self, arrays: Sequence[Floats]) -> Iterator[Floats]:
        if _run_of(self.card).geometry.windowed:
            for array in arrays:
                yield self._windows(array)
            return
        for start in range(0, len(arrays), self.batch):
            yield from self._checked(np.stack(arrays[start : start + self.batch]))

    def _windows(self, array: Floats) -> Floats:
        """Return (K, *size) of an input of any size, covered by windows."""
        import torch
        from monai.inferers import sliding_window_inference

        def predict(windows: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(self._checked(windows.numpy()))

        geometry = _run_of(self.card).geometry
        whole = torch.from_numpy(array[None])
        blended = sliding_window_inference(whole, geometry.size, self.batch, predict, geometry.overlap, "gaussian")
        result: Floats = blended[0].numpy()
        return result

    def _checked(self, batch: Floats) -> Floats:
        """Return the network's output, if it is what the card promises."""
        output = self.forward(batch)
        wanted = max(wanted_numbers(self.card))
        if output.ndim != batch.ndim or output.shape[0] != len(batch) or output.shape[2:] != batch.shape[2:]:
            raise ConfigError(
                f"expert {self.card.id}: the network made {output.shape} of {batch.shape}; "
                "it must give (N, K, *size) for (N, C, *size)"
            )
        if output.shape[1] <= wanted:
            raise ConfigError(
                f"expert {self.card.id}: [labels] maps channel {wanted}, but the network has {output.shape[1]}, "
                "counted from 0"
            )
        return output

    def _activated(self, logits: Floats) -> Floats:
        run = _run_of(self.card)
        if run.activation == "softmax" and len(logits) == 1:
            raise ConfigError(f'expert {self.card.id}: one channel excludes no other; write activation = "sigmoid"')
        if not run.activated:
            scores: Floats = softmax(logits, axis=0) if run.activation == "softmax" else expit(logits)
            return scores
        low, high = float(logits.min()), float(logits.max())
        if low < -1e-3 or high > 1 + 1e-3:  # blended windows and float16 leave the range by less
            raise ConfigError(
                f"expert {self.card.id}: activated = true, but the network gives {low:.3g} to {high:.3g}, no scores"
            )
        return logits


def _run_of(card: Card) -> Network:
    if not isinstance(card.run, Network):
        raise TypeError(f"{card.id} is not run as a bare network")
    return card.run


def _check(card: Card, axes: int) -> None:
    """Raise `ConfigError` for what can be known before the first image."""
    run = _run_of(card)
    if len(run.geometry.size) != axes:
        what = "images: size = [height, width]" if axes == 2 else "volumes: size = [x, y, z]"
        raise ConfigError(f"expert {card.id} is asked about {what} goes with that, not {list(run.geometry.size)}")
    if axes == 3 and run.geometry.channels != 1:
        raise ConfigError(f"expert {card.id}: volumes have one channel, geometry says {run.geometry.channels}")
    wanted_numbers(card)
    find_model(card, run.model)
    need(card, "models", "torch" if run.kind == "torchscript" else "onnxruntime")
    if run.geometry.windowed:
        need(card, "models", "torch", "monai")


def _load(card: Card) -> _Scorer:
    run = _run_of(card)
    path = find_model(card, run.model)
    return _torchscript(card, path) if run.kind == "torchscript" else _onnx(card, path)


def _torchscript(card: Card, path: Path) -> _Scorer:
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
            module = torch.jit.load(str(path), map_location=device).eval()
    except (RuntimeError, ValueError) as error:
        raise ConfigError(f"expert {card.id}: {path} is no TorchScript file: {first_line(error)}") from error

    def forward(batch: Floats) -> Floats:
        try:
            with torch.inference_mode(), torch.autocast("cuda", torch.bfloat16, enabled=device == "cuda"):
                output = module(torch.from_numpy(batch).to(device))
        except RuntimeError as error:
            raise _refused_by_network(card, batch, error) from error
        if not isinstance(output, torch.Tensor):
            raise ConfigError(f"expert {card.id}: the network returns {type(output).__name__}, not one tensor")
        floats: Floats = output.float().cpu().numpy()
        return floats

    return _Scorer(card, forward, GPU_BATCH if device == "cuda" else 1)


def _onnx(card: Card, path: Path) -> _Scorer:
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as states

    failures = (states.Fail, states.InvalidArgument, states.InvalidGraph, states.InvalidProtobuf, states.NotImplemented,
                states.RuntimeException, RuntimeError, ValueError)  # fmt: skip
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors; what it warns about is for whoever exported the graph
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "0"))  # it looks at the machine, not at this
    usable = onnxruntime.get_available_providers()
    providers = [name for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in usable]
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers)
    except failures as error:
        raise ConfigError(f"expert {card.id}: {path} is no ONNX file: {first_line(error)}") from error
    given = session.get_inputs()
    alone = given[0].shape[0] == 1
    if len(given) != 1 or (isinstance(given[0].shape[0], int) and not alone):
        raise ConfigError(
            f"expert {card.id}: {path} takes {', '.join(f'{one.name} {one.shape}' for one in given)}; "
            "it must take one input, its batch free or 1"
        )

    def forward(batch: Floats) -> Floats:
        try:
            output: Floats = session.run(None, {given[0].name: batch})[0]
        except failures as error:
            raise _refused_by_network(card, batch, error) from error
        return np.asarray(output, np.float32)

    on_gpu = "CUDAExecutionProvider" in session.get_providers()
    return _Scorer(card, forward, GPU_BATCH if on_gpu and not alone else 1)


def _refused_by_network(card: Card, batch: Floats, error: BaseException) -> ConfigError:
    return ConfigError(
        f"expert {card.id}: the network refuses an input of {batch.shape}, check geometry: {first_line(error)}"
    )
