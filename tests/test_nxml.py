"""StatPearls and other NXML: MedRAG's passages, the license a document states, archives read safely."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from corpus_files import codes, kept, section, statpearls, tar
from medtrinity25m.errors import RefusedError
from medtrinity25m.knowledge.corpora.nxml import read

LONG = "Long paragraph. " * 30  # 480 characters
CC_BY = '<license xlink:href="http://creativecommons.org/licenses/by/4.0/">'
HUGE = "Huge paragraph. " * 70  # 1120


def passages(path: Path, license_: str | None = None):
    return list(read(path, corpus="statpearls", license=license_, cache=path.parent / "cache"))


def document(tmp_path: Path, *sections: str, title: str = "Pneumothorax", **options: str) -> Path:
    path = tmp_path / "article-100.nxml"
    path.write_bytes(statpearls(title, "".join(sections), **options))
    return path


def items(*words: str) -> str:
    return f'<list list-type="bullet">{"".join(f"<list-item><p>{word}</p></list-item>" for word in words)}</list>'


def pairs(path: Path) -> list[tuple[str, str]]:
    return [(one.title, one.text) for one in kept(passages(path))]


def test_paragraphs_are_passages_titled_by_article_and_section(tmp_path):
    """Title, text, license, locator and offset of each."""
    path = document(tmp_path, section("Introduction", LONG, LONG), section("Etiology", "Air leaks."))

    found = passages(path)

    assert [(one.title, one.locator, one.offset) for one in found] == [
        ("Pneumothorax -- Introduction", "article-100.nxml#p=0", 0),
        ("Pneumothorax -- Introduction", "article-100.nxml#p=1", 480),
        ("Pneumothorax -- Etiology", "article-100.nxml#p=2", 960),
    ]
    assert {one.license for one in found} == {"CC-BY-NC-ND-4.0"}
    record = " ".join(one.text for one in found)
    assert all(record[one.offset :].startswith(one.text) for one in found)


def test_short_paragraphs_and_lists_join_the_passage_before_them(tmp_path):
    """Below 200 characters, and while both stay below 1000; never over a section's border."""
    path = document(tmp_path, section("A", LONG, "Short.", LONG, items("one", "two")), section("B", "Short too."))

    assert pairs(path) == [
        ("Pneumothorax -- A", f"{LONG.strip()} Short."),
        ("Pneumothorax -- A", f"{LONG.strip()} one two"),
        ("Pneumothorax -- B", "Short too."),
    ]


def test_a_passage_that_would_become_too_long_is_not_joined(tmp_path):
    """MedRAG's limit of 1000 characters."""
    assert [text for _, text in pairs(document(tmp_path, section("A", HUGE, "Short.")))] == [HUGE.strip(), "Short."]


def test_the_items_of_a_long_list_are_passages_each(tmp_path):
    """And what follows joins none of them."""
    path = document(tmp_path, section("A", items(LONG, LONG, LONG), "Short."))

    assert [text for _, text in pairs(path)] == [*[LONG.strip()] * 3, "Short."]


def test_a_bold_paragraph_is_a_subtitle_and_of_a_list_only_as_far_as_the_list(tmp_path):
    """As MedRAG's script has it."""
    bold = "<p><bold>Imaging</bold></p>"
    path = document(tmp_path, section("A", bold, LONG, "x" * 300, bold, items("one"), LONG))

    assert [title for title, _ in pairs(path)] == [
        "Pneumothorax -- A -- Imaging", "Pneumothorax -- A -- Imaging", "Pneumothorax -- A -- Imaging",
        "Pneumothorax -- A",
    ]  # fmt: skip


def test_nested_sections_are_their_own_and_tables_are_left_out(tmp_path):
    """Each with its own heading; a table is no passage."""
    table = "<table-wrap><label>Table 1</label><table><tbody><tr><td>cell</td></tr></tbody></table></table-wrap>"
    path = document(tmp_path, section("Outer", "First.", table, section("Inner", "Second.")))

    assert pairs(path) == [("Pneumothorax -- Outer", "First."), ("Pneumothorax -- Inner", "Second.")]


def test_markup_in_words_is_read_and_a_section_may_lack_a_title(tmp_path):
    """Where MedRAG's script stops with an error."""
    path = document(
        tmp_path,
        "<sec><p>The <italic>pleura</italic> tears<xref>[1]</xref>.</p></sec>",
        "<p>Loose.</p>",
        title="<i>A</i> B",
    )

    assert sorted(pairs(path)) == [("A B", "Loose."), ("A B", "The pleura tears [1] .")]


