"""How terms of the vocabularies are related: part of, kind of, in the same part of the body."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from medtrinity25m.registry import vocabulary

_NEIGHBORS = frozenset(
    frozenset(pair)
    for pair in (
        ("head", "neck"),
        ("neck", "thorax"),
        ("thorax", "abdomen"),
        ("abdomen", "pelvis"),
        ("pelvis", "hip"),
        ("thorax", "shoulder"),
        ("neck", "shoulder"),
        ("limb", "shoulder"),
        ("limb", "hip"),
    )
)
FOCAL = frozenset({"lesion", "mass", "nodule", "tumor", "cyst", "opacity"})
"""Words that say something is there and little of what it is; two of them may mean one thing."""

_SPECIFIC = frozenset({
    "skin", "spine", "cervical_spine", "thoracic_spine", "lumbar_spine", "sacrum", "coccyx", "vertebra",
    "intervertebral_disc", "spinal_cord", "fetus", "fetal_head", "bone_marrow",
})  # fmt: skip
"""Anatomy of region `other` that an image can be of; the rest (vessel, tissue, nucleus) is everywhere."""


@cache
def wholes(organ: str) -> frozenset[str]:
    """Return a structure and all it is part of."""
    anatomy = vocabulary("anatomy")
    if organ not in anatomy:
        return frozenset({organ})
    return frozenset({organ}).union(*(wholes(whole) for whole in anatomy[organ].part_of))


@cache
def kinds(disease: str) -> frozenset[str]:
    """Return a disease and all it is a kind of."""
    diseases = vocabulary("disease")
    if disease not in diseases:
        return frozenset({disease})
    return frozenset({disease}).union(*(kinds(kind) for kind in diseases[disease].is_a))


@cache
def _cases(disease: str) -> frozenset[str]:
    """Return all diseases that are a kind of this one, itself among them."""
    return frozenset(other for other in vocabulary("disease").terms if disease in kinds(other))


def overlap(one: str, other: str) -> bool:
    """Say whether of two structures one is the other or part of it."""
    everywhere = {"whole_body", "body"}
    return one in everywhere or other in everywhere or one in wholes(other) or other in wholes(one)


def overlaps(organ: str, known: Iterable[str]) -> bool:
    """Say whether a structure overlaps one of several."""
    return any(overlap(organ, other) for other in known)


def is_general(organ: str) -> bool:
    """Say whether a structure is found all over the body: a vessel, tissue, a nucleus."""
    return vocabulary("anatomy")[organ].region == "other" and organ not in _SPECIFIC


@cache
def _regions(organ: str) -> frozenset[str]:
    """Return the regions of the body a structure lies in; empty when that could be any."""
    anatomy = vocabulary("anatomy")
    found = {str(anatomy[part].region) for part in wholes(organ) if part in anatomy} - {"None", "other"}
    if "head_neck" in found:
        above, below = (
            "head" in wholes(organ),
            bool({"neck", "head_neck"} & wholes(organ)) and "head" not in wholes(organ),
        )
        found = found - {"head_neck"} | ({"head"} if above else set()) | ({"neck"} if below else set())
        found |= {"head", "neck"} if organ == "head_neck" else set()
    if "limb" in found and organ != "extremity":
        near = {"shoulder": "shoulder", "hip": "hip", "thigh": "hip"}
        found = {near.get(next((part for part in near if part in wholes(organ)), ""), "limb")} | (found - {"limb"})
    return frozenset(found)


def is_everywhere(organ: str) -> bool:
    """Say whether a structure lies in no single region of the body."""
    return not _regions(organ)


def far_apart(organ: str, known: Iterable[str], *, close_up: bool) -> bool:
    """Say whether no image of `known` can show a structure; `close_up` images show one region of the body only."""
    ours = _regions(organ)
    theirs = frozenset().union(*(_regions(other) for other in known))
    if not ours or not theirs or ours & theirs:
        return False
    return close_up or not any(frozenset({one, other}) in _NEIGHBORS for one in ours for other in theirs)


def implied(disease: str, called: Iterable[str]) -> bool:
    """Say whether a label is the disease or a kind of it."""
    return any(disease in kinds(label) for label in called)


def compatible(disease: str, called: Iterable[str]) -> bool:
    """Say whether one finding can be both the disease and one of the labels: some term is a kind of each."""
    return any(
        disease in kinds(label) or label in kinds(disease) or bool(_cases(disease) & _cases(label)) for label in called
    )
