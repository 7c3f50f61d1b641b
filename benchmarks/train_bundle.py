"""Train a small brain segmentation on one head, write it as a MONAI bundle, and measure it on another head.

Run `python benchmarks/train_bundle.py --out FOLDER [--steps 500]`. The folder gets the bundle, the same weights as
TorchScript and ONNX, three cards (`bundle.toml`, `torchscript.toml`, `onnx.toml`), and `report.json`; the table goes to
the console. It needs the extra `models` and the heads, which packages bring along:

* trained on: the MNI152 (6th generation) average head and its brain mask, of TemplateFlow, in the wheel `nimare`
  (`pip install --no-deps nimare==0.22.1`; nilearn's own MNI152 has no skull, so there is nothing to tell apart);
* measured on: Colin27, one man's head scanned 27 times, and `ch2bet`, the same head with everything but the brain
  removed, in Debian's `mricron-data`.

**Why** these two masks: both mean the brain within its outer surface, ventricles included (holes are filled), and were
made by others for other ends. They are not drawn by the same hand; no network can agree with both beyond that.

Both heads lie in the same space, so that copying the training mask by coordinates is already a good answer. It is
measured beside the network, on Colin27 as it is and after turning and shifting the head, where it must fail.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import importlib.util
import json
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medtrinity25m.roi.backends import make_volume_expert
from medtrinity25m.roi.card import load_card
from medtrinity25m.roi.protocol import Volume

SPACING_MM = 3.0  # the brain is a smooth shape; at 2 mm a step costs three times as much
WINDOW = 48  # voxels a side: 144 mm, most of a head
SEED = 0
PERCENTILES = (0.5, 99.5)  # what is darker is air, what is brighter fat and vessels
UNET = {
    "_target_": "UNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 2, "channels": [16, 32, 64, 128],
    "strides": [2, 2, 2], "num_res_units": 0, "norm": "instance", "act": "RELU",
}  # fmt: skip
TURN_DEGREES, SHIFT_MM = (20.0, 10.0), (12.0, -15.0, 10.0)
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Head:
    """A head and its brain, both in canonical RAS+ orientation on one grid."""

    name: str
    voxels: NDArray[np.float32]
    brain: Mask
    affine: NDArray[np.float64]

    @property
    def volume(self) -> Volume:
        """The head as an expert is asked about it."""
        return Volume(voxels=self.voxels, affine=self.affine, modality="mri")

    def moved(self) -> Head:
        """Return the head turned about the axes to its feet and to its right, and shifted, on the same grid."""
        yaw, pitch = np.radians(TURN_DEGREES)
        turn = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
        turn = turn @ [[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]]
        edges = np.linalg.norm(self.affine[:3, :3], axis=0)
        middle = np.array(self.voxels.shape) / 2
        offset = middle - turn @ (middle + np.array(SHIFT_MM) / edges)
        voxels = ndimage.affine_transform(self.voxels, turn, offset, order=1)
        brain = ndimage.affine_transform(self.brain.astype(np.float32), turn, offset, order=1) >= 0.5
        return Head(f"{self.name}, moved", voxels.astype(np.float32), brain, self.affine)


def read_head(name: str, image: Path, mask: Path) -> Head:
    """Read a T1 image and a file that is above 0 inside the brain."""
    head: Any = nib.funcs.as_closest_canonical(nib.loadsave.load(image))  # type: ignore[no-untyped-call]
    inside: Any = nib.funcs.as_closest_canonical(nib.loadsave.load(mask))  # type: ignore[no-untyped-call]
    if head.shape != inside.shape or not np.allclose(head.affine, inside.affine, atol=1e-3):
        raise SystemExit(f"{image} and {mask} do not lie on one grid")
    brain = ndimage.binary_fill_holes(np.asarray(inside.dataobj) > 0)
    return Head(name, np.asarray(head.dataobj, np.float32), brain, np.asarray(head.affine, np.float64))


def dice(one: Mask, other: Mask) -> float:
    """Return the overlap of two masks, 0 to 1."""
    return float(2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other)))


def preprocessing() -> list[dict[str, Any]]:
    """Return the bundle's preprocessing, as its config writes it."""
    low, high = PERCENTILES
    return [
        {"_target_": "LoadImaged", "keys": "image", "reader": "NibabelReader"},
        {"_target_": "EnsureChannelFirstd", "keys": "image"},
        {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS", "labels": None},
        {"_target_": "Spacingd", "keys": "image", "pixdim": [SPACING_MM] * 3, "mode": "bilinear"},
        {"_target_": "ScaleIntensityRangePercentilesd", "keys": "image", "lower": low, "upper": high, "b_min": 0.0,
         "b_max": 1.0, "clip": True},
        {"_target_": "NormalizeIntensityd", "keys": "image"},
        {"_target_": "EnsureTyped", "keys": "image"},
    ]  # fmt: skip


def augmentation() -> Any:
    """Return the transform that makes another head of the one there is: a window of it, its contrast changed."""
    from monai import transforms as t

    both = {"keys": ["image", "label"], "mode": ["bilinear", "nearest"]}
    transform = t.Compose([
        t.RandAffined(
            **both, prob=1, spatial_size=[WINDOW] * 3, rotate_range=[0.35] * 3, scale_range=[0.15] * 3,
            translate_range=[14, 18, 14], padding_mode="zeros",
        ),
        t.RandFlipd(keys=["image", "label"], prob=0.5, spatial_axis=0),
        t.RandAdjustContrastd(keys="image", prob=0.7, gamma=(0.6, 1.8)),
        t.RandBiasFieldd(keys="image", prob=0.3, coeff_range=(0.0, 0.2)),
        t.RandGaussianSharpend(keys="image", prob=0.5, alpha=(0.5, 3.0)),  # an average head is smooth, a man's is not
        t.RandGaussianNoised(keys="image", prob=0.7, std=0.06),
        t.NormalizeIntensityd(keys="image"),
    ])  # fmt: skip
    return transform.set_random_state(SEED)


def train(head: Head, steps: int) -> Any:
    """Return a UNet trained on windows of one head, about a minute and a half of one core for 500 steps."""
    import torch
    from monai.bundle import ConfigParser
    from monai.losses import DiceCELoss
    from monai.utils import set_determinism

    set_determinism(SEED)
    torch.set_num_threads(1)  # layers this small only wait for each other: two threads took ten times the CPU seconds
    network = ConfigParser({"net": UNET}).get_parsed_content("net")
    whole = _resampled(head)
    augment = augmentation()
    loss_of = DiceCELoss(to_onehot_y=True, softmax=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=5e-3, total_steps=steps)
    network.train()
    for step in range(steps):
        batch = [augment(whole) for _ in range(2)]
        image, label = (torch.stack([one[key].as_tensor() for one in batch]) for key in ("image", "label"))
        optimizer.zero_grad()
        loss = loss_of(network(image), label)
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == steps - 1:
            print(f"step {step}: loss {loss.item():.3f}", flush=True)
    return network.eval()


def _resampled(head: Head) -> dict[str, Any]:
    """Return image and label (1, X, Y, Z) at the network's spacing, values 0 to 1."""
    from monai.data import MetaTensor
    from monai.transforms import Compose, ScaleIntensityRangePercentiles, Spacing

    image = Compose([
        Spacing(pixdim=[SPACING_MM] * 3, mode="bilinear"), ScaleIntensityRangePercentiles(*PERCENTILES, 0, 1, clip=True)
    ])(MetaTensor(head.voxels[None], affine=head.affine))  # fmt: skip
    label = Spacing(pixdim=[SPACING_MM] * 3, mode="nearest")(
        MetaTensor(head.brain[None].astype(np.float32), affine=head.affine)
    )
    return {"image": image, "label": label}


def inference() -> dict[str, Any]:
    """Return `configs/inference.json`, which `python -m monai.bundle run` runs too."""
    return {
        "imports": ["$import glob"],
        "bundle_root": ".",
        "output_dir": "$@bundle_root + '/eval'",
        "dataset_dir": "$@bundle_root + '/data'",
        "datalist": "$sorted(glob.glob(@dataset_dir + '/*.nii.gz'))",
        "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
        "network_def": UNET,
        "network": "$@network_def.to(@device)",
        "preprocessing": {"_target_": "Compose", "transforms": preprocessing()},
        "dataset": {"_target_": "Dataset", "data": "$[{'image': i} for i in @datalist]", "transform": "@preprocessing"},
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1, "num_workers": 0},
        "inferer": {
            "_target_": "SlidingWindowInferer", "roi_size": [WINDOW] * 3, "sw_batch_size": 2, "overlap": 0.25,
            "mode": "gaussian",
        },
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "Activationsd", "keys": "pred", "softmax": True},
                {"_target_": "Invertd", "keys": "pred", "transform": "@preprocessing", "orig_keys": "image",
                 "nearest_interp": False, "to_tensor": True},
                {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
                {"_target_": "SaveImaged", "keys": "pred", "output_dir": "@output_dir", "output_postfix": "brain"},
            ],
        },
        "handlers": [{
            "_target_": "CheckpointLoader", "load_path": "$@bundle_root + '/models/model.pt'",
            "load_dict": {"model": "@network"}, "map_location": "@device",
        }],
        "evaluator": {
            "_target_": "SupervisedEvaluator", "device": "@device", "val_data_loader": "@dataloader",
            "network": "@network", "inferer": "@inferer", "postprocessing": "@postprocessing",
            "val_handlers": "@handlers",
        },
        "run": ["$@evaluator.run()"],
    }  # fmt: skip


