"""The modality a text names, for collections of figures that say it nowhere else.

A text counts when its words name exactly one of the ten modalities and nothing else a figure can be: "axial
T2-weighted MRI" does, "PET/CT", "CT and MRI" and "photograph of the CT scanner" do not, nor does a text that names
none. Nothing is guessed from organs or diseases. What is asked (`is this a CT?`) is not said.

**Why** so strict: T2 alone may be a tumor's stage, MR a title, OCT a month and the fundus a part of the stomach; a
figure's caption speaks of the patient as often as of the picture ("histologically proven", "after endoscopic
resection", "CT-guided biopsy, hematoxylin and eosin"). A wrong modality would be repeated in every sentence of the
row. So words are of three kinds: those that say what the picture is (`NAMES`), those that only forbid another
modality (`HINTS`: what was done beside it), and those that say nothing (`NEUTRAL`); a phrase hides the words in it.
"""

from __future__ import annotations

import re

MAX_TEXT = 10_000  # characters of a text that is read: a caption has hundreds
OTHER = "other"  # a figure that is none of the ten, or several of them in one
PICTURES = r"(?:image|imaging|view|photo|picture|appearance|finding|still|frame)\w*"

NEUTRAL = (
    r"(?:ultrasound|ultrasonograph\w*|sonograph\w*|us|eus|ct|computed tomograph\w*|mri?|x-?ray|fluoroscop\w*|image"
    r"|endoscop\w*)[- ]guid\w+",
    r"(?:biopsy|patholog\w+|histolog\w+|histopatholog\w+)[- ](?:proven|proved|confirmed|verified|diagnosed)",
)
"""Words that say nothing of the picture."""

