"""Every packaged source keeps its word on a tree that is laid out like its official download."""

from __future__ import annotations

import importlib
import pkgutil
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

import source_trees
from medtrinity25m.keys import Key
from medtrinity25m.readers.entry import Refusal
from medtrinity25m.readers.expand import Expand
from medtrinity25m.readers.layouts import list_source
from medtrinity25m.readers.load import Loader
from medtrinity25m.readers.record import Record
from medtrinity25m.readers.safe import Jail
from medtrinity25m.registry import Source, packaged_sources, vocabulary
from medtrinity25m.roi.annotations import Locate
from medtrinity25m.roi.card import packaged_cards
from medtrinity25m.triplet import Sample
from source_trees import Expected

PACKAGES = {"drawing"}
DEMO = {
    "dsb2018_nuclei", "mni152", "nema_radiographs", "pydicom_ct", "pydicom_mr", "pydicom_ultrasound",
    "siemens_liver_mr", "skimage_fundus", "skimage_histopathology",
}  # fmt: skip
"""Sources of the demo: their real files are built by other tests."""
TREES = sorted(module.name for module in pkgutil.iter_modules(source_trees.__path__) if module.name not in PACKAGES)


@dataclass(frozen=True)
class Built:
    """A tree after planning and reading."""

    source: Source
    expected: Expected
    records: list[Record]
    refusals: list[Refusal]
    samples: list[Sample]


def build_tree(name: str, root: Path) -> Built:
    """Write a source's tree and read it as a build does, up to its regions."""
    expected = importlib.import_module(f"source_trees.{name}").make(root / "data")
    source = packaged_sources()[name]
    jail = Jail(root / "data", root / "cache")
    listing = list_source(source, jail)
    expand = Expand(source, jail, Key(b"a key for tests, sixteen bytes and more"))
    records: list[Record] = []
    refusals = list(listing.refusals)
    for entry in listing.entries:
        found = expand(entry)
        if isinstance(found, Refusal):
            refusals.append(found)
        else:
            records += found
    locate = Locate({source.id: source.roi})
    samples = [sample if sample.rejected else locate(sample) for sample in Loader(source, jail)(records)]
    return Built(source, expected, records, refusals, samples)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory):
    """Build each tree once for all tests of this file."""
    return cache(lambda name: build_tree(name, tmp_path_factory.mktemp(name)))


def test_every_packaged_source_has_a_tree():
    """A source nobody ever read a file of is a promise."""
    assert set(packaged_sources()) - DEMO == set(TREES)


@pytest.mark.parametrize("name", TREES)
def test_records_are_found_and_nothing_is_lost(name, built):
    """As many rows as the tree holds, each image read, and every leftover refused for the reason it should be."""
    case = built(name)
    assert Counter(refusal.code for refusal in case.refusals) == dict(case.expected.refused), case.refusals
    assert len(case.records) == case.expected.rows
    assert [sample.detail for sample in case.samples if sample.rejected] == []


@pytest.mark.parametrize("name", TREES)
def test_ids_are_unique_and_stable(name, built, tmp_path):
    """A second tree, read anew, gives the same ids; no two rows share one."""
    first = [record.id for record in built(name).records]
    assert len(set(first)) == len(first)
    assert [record.id for record in build_tree(name, tmp_path).records] == first


@pytest.mark.parametrize("name", TREES)
def test_labels_are_words_of_the_vocabulary_and_those_expected(name, built):
    """Every disease and organ is a term, and the tree's labels all arrive."""
    case = built(name)
    diseases = {word for sample in case.samples for word in sample.diseases}
    organs = {word for sample in case.samples for word in sample.organs}
    assert all(word in vocabulary("disease") for word in diseases)
    assert all(word in vocabulary("anatomy") for word in organs)
    assert (diseases, organs) == (set(case.expected.diseases), set(case.expected.organs))
    assert sum(sample.disease == "none" for sample in case.samples) == case.expected.healthy
    assert {sample.modality for sample in case.samples} == set(case.expected.modalities)


@pytest.mark.parametrize("name", TREES)
def test_patients_and_official_splits_are_found(name, built):
    """Patients become pseudonyms and keep their official split."""
    case = built(name)
    patients = {record.patient for record in case.records if record.patient is not None}
    assert len(patients) == case.expected.patients
    assert {record.official for record in case.records if record.official} == set(case.expected.splits)
    assert sum(record.text is not None for record in case.records) == case.expected.texts


@pytest.mark.parametrize("name", TREES)
def test_regions_are_valid_and_as_many_as_were_marked(name, built):
    """Boxes lie in the image, masks fill their boxes."""
    case = built(name)
    rois = [(sample, roi) for sample in case.samples for roi in sample.rois]
    assert len(rois) == case.expected.rois
    for sample, roi in rois:
        x0, y0, x1, y1 = roi.xyxy
        assert 0 <= x0 < x1 <= sample.width
        assert 0 <= y0 < y1 <= sample.height
        assert roi.mask is None or (roi.mask[[0, -1]].any(axis=1).all() and roi.mask[:, [0, -1]].any(axis=0).all())


@pytest.mark.parametrize("name", sorted(packaged_sources()))
def test_a_source_says_what_may_be_done_with_it(name):
    """Licence, citation and where it comes from; what nobody verified is not redistributed."""
    source = packaged_sources()[name]
    assert source.homepage
    assert source.citation
    assert source.size
    if source.license == "LicenseRef-unverified":
        assert source.redistribution == "recipe-only"
    if source.access == "credentialed":
        assert source.egress == "local-only"
    if name not in DEMO:
        assert source.layout_checked
        assert source.download or source.get_it


def test_the_experts_a_source_asks_exist_and_see_its_images():
    """A source names only packaged cards, each for a modality it may hold."""
    for source in packaged_sources().values():
        for name in source.experts:
            card = packaged_cards()[name]
            known = {source.modality, *source.modalities.values()} - {None}
            assert known & set(card.modalities), f"{source.id} asks {name}"


def test_ten_modalities_are_covered():
    """Each of the ten modalities has a source, not only those whose headers would say it."""
    stated = {source.modality for source in packaged_sources().values()}
    stated |= {word for source in packaged_sources().values() for word in source.modalities.values()}
    assert set(vocabulary("modality").terms) <= stated


def test_names_and_aliases_are_of_one_source_only():
    """Two names of one collection are one source."""
    names = [name for source in packaged_sources().values() for name in (source.id, *source.aliases)]
    assert [name for name, count in Counter(names).items() if count > 1] == []
