"""The describer that needs no model: it measures, and says only what it measured or what a column states.

`MeasuredDescriber` fills four texts. `global_text` is about the picture as a whole and would be the same
without any region; `local_text` (`local.py`, `region.py`) holds every told region's `text` word for word;
`relation_text` (`between.py`) has two sentences at most; `caption` is one paragraph of the three, without the
window and the size of the picture.

Every number and every judgment is a claim, and every claim can be recomputed from the shipped row. `value` is
what a program compares, the words it stands for are in the text; `1.0` below is a number with one decimal. A
percentage is rounded exactly, halves up, and may also be `<0.1` or `>99.9`:

===================  =====================  ======  =====================================================
attribute            value                  unit    recompute from
===================  =====================  ======  =====================================================
modality, view,      the column's value             the column in `evidence` (`organs`, `diseases`: one
organ, laterality,                                  of them)
disease, image_left
window_name          `lung`, …                      `window.name`
window_center,       `%g`                   HU or   `window`; HU where the source is calibrated
window_width                                null
width, height        `1.0`                  mm, µm  `spacing_mm` times the sides of `bbox`, or of the
                                                    image where `roi` is null
width, height        integer                px      the same without spacing
roi_count            integer                        number of `rois`
label_count:LABEL    integer                        number of `rois` with that label
label, expert,       the column's value             `rois[roi]` (`label` without `roi`: all of them; `expert`
origin, count                                       without `roi`: one of `provenance.experts`)
ordinal              1 to 5                         place in `rois`, from 1
size_rank            1 to 3                         place by area, largest first, then by `roi`
area_share           `1.0`                  %       pixels of mask (of `bbox` without one) over image's
total_share          `1.0`                  %       pixels in any mask (box) over the image's
least_share,         `1.0`                  %       smallest and largest `area_share` of all regions;
most_share,                                         that of each of them, where the two are the same
each_share
position_horizontal  left … right                   center of `bbox`, `roi.geometry.bins`
position_vertical    upper … lower                  the same
patient_side         left, right                    `half`, and `image_left`
mean_hu              integer                HU      mean of the pixels in mask (box), put back through
                                                    `window`: agrees to one gray level, (width-1)/255 HU
intensity            lower, equal, higher           `appearance.brightness` on pixels and masks
texture              homogeneous, …                 `appearance.texture` on the same
margin               sharp, ill-defined             `outline.margin` on the same
shape                round, oval, irregular         `outline.shape` on mask and `spacing_mm`
contact:OTHER        same, inside, …                `relation.pair` on the masks (boxes) of the two
gap:OTHER            `1.0`                  mm, µm  distance between the edges of the two
gap:OTHER            integer                px      the same without spacing, halves rounded up
direction:OTHER      above, below left, …           from the center of the other's `bbox` to this one's
nearest_pair         `I J`                          the two regions with the smallest gap
nearest_to:OTHER     `I`                            the region with the smallest gap to the other
nearest_to:midline   `I`                            the region with the smallest `midline_gap`
half                 left, right, both              `bbox` against half of `width`
midline_gap          like gap               as gap  from `bbox` to that midline; `0` where it is reached
left_half_share      `1.0`                  %       share of the mask (box) left of the midline
regions_in:HALF      integer                        number of regions whose `half` it is
===================  =====================  ======  =====================================================

`evidence` names the column (`metadata:…`) or the measurement (`measured:…`).

**Why** judgments are measured on the shipped 8-bit pixels, on CT too: they are what a reader of the row has,
and what the words would be checked against. Only the mean attenuation comes from the values behind them.
"""

from __future__ import annotations

from dataclasses import dataclass

from medtrinity25m import __version__
from medtrinity25m.caption import SLIDES, labels, picture
from medtrinity25m.description import figures
from medtrinity25m.description.between import relation_text
from medtrinity25m.description.cast import Cast
from medtrinity25m.description.local import local_text
from medtrinity25m.description.prose import Prose, joined
from medtrinity25m.description.scene import Scene
from medtrinity25m.errors import RefusedError
from medtrinity25m.triplet import Provenance, Sample