def metadata(head: Head, measured: float, on: str) -> dict[str, Any]:
    """Return `configs/metadata.json` with MONAI's keys."""
    format_ = {"type": "image", "format": "magnitude", "modality": "MR", "num_channels": 1, "dtype": "float32",
               "spatial_shape": [f"{WINDOW}*n"] * 3, "is_patch_data": True}  # fmt: skip
    package = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/"
    return {
        "schema": f"{package}meta_schema_20240725.json",
        "version": "0.1.0",
        "changelog": {"0.1.0": "trained on one head"},
        "monai_version": importlib.metadata.version("monai"),
        "pytorch_version": importlib.metadata.version("torch").partition("+")[0],
        "numpy_version": importlib.metadata.version("numpy"),
        "required_packages_version": {"nibabel": importlib.metadata.version("nibabel")},
        "name": "Brain of one head",
        "task": "Brain segmentation in T1-weighted MRI",
        "description": f"A small UNet trained on {head.name} alone, to try MONAI bundles with.",
        "authors": "The medtrinity25m authors",
        "copyright": "The medtrinity25m authors",
        "data_source": head.name,
        "data_type": "nibabel",
        "image_classes": "T1-weighted MRI of a head",
        "label_classes": "1 inside the brain, ventricles included",
        "pred_classes": "2 channels: background, brain",
        "eval_metrics": {f"dice_{on}": round(measured, 4)},
        "intended_use": "Trying the code; not for patients",
        "references": [],
        "network_data_format": {
            "inputs": {"image": format_ | {"value_range": [-3, 5], "channel_def": {"0": "image"}}},
            "outputs": {
                "pred": format_ | {
                    "format": "segmentation", "num_channels": 2, "value_range": [0, 1],
                    "channel_def": {"0": "background", "1": "brain"},
                }
            },
        },
    }  # fmt: skip


