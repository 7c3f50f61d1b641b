"""Bare networks as experts: what they are fed, where their masks land, and what is said when they do not fit."""

from __future__ import annotations

import hashlib
import importlib.util
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

import tiny_models as tiny
from medtrinity25m.errors import ConfigError
from medtrinity25m.roi.card import packaged_cards
from medtrinity25m.roi.neural import local_model
from medtrinity25m.roi.neural.network import image_network, volume_network
from medtrinity25m.roi.protocol import Volume
from medtrinity25m.roi.run_options import Geometry
from packages import package_file

pytestmark = tiny.need("torch", "monai", "onnxruntime", "onnx")


@pytest.fixture
def bright_2d(tmp_path: Path) -> str:
    return tiny.torchscript(tiny.bright(2), tmp_path / "bright.ts", 64, 64)


@pytest.fixture
def bright_3d(tmp_path: Path) -> str:
    return tiny.torchscript(tiny.bright(3), tmp_path / "bright3.ts", 16, 16, 16)


def test_a_mask_lands_on_the_pixels_the_network_meant(tmp_path: Path, bright_2d: str):
    """Channel 1 is high where the image is bright: the mask is the disk, the score the mean of its probability."""
    pixels, mask = tiny.disk(64, 64)
    expert = image_network(tiny.card(tmp_path, tiny.network_run(bright_2d, (64, 64))))

    ((finding,),) = expert([tiny.query(pixels)])

    assert finding.label == "1"
    assert np.array_equal(finding.mask, mask)
    assert finding.score == pytest.approx(1 / (1 + np.exp(-tiny.STEEP * (200 / 255 - 0.5))), abs=1e-4)


def test_a_resized_image_gets_its_mask_back_at_its_own_size(tmp_path: Path, bright_2d: str):
    """90 x 130 pixels go through 64 x 64; no shift, only what the smaller grid loses at the edge."""
    pixels, mask = tiny.disk(90, 130)
    expert = image_network(tiny.card(tmp_path, tiny.network_run(bright_2d, (64, 64))))

    ((finding,),) = expert([tiny.query(pixels)])

    found, meant = (np.argwhere(one) for one in (finding.mask, mask))
    assert tiny.dice(finding.mask, mask) > 0.97
    assert np.abs(found.mean(axis=0) - meant.mean(axis=0)).max() < 0.25


def test_windows_cover_an_image_of_any_size(tmp_path: Path, bright_2d: str):
    """At its own resolution the mask is exact; windows leave no seam."""
    pixels, mask = tiny.disk(90, 130)
    expert = image_network(tiny.card(tmp_path, tiny.network_run(bright_2d, (64, 64), fit="windows")))

    ((finding,),) = expert([tiny.query(pixels)])

    assert np.array_equal(finding.mask, mask)


def test_both_formats_of_the_same_weights_agree(tmp_path: Path):
    """Three classes of a random network on a CT slice: the same mask from TorchScript and from ONNX."""
    import pydicom

    values = pydicom.dcmread(package_file("pydicom", "data", "test_files", "CT_small.dcm")).pixel_array
    pixels = np.clip(values / 8, 0, 255).astype(np.uint8)
    network, labels = tiny.random_net(2), {"0": "liver", "1": "brain", "2": "spleen"}
    script = tiny.torchscript(network, tmp_path / "net.ts", 64, 64)
    graph = tiny.onnx(network, tmp_path / "net.onnx", 64, 64)

    first, second = (
        image_network(tiny.card(tmp_path, tiny.network_run(name, (96, 96), kind), labels))([tiny.query(pixels)])[0]
        for name, kind in ((script, "torchscript"), (graph, "onnx"))
    )

    assert len(first) == len(second) > 1
    for one, other in zip(first, second, strict=True):
        assert one.label == other.label
        assert tiny.dice(one.mask, other.mask) >= 0.999
        assert one.score == pytest.approx(other.score, abs=1e-4)
    assert sum(finding.mask.sum() for finding in first) == pixels.size, "every pixel has one class"


def test_background_is_no_finding_unless_the_card_maps_it(tmp_path: Path, bright_2d: str):
    """Channel 0 of a softmax is left out; a card may call it something."""
    pixels, mask = tiny.disk(64, 64)
    run = tiny.network_run(bright_2d, (64, 64))

    ((only,),) = image_network(tiny.card(tmp_path, run))([tiny.query(pixels)])
    ((ground, _),) = image_network(tiny.card(tmp_path, run, {"0": "liver", "1": "brain"}))([tiny.query(pixels)])

    assert only.label == "1"
    assert ground.label == "0"
    assert np.array_equal(ground.mask, ~mask)


