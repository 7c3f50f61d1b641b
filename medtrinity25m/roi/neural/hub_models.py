"""Experts that are models of `transformers`: segmentation, detection, detection by words, and the SAM family.

Images are prepared by Pillow whatever else is installed (`backend="pil"`). Weights are read as safetensors only and
no code of a repository is run. One forward pass a batch; of SAM, whose prompts differ from image to image, the image
encoder, which is nearly all of its work, sees the batch and the mask decoder one image at a time.

What a score is: of a semantic segmentation the mean probability inside the region, of an instance, a box or a box by
words the model's own probability, of SAM its predicted IoU, cut to 0..1.

**Why**

- *Pillow and not torchvision*: both resize a little differently, so regions would depend on what happens to be
  installed; and there are machines that torchvision has no wheel for.
- *Only images of one size share a pass*: detectors pad the smaller ones, the padding changes what convolutions see at
  the edges, and a region would depend on which images happened to come along.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrinity25m.errors import ConfigError
from medtrinity25m.registry import vocabulary
from medtrinity25m.roi.card import Card
from medtrinity25m.roi.neural.local_model import find_model, first_line, need, once
from medtrinity25m.roi.neural.segment_anything import from_boxes, from_points
from medtrinity25m.roi.protocol import Expert, Finding, Query
from medtrinity25m.roi.run_options import Transformers

AUTO_CLASSES = {
    "semantic_segmentation": ("AutoModelForSemanticSegmentation", "AutoModelForUniversalSegmentation"),
    "instance_segmentation": ("AutoModelForUniversalSegmentation", "AutoModelForInstanceSegmentation"),
    "detection": ("AutoModelForObjectDetection",),
    "zero_shot_detection": ("AutoModelForZeroShotObjectDetection",),
    "mask_generation": ("AutoModelForMaskGeneration",),
    "box_prompt": ("AutoModelForMaskGeneration",),
}
"""Task → the classes that may hold its model, the first that knows the model's configuration."""

WORDED = ("zero_shot_detection",)  # tasks whose processor also reads words


@dataclass(frozen=True)
class Loaded:
    """A model ready to be asked, with what prepares its input."""

    model: Any
    processor: Any
    device: str

    def forward(self, **inputs: Any) -> Any:
        """Return the model's output for tensors on any device; bf16 on a GPU, float32 elsewhere."""
        import torch

        moved = {name: value.to(self.device) if hasattr(value, "to") else value for name, value in inputs.items()}
        with torch.inference_mode(), torch.autocast(self.device, torch.bfloat16, enabled=self.device == "cuda"):
            return self.model(**moved)


@dataclass(frozen=True)
class HubExpert:
    """Asks one model of `transformers` about batches of images."""

    card: Card
    run: Transformers

    def __call__(self, queries: Sequence[Query], /) -> list[list[Finding]]:
        """Return the findings of each image, in order; images of one size go through the model together."""
        alike: dict[tuple[int, ...], list[int]] = {}
        for at, query in enumerate(queries):
            alike.setdefault(query.pixels.shape[:2], []).append(at)
        found: list[list[Finding]] = [[] for _ in queries]
        for indices in alike.values():
            for at, own in zip(indices, self._find([queries[at] for at in indices]), strict=True):
                found[at] = own
        return found

    def _find(self, queries: list[Query]) -> list[list[Finding]]:
        """Return the findings of each of some images of one size."""
        loaded = once(self.card, _load)
        images = [_rgb(query.pixels) for query in queries]
        match self.run.task:
            case "semantic_segmentation":
                return _semantic(loaded, images)
            case "instance_segmentation":
                return _instances(loaded, images, self.card.min_score)
            case "detection":
                return _detections(loaded, images, self.card.min_score)
            case "zero_shot_detection":
                return _by_words(loaded, images, [self._words(query) for query in queries], self.card.min_score)
            case "mask_generation":
                return from_points(loaded, images, self._label(), self.card.min_score)
            case "box_prompt":
                return from_boxes(loaded, images, [query.boxes for query in queries], self._label())

    def _words(self, query: Query) -> list[str]:
        """Return the words a detector is asked for: those of the card, or the names of what the metadata say."""
        if self.run.prompt == "labels":
            return list(self.card.labels)
        terms = [vocabulary("disease")[word] for word in query.diseases]
        terms += [vocabulary("anatomy")[word] for word in query.organs]
        return [term.name for term in terms]

    def _label(self) -> str:
        """Return the one label of a model that outlines without naming."""
        return next(iter(self.card.labels))


