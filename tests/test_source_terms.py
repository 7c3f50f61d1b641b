"""What the packaged sources say about licence, access and redistribution holds together.

Whether a licence is the one the publisher states cannot be tested here: it is looked up, and beside the licence stands
where it is stated. These laws keep the other fields (`redistribution`, `egress`, `access`) from giving more than that.
"""

from __future__ import annotations

import re
from importlib.resources import files

import pytest
from packaging.licenses import canonicalize_license_expression

from medtrinity25m.downloads import Http, HuggingFace, Kaggle, Synapse
from medtrinity25m.registry import Source, packaged_sources

SPDX = {
    "CC0-1.0": "given to the public domain",
    "CC-BY-3.0": "attribution",
    "CC-BY-4.0": "attribution",
    "CC-BY-SA-4.0": "attribution; what is made of it is shared under the same licence",
    "CC-BY-NC-4.0": "attribution; no commercial use",
    "CC-BY-NC-SA-4.0": "attribution; no commercial use; the same licence for what is made of it",
    "MIT": "a licence of software, which some give to their questions and answers",
}
"""The SPDX ids in use and what each asks. ND has no place for images: a window or a crop is a derived work."""

SOFTWARE = {"MIT"}

CLOSED = {
    "aptos2019": "Kaggle's rules: only those who take part",
    "autopet": "an agreement nobody here has read",
    "bhx": "the terms of CQ500 and PhysioNet",
    "chexpert": "research use agreement of Stanford",
    "ct_rate": "the gate forbids redistribution of any portion",
    "lld_mmri": "the agreement forbids to copy, publish or distribute any part",
    "medtrinity_25m": "some of its origins are credentialed",
    "medtrinity_25m_demo": "some of its origins are credentialed",
    "mimic_cxr_jpg": "PhysioNet, credentialed",
    "padchest": "research use agreement of BIMCV",
    "quilt_1m": "the terms protect against further distribution",
    "quilt_llava": "its pictures are Quilt-1M's",
    "rsna_pneumonia": "Kaggle's rules: only those who take part",
    "vindr_cxr": "PhysioNet, credentialed",
}
"""Sources that are nobody's to pass on: neither in a release nor to a model that runs elsewhere."""

COMPOSITE = {
    "cytoimagenet", "flare23", "llava_med", "medmnist", "medmnist_scans", "medtrinity_25m", "medtrinity_25m_demo",
    "octmnist",
    "pathvqa", "pmc_oa", "pmc_vqa", "quilt_1m", "quilt_llava", "roco", "sa_med2d_20m", "slake", "uls23", "vqa_rad",
}  # fmt: skip
"""Collections of other people's pictures, of which one at least is closed, incompatible or of unknown terms."""

UNDATED = {
    "nema_radiographs", "pydicom_ct", "pydicom_mr", "pydicom_ultrasound", "siemens_liver_mr", "skimage_histopathology",
}  # fmt: skip
"""Files that a package carries without saying of when they are."""

every_source = pytest.mark.parametrize("source", packaged_sources().values(), ids=lambda source: source.id)


def parts(source: Source) -> set[str]:
    """Return the letters of a Creative Commons id: {"CC", "BY", "NC", "SA", "4.0"}."""
    return set() if source.license.startswith("LicenseRef-") else set(source.license.split("-"))


def text_of(source: Source) -> str:
    """Return the TOML of a source as it is written, with its comments."""
    return (files("medtrinity25m") / "sources" / f"{source.id}.toml").read_text(encoding="utf-8")


@every_source
def test_a_licence_is_a_real_spdx_id_or_says_that_it_is_none(source: Source):
    """A misspelled id ("CC-BY-NC-SA") would pass for a licence and name none."""
    assert canonicalize_license_expression(source.license) == source.license
    assert source.license in SPDX or source.license.startswith("LicenseRef-")


def test_the_list_of_licences_is_the_one_in_use():
    """An id nobody uses any more leaves the list, so that the list stays a summary."""
    used = {source.license for source in packaged_sources().values()}
    assert {license_ for license_ in used if not license_.startswith("LicenseRef-")} == set(SPDX)


