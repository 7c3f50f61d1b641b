"""Models that outline what a point or a box shows, and name nothing: SAM and its family.

With boxes, each box gives the outline the model thinks best. Without, a grid of points is asked and the outlines are
thinned: those of a low predicted IoU go, and of two that overlap the better one stays.

**Why** the thinning is done here: the one of `transformers` needs torchvision.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from medtrinity25m.roi.protocol import Finding
from medtrinity25m.triplet import XYXY

GRID = 16  # points a side: SAM's own default is 32; 16 finds what is larger than a sixteenth of the image
CHUNK = 32  # prompts decoded at a time: their masks at full size are what takes the memory
SAME_IOU = 0.7  # SAM's own threshold for two outlines of one thing


class Model(Protocol):
    """A loaded SAM with its processor."""

    @property
    def model(self) -> Any:
        """The network."""

    @property
    def processor(self) -> Any:
        """What prepares its input."""

    @property
    def device(self) -> str:
        """Where it runs."""


def from_boxes(
    loaded: Model, images: list[NDArray[np.uint8]], boxes: Sequence[tuple[XYXY, ...]], label: str
) -> list[list[Finding]]:
    """Return one region per box of each image, in the order of its boxes; boxes without an outline are left out."""
    found: list[list[Finding]] = [[] for _ in images]
    asked = [at for at, own in enumerate(boxes) if own]
    for at, prompter in zip(asked, _prompters(loaded, [images[at] for at in asked]), strict=True):
        prompts = [list(map(float, box)) for box in boxes[at]]
        for start in range(0, len(prompts), CHUNK):
            found[at] += prompter.outlines(label, input_boxes=[prompts[start : start + CHUNK]])
    return found


def from_points(loaded: Model, images: list[NDArray[np.uint8]], label: str, threshold: float) -> list[list[Finding]]:
    """Return the distinct regions around a grid of points on each image, best first."""
    found = []
    for image, prompter in zip(images, _prompters(loaded, images), strict=True):
        height, width = image.shape[:2]
        steps = (np.arange(GRID) + 0.5) / GRID
        points = [[[float(x * width), float(y * height)]] for y in steps for x in steps]
        outlines: list[Finding] = []
        for start in range(0, len(points), CHUNK):
            fresh = prompter.outlines(label, input_points=[points[start : start + CHUNK]])
            outlines = _distinct([*outlines, *(one for one in fresh if one.score >= threshold)])
        found.append(outlines)
    return found


def _distinct(found: list[Finding]) -> list[Finding]:
    """Return regions best first, without those that overlap a better one."""
    kept: list[Finding] = []
    for one in sorted(found, key=lambda finding: -finding.score):
        if all(_iou(one, other) < SAME_IOU for other in kept):
            kept.append(one)
    return kept


def _iou(one: Finding, other: Finding) -> float:
    if one.mask is None or other.mask is None:
        return 0.0
    both = int(np.count_nonzero(one.mask & other.mask))
    return both / max(1, int(np.count_nonzero(one.mask | other.mask)))


def _prompters(loaded: Model, images: list[NDArray[np.uint8]]) -> Iterator[_Prompter]:
    """Encode a batch of images at once, and yield what answers prompts about each."""
    import torch

    if not images:
        return
    inputs = loaded.processor(images=images, return_tensors="pt")
    with torch.inference_mode(), torch.autocast(loaded.device, torch.bfloat16, enabled=loaded.device == "cuda"):
        encoded = loaded.model.get_image_embeddings(inputs["pixel_values"].to(loaded.device))
    for at, image in enumerate(images):
        own = [level[at : at + 1] for level in encoded] if isinstance(encoded, list) else encoded[at : at + 1]
        yield _Prompter(loaded, image, own)


class _Prompter:
    """One encoded image that can be asked about points and boxes."""

    def __init__(self, loaded: Model, image: NDArray[np.uint8], encoded: Any) -> None:
        self.loaded, self.image, self.encoded = loaded, image, encoded

    def outlines(self, label: str, **prompts: Any) -> list[Finding]:
        """Return the best outline of each prompt, where it has any pixel; prompts are in pixels of the image."""
        import torch

        loaded = self.loaded
        scaled, inputs = self._scaled(prompts)
        with torch.inference_mode(), torch.autocast(loaded.device, torch.bfloat16, enabled=loaded.device == "cuda"):
            output = loaded.model(image_embeddings=self.encoded, **scaled, multimask_output=True)
        scores = output.iou_scores[0].float().cpu()
        best = scores.argmax(dim=-1)
        chosen = output.pred_masks[0].float().cpu()[torch.arange(len(best)), best][None, :, None]
        masks = self._full_size(chosen, inputs)
        found = []
        for mask, score in zip(masks, scores.max(dim=-1).values.tolist(), strict=True):
            if mask.any():
                found.append(Finding(label=label, mask=mask, score=min(1.0, max(0.0, score))))
        return found

    def _scaled(self, prompts: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return prompts in pixels of the model's input, and the sizes of the way there."""
        import torch

        inputs = self.loaded.processor(images=[self.image], return_tensors="pt")
        height, width = self.image.shape[:2]
        rows, columns = (
            inputs["reshaped_input_sizes"][0].tolist()
            if "reshaped_input_sizes" in inputs
            else inputs["pixel_values"].shape[-2:]
        )
        scale = torch.tensor([columns / width, rows / height])
        scaled = {}
        for name, values in prompts.items():
            tensor = torch.tensor(values, dtype=torch.float32)
            scaled[name] = (tensor * scale.repeat(tensor.shape[-1] // 2)).to(self.loaded.device)
        return scaled, inputs

    def _full_size(self, logits: Any, inputs: dict[str, Any]) -> NDArray[np.bool_]:
        """Return (prompts, H, W) masks at the image's own size."""
        after = self.loaded.processor.post_process_masks
        sizes = [list(self.image.shape[:2])]
        known = inspect.signature(after).parameters
        more = {"reshaped_input_sizes": inputs["reshaped_input_sizes"]} if "reshaped_input_sizes" in known else {}
        masks: NDArray[np.bool_] = after(logits, original_sizes=sizes, **more)[0][:, 0].numpy().astype(np.bool_)
        return masks
