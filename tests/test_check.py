"""Statements are taken from texts by rules, and their verdicts follow from what the row holds and nothing else."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases import MAKERS, ct, described
from medtrinity25m.knowledge.snippet import Snippet
from medtrinity25m.quality.check import check, contradictions
from medtrinity25m.quality.evidence import Evidence
from medtrinity25m.quality.extract import statements
from medtrinity25m.quality.statement import Checked
from medtrinity25m.quality.verdict.kinship import compatible, far_apart, implied, overlap
from medtrinity25m.registry import vocabulary
from medtrinity25m.release.rows import data_row, metadata_row, to_triplet
from medtrinity25m.roi.geometry import position
from medtrinity25m.triplet import Sample

FIELDS = ("global_text", "local_text", "relation_text", "caption")
W, H = 500, 400


def roi(label: str, x: int, y: int, width: int, height: int, **more: Any) -> dict[str, Any]:
    """A region of a row of metadata, on an image of 500 x 400 pixels."""
    box = (x, y, x + width, y + height)
    share = width * height / (W * H)
    base = {"bbox": [x, y, width, height], "label": label, "origin": "mask", "count": 1, "area_fraction": share}
    return base | {"position": position(box, H, W), "size_mm": None} | more


def row(*rois: dict[str, Any], **columns: Any) -> dict[str, Any]:
    """A row of metadata: a chest radiograph with nothing known unless said."""
    base = {"modality": "xray", "organs": ["chest"], "disease": "unknown", "diseases": [], "width": W, "height": H}
    return base | {"rois": list(rois), "spacing_mm": None} | columns


LIVER = row(
    roi("liver_tumor", 100, 160, 50, 40),
    modality="ct", organs=["liver"], disease="liver_tumor", diseases=["liver_tumor"], spacing_mm=[0.8, 0.8],
    view="axial", image_left="right",
)  # fmt: skip
NODULES = row(
    roi("nodule", 60, 80, 40, 40), roi("nodule", 380, 280, 60, 60), modality="ct", organs=["lung"], image_left="right"
)
PNEUMONIA = row(roi("opacity", 60, 200, 100, 100, origin="box"), disease="pneumonia", diseases=["pneumonia"])
HEALTHY = row(disease="none")


def checked(facts: dict[str, Any], text: str) -> list[Checked]:
    """The verdicts on one text about a row."""
    return check(Evidence.of_row(facts), {"caption": text})


def wrong(facts: dict[str, Any], text: str) -> set[str]:
    """The attributes that are contradicted."""
    return {item.attribute for item in contradictions(checked(facts, text))}


@pytest.fixture(scope="module", params=MAKERS, ids=lambda maker: maker.__name__)
def case(request: pytest.FixtureRequest) -> Sample:
    """Each kind of picture, described."""
    sample: Sample = request.param()
    return sample


def texts(sample: Sample) -> dict[Any, str | None]:
    """The four texts of a sample."""
    return {field: getattr(sample, field) for field in FIELDS}


def test_nothing_in_our_own_texts_is_contradicted(case: Sample) -> None:
    """A sample in the making, its row and its row without pixels all agree with the text; most of it is supported."""
    shipped = data_row(to_triplet(case))
    for evidence in (Evidence.of_sample(case), Evidence.of_row(shipped), Evidence.of_row(metadata_row(shipped))):
        found = check(evidence, texts(case))

        assert contradictions(found) == []
        supported = sum(item.verdict == "supported" for item in found)
        assert supported > (0.5 if evidence.pixelless else 0.8) * len(found)


def test_spans_reslice_and_stand_in_order(case: Sample) -> None:
    """Each statement is where it says, in the order of fields and places, and can be shipped as a claim."""
    found = check(Evidence.of_sample(case), texts(case))

    assert [(FIELDS.index(item.field), item.start) for item in found] == sorted(
        (FIELDS.index(item.field), item.start) for item in found
    )
    for item in found:
        words = (getattr(case, item.field) or "")[item.start : item.end]
        assert words.strip() == words != ""
        assert item.claim().verdict == item.verdict


TRUE = [
    (LIVER, "Axial CT shows a 4.0 x 3.2 cm mass in the right hepatic lobe. No ascites. The spleen is unremarkable."),
    (LIVER, "The region of interest, located left-center horizontally and in the middle area vertically, occupies "
            "approximately 1.0% of the image area."),
    (LIVER, "Solitary lesion, about 4 cm in longest diameter, on the left side of the image. MRI is recommended."),
    (LIVER, "Unlike hemangiomas, often found by ultrasound, this liver tumor is solid. History of breast cancer."),
    (LIVER, "The patient's right side is at the left edge of the image. There is no second lesion in the liver."),
    (NODULES, "Two nodules are seen, one at the upper left of the image and one at the lower right."),
    (NODULES, "The largest measures 60 x 60 pixels; the other 40 x 40 pixels. No other nodules."),
    (NODULES, "Bilateral nodules. The right one lies in the patient's right lung, the other in the left lung."),
    (PNEUMONIA, "Frontal radiograph. Opacity in keeping with pneumonia. No effusion; cancer cannot be excluded."),
    (PNEUMONIA, "No evidence of pneumothorax. Pneumonia is likely. CT would show more. The heart is of normal size."),
    (LIVER, "The spleen lies on the right of the image, the lesion on the left. Both kidneys are intact."),
    (LIVER, "Hepatic mass, 40 x 32 mm. Biopsy specimen sent for histology. Ultrasound was normal 2 years ago."),
    (LIVER, "Liver tumor; metastases are most common in this organ. Favors a primary tumor over an abscess."),
    (NODULES, "Nodules in the upper left of the image and in the lower right, 40 and 60 pixels wide."),
    (PNEUMONIA, "Effusion: none. Pneumothorax absent. Left chest: see separate report. Suggest oblique views."),
    (HEALTHY, "Normal chest X-ray. No pneumonia, no pleural effusion. Both lungs are clear."),
]  # fmt: skip


@pytest.mark.parametrize(("facts", "text"), TRUE)
def test_a_true_text_is_not_contradicted(facts: dict[str, Any], text: str) -> None:
    """Advice, comparisons, history, what is denied beside the label and what nobody knows contradict nothing."""
    assert wrong(facts, text) == set()


FALSE = [
    (LIVER, "Axial MRI of the liver.", "modality"),
    (LIVER, "An axial CT image of the knee.", "organ"),
    (LIVER, "A coronal CT slice of the liver.", "view"),
    (LIVER, "The mass measures 6.0 x 4.8 cm.", "size"),
    (LIVER, "The tumor is 20 mm in longest diameter.", "size"),
    (LIVER, "The region of interest covers approximately 1.6% of the image area.", "area_share"),
    (LIVER, "The region of interest lies in the right-center part of the image.", "position_horizontal"),
    (PNEUMONIA, "The opacity lies in the upper part of the image.", "position_vertical"),
    (LIVER, "There is a tumor on the patient's left side.", "laterality"),
    (LIVER, "The patient's left side is at the left edge of the image.", "image_left"),
    (LIVER, "Three lesions are seen in the liver.", "count"),
    (LIVER, "No region of interest is annotated in this image.", "count"),
    (LIVER, "No focal lesion is seen in the liver.", "disease"),
    (LIVER, "The appearance is not consistent with a liver tumor.", "disease"),
    (LIVER, "The liver is unremarkable.", "disease"),
    (LIVER, "The image is labeled pancreatitis.", "disease"),
    (NODULES, "A single nodule is seen.", "count"),
    (NODULES, "Both nodules lie in the left half of the image.", "regions_in:left"),
    (NODULES, "The largest region lies in the upper left part of the image.", "position_horizontal"),
    (PNEUMONIA, "There is no evidence of pneumonia.", "disease"),
    (PNEUMONIA, "Normal chest radiograph.", "disease"),
    (PNEUMONIA, "Findings are consistent with glaucoma.", "disease"),
    (HEALTHY, "There is a pneumothorax.", "disease"),
    (HEALTHY, "A region of interest is annotated.", "count"),
]


@pytest.mark.parametrize(("facts", "text", "attribute"), FALSE)
def test_a_false_statement_is_contradicted_and_says_what_the_row_holds(
    facts: dict[str, Any], text: str, attribute: str
) -> None:
    """One wrong word is enough, and the repair is told what the row has instead."""
    found = contradictions(checked(facts, text))

    assert attribute in {item.attribute for item in found}
    assert all(item.expected for item in found)


@pytest.mark.parametrize("factor", [0.2, 0.5, 1 / 1.5, 1.5, 2.0, 5.0])
@pytest.mark.parametrize(
    ("text", "value"), [("The mass measures {} mm.", 40.0), ("It covers about {}% of the image area.", 1.0)]
)
def test_a_number_that_is_half_as_large_again_is_always_caught(text: str, value: float, factor: float) -> None:
    """Tolerances are for rounding: a factor of 1.5 is outside every one of them, the number itself inside."""
    assert wrong(LIVER, text.format(value)) == set()
    assert wrong(LIVER, text.format(f"{value * factor:.2f}")) != set()


def test_units_are_converted_and_millimeters_need_spacing() -> None:
    """4 cm are 40 mm; without spacing nobody can say, and nothing is contradicted."""
    assert wrong(LIVER, "The mass measures 4.0 cm.") == wrong(LIVER, "The mass measures 40 mm.") == set()
    assert wrong(LIVER, "The mass measures 4.0 mm.") == {"size"}
    bare = LIVER | {"spacing_mm": None}
    assert [item.verdict for item in checked(bare, "It measures 4.0 mm.")] == ["unsupported"]


def test_image_sides_and_patient_sides_are_different_statements() -> None:
    """With the patient's right at the left edge, a region at the left edge is the patient's right."""
    assert wrong(LIVER, "The lesion is on the left side of the image, in the right lobe of the liver.") == set()
    assert wrong(LIVER, "The lesion is in the left lobe of the liver.") == {"laterality"}
    unknown = LIVER | {"image_left": None}
    assert wrong(unknown, "The lesion is in the left lobe of the liver.") == set()


def test_a_row_without_pixels_leaves_looks_undecided() -> None:
    """Brightness is contradicted only where it was measured to be the opposite."""
    sample = ct()
    shipped = data_row(to_triplet(sample))
    text = {"caption": "The region of interest is hyperdense."}

    (seen,) = check(Evidence.of_row(shipped), text)
    (blind,) = check(Evidence.of_row(metadata_row(shipped)), text)
    assert (seen.verdict, blind.verdict) == ("contradicted", "unsupported")


def test_general_knowledge_rests_on_a_cited_passage() -> None:
    """A disease that the image is not labeled with is supported by a passage, when it is told as general knowledge."""
    passage = Snippet(
        id="c:1", title="t", text="Abscesses follow pneumonia.", corpus="c", license="CC0-1.0", locator="c#1",
        terms=("lung_abscess",),
    )  # fmt: skip
    evidence = Evidence.of_row(PNEUMONIA, passages=[passage])
    found = check(evidence, {"caption": "Pneumonia may progress to a lung abscess."})

    assert {(item.value, item.verdict, item.evidence) for item in found} >= {
        ("lung_abscess", "supported", "passage:c:1")
    }


def test_ordinals_follow_the_row_or_the_telling_but_not_a_lie() -> None:
    """`First` is the row's first unless two statements agree on another order."""
    assert wrong(NODULES, "The first lies in the upper left of the image, the second in the lower right.") == set()
    assert wrong(NODULES, "The first lies in the lower right of the image, the second in the upper left.") == set()
    assert "position_horizontal" in wrong(NODULES, "The first region lies in the right part of the image.")