_COMPUTED = r"comput(?:ed|eri[sz]ed)(?: axial)? tomogra\w*"
_SCOPES = r"(?:endo|colono|gastro|broncho|cysto|laparo|hystero|arthro|laryngo|duodeno|entero|sigmoido)scop"
NAMES: dict[str, tuple[str, ...]] = {
    OTHER: (
        r"(?-i:(?:[\w-]{1,24}-)?PET) ?[-/+–]? ?(?-i:CT|MRI?)\w*",
        r"positron emission tomograph\w*(?: \(PET\))?(?: ?[-/] ?| and | with )(?:comput|ct|mr|magnetic)\w*",
        r"spect(?: ?[-/] ?ct)?|scintigra\w*|scintiscan\w*|bone scan\w*",
        r"fusion|fused|co-?registered",
        rf"micro[- ]?(?:ct|{_COMPUTED})|[µμ]-?ct",
        r"photoacoustic\w*|endomicroscop\w*|elastogra\w*|(?:laser|tissue) doppler",
        r"x-?ray (?:diffract|crystal|photoelectron|absorption|fluorescence|spectr|microanal)\w*",
        r"(?:energy[- ]dispersive|synchrotron) x-?ray\w*|polyethylene terephthalate|genotypes?",
        r"(?:(?:intra)?coronary|intravascular|endobronchial|skin|anterior[- ]segment) (?:OCT|optical coherence \w+)",
        r"(?:angio|veno|cholangio|arthro|cholangiopancreato)gra\w*|ercp",
        r"photographs?|photography|macroscopic\w*|resected specimen",
        r"gross (?:\w+ )?(?:specimen|appearance|patholog|examination|view|image)\w*",
        r"surgical (?:specimen|field|view)|intra-?operative (?:view|image|photo|picture)\w*",
        r"electro(?:cardio|encephalo)gra\w*|ecgs?|ekg|eeg|electrophoresis|(?:western|immuno)[- ]?blot\w*",
        r"flow cytometr\w*|pcr|kaplan[- ]meier|curves?|graphs?|histograms?|number of|scanners?|phantoms?",
        r"(?:bar|line|pie|forest|box|funnel|scatter|violin)[- ]?(?:plot|chart|graph)\w*",
        r"plots?|error bars?|means?|medians?|(?:per|each) group|correlations?",
        r"schema\w*|diagrams?|flow ?-?charts?|illustrations?|drawings?|cartoons?|algorithms?|workflows?",
    ),
    "ct": (
        rf"(?:ct|{_COMPUTED})(?: \(CT\))?(?: \w+)?[- ](?:angio|veno|cholangio|arthro|entero|uro|colono|myelo)gra\w*",
        rf"{_COMPUTED}|cat scans?|ct[- ](?:scan|imag|slice|section)\w*|^ct$",
        r"(?-i:CT|CTA|CTPA|CCTA|HRCT|CBCT|CECT|NCCT|MDCT|MSCT|LDCT)s?",
    ),
    "mri": (
        r"(?:mr|magnetic resonance(?: imaging)?)(?: \(\w+\))?"
        r"[- ](?:angio|veno|cholangio|cholangiopancreato|arthro|entero|uro|mammo|elasto)gra\w*",
        r"magnetic resonance|f?mri|mr[- ](?:imag|scan|sequence)\w*",
        r"(?-i:MRIs|MRA|MRV|MRCP|CMR|DWI|SWI|STIR|FLAIR|T[12]WI?)",
        r"(?:t[12][- *]*|(?:diffusion|susceptibility)[- ])weighted|t[12]wi?|fluid[- ]attenuated inversion|adc map\w*",
    ),
    "xray": (
        r"(?:coronary|cerebral|digital subtraction|catheter|invasive|conventional) angiogra\w*|(?-i:DSA)",
        r"x[- ]?rays?|roentgenogra\w*|radiogra(?:ph|phs|m|ms)|(?:chest|plain|abdominal) films?|(?-i:CXR|OPG|KUB)",
        r"orthopantomogra\w*|panoramic radiogra\w*|cephalogra\w*|mammogra\w*|tomosynthesis|fluoroscop\w*",
        r"barium (?:swallow|enema|meal|stud\w+|esophagogram)",
    ),
    "histopathology": (
        r"ha?ematoxylin(?:[- /&]+(?:and )?eosin)?|h(?: ?& ?|/| and )e|he[- ]?stain\w*",
        r"histo(?:patho)?log\w+ "
        r"(?:image|section|slide|picture|photo|appearance|feature|preparation|slice|stain|micrograph|view)\w*",
        r"(?:these|this) (?:histolog\w*|histopatholog\w*|immunohistochem\w*)|^histolog(?:y|ic|ical) (?:\w+ )?of",
        r"photomicrogra\w*|immunohistochemical(?:ly)? stain\w*|immunostain\w*|(?-i:IHC) stain\w*",
        r"masson\S* trichrome|periodic acid[- ]schiff|tissue (?:micro-?array|section)s?",
    ),
    "microscopy": (
        r"(?:epi)?fluorescence microsc\w*|immunofluorescen\w*|confocal (?:laser |scanning )*(?:micro|imag)\w*",
        r"(?:scanning |transmission )?electron micro\w*|bright-?field micro\w*|phase[- ]contrast (?:light )?micro\w*",
        r"(?:blood|marrow|aspirate|cytolog\w+|pap|sputum|papanicolaou) smears?",
    ),
    "dermoscopy": (rf"(?:derm(?:at)?oscop|epiluminescence micro)\w*(?: {PICTURES})?",),
    "fundus": (
        r"(?:colou?r )?fund(?:us|al) (?:photo|imag|picture|camera|autofluorescence|fluorescein)\w*(?: angiogra\w*)?",
        r"fundus of (?:the |an? )?(?:left |right |both )?eyes?",
        r"fund[ou]s?scop\w*|ophthalmoscop\w*|retinal (?:photo|fundus)\w*(?: photo\w*)?",
        r"(?:fundus )?(?:fluorescein|indocyanine green)(?: \(\w+\))? angiogra\w*",
    ),
    "endoscopy": (rf"{_SCOPES}ic {PICTURES}|{_SCOPES}(?:y|ies)|(?-i:EGD)",),
    "ultrasound": (
        r"(?:endoscopic|endobronchial|intravascular|laparoscopic) (?:ultraso\w+|sonogra\w+)",
        r"ultrasounds?|ultrasonogra\w*|ultrasonic (?:imag|scan)\w*|sonogra\w*|echo(?:cardio)?gra\w*|doppler",
        r"(?-i:TTE|TEE|IVUS|EUS|EBUS|TVUS|TRUS|POCUS)",
    ),
    "pet": (
        r"(?-i:(?:[\w-]{1,24}-)?PET)(?:[- ](?:scan|imag)\w*)?|pet[- ](?:scan|imag)\w*|positron emission tomogra\w*",
    ),
}
"""Modality → what names it, whole words; case is ignored but for the abbreviations in `(?-i:…)`."""

