"""MONAI bundles as experts: run by their own config, their result on the volume's grid, refused in one sentence."""

from __future__ import annotations

import hashlib
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny_models as tiny
from medtrinity25m.errors import ConfigError, RefusedError
from medtrinity25m.roi.card import Card
from medtrinity25m.roi.neural.bundle import bundle_expert
from medtrinity25m.roi.protocol import Volume
from packages import package_file

pytestmark = tiny.need("torch", "monai")

CONV = {"_target_": "torch.nn.Conv3d", "in_channels": 1, "out_channels": 2, "kernel_size": 1}
"""The network of `tiny.bright(3)`, as a config writes it."""
SHAPE, SPACING = (42, 50, 34), (1.5, 1.2, 2.5)


def run(**more: Any) -> dict[str, Any]:
    return {"kind": "monai_bundle", "model": "bundle", "trusted": True, **more}


def written(tmp_path: Path, *, labels: dict[str, str] | None = None, **changed: Any) -> Card:
    """The card of a bundle whose config has been changed."""
    tiny.bundle(tmp_path / "bundle", tiny.bright(3), CONV, **changed)
    return tiny.card(tmp_path, run(), labels)


def steps(*transforms: dict[str, Any]) -> dict[str, Any]:
    return {"_target_": "Compose", "transforms": list(transforms)}


SOFTMAX = {"_target_": "Activationsd", "keys": "pred", "softmax": True}
ARGMAX = {"_target_": "AsDiscreted", "keys": "pred", "argmax": True}
INVERT = {"_target_": "Invertd", "keys": "pred", "transform": "@preprocessing", "orig_keys": "image"}
SURE = 1 / (1 + np.exp(-tiny.STEEP * (200 / 255 - 0.5)))
"""Probability of the bright inside, where no edge is near."""


def test_a_bundle_finds_what_it_found_on_the_volume_s_own_grid(tmp_path: Path):
    """Turned to LPS and resampled to 2 mm inside, back outside: the ball is where it was, nothing is saved."""
    volume, mask = tiny.ball(SHAPE, SPACING)

    (finding,) = bundle_expert(written(tmp_path))(volume)

    found, meant = (np.argwhere(one).mean(axis=0) for one in (finding.mask, mask))
    assert finding.label == "1"
    assert finding.mask.shape == SHAPE
    assert tiny.dice(finding.mask, mask) > 0.95
    assert np.abs(found - meant).max() < 0.1
    assert 0.9 < finding.score < SURE
    assert not (tmp_path / "bundle" / "eval").exists()


def test_without_invertd_the_result_is_put_back_by_its_affine(tmp_path: Path):
    """As MONAI's saver does it; the result lies on the 2 mm LPS grid then."""
    volume, mask = tiny.ball(SHAPE, SPACING)

    (finding,) = bundle_expert(written(tmp_path, postprocessing=steps(SOFTMAX, ARGMAX)))(volume)

    assert finding.mask.shape == SHAPE
    assert tiny.dice(finding.mask, mask) > 0.9
    assert np.abs(np.argwhere(finding.mask).mean(axis=0) - np.argwhere(mask).mean(axis=0)).max() < 0.5


