"""Validation: descriptions against what people say, and two describers against each other."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from medtrinity25m.commands.quality import validate as verb
from medtrinity25m.errors import ConfigError
from medtrinity25m.quality.matching import iou, overlap, same_statements
from medtrinity25m.quality.reference import read_references
from medtrinity25m.quality.release_rows import metadata_rows
from medtrinity25m.quality.statement import Statement
from medtrinity25m.quality.validate import said_values, validate
from medtrinity25m.release.manifest import SUCCESS
from medtrinity25m.release.workspace import sha256_file


@pytest.fixture(scope="module")
def rows(demo_release):
    """The demo's rows without pixels, by id."""
    return {row["id"]: row for row in metadata_rows(demo_release)}


@pytest.fixture
def reference(tmp_path):
    """Write lines, dicts or text, to a reference file."""

    def write(*lines: dict | str) -> Path:
        path = tmp_path / "human.jsonl"
        path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
        return path

    return write


def line(found, group: str, name: str):
    """One line of the report."""
    return next(one for one in found.lines if (one.metric.group, one.metric.name) == (group, name))


def marked(rows, modality="mri"):
    """The demo's row of a modality with a region."""
    return next(row for row in rows.values() if row["rois"] and row["modality"] == modality)


def worse(release: Path, dest: Path, ids: set[str]) -> Path:
    """A copy of a release by a describer that calls the modality of some rows PET and forgets the rest of them."""
    shutil.copytree(release, dest)
    for path in (dest / "metadata").rglob("*.parquet"):
        table = pq.read_table(path)
        changed = [
            row
            | {
                "claims": [
                    claim | {"value": "pet"}
                    for claim in row["claims"]
                    if claim["attribute"] in ("modality", "position_horizontal")
                ]
            }
            if row["id"] in ids
            else row
            for row in table.to_pylist()
        ]
        pq.write_table(pa.Table.from_pylist(changed, schema=table.schema), path)
    return dest


def test_labels_are_compared_with_what_the_texts_say(demo_release, rows, reference):
    """A liver lesion: organ, disease, count and place are right; the side nobody mentions is silence, and disagrees."""
    row = marked(rows)
    labels = {
        "modality": "MR",
        "view": "axial",
        "organs": ["liver"],
        "disease": "lesion",
        "count": 1,
        "position": "left, middle",
        "laterality": "left",
    }
    found = validate(demo_release, reference({"id": row["id"], "attributes": labels}))
    right = {name: line(found, "agreement", name).ours.estimate for name in labels}

    assert right == dict.fromkeys(labels, 1.0) | {"laterality": 0.0}
    assert {name for name, count in found.silent.items() if count} == {"laterality"}
    assert found.rows == 1
    assert found.not_in_reference == len(rows) - 1
    assert len(found.not_in_reference_first) == 20


def test_a_wrong_label_disagrees_and_kappa_sees_chance(demo_release, rows, reference):
    """Every row labeled with its modality but three: accuracy is their share, kappa below it."""
    ids = sorted(rows)
    truth = {row_id: rows[row_id]["modality"] for row_id in ids}
    wrong = dict.fromkeys(ids[:3], "pet")
    lines = ({"id": row_id, "attributes": {"modality": (truth | wrong)[row_id]}} for row_id in ids)
    found = validate(demo_release, reference(*lines))
    accuracy = line(found, "agreement", "modality").ours

    assert accuracy.estimate == pytest.approx(1 - 3 / len(ids))
    assert accuracy.low < accuracy.estimate < accuracy.high
    assert accuracy.n == len(ids)
    assert found.beyond_chance["modality"].kappa.estimate < accuracy.estimate
    assert found.beyond_chance["modality"].percent.estimate == pytest.approx(1 - 3 / len(ids))


def test_rows_of_one_patient_are_drawn_together(demo_release, rows, reference):
    """Slices of one head are one observation: with them all wrong, the interval is wider than for as many patients."""
    patient, count = Counter(row["patient"] for row in rows.values() if row["patient"]).most_common(1)[0]
    assert count > 5
    together = [row_id for row_id, row in rows.items() if row["patient"] == patient]
    apart = [row_id for row_id, row in rows.items() if row["patient"] != patient][:count]

    def width(wrong) -> float:
        lines = (
            {"id": row_id, "attributes": {"modality": "pet" if row_id in wrong else rows[row_id]["modality"]}}
            for row_id in sorted(rows)
        )
        found = line(validate(demo_release, reference(*lines)), "agreement", "modality").ours
        return found.high - found.low

    assert width(together) > width(apart)