def transformers_expert(card: Card) -> Expert:
    """Return the expert of a card whose `[run]` is `transformers`; nothing is loaded yet.

    Raises:
        ConfigError: a package is missing, or a model that names nothing has no label of its own in the card.
    """
    if not isinstance(card.run, Transformers):
        raise TypeError(f"{card.id} is no model of transformers")
    need(card, "models", "torch", "transformers")
    if card.run.task in ("mask_generation", "box_prompt") and len(card.labels) != 1:
        raise ConfigError(
            f'expert {card.id}: {card.run.task} outlines without naming; [labels] says with one line what, mask = "…"'
        )
    return HubExpert(card, card.run)


def _load(card: Card) -> Loaded:
    """Load model and processor of a card, from its folder or the Hub."""
    import torch
    import transformers

    run = card.run
    if not isinstance(run, Transformers):
        raise TypeError(f"{card.id} is no model of transformers")
    local = card.place(run.model)
    source = str(find_model(card, run.model)) if local.exists() or run.model.count("/") != 1 else run.model
    options: dict[str, Any] = {"revision": run.revision, "trust_remote_code": False}
    try:
        config = transformers.AutoConfig.from_pretrained(source, **options)
        auto = _auto_class(card, run.task, config)
        model = auto.from_pretrained(source, **options, use_safetensors=True).eval()
        reader = transformers.AutoProcessor if run.task in WORDED else transformers.AutoImageProcessor
        processor = reader.from_pretrained(source, **options, backend="pil")
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ConfigError(f"expert {card.id}: {run.model} cannot be loaded: {first_line(error)}") from error
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return Loaded(model.to(device), processor, device)


def _auto_class(card: Card, task: str, config: Any) -> Any:
    """Return the first class for the task that knows the model's configuration."""
    import transformers

    for name in AUTO_CLASSES[task]:
        auto = getattr(transformers, name)
        if type(config) in auto._model_mapping:
            return auto
    raise ConfigError(f"expert {card.id}: a {config.model_type} model does no {task}; correct task in its card")