def test_independent_labels_may_overlap_and_may_be_absent(tmp_path: Path):
    """Three sigmoid channels: two at 0.5 everywhere, one on the disk only; a dark image has the two alone."""
    name = tiny.torchscript(tiny.bright(2, channels=3), tmp_path / "three.ts", 64, 64)
    labels = {"0": "liver", "2": "brain"}
    card = tiny.card(tmp_path, tiny.network_run(name, (64, 64), activation="sigmoid"), labels)
    pixels, mask = tiny.disk(64, 64)

    seen, dark = image_network(card)([tiny.query(pixels), tiny.query(np.zeros_like(pixels))])

    assert [finding.label for finding in seen] == ["0", "2"]
    assert seen[0].mask.all()
    assert np.array_equal(seen[1].mask, mask)
    assert [finding.label for finding in dark] == ["0"]


def test_color_and_gray_reach_the_channels_they_need(tmp_path: Path):
    """A network for RGB sees a gray image three times; one for gray sees the luma of a color image."""
    import torch

    pixels, mask = tiny.disk(64, 64)
    three = torch.nn.Conv2d(3, 2, 1)
    with torch.no_grad():
        three.weight.zero_()
        three.bias[:] = torch.tensor([0.0, -tiny.STEEP / 2])
        three.weight[1, 2] = tiny.STEEP  # blue alone
    tiny.quietly(lambda: torch.jit.trace(three, torch.zeros(1, 3, 8, 8)).save(str(tmp_path / "rgb.ts")))
    rgb = image_network(tiny.card(tmp_path, tiny.network_run("rgb.ts", (64, 64), channels=3)))
    gray_net = tiny.torchscript(tiny.bright(2), tmp_path / "gray.ts", 8, 8)
    gray = image_network(tiny.card(tmp_path, tiny.network_run(gray_net, (64, 64))))
    blue, red = (np.stack([np.full_like(pixels, 20)] * 3, -1) for _ in range(2))
    blue[..., 2], red[..., 0] = pixels, pixels

    of_blue, of_red, of_gray = rgb([tiny.query(one) for one in (blue, red, pixels)])

    assert np.array_equal(of_blue[0].mask, mask)
    assert not of_red
    assert np.array_equal(of_gray[0].mask, mask)
    assert np.array_equal(gray([tiny.query(np.stack([pixels] * 3, -1))])[0][0].mask, mask)
    assert gray([tiny.query(blue)]) == [[]], "blue is a ninth of the luma"


def test_percentiles_make_the_scanner_s_scale_not_matter(tmp_path: Path, bright_3d: str):
    """MRI has no unit: a volume a thousand times as bright gives the same mask."""
    volume, mask = tiny.ball((40, 40, 40), (1.0, 1.0, 1.0))
    run = tiny.network_run(bright_3d, (16, 16, 16), clip=None, percentiles=(0.5, 99.5))
    expert = volume_network(tiny.card(tmp_path, run))

    (one,), (other,) = expert(volume), expert(volume.with_(voxels=volume.voxels * 1000))

    assert np.array_equal(one.mask, mask)
    assert np.array_equal(other.mask, mask)


def test_the_steps_of_normalization_are_the_card_s(tmp_path: Path):
    """Range, then z-score, then mean and deviation, computed beside it by hand."""
    from medtrinity25m.roi.neural.feeding import feed_image

    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    geometry = Geometry(size=(8, 8), clip=(40, 200), normalize="zscore", mean=(0.5,), std=(2.0,))

    fed = feed_image(tiny.query(pixels), geometry)

    clipped = (np.clip(pixels.astype(np.float64), 40, 200) - 40) / 160
    assert fed is not None
    np.testing.assert_allclose(fed[0], ((clipped - clipped.mean()) / clipped.std() - 0.5) / 2, atol=1e-5)


def test_without_hounsfield_units_a_ct_network_abstains(tmp_path: Path):
    """`values = "HU"` looks at calibrated values only, and takes them as they are."""
    name = tiny.torchscript(tiny.bright(2), tmp_path / "ct.ts", 8, 8)
    expert = image_network(tiny.card(tmp_path, tiny.network_run(name, (64, 64), values="HU", clip=(-1000, 1000))))
    pixels, mask = tiny.disk(64, 64)
    values = np.where(mask, 700, -300).astype(np.float32)

    found = expert([tiny.query(pixels), tiny.query(pixels, values=values, values_unit="HU")])

    assert found[0] == []
    assert np.array_equal(found[1][0].mask, mask)


def test_a_volume_is_resampled_and_its_mask_comes_back(tmp_path: Path, bright_3d: str):
    """1 x 1 x 2.5 mm go through 2 mm windows: the ball is where it was."""
    volume, mask = tiny.ball((61, 50, 33), (1.0, 1.2, 2.5))
    run = tiny.network_run(bright_3d, (16, 16, 16), spacing_mm=(2.0, 2.0, 2.0))

    (finding,) = volume_network(tiny.card(tmp_path, run))(volume)

    found, meant = (np.argwhere(one).mean(axis=0) for one in (finding.mask, mask))
    assert finding.mask.shape == volume.voxels.shape
    assert tiny.dice(finding.mask, mask) > 0.95
    assert np.abs(found - meant).max() < 0.1