@pytest.mark.parametrize(
    ("stated", "found"),
    [
        (f"{CC_BY}<license-p>x</license-p></license>", "CC-BY-4.0"),
        (
            "<license><license-p>see https://creativecommons.org/licenses/by-nc-sa/3.0/</license-p></license>",
            "CC-BY-NC-SA-3.0",
        ),
        (
            '<license><license-p><ext-link xlink:href="https://creativecommons.org/publicdomain/zero/1.0/">CC0</ext-link>'
            "</license-p></license>",
            "CC0-1.0",
        ),
        ("", "CC-BY-NC-ND-4.0"),
    ],
)
def test_the_license_is_the_document_s(tmp_path, stated, found):
    """What it states comes before what the user says; StatPearls is known where it states none."""
    path = document(tmp_path, section("A", "Text."), license_=stated)

    assert [one.license for one in passages(path, "CC0-1.0" if stated else None)] == [found]


def test_a_book_that_states_no_license_needs_the_user_s(tmp_path):
    """Nothing is assumed for it, also not from a figure's license."""
    figure = f"<fig><permissions>{CC_BY}</license></permissions></fig>"
    path = document(tmp_path, section("A", "Text.", figure), license_="", book="GeneReviews")

    with pytest.raises(RefusedError, match=r"knowledge\.no_license.*--license"):
        passages(path)
    assert [one.license for one in passages(path, "LicenseRef-mine")] == ["LicenseRef-mine"]


def test_a_namespace_by_default_changes_nothing(tmp_path):
    """BITS documents of others have one."""
    path = document(tmp_path, section("A", "Text."))
    plain = pairs(path)
    path.write_bytes(
        path.read_bytes().replace(b"<book-part-wrapper ", b'<book-part-wrapper xmlns="https://jats.nlm.nih.gov/b" ')
    )

    assert pairs(path) == plain != []


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"<book-part-wrapper><body>", "damaged"),
        (b"<html/>", "not_nxml"),
        (b'<!DOCTYPE article [<!ENTITY x "y">]><article>&x;</article>', "entities"),
        (b"<!DOCTYPE article SYSTEM 'a.dtd'><article><body><p>&alpha;</p></body></article>", "entities"),
        (b"<article>" + b"<sec>" * 5000, "damaged"),
        (b"", "damaged"),
    ],
)
def test_a_document_that_cannot_be_used_is_refused(tmp_path, data, code):
    """Broken, something else, with entities, too deep, empty."""
    path = tmp_path / "a.nxml"
    path.write_bytes(data)

    with pytest.raises(RefusedError, match=rf"knowledge\.{code}"):
        passages(path)


@pytest.mark.parametrize("name", ["statpearls_NBK430685.tar.gz", "statpearls.tar", "statpearls.tgz"])
def test_an_archive_gives_what_its_documents_give(tmp_path, name):
    """Pictures beside them are passed over; a broken document costs a line."""
    good = statpearls("Pneumothorax", section("A", "Text."))
    files = {
        "sp/article-2.nxml": good[:300],
        "sp/article-1.nxml": good,
        "sp/fig.jpg": b"\xff\xd8\xff",
        "sp/toc.txt": b"x",
    }

    found = passages(tar(tmp_path / name, files))

    assert [one.locator for one in kept(found)] == [f"{name}!/sp/article-1.nxml#p=0"]
    assert [(one.locator, one.code) for one in found if one not in kept(found)] == [
        (f"{name}!/sp/article-2.nxml", "knowledge.damaged")
    ]


def test_links_devices_and_names_that_lead_out_are_never_followed(tmp_path):
    """They are named and refused, nothing is written outside."""
    secret = tmp_path / "secret.nxml"
    secret.write_bytes(statpearls("Secret", section("A", "Secret.")))
    link, device = tarfile.TarInfo("a/link.nxml"), tarfile.TarInfo("a/device.nxml")
    link.type, link.linkname = tarfile.SYMTYPE, str(secret)
    device.type = tarfile.CHRTYPE
    path = tar(
        tmp_path / "a.tar.gz", {"../out.nxml": secret.read_bytes(), "/abs.nxml": secret.read_bytes()}, link, device
    )

    found = passages(path)

    assert (kept(found), codes(found)) == ([], ["archive.unsafe_member"] * 4)
    assert not (tmp_path.parent / "out.nxml").exists()


def test_a_cut_archive_is_refused_as_a_whole(tmp_path):
    """Whatever came before the cut."""
    files = {f"a/{number}.nxml": statpearls(f"T{number}", section("A", "Text.")) for number in range(20)}
    path = tar(tmp_path / "a.tar.gz", files)
    path.write_bytes(path.read_bytes()[:-20])

    with pytest.raises(RefusedError, match=r"archive\.damaged"):
        passages(path)