def test_statements_say_what_a_program_compares() -> None:
    """Values are ids, sides and numbers, with the unit that was written."""
    found = statements("No CT was done: a 12 mm mole on the left arm.", "caption", Evidence.of_row(LIVER))

    assert {(item.attribute, item.value, item.unit) for item in found} >= {("size", "12", "mm")}
    assert all(item.field == "caption" for item in found)


def test_terms_are_related_as_medicine_has_it() -> None:
    """Kinds and parts come from the vocabularies."""
    assert implied("tumor", ["glioblastoma"])
    assert not implied("glioblastoma", ["tumor"])
    assert compatible("adenocarcinoma", ["colorectal_cancer"])
    assert not compatible("pneumonia", ["pneumothorax"])
    assert overlap("chest", "lung")
    assert not overlap("liver", "lung")
    assert far_apart("brain", ["knee"], close_up=False)
    assert not far_apart("liver", ["lung"], close_up=False)


@pytest.mark.parametrize(("name", "key"), [("anatomy", "part_of"), ("disease", "is_a")])
def test_relations_lead_to_terms_and_never_in_a_circle(name: Any, key: str) -> None:
    """Each step names a term of the same vocabulary, and no term is above itself."""
    known = vocabulary(name)
    for term in known.terms:
        above, seen = set(getattr(known[term], key)), set()
        while above:
            step = above.pop()
            assert step != term
            seen.add(step)
            above |= set(getattr(known[step], key)) - seen


