"""nnU-Net and TotalSegmentator through their own packages; the checkpoint is data, the axes come back."""

from __future__ import annotations

import importlib.util
import inspect
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny_models as tiny
from medtrinity25m.errors import ConfigError
from medtrinity25m.roi.card import Card
from medtrinity25m.roi.neural.nnunet import nnunet_expert
from medtrinity25m.roi.neural.totalsegmentator import totalsegmentator_expert
from medtrinity25m.roi.protocol import Volume

STAGES = {
    "n_stages": 2, "features_per_stage": [6, 12], "conv_op": "torch.nn.modules.conv.Conv3d",
    "kernel_sizes": [[3, 3, 3], [3, 3, 3]], "strides": [[1, 1, 1], [2, 2, 2]], "n_conv_per_stage": [1, 1],
    "n_conv_per_stage_decoder": [1], "conv_bias": True, "norm_op": None, "norm_op_kwargs": None,
    "dropout_op": None, "dropout_op_kwargs": None,
    "nonlin": "torch.nn.LeakyReLU", "nonlin_kwargs": {"inplace": True},
}  # fmt: skip
RESAMPLING = {
    f"resampling_fn_{what}{rest}": value
    for what, order in (("data", 3), ("seg", 1), ("probabilities", 1))
    for rest, value in (
        ("", "resample_data_or_seg_to_shape"),
        ("_kwargs", {"is_seg": what == "seg", "order": order, "order_z": 0, "force_separate_z": None}),
    )
}
PLANS = {
    "dataset_name": "Dataset999_Ball", "plans_name": "nnUNetPlans", "image_reader_writer": "SimpleITKIO",
    "original_median_spacing_after_transp": [2.0, 2.0, 2.0], "original_median_shape_after_transp": [32, 32, 32],
    "transpose_forward": [1, 0, 2], "transpose_backward": [1, 0, 2],  # as the planner makes them for coronal scans
    "experiment_planner_used": "ExperimentPlanner", "label_manager": "LabelManager",
    "foreground_intensity_properties_per_channel": {
        "0": {"max": 255.0, "mean": 128.0, "median": 128.0, "min": 0.0, "percentile_00_5": 0.0,
              "percentile_99_5": 255.0, "std": 60.0},
    },
    "configurations": {
        "3d_fullres": {
            "data_identifier": "nnUNetPlans_3d_fullres", "preprocessor_name": "DefaultPreprocessor", "batch_size": 2,
            "patch_size": [16, 16, 16], "median_image_size_in_voxels": [32.0, 32.0, 32.0], "spacing": [2.0, 2.0, 2.0],
            "normalization_schemes": ["CTNormalization"], "use_mask_for_norm": [False], **RESAMPLING,
            "architecture": {
                "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
                "arch_kwargs": STAGES,
                "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
            },
            "batch_dice": True,
        }
    },
}  # fmt: skip
DATASET = {
    "channel_names": {"0": "CT"},
    "labels": {"background": 0, "ball": 1},
    "numTraining": 1,
    "file_ending": ".nii",
}
SHAPE, SPACING = (42, 50, 30), (1.5, 1.2, 2.5)


def folder(root: Path, dataset: dict[str, Any] = DATASET, weights: Any = None) -> Path:
    """Write the folder of a trained model; without `weights` its checkpoint is only good for being found."""
    (root / "fold_0").mkdir(parents=True)
    (root / "plans.json").write_text(json.dumps(PLANS))
    (root / "dataset.json").write_text(json.dumps(dataset))
    checkpoint = root / "fold_0" / "checkpoint_final.pth"
    if weights is None:
        checkpoint.touch()
        return root
    import torch

    content = {
        "network_weights": weights, "trainer_name": "nnUNetTrainer", "inference_allowed_mirroring_axes": (0, 1, 2),
        "init_args": {"plans": PLANS, "configuration": "3d_fullres", "fold": 0, "device": torch.device("cpu")},
        "optimizer_state": {}, "grad_scaler_state": None, "current_epoch": 1, "_best_ema": np.float64(0.7),
        "logging": {"ema_fg_dice": [np.float64(0.5)], "train_losses": [np.float32(0.1)], "lrs": [0.01]},
    }  # fmt: skip
    torch.save(content, checkpoint)
    return root