_WINDOWS = {
    "header": "the window stored with it",
    "lung": "a lung window",
    "soft_tissue": "a soft tissue window",
    "bone": "a bone window",
    "brain": "a brain window",
    "percentile": "a window fitted to its values",
    "full_range": "a window over its full range",
    "source": "a fixed window",
}
"""How a window is called; `voi_lut` is missing because a lookup table has no center and width."""


_SCANS = ("ct", "mri", "pet")
"""Modalities whose whole picture is the field of view; an ultrasound picture holds its sector and a frame."""


@dataclass(frozen=True)
class MeasuredDescriber:
    """Fill texts, claims and provenance from measurements; used as `each(MeasuredDescriber())`."""

    def __call__(self, sample: Sample, /) -> Sample:
        """Return `sample` described; refuses (`description.no_pixels`) what was not decoded."""
        if sample.pixels is None:
            raise RefusedError("description.no_pixels", f"{sample.locator} was not decoded; read it first")
        cast = Cast.of(Scene.of(sample), sample)
        local, texts = local_text(cast, sample.asked)
        relation = relation_text(cast)
        overview = [_kind(sample), _labels(sample)]
        whole = joined([overview[0], _window(sample), _extent(sample), overview[1]])
        caption = joined([*overview, local, relation])
        rois = tuple(roi.with_(text=texts.get(index)) for index, roi in enumerate(sample.rois))
        return sample.with_(
            rois=rois,
            global_text=whole.text,
            local_text=local.text,
            relation_text=relation.text or None,
            caption=caption.text,
            claims=(
                *whole.claims("global_text"),
                *local.claims("local_text"),
                *relation.claims("relation_text"),
                *caption.claims("caption"),
            ),
            provenance=_provenance(sample),
        )


def _provenance(sample: Sample) -> Provenance:
    """Return what made the text: this describer, and the experts that were asked for regions, in their order."""
    return Provenance(describer="measured", experts=sample.asked, pipeline_version=__version__)


def _kind(sample: Sample) -> Prose:
    """Return what the picture is, and where the patient's side is when that is fixed."""
    prose = Prose("this is ").add(picture(sample))
    side = sample.image_left
    if side is None or sample.modality in SLIDES:
        return prose.sentence()
    words = figures.Figure(f"patient's {side} side is at the left edge", side)
    prose.say("; the ").claim(words, "image_left", "metadata:image_left")
    return prose.say(" of the image").sentence()


def _window(sample: Sample) -> Prose:
    """Return the gray-scale window of a CT image, or nothing."""
    window = sample.window
    if window is None or sample.modality != "ct" or window.name not in _WINDOWS:
        return Prose()
    unit = "HU" if sample.values_unit == "HU" else None
    prose = Prose("it is shown with ")
    prose.claim(_WINDOWS[window.name], "window_name", "metadata:window", value=window.name)
    prose.say(" (center ").claim(_level(window.center, unit), "window_center", "metadata:window")
    prose.say(", width ").claim(_level(window.width, unit), "window_width", "metadata:window")
    return prose.say(")").sentence()


def _level(level: float, unit: str | None) -> figures.Figure:
    """Return a window's center or width, with HU where the values are calibrated."""
    value = f"{level:g}"
    return figures.Figure(value if unit is None else f"{value} {unit}", value, unit)


def _extent(sample: Sample) -> Prose:
    """Return the size of the field of view, or of the picture in pixels where spacing is unknown."""
    pixels = sample.width, sample.height
    if sample.spacing_mm is None:
        prose = Prose("the image has ")
        width, height = figures.size(pixels, None)
        column = "metadata:width", "metadata:height"
    else:
        prose = Prose("the field of view is " if sample.modality in _SCANS else "the image spans ")
        millimeters = sample.width * sample.spacing_mm[1], sample.height * sample.spacing_mm[0]
        width, height = figures.size(pixels, millimeters)
        column = "measured:size_mm", "measured:size_mm"
    prose.claim(width, "width", column[0]).say(" × ").claim(height, "height", column[1])
    return prose.say(" (width × height)").sentence()


def _labels(sample: Sample) -> Prose:
    """Return what the picture is labeled, as a label and never as something seen."""
    label = labels(sample)
    return Prose("the image is ").add(label).sentence() if label else Prose()