PIECES = st.sampled_from([
    "the", "no", "not", "left", "right", "lesion", "region of interest", "first", "12", "2.3 x 1.8", "cm", "mm", "%",
    "of the image", "CT", "liver", "pneumonia", "in", ",", ".", ";", ":", "and", "with", "is", "are", "patient's",
    "upper", "center", "both", "two", "-", "(", ")", "\n", "–", "1,150 × 860 pixels", "Fig.", "µm", "ß", "İ", "🫁", "'",
    "lies", "covers", "from it", "OD",
])  # fmt: skip


@settings(deadline=None, max_examples=150)
@given(st.lists(PIECES, max_size=40).map(" ".join), st.sampled_from([LIVER, NODULES, PNEUMONIA, HEALTHY]))
def test_any_text_is_read_without_failing(text: str, facts: dict[str, Any]) -> None:
    """Whatever a model writes: spans fit, verdicts are known, and nothing is raised."""
    for item in checked(facts, text):
        assert text[item.start : item.end].strip()
        assert item.verdict in ("supported", "contradicted", "unsupported")
        assert item.roi is None or item.roi < len(facts["rois"])


def test_a_sample_without_pixels_is_checked_too() -> None:
    """A rejected or bare sample has no size; what needs one is unsupported."""
    sample = described(ct().pixels).with_(pixels=None)  # type: ignore[arg-type]

    assert contradictions(check(Evidence.of_sample(sample), {"caption": "A CT image, 20 mm, left half."})) == []


def test_verdicts_do_not_depend_on_the_hash_seed() -> None:
    """Two interpreters with other hash seeds give the same bytes."""
    program = (
        "from test_check import *\n"
        "print([item.model_dump_json() for facts, text in TRUE for item in checked(facts, text)])"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed},
            cwd=__file__.rpartition("/")[0],
        ).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert runs[0] == runs[1] != ""


def test_hostile_text_takes_no_longer_than_its_length() -> None:
    """No rule backtracks without end: 20,000 characters of repeated signs and words take seconds at most."""
    evidence = Evidence.of_row(LIVER)
    begin = time.perf_counter()
    for piece in ("- ", "no ", "left ", "1 x ", "a, ", "the lesion in the ", "((", "of the left "):
        check(evidence, {"caption": piece * (4000 // len(piece))})
    assert time.perf_counter() - begin < 20
