"""From a source's own words to vocabulary ids: labels of images, names of regions, values of masks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from medtrinity25m.errors import RefusedError, located
from medtrinity25m.readers.record import FileMark, Mark
from medtrinity25m.readers.safe import Jail
from medtrinity25m.registry import Meaning, Source, vocabulary


@dataclass(frozen=True)
class Naming:
    """The words of one source, and the folder its mask files lie in."""

    source: Source
    jail: Jail

    def meaning(self, raw: str) -> Meaning:
        """Return what a raw label means; refuses `label.unknown` with the nearest terms."""
        meaning = self.source.meaning(raw)
        if meaning is None:
            near = ", ".join((*vocabulary("disease").nearest(raw, 2), *vocabulary("anatomy").nearest(raw, 1)))
            why = f"label {raw!r} is in no vocabulary (nearest: {near}); map it in [labels] of {self.source.id}"
            raise RefusedError("label.unknown", why)
        return meaning

    def image(self, labels: Iterable[str]) -> tuple[Meaning, ...]:
        """Return what the labels of one image mean; refuses `label.contradiction` for a disease beside "no disease"."""
        said = tuple(self.meaning(raw) for raw in labels)
        if any(meaning.healthy for meaning in said) and any(meaning.diseases for meaning in said):
            raise RefusedError(
                "label.contradiction", f"labels {list(labels)} name a disease and say that there is none"
            )
        return said

    def marks(self, marks: Iterable[Mark], said: tuple[Meaning, ...]) -> tuple[Mark, ...]:
        """Return the marks with ids for labels and hashes of mask files; marks of background are left out."""
        resolved = (self._mark(mark, said) for mark in marks)
        return tuple(mark for mark in resolved if mark is not None)

    def _mark(self, mark: Mark, said: tuple[Meaning, ...]) -> Mark | None:
        try:
            return self._named(mark, said)
        except RefusedError as refusal:
            if isinstance(mark, FileMark):
                raise RefusedError(refusal.code, located(mark.path, refusal.detail)) from None
            raise

    def _named(self, mark: Mark, said: tuple[Meaning, ...]) -> Mark | None:
        if isinstance(mark, FileMark):
            mark = mark.with_(sha256=self.jail.digest(mark.path))
            if mark.mask_kind == "classes":
                return mark.with_(labels=self._values(mark))
        label = self._region(mark.label, said)
        return None if label is None else mark.with_(label=label)

    def _values(self, mark: FileMark) -> dict[str, tuple[str, ...]]:
        """Return the regions each value of a class mask belongs to.

        A value that means a disease in an organ belongs to the organ's region too, if another value is the organ:
        the tumor is part of the liver, not a hole in it.
        """
        said = {value: self.meaning(raw) for value, (raw,) in mark.labels.items()}
        own = {value: meaning.label for value, meaning in said.items()}
        named = set(own.values())
        return {
            value: tuple(
                dict.fromkeys(label for label in (own[value], *said[value].organs) if label in named and label)
            )
            for value in mark.labels
        }

    def _region(self, raw: str | None, said: tuple[Meaning, ...]) -> str | None:
        """Return what a region is called: by its own label, else the image's disease, else the source's.

        None for background. Refuses `label.region_unknown` where nothing names it; the organ an image shows is no
        name for a mark on it.
        """
        if raw:
            own = self.meaning(raw)
            if own.background:
                return None
            if own.label is None:
                why = f"a region is marked with label {raw!r}, which means no disease and no structure"
                raise RefusedError("label.region_unknown", f"{why}; map it in [labels] of {self.source.id}")
            return own.label
        spoken = [disease for meaning in said for disease in meaning.diseases]
        default = [disease for disease in self.source.diseases if disease in vocabulary("disease")]
        if not spoken and not default:
            why = (
                f"nothing says what the marked regions are; set mask_label or diseases in the TOML of {self.source.id}"
            )
            raise RefusedError("label.region_unknown", why)
        return (*spoken, *default)[0]
