"""The dataset builder, installed as `medtrinity25m.builder`."""

from medtrinity25m.builder.builder import MedTrinity25M, MedTrinityConfig

__all__ = ["MedTrinity25M", "MedTrinityConfig"]