@pytest.mark.parametrize(("orientation", "axis", "high"), [("RAS", 0, True), ("LPS", 0, False), ("SPL", 2, True)])
def test_a_network_sees_volumes_as_they_lay_when_it_learned(tmp_path: Path, orientation: str, axis: int, high: bool):
    """A network that always answers "the upper half of my first axis" shows which end of the patient that is."""
    import torch

    class Half(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            ramp = torch.linspace(-1, 1, 8)[None, None, :, None, None] * torch.ones_like(x)
            return torch.cat([-ramp, ramp], 1)

    tiny.quietly(lambda: torch.jit.trace(Half(), torch.zeros(1, 1, 8, 8, 8)).save(str(tmp_path / "half.ts")))
    run = tiny.network_run("half.ts", (8, 8, 8), fit="resize", orientation=orientation)
    volume = Volume(voxels=np.ones((10, 12, 14), np.float32), affine=np.diag([1.0, 2, 3, 1]), modality="ct")

    (finding,) = volume_network(tiny.card(tmp_path, run))(volume)

    length = volume.voxels.shape[axis]
    upper = np.arange(length) >= length // 2
    along = finding.mask.all(axis=tuple(other for other in range(3) if other != axis))
    assert np.array_equal(along, upper if high else ~upper)


def test_an_answer_depends_on_nothing_but_the_image(tmp_path: Path):
    """Twice, in another company, and from a copy that traveled to another process: the same mask and score."""
    name = tiny.torchscript(tiny.random_net(2), tmp_path / "net.ts", 64, 64)
    expert = image_network(tiny.card(tmp_path, tiny.network_run(name, (64, 64)), {"1": "brain", "2": "liver"}))
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (64, 64), np.uint8) for _ in range(3)]

    alone = [expert([tiny.query(image)])[0] for image in images]
    together = pickle.loads(pickle.dumps(expert))([tiny.query(image) for image in images])

    for one, other in zip(alone, together, strict=True):
        assert [(f.label, f.score, f.mask.tobytes()) for f in one] == [
            (f.label, f.score, f.mask.tobytes()) for f in other
        ]


def test_a_model_is_loaded_once_a_process(tmp_path: Path, bright_2d: str, monkeypatch: pytest.MonkeyPatch):
    """Two experts of one card share the network."""
    from medtrinity25m.roi.neural import network

    loads: list[str] = []
    load = network._load
    monkeypatch.setattr(network, "_load", lambda card: loads.append(card.id) or load(card))
    card = tiny.card(tmp_path, tiny.network_run(bright_2d, (64, 64)), title="Loaded once")
    pixels, _ = tiny.disk(64, 64)

    for _ in range(2):
        pickle.loads(pickle.dumps(image_network(card)))([tiny.query(pixels)])

    assert loads == ["tiny"]


def test_a_file_that_is_not_the_card_s_is_not_opened(tmp_path: Path, bright_2d: str):
    """The hash is compared before anything is loaded."""
    digest = hashlib.sha256((tmp_path / bright_2d).read_bytes()).hexdigest()
    run = tiny.network_run(bright_2d, (64, 64))

    image_network(tiny.card(tmp_path, run, sha256={bright_2d: digest.upper()}))
    with pytest.raises(ConfigError, match="is not the file the card means"):
        image_network(tiny.card(tmp_path, run, sha256={bright_2d: "0" * 64}))


@pytest.mark.parametrize(
    ("change", "labels", "message"),
    [
        ({"model": "absent.ts"}, {"1": "brain"}, "there is no .*absent.ts"),
        ({}, {"tumor": "brain"}, "keys of .labels. are numbers"),
        ({}, {"0": "background"}, "maps nothing"),
        ({}, {"2": "brain"}, "maps channel 2, but the network has 2"),
        ({"size": (16, 16, 16)}, {"1": "brain"}, "is asked about images"),
        ({"channels": 3}, {"1": "brain"}, "refuses an input"),
        ({"activated": True}, {"1": "brain"}, "no scores"),
        ({"kind": "onnx"}, {"1": "brain"}, "is no ONNX file"),
    ],
)
def test_a_card_that_does_not_fit_is_told_why(
    tmp_path: Path, bright_2d: str, change: dict[str, Any], labels: dict[str, str], message: str
):
    """One sentence that names the expert, what is wrong and where."""
    pixels, _ = tiny.disk(64, 64)
    run = tiny.network_run(**({"model": bright_2d, "size": (64, 64)} | change))

    with pytest.raises(ConfigError, match=message) as caught:
        image_network(tiny.card(tmp_path, run, labels))([tiny.query(pixels)])
    assert "expert tiny" in str(caught.value)