def test_claims_give_what_the_texts_say():
    """Values of claims, negated ones left out, a region without a count counted as one."""
    claims = [
        {"attribute": "modality", "value": "ct", "roi": None},
        {"attribute": "organ", "value": "liver", "roi": None},
        {"attribute": "disease", "value": "not cyst", "roi": None},
        {"attribute": "position_horizontal", "value": "left", "roi": 0},
        {"attribute": "position_vertical", "value": "upper", "roi": 0},
        {"attribute": "position_vertical", "value": "lower", "roi": 1},
    ]
    said = said_values({"claims": claims})

    assert said["modality"] == {"ct"}
    assert said["organs"] == {"liver"}
    assert said["disease"] == set()
    assert said["position"] == {"left, upper"}
    assert said["count"] == {"2"}
    assert said_values({"claims": [{"attribute": "roi_count", "value": "0", "roi": None}]})["count"] == {"0"}


def test_boxes_are_paired_and_overlap_is_measured(demo_release, rows, reference):
    """The row's own box: IoU 1. Shifted by half its width: a third. None: ours is one too many."""
    row = marked(rows)
    x, y, width, height = row["rois"][0]["bbox"]
    shifted = [x + width / 2, y, width, height]
    for boxes, expected, recall, precision in (
        ([[x, y, width, height]], 1, 1, 1),
        ([shifted], 1 / 3, 0, 0),
        ([[x, y, width, height], [0, 0, 2, 2]], 0.5, 0.5, 1),
    ):
        found = validate(demo_release, reference({"id": row["id"], "boxes": boxes}))
        assert line(found, "boxes", "mean IoU").ours.estimate == pytest.approx(expected, abs=1e-6)
        assert line(found, "boxes", "recall at IoU 0.5").ours.estimate == recall
        assert line(found, "boxes", "precision at IoU 0.5").ours.estimate == precision
    nothing = validate(demo_release, reference({"id": row["id"], "boxes": []}))

    assert line(nothing, "boxes", "precision at IoU 0.5").ours.estimate == 0
    assert str(line(nothing, "boxes", "mean IoU").ours) == "–"


def test_boxes_are_paired_for_the_largest_sum_and_not_greedily():
    """Two boxes that both like the first one best: taking the best pair first would leave the other with nothing."""
    ours = [[0, 0, 10, 10], [3, 0, 10, 10]]
    theirs = [[2, 0, 10, 10], [5, 0, 10, 10]]
    table = iou(np.array(ours, float), np.array(theirs, float))
    best = max(table[0, 0] + table[1, 1], table[0, 1] + table[1, 0])

    assert overlap(ours, theirs).iou == pytest.approx(best)
    assert overlap(ours, theirs) == overlap(ours[::-1], theirs[::-1])
    assert iou(np.array([[0.0, 0, 2, 2]]), np.array([[2.0, 0, 2, 2]]))[0, 0] == 0


def said(attribute: str, value: str, unit: str | None = None, negated: bool = False) -> Statement:
    """A statement somewhere in a text."""
    return Statement(field="caption", start=0, end=1, attribute=attribute, value=value, unit=unit, negated=negated)


def test_statements_match_by_attribute_value_and_negation():
    """Said twice counts once; `no effusion` is not `effusion`; a sentence without anything to check does not count."""
    ours = [said("organ", "lung"), said("organ", "lung"), said("disease", "pleural_effusion"), said("statement", "")]
    theirs = [said("organ", "lung"), said("disease", "pleural_effusion", negated=True), said("modality", "ct")]

    assert same_statements(ours, theirs) == (1, 2, 3)


