"""Cellpose through its own package: every cell is kept, weights are data, nothing is downloaded unasked.

The network of Cellpose 4 has 300 million weights. Here its image encoder is a small one of the same class, in the
place from which Cellpose takes it; all the rest is Cellpose as installed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import pickle
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tiny_models as tiny
from medtrinity25m.errors import ConfigError
from medtrinity25m.roi.card import Card
from medtrinity25m.roi.neural import cellpose as ours
from medtrinity25m.roi.neural.cellpose import cellpose_expert

HAS = importlib.util.find_spec("cellpose") is not None
needs_cellpose = pytest.mark.skipif(not HAS, reason="cellpose is not installed; it comes with the extra `cellpose`")
needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
WIDTH = 64


def card(tmp_path: Path, model: str = "cells.pth", labels: dict[str, Any] | None = None, **more: Any) -> Card:
    options = {key: more.pop(key) for key in ("diameter_px",) if key in more}
    return tiny.card(tmp_path, {"kind": "cellpose", "model": model, **options}, labels or {}, **more)


def disks(size: int, number: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A dark image with bright disks that do not touch, and their instances."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    instances = np.zeros((size, size), np.int32)
    found = 0
    while found < number:
        radius = rng.uniform(9, 14)
        middle = rng.uniform(radius + 2, size - radius - 2, 2)
        distance = np.hypot(y - middle[0], x - middle[1])
        if not instances[distance < radius + 3].any():
            found += 1
            instances[distance < radius] = found
    return np.where(instances > 0, 200, 20).astype(np.uint8), instances


def overlaps(found: np.ndarray, drawn: np.ndarray) -> list[float]:
    """IoU of each drawn instance with the found one that covers it best."""
    best = []
    for value in range(1, drawn.max() + 1):
        mask = drawn == value
        others = [found == other for other in np.unique(found[mask]) if other]
        best.append(max((float((mask & other).sum() / (mask | other).sum()) for other in others), default=0.0))
    return best


@pytest.fixture(scope="module")
def small_encoder() -> Iterator[None]:
    """SAM's encoder with one block of 64 channels instead of 24 of 1024."""
    import segment_anything
    import torch
    from segment_anything.modeling import ImageEncoderViT

    def build(_: object) -> Any:
        norm = partial(torch.nn.LayerNorm, eps=1e-6)
        sizes = {"depth": 1, "embed_dim": WIDTH, "out_chans": WIDTH, "num_heads": 2, "mlp_ratio": 2}
        return SimpleNamespace(image_encoder=ImageEncoderViT(norm_layer=norm, use_rel_pos=True, **sizes))

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(segment_anything.sam_model_registry, "vit_l", build)
        yield


@pytest.fixture(scope="module")
def trained(small_encoder: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with weights after 300 steps on Cellpose's own flows of drawn disks, 40 seconds."""
    import torch
    from cellpose.dynamics import labels_to_flows
    from cellpose.vit import CPSAM

    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    inputs, cells, flows = [], [], []
    for seed in range(8):
        pixels, instances = disks(256, 25, seed)
        inputs.append((pixels[None] - 20.0) / 180)
        cells.append(instances > 0)
        flows.append(labels_to_flows([instances], device=torch.device("cpu"))[0][-2:] * 5)
    stacks = [torch.from_numpy(np.stack(arrays)).float() for arrays in (inputs, cells, flows)]
    network = CPSAM(rdrop=0)
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=300)
    for _ in range(300):
        at, shift = int(rng.integers(8)), tuple(int(n) for n in rng.integers(0, 64, 2))
        image, cell, flow = (torch.roll(stack[at : at + 1], shift, (-2, -1)) for stack in stacks)
        output = network(image)[0]
        loss = torch.nn.functional.mse_loss(output[:, :2], flow) / 2
        loss = loss + torch.nn.functional.binary_cross_entropy_with_logits(output[:, 2], cell)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    path = tmp_path_factory.mktemp("cellpose") / "cells.pth"
    network.save_model(str(path))
    return path


