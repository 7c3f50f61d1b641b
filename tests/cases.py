"""Described samples of every kind: each modality's words, masks and boxes, one region, several and many."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from hypothesis import strategies as st
from scipy import ndimage

from medtrinity25m.description.measured import MeasuredDescriber
from medtrinity25m.registry import ROIRule
from medtrinity25m.roi.annotations import Locate
from medtrinity25m.triplet import Annotation, Sample, Window

HEIGHT, WIDTH = 200, 260
SOFT_TISSUE = Window(center=40, width=400, name="soft_tissue")

LESION = st.tuples(
    st.floats(25, 230),
    st.floats(25, 170),
    st.floats(3, 22),
    st.floats(3, 22),
    st.sampled_from([30, 60, 130, 200]),
)
"""Center, half axes and gray level of a lesion."""


def disc(x: float, y: float, across: float, down: float | None = None) -> np.ndarray:
    """A filled ellipse with these half axes in a mask of 200 x 260 pixels."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return ((columns - x) / across) ** 2 + ((rows - y) / (down or across)) ** 2 <= 1


def shaded(*parts: tuple[np.ndarray, float], base: float = 90, noise: float = 5) -> np.ndarray:
    """A noisy gray picture with areas of given levels."""
    levels = np.full((HEIGHT, WIDTH), base)
    for mask, level in parts:
        levels[mask] = level
    grain = np.random.default_rng(7).normal(0, noise, levels.shape)
    return np.clip(np.round(levels + grain), 0, 255).astype(np.uint8)


def described(pixels: np.ndarray, *marks: Annotation, rule: str = "components", **columns: Any) -> Sample:
    """A sample with these columns, located by a rule and described."""
    base = {"id": "a", "locator": "a.png", "modality": "ct", "source": "drawn", "license": "CC0-1.0"}
    sample = Sample(**(base | columns), pixels=pixels, annotations=marks)
    return MeasuredDescriber()(Locate({"drawn": ROIRule(rule=rule)})(sample))  # type: ignore[arg-type]


def ct() -> Sample:
    """A calibrated CT with a fatty nodule in a liver."""
    nodule = disc(70, 80, 16, 11)
    values = np.where(nodule, -20.0, 110.0) + np.random.default_rng(1).normal(0, 9, nodule.shape)
    linear = ((values - (SOFT_TISSUE.center - 0.5)) / (SOFT_TISSUE.width - 1) + 0.5) * 255
    return described(
        np.clip(np.round(linear), 0, 255).astype(np.uint8),
        Annotation(label="lesion", mask=nodule),
        values=values.astype(np.float32),
        values_unit="HU",
        window=SOFT_TISSUE,
        spacing_mm=(0.75, 0.75),
        view="axial",
        organs=("liver",),
        image_left="right",
        disease="fatty_liver",
        diseases=("fatty_liver",),
    )


def mr() -> Sample:
    """A tumor in its edema, apart from a second, ragged edema."""
    tumor, ring = disc(80, 60, 12), disc(80, 60, 30) & ~disc(80, 60, 12)
    ragged = ndimage.binary_dilation(np.random.default_rng(5).random((HEIGHT, WIDTH)) > 0.985, iterations=2) & disc(
        190, 140, 25
    )
    patch = ndimage.label(ragged)[0]
    second = patch == 1 + np.argmax(np.bincount(patch.ravel())[1:])
    return described(
        shaded((ring, 130), (tumor, 60), (second, 170)),
        Annotation(label="tumor", mask=tumor),
        Annotation(label="edema", mask=ring | second),
        modality="mri",
        view="coronal",
        organs=("brain",),
        spacing_mm=(0.9, 0.6),
        disease="glioma",
    )


def ultrasound() -> Sample:
    """A dark oval with a blurred edge in the right breast."""
    lesion = disc(130, 100, 34, 22)
    soft = ndimage.gaussian_filter(np.where(lesion, 40.0, 120.0), 5)
    pixels = np.clip(np.round(soft + np.random.default_rng(8).normal(0, 4, soft.shape)), 0, 255).astype(np.uint8)
    mark = Annotation(label="breast_mass", mask=lesion)
    return described(pixels, mark, modality="ultrasound", organs=("breast",), laterality="right", disease="unknown")