def test_networks_of_another_shape_are_refused(tmp_path: Path):
    """One softmax channel, an output half as large, and a file that is no network."""
    import torch

    pixels, _ = tiny.disk(64, 64)
    single = tiny.torchscript(tiny.bright(2, channels=1), tmp_path / "single.ts", 64, 64)
    half = tiny.torchscript(torch.nn.Conv2d(1, 2, 2, stride=2), tmp_path / "half.ts", 64, 64)
    (tmp_path / "text.ts").write_text("no network")
    cases = {single: "one channel excludes no other", half: r"it must give \(N, K", "text.ts": "no TorchScript file"}

    for name, message in cases.items():
        labels = {"0": "brain"} if name == single else None
        with pytest.raises(ConfigError, match=message):
            image_network(tiny.card(tmp_path, tiny.network_run(name, (64, 64)), labels))([tiny.query(pixels)])


def test_an_onnx_graph_exported_for_a_fixed_batch_says_so(tmp_path: Path):
    """One image at a time is fine, four are not."""
    import torch

    for batch in (1, 4):
        given = torch.zeros(batch, 1, 64, 64)
        tiny.quietly(torch.onnx.export, tiny.bright(2), (given,), str(tmp_path / f"{batch}.onnx"), dynamo=False)
    pixels, mask = tiny.disk(64, 64)

    one, four = (image_network(tiny.card(tmp_path, tiny.network_run(f"{n}.onnx", (64, 64), "onnx"))) for n in (1, 4))

    assert [np.array_equal(found[0].mask, mask) for found in one([tiny.query(pixels)] * 3)] == [True] * 3
    with pytest.raises(ConfigError, match="its batch free or 1"):
        four([tiny.query(pixels)])


def test_a_missing_package_names_the_extra(tmp_path: Path, bright_2d: str, monkeypatch: pytest.MonkeyPatch):
    """Known when the build starts, not at the first image."""
    monkeypatch.setattr(local_model.importlib.util, "find_spec", lambda name: None)

    with pytest.raises(ConfigError, match=r"needs torch, .*pip install 'medtrinity25m\[models\]'"):
        image_network(tiny.card(tmp_path, tiny.network_run(bright_2d, (64, 64))))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"clip": (0, 1), "percentiles": (1, 99)}, "not both"),
        ({"clip": (5, 5)}, "low < high"),
        ({"percentiles": (1, 101)}, "between 0 and 100"),
        ({"mean": (0.1, 0.2)}, "one number for each of the 1 channels"),
        ({"spacing_mm": (1, 1, 1)}, "they are about volumes"),
        ({"size": (8, 8, 8), "orientation": "RAX"}, "name each axis once"),
        ({"size": (8, 8, 8), "orientation": "RLS"}, "name each axis once"),
        ({"size": (0, 8)}, "greater than or equal to 1"),
    ],
)
def test_a_geometry_that_contradicts_itself_is_refused(fields: dict[str, Any], message: str):
    """When the card is read."""
    with pytest.raises(ValidationError, match=message):
        Geometry(**({"size": (8, 8)} | fields))


@pytest.mark.slow
def test_a_published_network_finds_the_brain_in_two_real_heads(tmp_path: Path):
    """The box model of deepbet 1.0.2 (MIT) has the accuracy its card says, on masks that others made."""
    import nibabel as nib

    if importlib.util.find_spec("deepbet") is None:
        pytest.skip("deepbet is not installed: pip install --no-deps deepbet==1.0.2")
    templates = package_file("nimare", "resources", "templates")
    mricron = Path("/usr/share/mricron/templates")
    stem = templates / "tpl-MNI152NLin6Asym_res-01"
    heads = {"MNI152": (f"{stem}_T1w.nii.gz", f"{stem}_desc-brain_mask.nii.gz")}
    if mricron.is_dir():
        heads["Colin27"] = (str(mricron / "ch2.nii.gz"), str(mricron / "ch2bet.nii.gz"))
    card = packaged_cards()["deepbet_brain"]
    measured = {figure.on.partition(" ")[0]: figure.value for figure in card.accuracy}
    expert = volume_network(card)

    for name, (image, mask) in heads.items():
        head, brain = (nib.as_closest_canonical(nib.load(path)) for path in (image, mask))
        voxels = np.asarray(head.dataobj, np.float32)
        (finding,) = expert(Volume(voxels=voxels, affine=head.affine, modality="mri"))
        overlap = tiny.dice(finding.mask, np.asarray(brain.dataobj) > 0)
        assert overlap == pytest.approx(measured[name], abs=0.002)
