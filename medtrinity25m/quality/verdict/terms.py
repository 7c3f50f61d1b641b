"""Verdicts on modality, view, structures and diseases, by the row's columns, the regions' labels and the passages."""

from __future__ import annotations

from medtrinity25m.caption import VIEWS
from medtrinity25m.quality.evidence import Evidence
from medtrinity25m.quality.extract.said import Said
from medtrinity25m.quality.verdict.judged import UNKNOWN, Judged, judged
from medtrinity25m.quality.verdict.kinship import (
    FOCAL,
    compatible,
    far_apart,
    implied,
    is_everywhere,
    is_general,
    kinds,
    overlap,
    overlaps,
    wholes,
)
from medtrinity25m.quality.verdict.places import patient_side
from medtrinity25m.registry import vocabulary

_BROAD = {"micro": ("histopathology", "microscopy"), "petct": ("pet", "ct"), "oct": ("fundus",)}
"""Words that more than one modality, or a part of one, is called by."""

_OWN = frozenset({"blood", "bone_marrow", "lymph_node"})
"""Tissues that are an image's whole subject: a smear of blood shows no stomach."""

_LOOSE = ("_mass", "_nodule", "_lesion", "_tumor")
"""A lung mass may be what the row calls cancer."""

_SEEN = ("topic", "with topic", "with subject", "inside")
"""A structure that a clause is about, or in which something lies, is said to be seen; others may stand for anything."""

_OTHER_SENSE = frozenset({"infiltration", "lung_cavity", "opacity", "hypertension", "consolidation", "hernia"})
"""Findings whose word means something else in another organ: inflammatory infiltrate, portal hypertension."""

CLOSE_UP = ("histopathology", "microscopy", "dermoscopy", "fundus", "endoscopy")
"""Modalities whose picture shows one part of the body and nothing beside it."""


def modality(item: Said, evidence: Evidence) -> Judged:
    """Judge what kind of image it is said to be."""
    value = item.statement.value
    expected = f"the image is {vocabulary('modality')[evidence.modality].name}"
    if value == "oct" and evidence.modality == "fundus":
        holds = None if evidence.view is None else evidence.view == "oct"
    elif value == "fundus" and evidence.modality == "fundus" and evidence.view == "oct":
        holds = False
    else:
        holds = evidence.modality in _BROAD.get(value, (value,))
    if not holds and item.stance == "hedged":
        return UNKNOWN
    return judged(holds, "metadata:modality", expected)


def view(item: Said, evidence: Evidence) -> Judged:
    """Judge a plane or projection."""
    if evidence.view is None:
        return UNKNOWN
    ours, theirs = evidence.view, item.statement.value
    if {ours, theirs} in ({"oblique", "mlo"}, {"frontal", "pa"}, {"frontal", "ap"}):
        return judged(True if theirs in ("frontal", "oblique") else None, "metadata:view")
    return judged(ours == theirs, "metadata:view", f"the view is {VIEWS.get(ours, ours)}")


def organ(item: Said, evidence: Evidence) -> Judged:
    """Judge a structure by what it is named for."""
    value, known = item.statement.value, evidence.of_organs
    if not known:
        return UNKNOWN
    column = "metadata:organs" if evidence.organs else "metadata:rois.label"
    own = [name for name in known if not is_general(name)]
    if overlaps(value, known if is_general(value) or not own else own):
        return Judged("supported", column)
    expected = "the row is about: " + ", ".join(sorted(vocabulary("anatomy")[name].name for name in known))
    if known & {"fetus", "fetal_head"} and item.role != "subject":
        return UNKNOWN  # everything a child has
    if is_general(value) or item.stance in ("background", "hedged"):
        return UNKNOWN
    close_up = evidence.modality in CLOSE_UP
    far = far_apart(value, known, close_up=close_up)
    if all(is_general(name) for name in known) and not (item.role == "subject" and known & _OWN):
        return UNKNOWN
    if item.role in ("subject", "label"):
        return judged(False, column, expected)
    if item.role == "place":
        theirs = item.subject.key.startswith("disease:") and not compatible(item.subject.key[8:], evidence.called)
        return judged(False if far or not theirs else None, column, expected)
    return judged(False if far and item.role in _SEEN else None, column, expected)


def disease(item: Said, evidence: Evidence, *, named: bool) -> Judged:
    """Judge a disease or finding; `named` says whether the text names a label of the row anywhere."""
    statement = item.statement
    if statement.value == "none":
        return _nothing(item, evidence, named=named)
    if statement.negated:
        return _denied(item, evidence)
    value, called = statement.value, evidence.called
    if implied(value, called) or _composed(value, evidence):
        return Judged("supported", _column(value, evidence))
    if item.stance == "background":
        return _cited(value, evidence)
    if item.stance == "hedged":
        return UNKNOWN
    return judged(_excluded(item, evidence, named=named), "metadata:disease", _labels(evidence))


