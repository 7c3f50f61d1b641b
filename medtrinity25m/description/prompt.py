"""From a sample to the question a model is asked about it.

The three levels of the paper in one call: the image as a whole without its regions, each region with the computed place
and share, the relation between them in at most two sentences, and the three fused. The model gets the clean picture, a
copy with the boxes drawn, the coarse caption, what was measured, and passages as quotations.

Nothing a file says of itself gets in: no DICOM field, no file or column name, no locator, no patient. Words of metadata
come from the vocabularies by way of the coarse caption and the measured texts; what others wrote (passages, the text
an image was published with) is quoted (`quotation.py`).

**Why** the measured texts are the facts: they name each region as the checker will read it, every number in them is a
claim already, and a model that copies them is right.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from medtrinity25m.description.cast import Cast
from medtrinity25m.description.exchange import Request
from medtrinity25m.description.pictures import boxed_picture, clean_picture
from medtrinity25m.description.prompt_files import PromptFile, prompt_file, prompt_sha256
from medtrinity25m.description.prompting import Prompting
from medtrinity25m.description.quotation import quoted
from medtrinity25m.description.reply import reply_schema, reply_shape
from medtrinity25m.description.scene import Scene
from medtrinity25m.knowledge.snippet import Snippet
from medtrinity25m.triplet import Sample

SYSTEM, USER = "describe.system", "describe.user"
VARIANTS = {
    "histopathology": "variant.slide",
    "microscopy": "variant.slide",
    "dermoscopy": "variant.dermoscopy",
    "fundus": "variant.fundus",
    "endoscopy": "variant.endoscopy",
}
"""What is asked of a picture differs where it shows no organs; every other modality is a scan."""

PASSAGE_CHARS = 1200  # MedRAG's passages have about 1000
TITLE_CHARS = 150
REFERENCE_CHARS = 2000  # a long radiology report; figure captions are shorter
MOST_PASSAGES = 8  # as many as are retrieved unless a config asks for more


@dataclass(frozen=True)
class Question:
    """A request, the prompt files it is made of, and the place of each region it asks about.

    `places` are by index into `rois`, in the order in which the measured text tells the regions.
    """

    request: Request
    files: tuple[str, ...]
    places: dict[int, str]

    def more(self, name: str, words: str, attempt: int = 0) -> Request:
        """Return the request once more with words from another prompt file behind it."""
        parts = (*self.request.parts, words)
        return self.request.with_(parts=parts, attempt=attempt, prompt_sha256=prompt_sha256((*self.files, name)))


def variant(modality: str) -> str:
    """Return the name of the prompt file that says what is asked of a modality."""
    return VARIANTS.get(modality, "variant.scan")


def question_for(measured: Sample, passages: Sequence[Snippet], options: Prompting, model: str) -> Question:
    """Return what to ask `model` about a sample that `MeasuredDescriber` has described."""
    cast = Cast.of(Scene.of(measured), measured)
    places = {index: measured.rois[index].position for index in cast.told}
    user = prompt_file(USER)
    files = (SYSTEM, USER, variant(measured.modality))
    words = [
        _facts(user, measured, cast),
        *_quotations(user, measured, passages, options),
        _task(user, measured, places),
    ]
    request = Request(
        model=model,
        system=prompt_file(SYSTEM).fill("system"),
        parts=(*_pictures(user, measured, places, options), "\n\n".join(words)),
        reply_schema=reply_schema(places),
        prompt_sha256=prompt_sha256(files),
        temperature=options.temperature,
        max_tokens=options.max_tokens,
    )
    return Question(request, files, places)


def _whole(sample: Sample) -> bool:
    """Say whether the region of interest is the whole image, around which a box would say nothing."""
    return len(sample.rois) == 1 and sample.rois[0].origin == "whole_image"


def _pictures(user: PromptFile, sample: Sample, places: dict[int, str], options: Prompting) -> list[str | bytes]:
    """Return the pictures, each after a line that says what it is."""
    clean = clean_picture(sample, options.max_side)
    if not places or _whole(sample):
        return [user.fill("picture.clean"), clean]
    boxed = boxed_picture(sample, {index: sample.rois[index].xyxy for index in places}, options.max_side)
    number = "one" if len(places) == 1 else "several"
    if options.pictures == "boxed":
        return [user.fill(f"picture.{number}"), boxed]
    return [user.fill("picture.first"), clean, user.fill(f"picture.second_{number}"), boxed]


def _facts(user: PromptFile, sample: Sample, cast: Cast) -> str:
    """Return the block of what is known: ours throughout, words of the vocabularies and numbers."""
    local = sample.local_text or ""
    first = sample.rois[cast.told[0]].text if cast.told else None
    opening = local if first is None else local[: local.index(first)].strip()
    lines = [user.fill("facts.opening", opening=opening)] if opening else []
    for index in cast.told:
        roi = sample.rois[index]
        named = cast.short(index).text
        lines.append(user.fill("facts.region", index=index, name=named, location=roi.position, measured=roi.text or ""))
    if sample.relation_text:
        lines.append(user.fill("facts.relations", relations=sample.relation_text))
    coarse, whole = sample.coarse_caption or "", sample.global_text or ""
    return user.fill("facts", coarse=coarse, whole=whole, regions="\n".join(lines))


def _quotations(user: PromptFile, sample: Sample, passages: Sequence[Snippet], options: Prompting) -> list[str]:
    """Return the passages and the text the image was published with, as quotations."""
    blocks = [
        user.fill(
            "passage",
            number=number,
            title=quoted(passage.title, TITLE_CHARS).replace('"', "'"),
            text=quoted(passage.text, PASSAGE_CHARS),
        )
        for number, passage in enumerate(passages[:MOST_PASSAGES], start=1)
    ]
    if options.reference_text and sample.reference_text:
        blocks.append(user.fill("reference", text=quoted(sample.reference_text, REFERENCE_CHARS)))
    return blocks


def _task(user: PromptFile, sample: Sample, places: dict[int, str]) -> str:
    """Return the questions, as the modality and the regions ask for."""
    asked = prompt_file(variant(sample.modality)).sections
    section = "task.none" if not places else "task.whole" if _whole(sample) else "task.regions"
    shape = user.fill("shape", shape=json.dumps(reply_shape(places), ensure_ascii=False))
    return user.fill(section, numbers=", ".join(map(str, places)), **asked) + "\n\n" + shape