def write_bundle(root: Path, network: Any) -> None:
    """Write weights, exports and the inference config."""
    import torch

    for name in ("configs", "models", "docs"):
        (root / name).mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), root / "models" / "model.pt")
    given = torch.zeros(1, 1, WINDOW, WINDOW, WINDOW)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # both exporters announce their end, and every branch they trace
        torch.jit.trace(network, given).save(str(root / "models" / "model.ts"))
        torch.onnx.export(
            network, (given,), str(root / "models" / "model.onnx"), input_names=["image"], output_names=["logits"],
            dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}}, dynamo=False,
        )  # fmt: skip
    (root / "configs" / "inference.json").write_text(json.dumps(inference(), indent=2))


def write_cards(out: Path) -> dict[str, Path]:
    """Write one card for each form of the weights; returns them by backend."""
    geometry = f"""[run.geometry]
spacing_mm = [{SPACING_MM}, {SPACING_MM}, {SPACING_MM}]
size = [{WINDOW}, {WINDOW}, {WINDOW}]
percentiles = [{PERCENTILES[0]}, {PERCENTILES[1]}]
normalize = "zscore"
"""
    cards = {}
    for kind, model, rest in (
        ("monai_bundle", "bundle", "trusted = true\n"),
        ("torchscript", "bundle/models/model.ts", geometry),
        ("onnx", "bundle/models/model.onnx", geometry),
    ):
        path = out / model
        file = path / "models" / "model.pt" if path.is_dir() else path
        name = file.relative_to(path if path.is_dir() else path.parent).as_posix()
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        cards[kind] = out / f"{kind}.toml"
        cards[kind].write_text(
            f'id = "one_head_{kind}"\ntitle = "Brain of one head"\nversion = "0.1.0"\ncode_license = "Apache-2.0"\n'
            f'weights_license = "Apache-2.0"\nmodalities = ["mri"]\ndimensions = 3\nmin_score = 0.5\n'
            f'labels = {{ 1 = "brain" }}\nsha256 = {{ "{name}" = "{digest}" }}\n'
            f'[run]\nkind = "{kind}"\nmodel = "{model}"\n{rest}'
        )
    return cards