def xray() -> Sample:
    """Two boxes on a radiograph with a second label."""
    return described(
        shaded((disc(60, 120, 30), 150)),
        Annotation(label="opacity", box=(35.0, 92.5, 88.2, 150.0)),
        Annotation(label="cardiomegaly", box=(110.0, 100.0, 210.0, 180.0)),
        modality="xray",
        view="pa",
        organs=("chest",),
        image_left="right",
        disease="pneumonia",
        diseases=("pneumonia", "pleural_effusion"),
    )


def nuclei(count: int = 125) -> np.ndarray:
    """An instance map of round nuclei on a grid."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    index = (rows // 16) * 16 + columns // 16 + 1
    near = np.hypot(rows % 16 - 8, columns % 16 - 8) <= 4 + index % 3
    return np.where(near & (index <= count) & (columns < 256), index, 0).astype(np.int32)


def histology() -> Sample:
    """Stained nuclei as one region of their class, on a micrometer scale, with a side nobody may name."""
    instances = nuclei()
    pixels = np.where(instances[..., None] > 0, (90, 40, 120), (225, 190, 215)).astype(np.uint8)
    mark = Annotation(label="cell_nucleus", instances=instances)
    return described(
        pixels, mark, rule="classes", modality="histopathology", organs=("colon",), spacing_mm=(5e-4, 5e-4),
        image_left="left", disease="adenocarcinoma",
    )  # fmt: skip


def many() -> Sample:
    """Every nucleus a region of its own, and a vessel."""
    marks = [
        Annotation(label="cell_nucleus", instances=nuclei(60)),
        Annotation(label="vessel", mask=disc(200, 150, 30, 12)),
    ]
    return described(shaded((nuclei(60) > 0, 170)), *marks, modality="microscopy")


def alike() -> Sample:
    """Three nodules with one label, one of them in a corner."""
    masks = disc(20, 20, 12) | disc(150, 100, 20, 12) | disc(185, 100, 9)
    return described(
        shaded((masks, 160)), Annotation(label="nodule", mask=masks), spacing_mm=(0.5, 0.5), modality="mri"
    )


def fundus() -> Sample:
    """A healthy left eye: four boxes united, in color."""
    boxes = [(30.0 + 40 * i, 60.0 + 10 * i, 45.0 + 40 * i, 80.0 + 12 * i) for i in range(4)]
    pixels = np.dstack([shaded(base=180), shaded(base=90), shaded(base=40)])
    marks = [Annotation(label="optic_disc", box=box) for box in boxes]
    columns: dict[str, Any] = {"laterality": "left", "organs": ("eye",), "disease": "none"}
    return described(pixels, *marks, rule="classes", modality="fundus", **columns)


def dermoscopy() -> Sample:
    """The whole image is the finding."""
    columns: dict[str, Any] = {"organs": ("skin",), "disease": "melanoma", "diseases": ("melanoma",)}
    return described(shaded(), rule="whole_image", modality="dermoscopy", **columns)


def bare() -> Sample:
    """Nothing known, nothing marked."""
    return described(shaded(), modality="endoscopy")


def expert() -> Sample:
    """A region a model found."""
    sample = ultrasound()
    roi = sample.rois[0].with_(origin="expert", expert="cyto3", score=0.9, text=None)
    other = roi.with_(xyxy=(3, 5, 72, 50), position="left, upper")
    return MeasuredDescriber()(sample.with_(rois=(roi, other), asked=("cyto3",)))


MAKERS = (ct, mr, ultrasound, xray, histology, many, alike, fundus, dermoscopy, bare, expert)


def assert_clean_sentences(sample: Sample) -> None:
    """Hold the four texts against what a copy editor would mark."""
    for field in ("global_text", "local_text", "relation_text", "caption"):
        text = getattr(sample, field)
        if text is None:
            continue
        sentences = re.split(r"(?<=[a-z)%])\. ", text.removesuffix("."))
        assert text.endswith(".")
        assert all(sentence[0].isupper() for sentence in sentences), text
        assert not re.search(r"  | ,| \.|,,|\.\.|\( | \)|None|nan", text), text
        assert not re.search(r"green|bounding box|caption|colour|centre|grey|tumour|oedema|haem", text, re.I), text
        assert not re.search(r"\b(a [aeiou]|an [bcdfgjklmnpqrstvwxyz])", text), text
