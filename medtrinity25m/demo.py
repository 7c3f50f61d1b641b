"""The demo's inputs: real medical images that arrive with installed packages, copied to a folder a source.

Nothing is downloaded. A package that is not installed costs its images and a line saying how to get them.
The demo's key is public because its images are: whoever builds it gets the same ids.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from medtrinity25m.config import BuildConfig, SourceEntry
from medtrinity25m.errors import ConfigError
from medtrinity25m.knowledge.options import Knowledge
from medtrinity25m.registry import Split
from medtrinity25m.release.workspace import write_committed

PUBLIC_KEY = "medtrinity25m demo key: public, because the demo's images are"


@dataclass(frozen=True)
class Files:
    """Files of one package and where they go in a source's folder."""

    package: str
    folder: str
    names: tuple[str, ...]
    install: str
    dest: str = "."


@dataclass(frozen=True)
class Inputs:
    """One demo source: its packaged id, its files, and a table where the layout asks for one."""

    source: str
    files: tuple[Files, ...]
    tables: tuple[tuple[str, str], ...] = ()


def _pydicom(*names: str) -> Files:
    return Files("pydicom", "data/test_files", names, "pip install pydicom==3.0.2")


def _pydicom_data(*names: str) -> Files:
    return Files("data_store", "data", names, "pip install pydicom-data==1.0.0")


def _skimage(*names: str) -> Files:
    return Files("skimage", "data", names, "pip install scikit-image")


def _stardist(name: str, dest: str) -> Files:
    return Files("stardist", "data/images", (name,), "pip install --no-deps stardist==0.9.2", dest)


INPUTS: tuple[Inputs, ...] = (
    Inputs(
        "pydicom_ct",
        (
            _pydicom("CT_small.dcm", "J2K_pixelrep_mismatch.dcm"),
            _pydicom_data("693_UNCR.dcm", "bad_sequence.dcm", "explicit_VR-UN.dcm", "eCT_Supplemental.dcm"),
        ),
    ),
    Inputs(
        "pydicom_mr",
        (
            _pydicom("MR_small.dcm"),
            _pydicom_data("MR2_UNCR.dcm", "emri_small.dcm"),
        ),
    ),
    Inputs("siemens_liver_mr", (_pydicom("examples_overlay.dcm"),)),
    Inputs(
        "nema_radiographs",
        (_pydicom_data("RG1_UNCR.dcm", "RG3_UNCR.dcm"),),
        (("films.csv", "file,finding,body_part\nRG1_UNCR.dcm,,chest\nRG3_UNCR.dcm,nonossifying_fibroma,tibia\n"),),
    ),
    Inputs(
        "pydicom_ultrasound",
        (
            _pydicom("examples_palette.dcm"),
            _pydicom_data("US1_UNCR.dcm", "JPGLosslessP14SV1_1s_1f_8b.dcm", "color3d_jpeg_baseline.dcm"),
        ),
    ),
    Inputs(
        "skimage_fundus",
        (_skimage("retina.jpg", "microaneurysms.png"),),
        (("eyes.csv", "file,finding,eye\nretina.jpg,none,left\nmicroaneurysms.png,microaneurysm,\n"),),
    ),
    Inputs("skimage_histopathology", (_skimage("ihc.png"),)),
    Inputs("dsb2018_nuclei", (_stardist("img2d.tif", "images/field.tif"), _stardist("mask2d.tif", "masks/field.tif"))),
    Inputs(
        "mni152",
        (
            Files(
                "nilearn", "datasets/data", ("mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz",), "pip install nilearn"
            ),
        ),
    ),
)


def collect(out: Path, inputs: Path, say: Callable[[str], None]) -> BuildConfig:
    """Copy the demo's files below `inputs` and return the config that builds them into `out`.

    Raises:
        ConfigError: not one of the packages is installed.
    """
    entries = []
    for item in INPUTS:
        root = inputs / item.source
        missing = [files.install for files in item.files if not _copy(files, root)]
        if missing:
            say(f"demo: {item.source} is left out; to have it: {' && '.join(dict.fromkeys(missing))}")
            continue
        for name, text in item.tables:
            if not (root / name).is_file():
                write_committed(root / name, text)
        entries.append(SourceEntry(source=item.source, root=root.resolve()))
    if not entries:
        raise ConfigError(
            "none of the packages that carry the demo's images is installed: pip install 'medtrinity25m[demo]'"
        )
    key = inputs.parent / "demo.key"
    if not key.is_file():
        write_committed(key, PUBLIC_KEY)
    shares: dict[Split, float] = {"train": 0.6, "validation": 0.2, "test": 0.2}  # few patients: each split gets some
    return BuildConfig(
        out=out.resolve(), key_file=key.resolve(), sources=tuple(entries), split=shares, knowledge=Knowledge()
    )


def _copy(files: Files, root: Path) -> bool:
    """Copy a package's files unless they are there; say whether the package has them."""
    spec = find_spec(files.package)
    if spec is None or not spec.submodule_search_locations:
        return False
    folder = Path(spec.submodule_search_locations[0]) / files.folder
    for name in files.names:
        source = folder / name
        if not source.is_file():
            return False
        target = root / (name if files.dest == "." else files.dest)
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.is_file() or target.stat().st_size != source.stat().st_size:
            shutil.copyfile(source, target)
    return True