@pytest.mark.parametrize(
    ("post", "labels", "score"),
    [
        (steps(SOFTMAX, ARGMAX, INVERT), {"1": "brain"}, SURE),
        (steps(ARGMAX, INVERT), {"1": "brain"}, SURE),  # logits: a softmax makes them probabilities
        (steps(SOFTMAX, ARGMAX | {"to_onehot": 2}, INVERT), {"1": "brain"}, SURE),
        (steps({"_target_": "Activationsd", "keys": "pred", "sigmoid": True},
               {"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.6}, INVERT), {"1": "brain"}, SURE),
        (steps(INVERT, {"_target_": "Lambdad", "keys": "pred", "func": "$lambda x: x.argmax(0, keepdim=True)"}),
         {"1": "brain"}, 1.0),
        (SOFTMAX | {"softmax": False, "other": "$lambda x: (x[1:] > 0).float()"}, {"1": "brain"}, 1.0),
    ],
    ids=["softmax", "logits", "onehot", "sigmoid", "unknown", "no-compose"],
)  # fmt: skip
def test_the_score_is_the_probability_where_the_config_knows_one(
    tmp_path: Path, post: dict[str, Any], labels: dict[str, str], score: float
):
    """Inside the ball it is nearly that of the brightest voxel; a config that hides probabilities gets 1."""
    volume, mask = tiny.ball(SHAPE, SPACING)

    (finding,) = bundle_expert(written(tmp_path, postprocessing=post, labels=labels))(volume)

    assert tiny.dice(finding.mask, mask) > 0.88
    assert finding.score == pytest.approx(score, abs=0.06)
    assert finding.score <= score


def test_every_value_and_channel_has_its_own_word(tmp_path: Path):
    """Background too, where a card maps it; what the card does not map is not returned."""
    volume, _ = tiny.ball(SHAPE, SPACING)

    both = bundle_expert(written(tmp_path, labels={"0": "liver", "1": "brain", "7": "spleen"}))(volume)

    assert [finding.label for finding in both] == ["0", "1"]
    assert not (both[0].mask & both[1].mask).any()
    assert (both[0].mask | both[1].mask).all()


def test_a_bundle_brings_its_own_code(tmp_path: Path):
    """`scripts` beside the config are imported, and do not stay in the way of another bundle's."""
    root = tiny.bundle(tmp_path / "bundle", tiny.bright(3), {"_target_": "scripts.net.make"})
    (root / "scripts").mkdir()
    (root / "scripts" / "__init__.py").touch()
    (root / "scripts" / "net.py").write_text("import torch\n\ndef make():\n    return torch.nn.Conv3d(1, 2, 1)\n")
    volume, _ = tiny.ball(SHAPE, SPACING)
    path = list(sys.path)

    (finding,) = bundle_expert(tiny.card(tmp_path, run()))(volume)

    assert finding.mask.any()
    assert sys.path == path
    assert not [name for name in sys.modules if name.startswith("scripts")]


def test_a_yaml_config_and_a_training_checkpoint_do_as_well(tmp_path: Path):
    """Names come from the card; the state dict may lie under `model`."""
    import torch
    import yaml

    root = tiny.bundle(tmp_path / "bundle", tiny.bright(3), CONV)
    content = json.loads((root / "configs" / "inference.json").read_text())
    (root / "configs" / "test.yaml").write_text(yaml.safe_dump(content))
    torch.save({"model": tiny.bright(3).state_dict(), "epoch": 3}, root / "last.pt")
    volume, mask = tiny.ball(SHAPE, SPACING)

    (finding,) = bundle_expert(tiny.card(tmp_path, run(config="configs/test.yaml", weights="last.pt")))(volume)

    assert tiny.dice(finding.mask, mask) > 0.95


def test_an_expert_travels_to_another_process_and_answers_the_same(tmp_path: Path):
    """It pickles before and after it was asked."""
    expert = bundle_expert(written(tmp_path))
    volume, _ = tiny.ball(SHAPE, SPACING)

    first = expert(volume)
    second = pickle.loads(pickle.dumps(expert))(volume)

    assert [(f.score, f.mask.tobytes()) for f in first] == [(f.score, f.mask.tobytes()) for f in second]


def test_nothing_runs_before_a_person_said_trusted(tmp_path: Path):
    """A config is a program; neither the expert nor its making evaluates it."""
    flag = tmp_path / "ran"
    tiny.bundle(tmp_path / "bundle", tiny.bright(3), CONV, device=f"$__import__('pathlib').Path({str(flag)!r}).touch()")

    with pytest.raises(ConfigError, match="trusted = true"):
        bundle_expert(tiny.card(tmp_path, run(trusted=False)))
    bundle_expert(tiny.card(tmp_path, run()))
    assert not flag.exists()


def test_a_changed_file_is_not_run(tmp_path: Path):
    """Hashes count from the bundle's folder; one that is right lets it through."""
    root = tiny.bundle(tmp_path / "bundle", tiny.bright(3), CONV)
    names = ("configs/inference.json", "models/model.pt")
    good = {name: hashlib.sha256((root / name).read_bytes()).hexdigest() for name in names}

    bundle_expert(tiny.card(tmp_path, run(), sha256=good))
    for name in names:
        with pytest.raises(ConfigError, match=f"{name} is not the file the card means"):
            bundle_expert(tiny.card(tmp_path, run(), sha256=good | {name: "0" * 64}))
    with pytest.raises(ConfigError, match="no file models/other.pt"):
        bundle_expert(tiny.card(tmp_path, run(), sha256={"models/other.pt": "0" * 64}))


def test_weights_that_would_run_code_are_refused(tmp_path: Path):
    """A pickle in place of a state dict is not opened."""
    import torch

    card = written(tmp_path)
    flag = tmp_path / "ran"

    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (flag,))

    torch.save({"state_dict": Trap()}, tmp_path / "bundle" / "models" / "model.pt")
    with pytest.raises(ConfigError, match="something else than tensors"):
        bundle_expert(card)(tiny.ball(SHAPE, SPACING)[0])
    assert not flag.exists()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"network_def": None, "network": None}, "has no network_def or network"),
        ({"inferer": None}, "has no inferer"),
        ({"preprocessing": None, "postprocessing": steps(SOFTMAX, ARGMAX)}, "has no preprocessing"),
        ({"inferer": {"_target_": "NoSuchInferer"}}, "'inferer' of the bundle's config cannot be made"),
        ({"inferer": "$1 / 0"}, "division by zero"),
        ({"inferer": "@nowhere"}, "nowhere"),
        ({"network_def": CONV | {"out_channels": 3}}, "does not fit the network"),
        ({"network_def": "a word"}, "no torch module"),
        ({"inferer": "$lambda inputs, network: network(inputs)[..., ::2]"}, "the bundle's network made"),
        ({"postprocessing": steps({"_target_": "Lambdad", "keys": "pred", "func": "$lambda x: x.sum()"})},
         r"gives \(\), the volume has"),
        ({"labels": {"5": "brain"}, "postprocessing": steps(SOFTMAX)}, "maps channel 5, but the bundle gives 2"),
        ({"labels": {"tumor": "brain"}}, "keys of .labels. are numbers"),
    ],
)  # fmt: skip
def test_a_bundle_that_does_not_fit_is_told_why(tmp_path: Path, changed: dict[str, Any], message: str):
    """One sentence that names the expert and the part."""
    with pytest.raises(ConfigError, match=message) as caught:
        bundle_expert(written(tmp_path, **changed))(tiny.ball(SHAPE, SPACING)[0])
    assert "expert tiny" in str(caught.value)


