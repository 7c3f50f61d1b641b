"""How an expert is run: the `[run]` table of its card, one model a backend.

Paths are relative to the card's own folder; a `model` may also be the id of a Hub repository. Nothing here imports
a framework: `roi.backends` does, when the expert is first asked.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from medtrinity25m.triplet import Frozen

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


def _each_axis_once(codes: str) -> str:
    if sorted(next((pair for pair in ("LR", "PA", "IS") if code in pair), "") for code in codes) != ["IS", "LR", "PA"]:
        raise ValueError(f"{codes!r} must name each axis once by where it points to: L or R, P or A, I or S")
    return codes


Orientation = Annotated[str, AfterValidator(_each_axis_once)]
"""Where the axes of an array point to, as in NIfTI tools: `RAS` is (right, front, head), DICOM's patient is `LPS`."""


class Classical(Frozen):
    """Code of this package, by name: see `roi.classical.METHODS`."""

    kind: Literal["classical"]
    method: str


class Geometry(Frozen):
    """What a bare network expects of its input; the steps are taken in the order of the fields.

    Args:
        values: what is fed: `pixels` are the image's 0 to 255, or a volume's voxels as they are; `HU` are calibrated.
        channels: 1 for gray, 3 for RGB; a gray image is repeated, a color image is turned gray.
        orientation: how the axes of the volumes lie that the network was trained on; spacing and size count along
            these. `SPL` is the (z, y, x) of arrays that SimpleITK makes of DICOM.
        spacing_mm: volumes are resampled to this first; None leaves them.
        size: (height, width) for images, three numbers for volumes.
        fit: `resize` stretches the image or volume to `size`, `windows` covers it with overlapping windows of
            `size`. Images are resized unless told otherwise, volumes are covered.
        overlap: of neighboring windows, as a share of `size`.
        clip: values are cut to this range, and the range becomes 0 to 1.
        percentiles: the same for the range between two percentiles of the image or volume (MRI has no unit).
        normalize: `zscore` subtracts the mean of the image or volume and divides by its deviation.
        mean: subtracted, one a channel.
        std: divided by, one a channel.
    """

    values: Literal["pixels", "HU"] = "pixels"
    channels: Literal[1, 3] = 1
    orientation: Orientation = "RAS"
    spacing_mm: tuple[Positive, Positive, Positive] | None = None
    size: tuple[Count, Count] | tuple[Count, Count, Count]
    fit: Literal["resize", "windows"] | None = None
    overlap: float = Field(default=0.25, ge=0, lt=1)
    clip: tuple[float, float] | None = None
    percentiles: tuple[float, float] | None = None
    normalize: Literal["none", "zscore"] = "none"
    mean: tuple[float, ...] = ()
    std: tuple[Positive, ...] = ()

    @property
    def windowed(self) -> bool:
        """Whether windows of `size` cover the input."""
        return self.fit == "windows" or (self.fit is None and len(self.size) == 3)

    @model_validator(mode="after")
    def _fits_together(self) -> Geometry:
        if self.clip is not None and self.percentiles is not None:
            raise ValueError("give clip or percentiles, not both")
        for low, high in (self.clip or (0, 1), self.percentiles or (0, 100)):
            if not low < high:
                raise ValueError(f"clip and percentiles are (low, high) with low < high, not ({low:g}, {high:g})")
        if self.percentiles is not None and not 0 <= self.percentiles[0] < self.percentiles[1] <= 100:
            raise ValueError("percentiles lie between 0 and 100")
        if any(len(numbers) not in (0, self.channels) for numbers in (self.mean, self.std)):
            raise ValueError(f"mean and std have one number for each of the {self.channels} channels")
        if len(self.size) == 2 and (self.spacing_mm is not None or self.orientation != "RAS"):
            raise ValueError("spacing_mm and orientation go with a size of three numbers: they are about volumes")
        return self