def _rgb(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return pixels as (H, W, 3); gray is repeated."""
    return pixels if pixels.ndim == 3 else np.repeat(pixels[:, :, None], 3, axis=2)


def _semantic(loaded: Loaded, images: list[NDArray[np.uint8]]) -> list[list[Finding]]:
    """Return one region per class and image, where the class is the likeliest."""
    import torch
    from torch.nn.functional import interpolate

    inputs = loaded.processor(images=images, return_tensors="pt")
    output = loaded.forward(**inputs)
    if "logits" in output:
        scores = output.logits.float().softmax(dim=1)
    else:  # a universal model: each query has a class and a mask
        classes = output.class_queries_logits.float().softmax(dim=-1)[..., :-1]
        scores = torch.einsum("bqc,bqhw->bchw", classes, output.masks_queries_logits.float().sigmoid())
        scores = scores / scores.sum(dim=1, keepdim=True).clamp_min(1e-6)
    found = []
    for image, score in zip(images, scores, strict=True):
        full = interpolate(score[None], size=image.shape[:2], mode="bilinear", align_corners=False)[0]
        best, which = (part.cpu().numpy() for part in full.max(dim=0))
        found.append([_region(loaded, int(label), which == label, best) for label in np.unique(which)])
    return found


def _region(loaded: Loaded, label: int, mask: NDArray[np.bool_], score: NDArray[np.float32]) -> Finding:
    return Finding(label=_name(loaded, label), mask=mask, score=_unit(float(score[mask].mean())))


def _instances(loaded: Loaded, images: list[NDArray[np.uint8]], threshold: float) -> list[list[Finding]]:
    """Return one region per instance."""
    output = loaded.forward(**loaded.processor(images=images, return_tensors="pt"))
    sizes = [image.shape[:2] for image in images]
    done = loaded.processor.post_process_instance_segmentation(output, threshold=threshold, target_sizes=sizes)
    found = []
    for one in done:
        segments = np.asarray(one["segmentation"].cpu())
        masks = [(info, segments == info["id"]) for info in one["segments_info"]]
        found.append(
            [
                Finding(label=_name(loaded, info["label_id"]), mask=mask, score=_unit(info["score"]))
                for info, mask in masks
                if mask.any()
            ]
        )
    return found


def _detections(loaded: Loaded, images: list[NDArray[np.uint8]], threshold: float) -> list[list[Finding]]:
    """Return one box per detection."""
    output = loaded.forward(**loaded.processor(images=images, return_tensors="pt"))
    sizes = [image.shape[:2] for image in images]
    done = loaded.processor.post_process_object_detection(output, threshold=threshold, target_sizes=sizes)
    return [_boxes(one, lambda label: _name(loaded, int(label)), one["labels"]) for one in done]


def _by_words(
    loaded: Loaded, images: list[NDArray[np.uint8]], words: list[list[str]], threshold: float
) -> list[list[Finding]]:
    """Return one box per detection of an image's words; an image without words is not asked about.

    Images with as many words go together: the blanks that fill up a shorter list would compete with its words.
    """
    found: list[list[Finding]] = [[] for _ in images]
    for number in sorted({len(own) for own in words if own}):
        asked = [at for at, own in enumerate(words) if len(own) == number]
        done = _grounded(loaded, [images[at] for at in asked], [words[at] for at in asked], threshold)
        for at, one in zip(asked, done, strict=True):
            found[at] = _boxes(one, str, one["text_labels"])
    return found


def _grounded(loaded: Loaded, images: list[NDArray[np.uint8]], words: list[list[str]], threshold: float) -> Any:
    """Return what a detector by words says of images with equally many words, post-processed."""
    after = loaded.processor.post_process_grounded_object_detection
    takes_ids = "input_ids" in inspect.signature(after).parameters  # Grounding DINO reads a sentence, OWL a list
    text = [" ".join(f"{word}." for word in one) for one in words] if takes_ids else words
    inputs = loaded.processor(images=images, text=text, return_tensors="pt", padding=True)
    output = loaded.forward(**inputs)
    sizes = [image.shape[:2] for image in images]
    more = {"input_ids": inputs["input_ids"], "text_threshold": threshold} if takes_ids else {"text_labels": words}
    return after(output, threshold=threshold, target_sizes=sizes, **more)


def _boxes(one: Any, name: Callable[[Any], str], labels: Any) -> list[Finding]:
    """Return a box of post-processing each, in the model's order."""
    corners, scores = one["boxes"].float().cpu().numpy(), one["scores"].float().cpu().numpy()
    return [
        Finding(label=name(label), box=(float(x0), float(y0), float(x1), float(y1)), score=_unit(float(score)))
        for (x0, y0, x1, y1), score, label in zip(corners, scores, labels, strict=True)
        if x1 > x0 and y1 > y0
    ]


def _name(loaded: Loaded, label: int) -> str:
    """Return the model's own word for a class number."""
    return str(loaded.model.config.id2label.get(label, label))


def _unit(score: float) -> float:
    return min(1.0, max(0.0, score))