@pytest.fixture
def untrained(small_encoder: None, tmp_path: Path) -> dict[str, Any]:
    """Random weights of the small network, as Cellpose saves them."""
    import torch
    from cellpose.vit import CPSAM

    torch.manual_seed(1)
    weights: dict[str, Any] = CPSAM().state_dict()
    return weights


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cellpose seems to be there, so that what comes before its import can be looked at without it."""
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: True if name == "cellpose" else real(name))
    monkeypatch.setattr(ours, "version", lambda name: "4.2.1.1")


@pytest.fixture
def empty_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Neither Cellpose nor the Hub's client has a model yet; returns Cellpose's own folder."""
    monkeypatch.setenv("CELLPOSE_LOCAL_MODELS_PATH", str(tmp_path / "models"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


@pytest.mark.slow
@needs_cellpose
def test_every_cell_of_an_image_is_kept(trained: Path):
    """Ten disks are ten instances where they were drawn, and the score is the mean cell probability inside."""
    from cellpose.models import CellposeModel

    pixels, drawn = disks(200, 10, seed=100)

    ((finding,),) = cellpose_expert(card(trained.parent))([tiny.query(pixels)])

    assert finding.instances is not None
    assert finding.instances.dtype == np.int32
    assert finding.instances.shape == pixels.shape
    assert sorted(np.unique(finding.instances)) == list(range(11))
    assert min(overlaps(finding.instances, drawn)) > 0.5
    assert finding.label == "cell"
    _, flows, _ = CellposeModel(pretrained_model=str(trained), use_bfloat16=False).eval(pixels)
    assert finding.score == pytest.approx((1 / (1 + np.exp(-flows[2])))[finding.instances > 0].mean(), abs=1e-4)
    assert 0.5 < finding.score <= 1


@pytest.mark.slow
@needs_cellpose
def test_images_do_not_depend_on_each_other(trained: Path):
    """Images of other sizes, in gray and color, with cells and without: together as alone, and again the same."""
    gray, _ = disks(200, 8, seed=101)
    color = np.stack([gray, np.zeros_like(gray), np.zeros_like(gray)], axis=-1)  # the network reads gray as red
    large, _ = disks(300, 20, seed=102)
    queries = [tiny.query(pixels) for pixels in (gray, np.zeros((64, 48), np.uint8), color, large)]
    expert = pickle.loads(pickle.dumps(cellpose_expert(card(trained.parent))))

    together = expert(queries)

    assert [len(findings) for findings in together] == [1, 0, 1, 1]
    for query, findings in zip(queries, together, strict=True):
        (alone,) = expert([query])
        assert [one.score for one in alone] == [one.score for one in findings]
        assert all(np.array_equal(a.instances, b.instances) for a, b in zip(alone, findings, strict=True))
    assert np.array_equal(together[0][0].instances, together[2][0].instances)


@pytest.mark.slow
@needs_cellpose
def test_the_card_says_how_large_cells_are(trained: Path):
    """Disks of twice the size are found at half of it; an image of which nothing would be left has no cells."""
    pixels, drawn = (array.repeat(2, axis=0).repeat(2, axis=1) for array in disks(200, 8, seed=103))
    expert = cellpose_expert(card(trained.parent, diameter_px=60, labels={"round": "cell"}))

    ((finding,), tiny_one) = expert([tiny.query(pixels), tiny.query(pixels[:1])])

    assert finding.instances is not None
    assert finding.instances.shape == (400, 400)
    assert finding.instances.max() == 8
    assert min(overlaps(finding.instances, drawn)) > 0.5
    assert finding.label == "round"
    assert tiny_one == []


@needs_cellpose
def test_images_of_any_shape_are_taken(untrained: dict[str, Any], tmp_path: Path):
    """A pixel, a line, a color image narrower than it has channels; findings have the image's own shape."""
    import torch

    untrained["out.bias"][-64:] = 5  # cells everywhere
    torch.save(untrained, tmp_path / "cells.pth")
    shapes = [(1, 1), (1, 40), (40, 1), (2, 60, 3), (60, 2, 3), (70, 90, 3), (70, 90)]
    rng = np.random.default_rng(0)

    found = cellpose_expert(card(tmp_path))([
        tiny.query(rng.integers(0, 255, shape, dtype=np.uint8)) for shape in shapes
    ])  # fmt: skip

    for shape, findings in zip(shapes, found, strict=True):
        assert all(one.instances is not None and one.instances.shape == shape[:2] for one in findings)


@needs_cellpose
def test_weights_that_do_not_fill_the_network_are_refused(untrained: dict[str, Any], tmp_path: Path):
    """Cellpose would leave what is missing at random, and says nothing."""
    import torch

    for name, change, message in (
        ("less", {"out.bias": None}, "lacks 1 of the network's .* weights, such as out.bias"),
        ("other", {"out.bias": torch.zeros(3)}, "no model of Cellpose 4: Error.* in loading"),
    ):
        weights = {key: value for key, value in (untrained | change).items() if value is not None}
        torch.save(weights, tmp_path / f"{name}.pth")
        with pytest.raises(ConfigError, match=message):
            cellpose_expert(card(tmp_path, f"{name}.pth"))([tiny.query(np.zeros((8, 8), np.uint8))])


@needs_cellpose
def test_importing_cellpose_changes_no_arithmetic_of_other_networks():
    """It switches TF32 on for the whole process; another process shows it, because this one has imported it."""
    code = (
        "import torch; from medtrinity25m.roi.neural import cellpose; cellpose._model_class();"
        "print(torch.backends.cuda.matmul.allow_tf32)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["False"]


@needs_torch
@pytest.mark.usefixtures("installed")
def test_a_file_that_would_run_code_is_refused(tmp_path: Path):
    """Before Cellpose sees it."""
    import torch

    flag = tmp_path / "ran"

    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (flag,))

    torch.save({"W2": Trap()}, tmp_path / "cells.pth")
    with pytest.raises(ConfigError, match="more than tensors"):
        cellpose_expert(card(tmp_path))([tiny.query(np.zeros((8, 8), np.uint8))])
    assert not flag.exists()


@needs_torch
@pytest.mark.usefixtures("installed")
def test_files_of_something_else_are_told_apart(tmp_path: Path):
    """A list, weights of version 3, text, and a network that needs a package more."""
    import torch

    one = torch.zeros(1)
    for name, content, message in (
        ("list", [one], "no state_dict"),
        ("cyto3", {"downsample.weight": one}, "cannot read those of version 3"),
        ("dino", {"W2": one, "encoder.cls_token": one}, "with dinov3, not installed"),
    ):
        torch.save(content, tmp_path / name)
        with pytest.raises(ConfigError, match=message):
            cellpose_expert(card(tmp_path, name))([tiny.query(np.zeros((8, 8), np.uint8))])
    (tmp_path / "text").write_text("weights")
    with pytest.raises(ConfigError, match="or is damaged"):
        cellpose_expert(card(tmp_path, "text"))([tiny.query(np.zeros((8, 8), np.uint8))])


def test_the_package_and_its_version_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Version 3 has another network and another call; a version to come may have."""
    (tmp_path / "cells.pth").touch()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs cellpose and torch, .*pip install 'medtrinity25m\[cellpose\]'"):
        cellpose_expert(card(tmp_path))

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: True)
    for number in ("3.1.1.1", "4.1.1", "5.0", "unknown"):
        monkeypatch.setattr(ours, "version", lambda name, number=number: number)
        with pytest.raises(ConfigError, match=f"cellpose {number} is installed, .*'cellpose>=4.2,<5'"):
            cellpose_expert(card(tmp_path))
    monkeypatch.setattr(ours, "version", lambda name: "4.2")
    cellpose_expert(card(tmp_path))


@pytest.mark.usefixtures("installed")
def test_what_is_wrong_with_a_card_is_named_before_a_build_starts(tmp_path: Path):
    """A file that is missing or another one, labels that fit no cells, volumes."""
    (tmp_path / "cells.pth").touch()
    for change, message in (
        ({"model": "cpsm"}, "there is no .*cpsm"),
        ({"sha256": {"cells.pth": "0" * 64}}, "not the file the card means"),
        ({"labels": {"cell": "cell", "nucleus": "cell_nucleus"}}, "one kind of thing, but .labels. has cell, nucleus"),
        ({"labels": {"cell": "background"}}, "leaves out all"),
        ({"dimensions": 3}, "asked about images"),
    ):
        with pytest.raises(ConfigError, match=message):
            cellpose_expert(card(tmp_path, **change))


@pytest.mark.parametrize("diameter", [0, 0.5, -3, float("inf"), float("nan")])
def test_a_diameter_is_a_pixel_or_more(tmp_path: Path, diameter: float):
    """An image would be blown up without bound."""
    with pytest.raises(ConfigError, match="diameter_px"):
        card(tmp_path, diameter_px=diameter)


@pytest.mark.usefixtures("installed")
def test_a_model_by_name_is_not_downloaded_offline(tmp_path: Path, empty_caches: Path):
    """It says so before a build starts, and takes a file where Cellpose keeps its own, if it is the right one."""
    with pytest.raises(ConfigError, match="cpsam_v2 is not on this machine, and HF_HUB_OFFLINE is set"):
        cellpose_expert(card(tmp_path, "cpsam_v2"))

    (empty_caches / "cpsam_v2").write_bytes(b"weights")
    right = hashlib.sha256(b"weights").hexdigest()
    nothing = [tiny.query(np.zeros((8, 8), np.uint8))]
    with pytest.raises(ConfigError, match="models/cpsam_v2 is not the file the card means"):
        cellpose_expert(card(tmp_path, "cpsam_v2", sha256={"cpsam_v2": "0" * 64}))(nothing)
    assert ours._weights(card(tmp_path, "cpsam_v2", sha256={"cpsam_v2": right})) == empty_caches / "cpsam_v2"


@pytest.mark.usefixtures("installed")
def test_a_model_by_name_comes_from_the_hub_and_is_checked(
    tmp_path: Path, empty_caches: Path, monkeypatch: pytest.MonkeyPatch
):
    """By the Hub's client, which checks certificates; a server that fails is a sentence."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    asked: list[tuple[str, str]] = []

    def download(repository: str, name: str) -> str:
        asked.append((repository, name))
        if len(asked) > 1:
            raise OSError("no route to host")
        place = tmp_path / "hub" / name
        place.parent.mkdir()
        place.write_bytes(b"weights")
        return str(place)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    nothing = [tiny.query(np.zeros((8, 8), np.uint8))]
    expert = cellpose_expert(card(tmp_path, "cpsam_v2", sha256={"cpsam_v2": "0" * 64}))
    assert asked == []

    with pytest.raises(ConfigError, match="hub/cpsam_v2 is not the file the card means"):
        expert(nothing)
    with pytest.raises(ConfigError, match="cpsam_v2 cannot be downloaded: no route to host; get it from https://"):
        expert(nothing)
    assert asked == [("mouseland/cellpose-sam", "cpsam_v2")] * 2


@pytest.mark.usefixtures("installed", "empty_caches")
def test_a_model_that_needs_another_package_says_so_first(tmp_path: Path):
    """Before its weights are downloaded."""
    with pytest.raises(ConfigError, match="with dinov3, not installed here"):
        cellpose_expert(card(tmp_path, "cpdino"))
