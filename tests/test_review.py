"""The review kit: packs that tell readers nothing but image and text, and what comes of their verdicts."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from html import escape
from html.parser import HTMLParser
from itertools import cycle

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from medtrinity25m.commands.review import app
from medtrinity25m.errors import ConfigError
from medtrinity25m.quality.agreement import agreement
from medtrinity25m.quality.release_rows import metadata_rows, rows_with_id
from medtrinity25m.quality.review.collect import collect, write
from medtrinity25m.quality.review.pack import export, outlines, page
from medtrinity25m.quality.review.verdicts import (
    COLUMNS,
    VERDICTS,
    guarded_cell,
    plain_cell,
    read_sheet,
    write_csv,
)
from medtrinity25m.quality.scores import ATTRIBUTES
from medtrinity25m.registry import packaged_sources
from medtrinity25m.release.verify import faults

HOSTILE = '</script><script>alert(1)</script><img src=x onerror="alert(2)"> & =cmd|"/c calc"!A1 \u2028'


@pytest.fixture(scope="module")
def pack(demo_release, tmp_path_factory):
    """A pack of twelve rows, two of each modality as far as there are."""
    dest = tmp_path_factory.mktemp("review") / "pack"
    export(demo_release, dest, count=12, seed=5, stratify="modality")
    return dest


@pytest.fixture(scope="module")
def key(pack):
    """Item → id."""
    return json.loads((pack / "key.json").read_text())["items"]


def data_of(html: str):
    """What the page's script reads."""
    return json.loads(html.partition('id="data">')[2].partition("</script>")[0])


def sheet(path, reader, verdicts, comments=None):
    """Fill in a sheet: item → verdicts of the five attributes."""
    rows = [
        {
            "item": item,
            "reader": reader,
            **dict(zip(ATTRIBUTES, given, strict=True)),
            "comment": (comments or {}).get(item, ""),
        }
        for item, given in verdicts.items()
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(write_csv(COLUMNS, rows), encoding="utf-8")
    return path


def test_both_readers_get_the_same_items_in_another_order(pack, key):
    """Twelve items each, not one place in common by design of the order, the CSV in the order of the page."""
    orders = []
    for reader in ("1", "2"):
        html = (pack / f"reader-{reader}" / "review.html").read_text()
        items = [item["item"] for item in data_of(html)["items"]]
        rows = list(csv.DictReader(io.StringIO((pack / f"reader-{reader}" / "review.csv").read_text())))
        assert [row["item"] for row in rows] == items
        assert {row["reader"] for row in rows} == {reader}
        orders.append(items)

    assert sorted(orders[0]) == sorted(orders[1]) == sorted(key)
    assert orders[0] != orders[1]


def test_a_pack_says_nothing_of_row_source_describer_or_score(pack, key, demo_release):
    """Neither in the page nor in a file's name; the key lies outside the readers' folders."""
    rows = rows_with_id(demo_release, key.values())
    forbidden = {*key.values(), *packaged_sources(), '"measured"', "describer", "medtrinity", "supported", "quality"}
    forbidden |= {row["patient"] for row in rows.values()} | {row["study"] for row in rows.values()}
    for reader in ("reader-1", "reader-2"):
        html = (pack / reader / "review.html").read_text()
        names = [path.name for path in (pack / reader).rglob("*")]
        assert not [word for word in forbidden if word and (word in html or any(word in name for name in names))]
    assert not list(pack.rglob("reader-*/**/key.json"))


def test_the_images_are_the_rows_pixels_and_carry_nothing_else(pack, key, demo_release):
    """Encoded anew: no comment, no EXIF; what is drawn over them lies beside them."""
    rows = rows_with_id(demo_release, key.values(), pixels=True)
    for item, row_id in key.items():
        path = pack / "reader-1" / "images" / f"{item}.png"
        with Image.open(path) as shown, Image.open(io.BytesIO(rows[row_id]["image"]["bytes"])) as shipped:
            assert not {name for name in shown.info if name not in ("gamma", "srgb")}
            assert np.array_equal(np.asarray(shown.convert("RGB")), np.asarray(shipped.convert("RGB")))
        masks = [roi["mask"] for roi in rows[row_id]["rois"] if roi["mask"]]
        assert (pack / "reader-1" / "images" / f"{item}-regions.png").is_file() == bool(masks)


def test_outlines_lie_around_the_mask_and_not_on_it(demo_release):
    """A lesion of a few pixels must stay visible."""
    rows = rows_with_id(demo_release, [row["id"] for row in metadata_rows(demo_release, ("id",))], pixels=True)
    row = next(row for row in rows.values() if row["modality"] == "mri" and row["rois"])
    mask = np.asarray(Image.open(io.BytesIO(row["rois"][0]["mask"]["bytes"]))).astype(bool)
    drawn = outlines([row["rois"][0]["mask"]], mask.shape)[..., 3] > 0

    assert drawn.any()
    assert not (drawn & mask).any()


def test_the_same_seed_writes_the_same_bytes_and_another_another_draw(demo_release, pack, tmp_path):
    """A pack can be made again."""
    export(demo_release, tmp_path / "again", count=12, seed=5, stratify="modality")
    export(demo_release, tmp_path / "other", count=12, seed=6, stratify="modality")
    files = sorted(path.relative_to(pack) for path in pack.rglob("*") if path.is_file())

    assert files == sorted(p.relative_to(tmp_path / "again") for p in (tmp_path / "again").rglob("*") if p.is_file())
    assert all((pack / name).read_bytes() == (tmp_path / "again" / name).read_bytes() for name in files)
    assert not (set(json.loads((tmp_path / "other" / "key.json").read_text())["items"]) & set(read_items(pack)))


def read_items(pack):
    """The items of a pack's key."""
    return json.loads((pack / "key.json").read_text())["items"]


def test_hostile_text_stays_text(tmp_path):
    """No element, attribute or script comes out of it; what the script reads is the text as it was."""
    item = {
        "item": "r000000000",
        "image": "images/r000000000.png",
        "outlines": None,
        "width": 4,
        "height": 4,
        "regions": [],
        "sentences": [HOSTILE],
        "parts": [[HOSTILE, HOSTILE]],
    }
    html = page([item], "p" * 16, "1")
    tags: list[str] = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag, attrs):
            tags.append(tag)
            assert not [name for name, _ in attrs if name.startswith("on")]

    Tags().feed(html)

    assert tags.count("script") == 2
    assert tags.count("img") == 2
    assert "alert(" not in re.sub(r'id="data">.*?</script>', "", html, flags=re.DOTALL)
    assert data_of(html)["items"][0]["sentences"] == [HOSTILE]
    assert "innerHTML" not in html
    assert "http://" not in html.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in html