def card(tmp_path: Path, labels: dict[str, str] | None = None, **more: Any) -> Card:
    return tiny.card(tmp_path, {"kind": "nnunet", "model": "model", "orientation": "LPS", **more}, labels)


def trained() -> dict[str, Any]:
    """Weights of nnU-Net's UNet after 60 steps of telling bright from dark, two seconds."""
    import torch
    from dynamic_network_architectures.architectures.unet import PlainConvUNet

    torch.manual_seed(0)
    kinds = {"conv_op": torch.nn.Conv3d, "nonlin": torch.nn.LeakyReLU}
    network = PlainConvUNet(input_channels=1, num_classes=2, deep_supervision=False, **(STAGES | kinds))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(60):
        coarse = torch.rand(4, 1, 4, 4, 4)
        wave = torch.nn.functional.interpolate(coarse, size=(16, 16, 16), mode="trilinear") * 3.8 - 1.9
        loss = torch.nn.functional.cross_entropy(network(wave), (wave[:, 0] > 0).long())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval().state_dict()


@pytest.fixture
def nnunet() -> None:
    if importlib.util.find_spec("nnunetv2") is None:
        pytest.skip("nnunetv2 is not installed; it comes with the extra `nnunet`")


@pytest.mark.slow
@pytest.mark.usefixtures("nnunet")
@pytest.mark.filterwarnings("default::DeprecationWarning", "default::FutureWarning", "default::UserWarning")
def test_a_trained_folder_finds_the_ball_where_it_is(tmp_path: Path):
    """Through nnU-Net's own resampling and predictor; axes of unequal length come back in their order."""
    folder(tmp_path / "model", weights=trained())
    volume, mask = tiny.ball(SHAPE, SPACING)
    expert = nnunet_expert(card(tmp_path, {"0": "background", "1": "brain"}, mirroring=False))

    (finding,) = pickle.loads(pickle.dumps(expert))(volume)
    (again,) = expert(volume)

    assert finding.label == "1"
    assert tiny.dice(finding.mask, mask) > 0.9
    assert np.abs(np.argwhere(finding.mask).mean(axis=0) - np.argwhere(mask).mean(axis=0)).max() < 0.4
    assert 0.8 < finding.score <= 1
    assert np.array_equal(again.mask, finding.mask)


@pytest.mark.slow
@pytest.mark.usefixtures("nnunet")
@pytest.mark.filterwarnings("default::DeprecationWarning", "default::FutureWarning", "default::UserWarning")
def test_nnunet_sees_volumes_as_its_training_files_lay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The array handed over is (1, z, y, x) of the orientation the card names, with the spacing of those axes."""
    from medtrinity25m.roi.neural import nnunet

    seen: list[tuple[np.ndarray, list[float]]] = []

    def predict(predictor: Any, image: np.ndarray, spacing_mm: list[float]) -> Any:
        seen.append((image, list(spacing_mm)))
        return (image[0] > 4).astype(np.uint8), {1: 0.9}

    monkeypatch.setattr(nnunet, "_predict", predict)
    folder(tmp_path / "model", weights=trained())
    voxels = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
    volume = Volume(voxels=voxels, affine=np.diag([1.0, 2, 3, 1]), modality="ct")

    (finding,) = nnunet_expert(card(tmp_path))(volume)

    ((image, spacing),) = seen
    assert np.array_equal(image[0], voxels[::-1, ::-1].transpose(2, 1, 0))
    assert spacing == [3.0, 2.0, 1.0]
    assert np.array_equal(finding.mask, voxels > 4)


@pytest.mark.slow
@pytest.mark.usefixtures("nnunet")
@pytest.mark.filterwarnings("default::DeprecationWarning", "default::FutureWarning", "default::UserWarning")
def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path):
    """nnU-Net would have opened it."""
    import torch

    root, flag = folder(tmp_path / "model", weights={}), tmp_path / "ran"

    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (flag,))

    torch.save({"network_weights": Trap()}, root / "fold_0" / "checkpoint_final.pth")
    volume, _ = tiny.ball(SHAPE, SPACING)

    with pytest.raises(ConfigError, match="more than tensors and numbers"):
        nnunet_expert(card(tmp_path))(volume)
    assert not flag.exists()


@pytest.mark.slow
@pytest.mark.usefixtures("nnunet")
@pytest.mark.filterwarnings("default::DeprecationWarning", "default::FutureWarning", "default::UserWarning")
def test_a_folder_that_does_not_load_is_told_why(tmp_path: Path):
    """Weights of another network, and a network for two contrasts."""
    import torch

    volume, _ = tiny.ball(SHAPE, SPACING)
    folder(tmp_path / "model", weights={"a.weight": torch.zeros(1)})
    with pytest.raises(ConfigError, match="no nnU-Net folder that loads"):
        nnunet_expert(card(tmp_path))(volume)

    two = DATASET | {"channel_names": {"0": "T1", "1": "T2"}}
    folder(tmp_path / "two" / "model", two, weights={"a.weight": torch.zeros(1)})
    with pytest.raises(ConfigError, match="wants 2 channels at once"):
        nnunet_expert(card(tmp_path / "two"))(volume)


def test_what_is_missing_is_named_before_a_build_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A fold, the folder, a label that is no number, the package."""
    folder(tmp_path / "model")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    for change, message in (
        ({"folds": (0, 3)}, "no file fold_3/checkpoint_final.pth"),
        ({"model": "elsewhere"}, "there is no .*elsewhere"),
        ({"labels": {"liver": "liver"}}, "keys of .labels. are numbers"),
        ({}, r"needs nnunetv2, .*pip install 'medtrinity25m\[nnunet\]'"),
    ):
        with pytest.raises(ConfigError, match=message):
            nnunet_expert(card(tmp_path, **change))