HINTS: dict[str, tuple[str, ...]] = {
    "histopathology": (r"histolog\w*", r"histopatholog\w*", r"immunohistochem\w*", r"(?-i:IHC)", r"cytolog\w*"),
    "microscopy": (r"fluorescence", r"confocal", r"in situ hybridi[sz]ation"),
    "pet": (r"(?-i:FDG)", r"suv ?max\w*", r"radiotracer\w*"),
    "xray": (r"radiogra\w*",),
    "ct": (r"hounsfield", r"tomogra\w*"),
    "mri": (r"gadolinium\w*",),
    "fundus": (r"(?-i:OCTA?)", r"optical coherence tomogra\w*(?: angiogra\w*)?"),
}
"""Modality → what forbids every other one, and does not name it by itself."""

_RETINA = re.compile(r"retin(?!oi)|macul|fove[ao]|choroid|optic (?:nerve|dis[ck])|vitre|drusen", re.IGNORECASE)
"""Optical coherence tomography counts as a picture of the fundus beside these words; it is made of arteries as well."""

_ASKED = re.compile(
    r"(?:^|(?<=[.?!:;)\n]))\s*(?:is|are|was|were|does|do|did|has|have|can|could|which"
    r"|what (?:kind|type|imag\w+|modality))\b[^.?!]*\?(?!\s*yes\b)",
    re.IGNORECASE,
)
"""A question that names what it asks for; one that is answered with yes says it."""
_DENIED = re.compile(r"\b(?:no|not an?|without|unlike|instead of|rather than) $", re.IGNORECASE)
Span = tuple[int, int, str]


def modalities_in(text: str) -> tuple[str, ...]:
    """Return the modality a text names, several for a text that names several, and none where it names none.

    A text that speaks of a figure of another kind, or is too long for a caption, names `OTHER` (too).
    """
    if len(text) > MAX_TEXT:
        return (OTHER,)
    text = " ".join(_ASKED.sub(" ", text).split())
    named, hinted = _spans(_NAMES, text), _spans(_HINTS, text)
    spans = [*named, *hinted, *_spans(_NEUTRAL, text)]
    alone = [
        span for span in named if not _hidden(span, spans) and not _DENIED.search(text[max(0, span[0] - 16) : span[0]])
    ]
    found = {modality for _, _, modality in alone}
    hints = {modality for _, _, modality in (span for span in hinted if not _hidden(span, spans))}
    if "fundus" in hints and _RETINA.search(text):
        found.add("fundus")
    return tuple(sorted(found | hints)) if found else ()


def _spans(words: dict[str, re.Pattern[str]], text: str) -> list[Span]:
    return [(*match.span(), modality) for modality, names in words.items() for match in names.finditer(text)]


def _hidden(span: Span, spans: list[Span]) -> bool:
    """Say whether a longer phrase takes a match in."""
    start, end, _ = span
    return any(first <= start and end <= last and last - first > end - start for first, last, _ in spans)


def _compiled(words: dict[str, tuple[str, ...]]) -> dict[str, re.Pattern[str]]:
    return {
        modality: re.compile(rf"(?<!\w)(?=\w)(?:{'|'.join(parts)})(?!\w)", re.IGNORECASE)
        for modality, parts in words.items()
    }


_NAMES, _HINTS, _NEUTRAL = _compiled(NAMES), _compiled(HINTS), _compiled({"": NEUTRAL})