def test_the_policy_lets_only_the_pages_own_script_run(pack):
    """Hash of the script as it stands; nothing may be fetched but images beside the page."""
    import base64
    import hashlib

    html = (pack / "reader-1" / "review.html").read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html)[1]
    script = html.rpartition("<script>")[2].partition("</script>")[0]

    assert policy.startswith("default-src 'none';")
    assert f"script-src 'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" in policy
    assert "unsafe" not in policy


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs a browser")
def test_a_browser_shows_the_page_and_its_policy_stops_nothing_of_it(pack, tmp_path):
    """Chromium runs the script under the policy: place, five forms, the sentences of the first item."""
    path = pack / "reader-1" / "review.html"
    call = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}"]
    shown = subprocess.run(
        [*call, "--dump-dom", path.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    first = data_of(path.read_text())["items"][0]

    assert "1 of 12" in shown.stdout
    assert shown.stdout.count("<fieldset") == len(ATTRIBUTES)
    assert f'src="{first["image"]}"' in shown.stdout
    assert all(escape(sentence, quote=False) in shown.stdout for sentence in first["sentences"])


def test_a_pack_is_not_written_over_verdicts_nor_into_the_release(demo_release, pack):
    """A folder with files, and the release itself, are refused; the release stays whole."""
    with pytest.raises(ConfigError, match="not empty"):
        export(demo_release, pack)
    with pytest.raises(ConfigError, match="lies in the release"):
        export(demo_release, demo_release / "review")
    assert faults(demo_release) == []


def test_cells_that_would_be_formulas_are_guarded_and_come_back(tmp_path):
    """`=HYPERLINK(…)` in a comment opens as text in a spreadsheet and is read as it was written."""
    for text in ("=1+1", "+1", "-1", "@SUM(A1)", "\tx", "'quoted", "plain", "", "a=b", "'=already"):
        assert not guarded_cell(text).startswith(("=", "+", "-", "@", "\t", "\r"))
        assert plain_cell(guarded_cell(text)) == text or text == "'=already"
    path = sheet(tmp_path / "s.csv", "1", {"r1": ["correct"] * 5}, {"r1": '=HYPERLINK("http://x")'})

    assert ",\"'=HYPERLINK" in path.read_text()
    assert read_sheet(path, {"r1": "x"}).comments == {"r1": '=HYPERLINK("http://x")'}


def test_two_scripted_readers_come_to_known_numbers(demo_release, pack, key, tmp_path):
    """Texture: reader 1 finds 9 of 12 correct, reader 2 8 of 12; 3 disagreements. Checked against the definitions."""
    items = sorted(key)
    first = ["correct"] * 9 + ["wrong"] * 3
    second = ["correct"] * 7 + ["partly", "wrong", "correct", "wrong", "wrong"]
    sheets = [
        sheet(
            tmp_path / f"{reader}.csv",
            reader,
            {item: ["correct", "correct", "correct", said, "na"] for item, said in zip(items, given, strict=True)},
        )
        for reader, given in (("1", first), ("2", second))
    ]
    found = collect(sheets, demo_release, key=pack / "key.json")
    texture = next(line for line in found.attributes if line.attribute == "texture")
    relation = next(line for line in found.attributes if line.attribute == "relation")
    everything = found.attributes[-1]

    assert texture.readers["1"].estimate == 9 / 12
    assert texture.readers["2"].estimate == 8 / 12
    assert texture.accuracy.estimate == pytest.approx(17 / 24)
    assert texture.points.estimate == pytest.approx((2 * 17 + 1) / 24)
    assert texture.agreement == agreement(list(zip(first, second, strict=True)), VERDICTS)
    assert texture.agreement.percent.estimate == 9 / 12
    # by chance: (9*8 + 0*1 + 3*3) / 144 = 0.5625
    assert texture.agreement.kappa.estimate == pytest.approx((0.75 - 0.5625) / (1 - 0.5625))
    assert relation.accuracy.n == 0
    assert str(relation.accuracy) == "–"
    assert everything.accuracy.estimate == pytest.approx((3 * 24 + 17) / (4 * 24))
    assert everything.agreement is None
    assert found.disputed == 3


def test_verdicts_become_an_overlay_and_disputes_a_list_to_settle(demo_release, pack, key, tmp_path):
    """What both say stands; what they differ on is `disputed` until somebody decides; nothing goes into the release."""
    items = sorted(key)
    base = dict.fromkeys(items, ["correct"] * 5)
    paths = [
        sheet(tmp_path / "1.csv", "1", base),
        sheet(tmp_path / "2.csv", "2", base | {items[0]: ["correct"] * 4 + ["wrong"]}, {items[0]: "-no midline"}),
    ]
    found = collect(paths, demo_release, key=pack / "key.json")
    write(found, tmp_path / "out", demo_release)
    lines = [json.loads(line) for line in (tmp_path / "out" / "verdicts.jsonl").read_text().splitlines()]
    disputed = [line for line in lines if line["verdict"] == "disputed"]
    to_settle = (tmp_path / "out" / "adjudication.csv").read_text()

    assert len(lines) == 5 * len(items)
    assert lines == sorted(lines, key=lambda line: (line["id"], ATTRIBUTES.index(line["attribute"])))
    assert disputed == [
        {
            "id": key[items[0]],
            "attribute": "relation",
            "verdict": "disputed",
            "readers": {"1": "correct", "2": "wrong"},
        }
    ]
    assert "'-no midline" in to_settle
    assert key[items[0]] not in to_settle, "whoever settles it stays blind"

    decided = tmp_path / "decided.csv"
    rows = list(csv.DictReader(io.StringIO(to_settle, newline="")))
    decided.write_text(write_csv(list(rows[0]), [row | {"decision": "wrong"} for row in rows]))
    settled = collect(paths, demo_release, key=pack / "key.json", decisions=decided)

    assert settled.disputed == 0
    assert {line["verdict"] for line in settled.overlay} == {"correct", "wrong"}
    with pytest.raises(ConfigError, match="lies in the release"):
        write(found, demo_release / "verdicts", demo_release)


def test_the_order_of_sheets_and_rows_changes_nothing(demo_release, pack, key, tmp_path):
    """Same verdicts, same bytes."""
    items = sorted(key)
    words = cycle(["correct", "partly", "wrong", "na", "correct"])
    given = {reader: {item: [next(words) for _ in range(5)] for item in items} for reader in "12"}
    straight = [sheet(tmp_path / f"a{r}.csv", r, given[r]) for r in "12"]
    turned = [sheet(tmp_path / f"b{r}.csv", r, dict(reversed(given[r].items()))) for r in "21"]
    for name, paths in (("a", straight), ("b", turned)):
        write(collect(paths, demo_release, key=pack / "key.json"), tmp_path / name, demo_release)

    for file in ("verdicts.jsonl", "adjudication.csv", "report.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file


def test_a_folder_of_sheets_is_found_and_an_untouched_template_is_no_sheet(demo_release, tmp_path):
    """Reader 1 sent a CSV back beside the template; reader 2 has not begun: accuracy of one, agreement of none."""
    dest = tmp_path / "pack"
    export(demo_release, dest, count=4)
    items = sorted(read_items(dest))
    sheet(dest / "reader-1" / "review-1.csv", "1", {items[0]: ["correct"] * 5})
    found = collect([dest], demo_release)

    assert found.readers == ("1",)
    assert found.judged == {"1": 5}
    assert found.attributes[0].agreement is None
    assert len(found.overlay) == 5


def test_spreadsheets_of_other_countries_are_read(tmp_path):
    """Semicolons, a byte order mark, capital letters, blank verdicts."""
    path = tmp_path / "s.csv"
    path.write_text("\ufeff" + ";".join(COLUMNS) + "\nr1;1;Correct;;NA;partly;wrong;x\n", encoding="utf-8")

    assert read_sheet(path, {"r1": "x"}).verdicts == {
        "r1": {"modality": "correct", "roi": "na", "texture": "partly", "relation": "wrong"}
    }


HEAD = ",".join(COLUMNS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{HEAD}\nr9,1,,,,,,\n", r"s\.csv:2: item 'r9' is not in this pack"),
        (f"{HEAD}\nr1,1,yes,,,,,\n", r"s\.csv:2: 'yes' is no verdict"),
        (f"{HEAD}\nr1,1,,,,,,\nr1,1,,,,,,\n", r"s\.csv:3: item r1 stands there twice"),
        (f"{HEAD}\nr1,1,,,,,,\nr2,2,,,,,,\n", "a sheet is of one reader"),
        ("item,reader\nr1,1\n", "has no column modality"),
        (f'{HEAD}\n"r1,1,,,,,,\n', "is no CSV"),
        ("", "has no column item"),
        (HEAD, "this one names none"),
    ],
)
def test_a_sheet_that_is_not_of_the_pack_is_refused_with_its_line(tmp_path, text, said):
    """File and line, and what to write instead."""
    path = tmp_path / "s.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        read_sheet(path, {"r1": "x", "r2": "y"})


def test_a_key_of_another_release_is_refused(demo_release, pack, key, tmp_path):
    """The ids would be of other rows."""
    other = tmp_path / "key.json"
    other.write_text(json.dumps(json.loads((pack / "key.json").read_text()) | {"build": "abc"}))
    path = sheet(tmp_path / "1.csv", "1", {sorted(key)[0]: ["correct"] * 5})
    with pytest.raises(ConfigError, match="is of build 'abc'"):
        collect([path], demo_release)
    other.write_text("[]")
    with pytest.raises(ConfigError, match="no key of a review pack"):
        collect([path], demo_release)
    other.unlink()
    with pytest.raises(ConfigError, match="say where the pack's key lies"):
        collect([path], demo_release)


def test_two_sheets_of_one_reader_are_refused(demo_release, pack, key, tmp_path):
    """Which of them counts is not for a program to say."""
    paths = [sheet(tmp_path / name, "1", {sorted(key)[0]: ["correct"] * 5}) for name in ("a.csv", "b.csv")]
    with pytest.raises(ConfigError, match="are both of reader 1"):
        collect(paths, demo_release, key=pack / "key.json")


def test_the_commands_go_from_release_to_table(demo_release, tmp_path):
    """Export, two sheets, import: accuracy, kappa and AC1 on the screen, and as JSON."""
    run = CliRunner()
    made = run.invoke(app, ["export", str(demo_release), str(tmp_path / "pack"), "--n", "6", "--seed", "1"])
    assert made.exit_code == 0, made.output
    items = sorted(read_items(tmp_path / "pack"))
    for reader in "12":
        sheet(tmp_path / "pack" / f"reader-{reader}" / "back.csv", reader, dict.fromkeys(items, ["correct"] * 5))
    shown = run.invoke(app, ["import", str(tmp_path / "pack"), "--release", str(demo_release)])
    as_json = run.invoke(app, ["import", str(tmp_path / "pack"), "--release", str(demo_release), "--json"])

    assert shown.exit_code == 0, shown.output
    assert "Gwet's AC1" in shown.stdout
    assert json.loads(as_json.stdout)["attributes"][0]["accuracy"]["estimate"] == 1
    assert (tmp_path / "pack" / "verdicts" / "verdicts.jsonl").is_file()
    refused = run.invoke(app, ["import", str(tmp_path), "--release", str(demo_release)])
    assert refused.exit_code == 2
    assert "no key.json" in refused.output