@every_source
def test_a_licence_says_where_it_is_stated(source: Source):
    """Beside the licence stands who says so, or what is in the way; the head of the demo part refers to the whole."""
    line = next(line for line in text_of(source).splitlines() if line.startswith("license = "))
    assert "   # " in line or source.id == "medtrinity_25m_demo"


@every_source
def test_what_nobody_verified_is_not_redistributed(source: Source):
    """Unknown terms allow nothing; behind an agreement they do not even allow a model that runs elsewhere."""
    if source.license == "LicenseRef-unverified":
        assert source.redistribution == "recipe-only"
        assert source.egress == "local-only" or source.access == "open"


@every_source
def test_images_of_a_licence_without_derivatives_are_not_redistributed(source: Source):
    """A row is a slice, a window or a crop: a derived work."""
    if "ND" in parts(source):
        assert source.redistribution == "recipe-only"


@every_source
def test_a_software_licence_covers_no_pictures(source: Source):
    """MIT on a repository of questions says nothing about the pictures they speak of."""
    if source.license in SOFTWARE:
        assert source.redistribution != "images"


@every_source
def test_what_stays_on_the_machine_is_not_redistributed(source: Source):
    """Pixels that no remote model may see are in no release either."""
    if source.egress == "local-only":
        assert source.redistribution == "recipe-only"


@every_source
def test_credentialed_data_stays_on_the_machine_and_is_fetched_by_a_person(source: Source):
    """The agreement is a person's: no program of ours signs in to PhysioNet."""
    if source.access == "credentialed":
        assert (source.redistribution, source.egress) == ("recipe-only", "local-only")
        assert source.download == ()
        assert source.get_it


@pytest.mark.parametrize("name", CLOSED)
def test_closed_collections_are_closed(name):
    """The agreements that were read, and those that are known to be strict, by name."""
    source = packaged_sources()[name]
    assert (source.redistribution, source.egress) == ("recipe-only", "local-only")
    assert source.access != "open"


@pytest.mark.parametrize("name", sorted(COMPOSITE))
def test_collections_of_others_pictures_are_not_redistributed_as_images(name):
    """The licence of the collection cannot give more than the strictest of its parts."""
    assert packaged_sources()[name].redistribution != "images"


@every_source
def test_competition_data_goes_to_nobody_outside_the_competition(source: Source):
    """Kaggle's rules: not to transmit, duplicate, publish or redistribute to any party not participating."""
    if any(isinstance(item, Kaggle) and item.competition for item in source.download):
        assert (source.redistribution, source.egress, source.access) == ("recipe-only", "local-only", "click-through")
        assert source.get_it


def test_sources_of_the_same_patients_have_the_same_licence():
    """HAM10000 under two names is one set of images: neither name may loosen what the other asks."""
    licences: dict[str, set[str]] = {}
    for source in packaged_sources().values():
        if source.redistribution == "images":
            licences.setdefault(source.patients or source.id, set()).add(source.license)
    assert {name: found for name, found in licences.items() if len(found) > 1} == {}


def test_parts_of_the_decathlon_have_one_licence():
    """One publisher, ten archives, one statement in each dataset.json."""
    tasks = [source for name, source in packaged_sources().items() if name.startswith("msd_")]
    assert len(tasks) == 10
    assert {(task.license, task.redistribution, task.access) for task in tasks} == {("CC-BY-SA-4.0", "images", "open")}


@every_source
def test_addresses_are_https(source: Source):
    """Nothing is fetched, and nobody is sent, over a connection that anyone can change."""
    assert source.homepage
    assert source.homepage.startswith("https://")
    assert all(item.url.startswith("https://") for item in source.download if isinstance(item, Http))


@every_source
def test_a_citation_names_a_year(source: Source):
    """The number of a preprint is no year: 2003.10778 is of 2020."""
    assert source.citation
    bare = re.sub(r"arXiv:\d{4}\.\d{4,5}|10\.\d{4,}/\S+", "", source.citation)
    assert (re.search(r"\b(19[5-9]\d|20[0-3]\d)\b", bare) is not None) == (source.id not in UNDATED)


@every_source
def test_a_gated_download_says_what_a_person_does_first(source: Source):
    """Behind a gate of the Hub or of Synapse a program alone gets nothing."""
    gated = any(isinstance(item, HuggingFace | Synapse) for item in source.download)
    if source.access == "click-through" and (gated or not source.download):
        assert source.get_it
