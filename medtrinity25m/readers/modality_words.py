"""The modality a text names, for collections of figures that say it nowhere else.

A text counts when its words name exactly one of the ten modalities: "axial T2-weighted MRI" does, "PET/CT" and
"CT and MRI" do not, nor does a text that names none. Nothing is guessed from organs or diseases.

**Why** so strict: T2 alone may be a tumor's stage, MR a title and OCT a month, and a figure's caption speaks of the
patient as often as of the picture ("CT had shown ..., hematoxylin and eosin, x200"). A wrong modality would be
repeated in every sentence of the row.
"""

from __future__ import annotations

import re

WORDS: dict[str, str] = {
    "ct": r"ct|cta|computed tomograph\w*|computeri[sz]ed tomograph\w*|cat scan|hrct|cbct|cect|ncct|mdct",
    "mri": r"mri|mra|mrcp|mr (?:imag|scan)\w*|magnetic resonance|t[12]w|t[12][- ]weighted|flair"
    r"|diffusion[- ]weighted",
    "xray": r"x[- ]?rays?|radiographs?|roentgenograms?|chest film|orthopantomogra\w*|mammogra\w*|angiograms?",
    "histopathology": r"histolog\w*|histopatholog\w*|h ?& ?e|haematoxylin|hematoxylin|immunohistochem\w*|ihc"
    r"|photomicrograph\w*|biops\w+ specimen",
    "microscopy": r"fluorescence|immunofluorescence|confocal|electron micro\w*|brightfield|phase[- ]contrast"
    r"|blood smear",
    "dermoscopy": r"dermoscop\w*|dermatoscop\w*",
    "fundus": r"fundus|fundoscop\w*|optical coherence tomograph\w*|oct (?:imag|scan)\w*",
    "endoscopy": r"endoscop\w*|colonoscop\w*|gastroscop\w*|bronchoscop\w*|cystoscop\w*|laparoscop\w*",
    "ultrasound": r"ultraso\w*|sonogra\w*|echocardiogra\w*|doppler|tte|tee",
    "pet": r"pet|positron emission tomograph\w*|fdg",
}
"""Modality → words that name it, matched as whole words, case ignored."""

_NAMES = {modality: re.compile(rf"(?<![\w-])(?:{words})(?![\w])", re.IGNORECASE) for modality, words in WORDS.items()}


def modality_in(text: str) -> str | None:
    """Return the one modality a text names, or None where it names none or several."""
    named = [modality for modality, name in _NAMES.items() if name.search(text)]
    return named[0] if len(named) == 1 else None