def test_lengths_match_across_units_and_within_a_tenth():
    """2.3 cm and 22 mm are one size, 2.3 cm and 30 mm are not; pixels are no millimeters."""
    size = [said("size", "2.3", "cm")]

    assert same_statements(size, [said("width", "22", "mm")]) == (1, 1, 1)
    assert same_statements(size, [said("size", "30", "mm")]) == (0, 1, 1)
    assert same_statements(size, [said("size", "23×18", "mm")]) == (1, 1, 1)
    assert same_statements([said("size", "2.4×1.7", "cm")], [said("size", "17.5×23.5", "mm")]) == (1, 1, 1)
    assert same_statements([said("size", "23×40", "mm")], [said("size", "23×18", "mm")]) == (0, 1, 1)
    assert same_statements([said("size", "9×9", "mm")], [said("size", "9×5", "mm")]) == (0, 1, 1)
    assert same_statements([said("mean_hu", "-95", "HU")], [said("mean_hu", "-100", "HU")]) == (1, 1, 1)
    assert same_statements([said("size", "23", "px")], [said("size", "23", "mm")]) == (0, 1, 1)
    assert same_statements([said("size", "10", "mm"), said("size", "10.5", "mm")], [said("size", "10", "mm")]) == (
        1,
        2,
        1,
    )
    assert same_statements([said("area_share", "5", "%")], [said("area_share", "5.4", "%")]) == (1, 1, 1)


def test_a_report_is_compared_claim_by_claim(demo_release, rows, reference):
    """Our caption as the report is all of ours and all of theirs; to say less or more costs precision or recall."""
    row = marked(rows)

    def compare(report: str) -> dict[str, float]:
        found = validate(demo_release, reference({"id": row["id"], "report": report}))
        return {name: line(found, "claims", name).ours.estimate for name in ("precision", "recall", "F1")}

    assert compare(row["caption"]) == {"precision": 1, "recall": 1, "F1": 1}
    less = compare("Axial MR image of the liver.")
    assert less["recall"] == 1
    assert 0 < less["precision"] < 1
    more = compare(row["caption"] + " There is a pulmonary embolism. A second mass lies in the pancreas.")
    assert more["precision"] == 1
    assert more["recall"] < 1
    other = compare("Chest radiograph of the heart.")
    assert other["F1"] < less["F1"]


def test_two_describers_are_compared_on_the_same_rows(demo_release, rows, reference, tmp_path):
    """The second one is wrong on twelve rows: a paired difference, exact McNemar, and Holm over the lines."""
    ids = sorted(rows)
    against = worse(demo_release, tmp_path / "second", set(ids[:12]))
    _seal(against)
    lines = ({"id": row_id, "attributes": {"modality": rows[row_id]["modality"]}} for row_id in ids)
    found = validate(demo_release, reference(*lines), against=against)
    modality, total = line(found, "agreement", "modality"), line(found, "score", "total")

    assert modality.ours.estimate == 1
    assert modality.against.estimate == pytest.approx(1 - 12 / len(ids))
    assert modality.apart.estimate == pytest.approx(12 / len(ids))
    assert modality.p == pytest.approx(2 * 0.5**12)
    assert modality.p_holm >= modality.p
    assert total.apart.estimate > 0
    assert 0 < total.p <= 0.05
    assert found.as_json()["lines"][0]["test"] == "mcnemar_exact"


def test_a_release_against_itself_differs_in_nothing(demo_release, rows, reference):
    """All differences 0, all p-values 1."""
    row = marked(rows)
    path = reference({"id": row["id"], "attributes": {"modality": "mri"}, "boxes": [[0, 0, 9, 9]]})
    found = validate(demo_release, path, against=demo_release)

    assert found.lines
    assert {one.p for one in found.lines} == {1.0}
    assert {one.apart.estimate for one in found.lines} == {0.0}


def _seal(folder: Path) -> None:
    """Give a changed copy a `_SUCCESS` that fits."""
    (folder / SUCCESS).write_text(sha256_file(folder / "manifest.json") + "\n")


def test_two_raters_of_one_row_are_two_lines_and_one_patient(demo_release, rows, reference):
    """Both count; a rater who stands twice is an error that names both lines."""
    row_id = marked(rows)["id"]
    lines = [{"id": row_id, "rater": r, "attributes": {"modality": m}} for r, m in (("A", "mri"), ("B", "ct"))]
    found = validate(demo_release, reference(*lines))

    assert line(found, "agreement", "modality").ours.estimate == 0.5
    assert line(found, "agreement", "modality").ours.n == 2
    with pytest.raises(ConfigError, match=r"human\.jsonl:3: id .* and rater 'A' stand at .*human\.jsonl:1 already"):
        read_references(reference(*lines, lines[0]))