def measure(cards: dict[str, Path], trained_on: Head, heads: list[Head]) -> dict[str, Any]:
    """Return Dice against the masks of `heads` and between the backends, and seconds a volume."""
    rows: dict[str, Any] = {}
    for head in heads:
        row: dict[str, Any] = {"copied mask": round(dice(_copied(trained_on, head), head.brain), 4)}
        masks = {}
        for kind, path in cards.items():
            expert = make_volume_expert(load_card(path))
            expert(head.volume)  # loads the model
            start = time.perf_counter()
            found = expert(head.volume)
            masks[kind] = found[0].mask if found else np.zeros(head.brain.shape, np.bool_)
            row[kind] = {
                "dice": round(dice(masks[kind], head.brain), 4),
                "score": round(found[0].score, 4) if found else None,
                "seconds": round(time.perf_counter() - start, 2),
            }
        row["onnx and torchscript"] = round(dice(masks["onnx"], masks["torchscript"]), 6)
        row["bundle and torchscript"] = round(dice(masks["monai_bundle"], masks["torchscript"]), 6)
        rows[head.name] = row
    return rows


def _copied(source: Head, target: Head) -> Mask:
    """Return the brain of `source` at the same millimetres of `target`."""
    way = np.linalg.inv(source.affine) @ target.affine
    mask: Mask = ndimage.affine_transform(
        source.brain, way[:3, :3], way[:3, 3], output_shape=target.brain.shape, order=0
    )
    return mask


def arguments() -> argparse.Namespace:
    """Read the command line."""
    spec = importlib.util.find_spec("nimare")
    nimare = Path(next(iter(spec.submodule_search_locations or [""]))) if spec else Path("nimare")
    mni, mricron = nimare / "resources" / "templates", Path("/usr/share/mricron/templates")
    stem = "tpl-MNI152NLin6Asym_res-01"
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--train", type=Path, nargs=2, metavar=("IMAGE", "MASK"),
                        default=(mni / f"{stem}_T1w.nii.gz", mni / f"{stem}_desc-brain_mask.nii.gz"))  # fmt: skip
    parser.add_argument("--test", type=Path, nargs=2, metavar=("IMAGE", "MASK"),
                        default=(mricron / "ch2.nii.gz", mricron / "ch2bet.nii.gz"))  # fmt: skip
    given = parser.parse_args()
    for path in (*given.train, *given.test):
        if not path.is_file():
            raise SystemExit(f"there is no {path}; see the head of {__file__} for where the heads come from")
    return given


def main() -> None:
    """Train, write, measure."""
    given = arguments()
    start = time.perf_counter()
    known = read_head("MNI152", *given.train)
    network = train(known, given.steps)
    trained = time.perf_counter() - start
    root = given.out / "bundle"
    write_bundle(root, network)
    test = read_head("Colin27", *given.test)
    rows = measure(write_cards(given.out), known, [test, test.moved()])
    on = rows[test.name]["monai_bundle"]["dice"]
    (root / "configs" / "metadata.json").write_text(json.dumps(metadata(known, on, test.name), indent=2))
    (root / "docs" / "README.md").write_text(
        f"# Brain of one head\n\nWritten by benchmarks/train_bundle.py: {given.steps} steps on {known.name}, Dice {on} "
        f"on {test.name}. To try bundles with; not for patients.\n"
    )
    report = {
        "parameters": sum(weights.numel() for weights in network.parameters()),
        "steps": given.steps,
        "training_seconds": round(trained, 1),
        "heads": rows,
    }
    (given.out / "report.json").write_text(json.dumps(report, indent=2))
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