def test_a_missing_folder_config_or_weight_is_named(tmp_path: Path):
    """Before anything is imported."""
    root = tiny.bundle(tmp_path / "bundle", tiny.bright(3), CONV)

    for change, message in (
        ({"model": "elsewhere"}, "there is no .*elsewhere"),
        ({"config": "configs/infer.json"}, "no file configs/infer.json"),
        ({"weights": "models/best.pt"}, "no file models/best.pt"),
    ):
        with pytest.raises(ConfigError, match=message):
            bundle_expert(tiny.card(tmp_path, run(**change)))
    (root / "configs" / "inference.json").write_text("{")
    with pytest.raises(ConfigError, match="cannot be read"):
        bundle_expert(tiny.card(tmp_path, run()))(tiny.ball(SHAPE, SPACING)[0])


def test_a_bundle_for_several_contrasts_says_so(tmp_path: Path):
    """BraTS bundles take four images at once; a volume is one."""
    root = tiny.bundle(tmp_path / "bundle", tiny.bright(3), CONV)
    inputs = {"image": {"type": "image", "num_channels": 4}}
    (root / "configs" / "metadata.json").write_text(json.dumps({"network_data_format": {"inputs": inputs}}))

    with pytest.raises(ConfigError, match="wants 4 channels at once"):
        bundle_expert(tiny.card(tmp_path, run()))(tiny.ball(SHAPE, SPACING)[0])


