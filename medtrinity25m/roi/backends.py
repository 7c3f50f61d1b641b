"""From a card to an expert that can be asked; frameworks are imported here and not before.

A process loads an expert once: weights are large, and every shard asks the same ones.
"""

from __future__ import annotations

from typing import assert_never

from medtrinity25m.roi import run_options as run
from medtrinity25m.roi.card import Card
from medtrinity25m.roi.protocol import Expert, VolumeExpert

_experts: dict[str, Expert] = {}
_volume_experts: dict[str, VolumeExpert] = {}


def expert_of(card: Card) -> Expert:
    """Return the expert for images that a card describes, the one this process has if it has it."""
    if card.fingerprint not in _experts:
        _experts[card.fingerprint] = make_expert(card)
    return _experts[card.fingerprint]


def volume_expert_of(card: Card) -> VolumeExpert:
    """Return the expert for volumes that a card describes, the one this process has if it has it."""
    if card.fingerprint not in _volume_experts:
        _volume_experts[card.fingerprint] = make_volume_expert(card)
    return _volume_experts[card.fingerprint]


def make_expert(card: Card) -> Expert:
    """Return the expert for images that a card describes.

    Raises:
        ConfigError: a package, a file or a weight is missing, or is not what the card says.
    """
    match card.run:
        case run.Classical():
            from medtrinity25m.roi.classical import classical_expert

            return classical_expert(card)
        case run.Network():
            from medtrinity25m.roi.neural.network import image_network

            return image_network(card)
        case run.Transformers():
            from medtrinity25m.roi.neural.hub_models import transformers_expert

            return transformers_expert(card)
        case run.Cellpose():
            from medtrinity25m.roi.neural.cellpose import cellpose_expert

            return cellpose_expert(card)
        case run.MonaiBundle() | run.NnUNet() | run.TotalSegmentator():
            raise TypeError(f"{card.id} works on volumes; make_volume_expert makes it")
        case _:
            assert_never(card.run)


def make_volume_expert(card: Card) -> VolumeExpert:
    """Return the expert for volumes that a card describes; raises as `make_expert` does."""
    match card.run:
        case run.Network():
            from medtrinity25m.roi.neural.network import volume_network

            return volume_network(card)
        case run.MonaiBundle():
            from medtrinity25m.roi.neural.bundle import bundle_expert

            return bundle_expert(card)
        case run.NnUNet():
            from medtrinity25m.roi.neural.nnunet import nnunet_expert

            return nnunet_expert(card)
        case run.TotalSegmentator():
            from medtrinity25m.roi.neural.totalsegmentator import totalsegmentator_expert

            return totalsegmentator_expert(card)
        case _:
            raise TypeError(f"{card.id} works on images; make_expert makes it")
