"""Cards and small networks for the tests of neural experts: made in a second, their answers known."""

from __future__ import annotations

import importlib.util
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medtrinity25m.roi.card import Card, parse_card
from medtrinity25m.roi.protocol import Query, Volume


def need(*modules: str) -> list[pytest.MarkDecorator]:
    """Marks for a file that needs packages of an extra; looks for them without importing them, which takes seconds."""
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    return [pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} not installed; an extra of the package")]


STEEP = 40.0
"""Slope of the networks' logits: a value of 0.55 of the range gets a score of 0.88, one of 0.75 nearly 1."""


def card(folder: Path, run: dict[str, Any], labels: dict[str, Any] | None = None, **more: Any) -> Card:
    """A card that lies in `folder`."""
    content = {
        "id": "tiny", "title": "Tiny", "version": "1", "code_license": "Apache-2.0", "modalities": ["mri", "ct"],
        "min_score": 0.5, "labels": {"1": "brain"} if labels is None else labels, "run": run, **more,
    }  # fmt: skip
    return parse_card(content, "tiny.toml", folder)


def query(pixels: np.ndarray, **more: Any) -> Query:
    return Query(pixels=pixels, modality="mri", **more)


def disk(height: int, width: int, inside: int = 200, outside: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """An image with a bright disk right of its middle, and the disk."""
    y, x = np.mgrid[:height, :width]
    mask = (y - 0.4 * height) ** 2 + (x - 0.6 * width) ** 2 < (0.2 * height) ** 2
    return np.where(mask, inside, outside).astype(np.uint8), mask


def ball(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> tuple[Volume, np.ndarray]:
    """A volume with a bright ball of 12 mm toward the patient's right, front and head, and the ball."""
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1) * spacing
    middle = np.array(shape) * spacing * (0.6, 0.55, 0.5)
    mask = np.linalg.norm(grid - middle, axis=-1) < 12
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = (-30, -40, 12)
    voxels = np.where(mask, 200, 20).astype(np.float32)
    return Volume(voxels=voxels, affine=affine, modality="mri"), mask


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def quietly(make: Any, *given: Any, **options: Any) -> Any:
    """Call an exporter of PyTorch, which warns of itself and of every branch it traces."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make(*given, **options)


def bright(axes: int, channels: int = 2, cut: float = 0.5) -> Any:
    """A network whose last channel is high where the first input channel is above `cut`; the others are 0."""
    import torch

    kind = torch.nn.Conv2d if axes == 2 else torch.nn.Conv3d
    network = kind(1, channels, 1)
    with torch.no_grad():
        network.weight.zero_()
        network.bias.zero_()
        network.weight[-1, 0] = STEEP
        network.bias[-1] = -STEEP * cut
    return network.eval()


def random_net(axes: int) -> Any:
    """Three layers with random weights; the classes have the same mean, so that each wins somewhere."""
    import torch

    torch.manual_seed(7)
    conv, norm = (torch.nn.Conv2d, torch.nn.InstanceNorm2d) if axes == 2 else (torch.nn.Conv3d, torch.nn.InstanceNorm3d)
    return torch.nn.Sequential(
        conv(1, 8, 3, padding=1), torch.nn.ReLU(), conv(8, 8, 3, padding=1), torch.nn.ReLU(), conv(8, 3, 1), norm(3)
    ).eval()


def torchscript(network: Any, path: Path, *size: int) -> str:
    """Write a network as TorchScript; returns the file's name."""
    import torch

    quietly(lambda: torch.jit.trace(network, torch.zeros(1, 1, *size)).save(str(path)))
    return path.name


def onnx(network: Any, path: Path, *size: int) -> str:
    """Write the same as ONNX, its batch and sides free."""
    import torch

    free = dict.fromkeys([0, *range(2, 2 + len(size))], "")
    axes = {name: {axis: f"{name}{axis}" for axis in free} for name in ("image", "logits")}
    quietly(
        torch.onnx.export, network, (torch.zeros(1, 1, *size),), str(path),
        input_names=["image"], output_names=["logits"], dynamic_axes=axes, dynamo=False,
    )  # fmt: skip
    return path.name


def bundle(root: Path, net: Any, target: dict[str, Any], /, **changed: Any) -> Path:
    """Write a MONAI bundle around a network whose `_target_` is given; `changed` replaces or, with None, removes."""
    import torch

    (root / "configs").mkdir(parents=True)
    (root / "models").mkdir()
    torch.save(net.state_dict(), root / "models" / "model.pt")
    inference = {
        "imports": ["$import glob"],
        "bundle_root": ".",
        "output_dir": "$@bundle_root + '/eval'",
        "dataset_dir": "/workspace/data",
        "datalist": "$list(glob.glob(@dataset_dir + '/*.nii.gz'))",
        "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
        "network_def": target,
        "network": "$@network_def.to(@device)",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "LoadImaged", "keys": "image"},
                {"_target_": "EnsureChannelFirstd", "keys": "image"},
                {"_target_": "Orientationd", "keys": "image", "axcodes": "LPS", "labels": None},
                {"_target_": "Spacingd", "keys": "image", "pixdim": [2.0, 2.0, 2.0], "mode": "bilinear"},
                {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": 0, "a_max": 255, "b_min": 0,
                 "b_max": 1, "clip": True},
                {"_target_": "EnsureTyped", "keys": "image"},
            ],
        },
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [16, 16, 16], "sw_batch_size": 2, "overlap": 0.25},
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "Activationsd", "keys": "pred", "softmax": True},
                {"_target_": "Invertd", "keys": "pred", "transform": "@preprocessing", "orig_keys": "image",
                 "nearest_interp": False, "to_tensor": True},
                {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
                {"_target_": "SaveImaged", "keys": "pred", "output_dir": "@output_dir"},
            ],
        },
    }  # fmt: skip
    inference = {key: value for key, value in (inference | changed).items() if value is not None}
    (root / "configs" / "inference.json").write_text(json.dumps(inference))
    return root


def network_run(model: str, size: tuple[int, ...], kind: str = "torchscript", **geometry: Any) -> dict[str, Any]:
    """The `[run]` table of a network that takes values of 0 to 255 as 0 to 1."""
    more = {key: geometry.pop(key) for key in ("activation", "activated") if key in geometry}
    return {"kind": kind, "model": model, "geometry": {"size": size, "clip": (0, 255), **geometry}, **more}