def test_a_volume_that_a_bundle_cannot_take_costs_that_volume_only(tmp_path: Path):
    """The step that stopped is named; the next volume goes through."""
    odd = {"_target_": "Lambdad", "keys": "pred", "func": "$lambda x: x.reshape(2, 25, 30, -1)"}
    card = written(tmp_path, postprocessing=steps(odd, ARGMAX))
    expert = bundle_expert(card)
    fine, _ = tiny.ball((25, 30, 20), (2.0, 2.0, 2.0))
    other, _ = tiny.ball((26, 31, 21), (2.0, 2.0, 2.0))

    with pytest.raises(RefusedError, match="stopped in Lambdad") as caught:
        expert(other)
    assert caught.value.code == "expert.failed"
    assert expert(fine)


def test_a_card_that_needs_hounsfield_units_gets_them(tmp_path: Path):
    """An uncalibrated volume is not put through the network."""
    tiny.bundle(tmp_path / "bundle", tiny.bright(3), CONV)
    expert = bundle_expert(tiny.card(tmp_path, run(), needs="HU"))
    volume, _ = tiny.ball(SHAPE, SPACING)

    assert expert(volume) == []
    assert expert(volume.with_(values_unit="HU"))


def test_an_oblique_volume_keeps_its_grid(tmp_path: Path):
    """Turned 20 degrees about the head's axis, the ball is found in its own voxels."""
    volume, mask = tiny.ball(SHAPE, (1.5, 1.5, 1.5))
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(0.35), -np.sin(0.35)], [np.sin(0.35), np.cos(0.35)]]
    oblique = Volume(voxels=volume.voxels, affine=turn @ volume.affine, modality="mri")

    (finding,) = bundle_expert(written(tmp_path))(oblique)

    assert tiny.dice(finding.mask, mask) > 0.93


@pytest.mark.slow
def test_a_bundle_trained_on_one_head_finds_the_brain_of_another(tmp_path: Path):
    """Colin27, never seen: Dice against a mask made by others, and one region from bundle, TorchScript and ONNX.

    120 steps in place of 500, which measured 0.948 as it is and 0.953 turned and shifted.
    """
    package_file("nimare", "resources", "templates")
    if not Path("/usr/share/mricron/templates/ch2bet.nii.gz").is_file():
        pytest.skip("Debian's mricron-data is not installed")
    script = Path(__file__).parents[1] / "benchmarks" / "train_bundle.py"
    command = [sys.executable, str(script), "--out", str(tmp_path), "--steps", "120"]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert not done.returncode, done.stderr
    heads = json.loads((tmp_path / "report.json").read_text())["heads"]
    for name, row in heads.items():
        for kind in ("monai_bundle", "torchscript", "onnx"):
            assert row[kind]["dice"] > 0.88, (name, kind, row)
        assert row["onnx and torchscript"] >= 0.999, (name, row)
        assert row["bundle and torchscript"] >= 0.96, (name, row)
    assert heads["Colin27, moved"]["copied mask"] < heads["Colin27, moved"]["monai_bundle"]["dice"]
    assert _missing_properties(tmp_path / "bundle") == []


def _missing_properties(root: Path) -> list[str]:
    """What MONAI's own list of properties misses in a bundle's config and metadata."""
    from monai.bundle import ConfigParser
    from monai.bundle.properties import InferProperties, MetaProperties

    parser = ConfigParser()
    parser.read_config(root / "configs" / "inference.json")
    parser.read_meta(root / "configs" / "metadata.json")
    wanted = InferProperties | MetaProperties
    return [name for name, one in wanted.items() if one["required"] and one["id"] not in parser]