def test_a_card_says_how_the_training_files_lay(tmp_path: Path):
    """There is no default: guessed wrong, left and right kidney are swapped."""
    with pytest.raises(ConfigError, match="orientation"):
        tiny.card(tmp_path, {"kind": "nnunet", "model": "model"})


def test_totalsegmentator_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """And so is a card that maps nothing."""
    run = {"kind": "totalsegmentator"}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    with pytest.raises(ConfigError, match=r"pip install 'medtrinity25m\[totalsegmentator\]'"):
        totalsegmentator_expert(tiny.card(tmp_path, run, {"liver": "liver"}))
    with pytest.raises(ConfigError, match="maps nothing"):
        totalsegmentator_expert(tiny.card(tmp_path, run, {}))


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_totalsegmentator_is_called_as_its_version_wants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The installed API takes what it is given; its labels are cut by name; nothing is reported to its makers.

    Its weights (a gigabyte and more) are not at hand: its function is replaced by one that knows where the ball is.
    """
    if importlib.util.find_spec("totalsegmentator") is None:
        pytest.skip("totalsegmentator is not installed; it comes with the extra `totalsegmentator`")
    import nibabel as nib
    from totalsegmentator import python_api
    from totalsegmentator.map_to_binary import class_map

    signature = inspect.signature(python_api.totalsegmentator)
    volume, mask = tiny.ball(SHAPE, SPACING)
    liver = next(value for value, name in class_map["total"].items() if name == "liver")

    def answer(*given: Any, **named: Any) -> Any:
        bound = signature.bind(*given, **named).arguments
        python_api.send_usage_stats({"send_usage_stats": True, "totalseg_id": "x"}, {})
        assert np.allclose(bound["input"].affine, volume.affine)
        return nib.Nifti1Image(np.where(mask, liver, 0).astype(np.uint8), volume.affine)

    monkeypatch.setattr(python_api, "totalsegmentator", answer)
    monkeypatch.setattr(python_api, "send_usage_stats", lambda *_: pytest.fail("called home"))
    run = {"kind": "totalsegmentator"}

    (finding,) = totalsegmentator_expert(tiny.card(tmp_path, run, {"liver": "liver", "spleen": "spleen"}))(volume)

    assert finding.label == "liver"
    assert np.array_equal(finding.mask, mask)
    with pytest.raises(ConfigError, match="has no livr"):
        totalsegmentator_expert(tiny.card(tmp_path, run, {"livr": "liver"}))(volume)