def test_the_order_of_lines_changes_nothing(demo_release, rows, reference):
    """Same lines, same report."""
    lines = [{"id": row_id, "attributes": {"modality": "ct", "count": 1}} for row_id in sorted(rows)[:20]]
    straight = validate(demo_release, reference(*lines)).as_json()

    assert validate(demo_release, reference(*reversed(lines))).as_json() == straight


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "human.jsonl:2: is no JSON"),
        ("[1]", "human.jsonl:2: is no reference"),
        ('{"id": "x"}', "human.jsonl:2: .*says nothing"),
        ('{"report": "x"}', "human.jsonl:2: id: is missing"),
        ('{"id": "x", "reprot": "x"}', "human.jsonl:2: reprot: is no key here; did you mean report"),
        ('{"id": "x", "attributes": {"modality": "telepathy"}}', "human.jsonl:2: .*'telepathy' is no modality"),
        ('{"id": "x", "attributes": {"organs": ["lungg"]}}', "'lungg' is no anatomy of the vocabulary; nearest: lung"),
        ('{"id": "x", "attributes": {"position": "far left"}}', "'far left' is no position"),
        ('{"id": "x", "attributes": {"count": -1}}', "human.jsonl:2: attributes.count"),
        ('{"id": "x", "boxes": [[1, 2, 0, 4]]}', "has no area"),
        ('{"id": "x", "boxes": [[1, 2, NaN, 4]]}', "human.jsonl:2: boxes.0.2"),
        ('{"id": "x", "boxes": [[1, 2, 3]]}', "human.jsonl:2: boxes.0"),
        ('{"id": "x", "report": 5}', "human.jsonl:2: report"),
        ('{"id": "x", "report": "x", "where": "y"}', "human.jsonl:2: is no reference"),
        ("[" * 100_000, "human.jsonl:2: is no JSON"),
        ('{"id": "' + "x" * (1 << 20) + '"}', "human.jsonl:2: the line is longer"),
    ],
)
def test_a_bad_line_is_named_with_what_is_wrong(reference, text, message):
    """File, line, key, and the word that was probably meant; one printable line."""
    path = reference({"id": "a", "report": "fine"}, text)
    with pytest.raises(ConfigError, match=message) as caught:
        read_references(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_files_that_are_no_reference_are_refused(tmp_path, demo_release, reference):
    """Missing, empty, not text, of other rows, a box outside its image."""
    with pytest.raises(ConfigError, match="No such file"):
        read_references(tmp_path / "none.jsonl")
    with pytest.raises(ConfigError, match="holds no line"):
        read_references(reference(""))
    (tmp_path / "binary.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is not UTF-8"):
        read_references(tmp_path / "binary.jsonl")
    with pytest.raises(ConfigError, match="none of its 1 lines has an id of a row"):
        validate(demo_release, reference({"id": "nobody", "report": "x"}))
    row_id = next(metadata_rows(demo_release, ("id",)))["id"]
    with pytest.raises(ConfigError, match=r"human\.jsonl:1: box .* leaves the"):
        validate(demo_release, reference({"id": row_id, "boxes": [[0, 0, 99999, 5]]}))


def test_ids_of_nobody_are_listed(demo_release, rows, reference):
    """What the reference speaks about and the release lacks is named."""
    row_id = marked(rows)["id"]
    path = reference({"id": row_id, "report": "MR image."}, {"id": "nobody", "report": "x"})

    assert validate(demo_release, path).not_in_release == ("nobody",)


def test_the_command_prints_tables_and_json(demo_release, rows, reference):
    """Both from the same call; markup in ids stays text; a bad file is exit code 2 and one line."""
    app = typer.Typer()
    app.command()(verb)
    row = marked(rows)
    path = reference(
        {"id": row["id"], "attributes": {"modality": "mri"}}, {"id": "[bold]x", "attributes": {"modality": "ct"}}
    )
    call = [str(demo_release), "--reference", str(path), "--against", str(demo_release)]
    shown = CliRunner().invoke(app, call)
    as_json = CliRunner().invoke(app, [*call, "--json"])

    assert shown.exit_code == 0, shown.output
    assert "agreement: modality" in shown.stdout
    assert "p (Holm)" in shown.stdout
    assert "[bold]x" in shown.stdout
    assert json.loads(as_json.stdout)["not_in_release"] == ["[bold]x"]
    bad = CliRunner().invoke(app, [str(demo_release), "--reference", str(reference("{"))])
    assert bad.exit_code == 2
    assert "human.jsonl:1" in bad.output