def _excluded(item: Said, evidence: Evidence, *, named: bool) -> bool | None:
    """Return False where the row excludes a disease that is asserted, None where it may be there too."""
    value, called = item.statement.value, evidence.called
    term = vocabulary("disease")[value]
    organs = evidence.of_organs
    elsewhere = bool(term.organs and organs) and not any(
        is_general(organ) or overlaps(organ, organs) for organ in term.organs
    )
    far = elsewhere and all(far_apart(o, organs, close_up=evidence.modality in CLOSE_UP) for o in term.organs)
    if elsewhere and value in _OTHER_SENSE:
        return None
    if far or (evidence.disease == "none" and not called):
        return False
    if not called:
        return None
    columns = {evidence.disease, *evidence.diseases} & called
    if item.role == "label" and columns and not compatible(value, columns):
        return False
    if compatible(value, called):
        below = any(label in kinds(value) for label in called)
        return False if below and elsewhere else None
    if item.role == "label":
        return False
    loose = item.stance == "asserted" and not elsewhere and value.endswith(_LOOSE)
    if value in FOCAL or loose:
        return None
    others = [vocabulary("disease")[label].kind for label in sorted(called) if label not in FOCAL]
    if term.kind == "disease" and ("disease" in others or (elsewhere and _foreign(term.organs, organs))):
        return False
    alone = not named and bool(others)
    if alone and (elsewhere or item.stance == "concluded"):
        return False
    return None


def _foreign(places: tuple[str, ...], known: frozenset[str]) -> bool:
    """Say whether a disease lies in another region of the body than everything the row is about."""
    placed = [place for place in places if not is_everywhere(place)]
    if set(places) == {"skin"}:
        return not overlaps("skin", known)
    return bool(placed) and all(far_apart(place, known, close_up=True) for place in placed)


def _nothing(item: Said, evidence: Evidence, *, named: bool) -> Judged:
    """Judge that nothing is wrong, with the image or with one structure.

    A text that names the disease and calls the structure normal means the rest of it.
    """
    turned = item.statement.negated
    if not evidence.called:
        holds = True if evidence.disease == "none" else None
    elif item.stance == "background":
        holds = None
    elif item.role.startswith("organ:"):
        holds = False if not named and _ill(item.role.removeprefix("organ:"), evidence) else None
    else:
        holds = False
    found = judged(holds, "metadata:disease", _labels(evidence))
    return found.turned() if turned else found


def _ill(organ: str, evidence: Evidence) -> bool:
    """Say whether a structure is what the row's disease is of."""
    diseases = vocabulary("disease")
    where = {place for label in evidence.called for place in diseases[label].organs}
    if not where and len(evidence.organs) == 1:
        where = set(evidence.organs)
    return any(organ in wholes(place) for place in where)


def _denied(item: Said, evidence: Evidence) -> Judged:
    """Judge that a disease or finding is said to be missing."""
    value, called = item.statement.value, evidence.called
    if item.stance == "background" or item.role == "qualified":
        return UNKNOWN
    if item.others and not any(where in wholes(organ) for where in item.others for organ in _sick(evidence)):
        return UNKNOWN
    if item.role.startswith("placed:") and not _there(item.role, evidence):
        return UNKNOWN
    if item.role.startswith("sided:") and _elsewhere(item.role.removeprefix("sided:"), evidence):
        return UNKNOWN
    if implied(value, called) or (_composed(value, evidence)):
        return judged(False, _column(value, evidence), _labels(evidence))
    return judged(True if evidence.disease == "none" and not called else None, "metadata:disease")


def _sick(evidence: Evidence) -> frozenset[str]:
    """Return the structures in which the row's disease is: those of the row, and those where it occurs."""
    return frozenset(evidence.organs).union(*(vocabulary("disease")[label].organs for label in evidence.called))


def _there(role: str, evidence: Evidence) -> bool:
    """Say whether a region called a disease lies in the part of the image that is said to be free."""
    _, level, side = role.split(":")
    for index, roi in enumerate(evidence.rois):
        across, down = evidence.bins(index) if evidence.width else (2, 2)
        fits_side = not side or across in ((0, 1) if side == "left" else (3, 4))
        fits_level = not level or down in ((0, 1) if level == "upper" else (3, 4))
        if roi.label in vocabulary("disease") and fits_side and fits_level:
            return True
    return False


def _elsewhere(side: str, evidence: Evidence) -> bool:
    """Say whether what the row is labeled with may be on the other side than the one that is said to be free."""
    sides = {patient_side(evidence, index) for index in range(len(evidence.rois))} if evidence.width else set()
    sides |= {evidence.laterality} if evidence.laterality else set()
    return sides - {None} != {side}


def _composed(value: str, evidence: Evidence) -> bool:
    """Say whether label and organ together are the disease: `tumor` in the liver is a liver tumor."""
    term = vocabulary("disease")[value]
    parents = [kind for kind in term.is_a if kind in evidence.called and value.endswith(kind)]
    return bool(parents) and any(overlap(place, organ) for place in term.organs for organ in evidence.of_organs)


def _cited(value: str, evidence: Evidence) -> Judged:
    """Judge general knowledge: it rests on a passage that is about the term."""
    for passage in evidence.passages:
        if value in passage.terms or vocabulary("disease")[value].name in passage.text:
            return Judged("supported", f"passage:{passage.id}")
    return UNKNOWN


def _column(value: str, evidence: Evidence) -> str:
    """Return the column that names a disease."""
    if value in kinds(evidence.disease):
        return "metadata:disease"
    return "metadata:diseases" if implied(value, evidence.diseases) else "metadata:rois.label"


def _labels(evidence: Evidence) -> str:
    """Return what the row is labeled, in words."""
    names = [vocabulary("disease")[label].name for label in sorted(evidence.called)]
    return f"the row is labeled {', '.join(names)}" if names else f"the row is labeled {evidence.disease}"