class Network(Frozen):
    """A bare segmentation network: TorchScript or ONNX, (N, C, *size) float32 in, (N, K, *size) out.

    `activation` says what the K channels are: `softmax`, classes that exclude each other, of which 0 is background
    unless `[labels]` maps it; `sigmoid`, labels that may overlap, found where the score is 0.5 or more. `activated`
    says that the network ends with it and gives scores, not logits. Keys of `[labels]` are channel numbers.
    """

    kind: Literal["torchscript", "onnx"]
    model: str
    geometry: Geometry
    activation: Literal["softmax", "sigmoid"] = "softmax"
    activated: bool = False


class MonaiBundle(Frozen):
    """A MONAI bundle folder: preprocessing, inferer and post-processing as its inference config says.

    A bundle's config is a program: MONAI evaluates its `$` expressions. `trusted = true` says that you know its author.
    Keys of `[labels]` are the values of the bundle's output, or its channels where it has more than one.
    """

    kind: Literal["monai_bundle"]
    model: str
    config: str = "configs/inference.json"
    weights: str = "models/model.pt"
    trusted: bool = False


class Transformers(Frozen):
    """A model of `transformers`, by local path or Hub id.

    `prompt` gives the words of a zero-shot detector: from the image's own metadata, or those listed in `[labels]`.
    `box_expert` names the card of the expert whose boxes prompt a SAM-family model.
    """

    kind: Literal["transformers"]
    model: str
    revision: str | None = None
    task: Literal[
        "semantic_segmentation", "instance_segmentation", "detection", "zero_shot_detection", "mask_generation",
        "box_prompt",
    ]  # fmt: skip
    prompt: Literal["metadata", "labels"] = "metadata"
    box_expert: str | None = None
    trust_remote_code: Literal[False] = False

    @model_validator(mode="after")
    def _boxes_come_from_somewhere(self) -> Transformers:
        if (self.task == "box_prompt") != (self.box_expert is not None):
            raise ValueError('box_expert goes with task = "box_prompt" and is needed there')
        return self


class TotalSegmentator(Frozen):
    """TotalSegmentator, by its own package (extra `totalsegmentator`); keys of `[labels]` are its structure names."""

    kind: Literal["totalsegmentator"]
    task: str = "total"
    fast: bool = False


class Cellpose(Frozen):
    """Cellpose 4, by its own package (extra `cellpose`); every cell is an instance of the label `cell`.

    `[labels]` may give that label another key, but has one line at most. `model` is a file with weights, or a name that
    Cellpose knows, such as `cpsam_v2`; a named model is downloaded once, and `[sha256]` pins it under its name.
    `diameter_px` is the diameter of the cells, rescaled to the 30 pixels of training; None leaves the image as it is.
    """

    kind: Literal["cellpose"]
    model: str
    diameter_px: float | None = Field(default=None, ge=1, allow_inf_nan=False)


class NnUNet(Frozen):
    """A trained nnU-Net v2 model folder, by its own package (extra `nnunet`); keys of `[labels]` are label values.

    The folder holds `dataset.json`, `plans.json` and `fold_<n>/<checkpoint>`; more folds are an ensemble. `mirroring`
    averages over mirrored copies of the volume as nnU-Net does, eight times the work. `orientation` is that of the
    files it was trained on: nnU-Net takes them as they lie, and a network that knows left kidneys from right ones swaps
    them in a mirrored volume. Folders whose plans read with `NibabelIOWithReorient` have `RAS`.
    """

    kind: Literal["nnunet"]
    model: str
    orientation: Orientation
    folds: tuple[int | Literal["all"], ...] = Field(default=(0,), min_length=1)
    checkpoint: str = "checkpoint_final.pth"
    mirroring: bool = True


Run = Classical | Network | MonaiBundle | Transformers | TotalSegmentator | Cellpose | NnUNet
RUNS = (Classical, Network, MonaiBundle, Transformers, TotalSegmentator, Cellpose, NnUNet)
