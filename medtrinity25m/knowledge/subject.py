"""Whether a passage is about what a query is about: the gate in front of similarity.

Vectors find passages that sound alike, and the passages on two cancers of one organ sound very much alike. Yet one
about another disease or organ is worse than none: it would be cited, and the text might follow it. So what the
vocabularies know of query and passage decides first:

* a passage about diseases must be about one of the query's, or about what one of them is a kind of (`terms.wider`);
  where both name organs and the disease does not say where it is, they must share one;
* a passage about organs and no disease must share one with the query or with where its diseases occur; if it names
  modalities too, one of these;
* a passage about a modality alone must share it;
* of those without a disease only the ones with a plain title (`terms.plain_title`) are sure to be about nothing else.
  A `Fungus ball of the lung` names an organ and is not about it: there, and where the vocabularies know nothing of a
  passage, similarity decides, and must reach the floor.

Where a query itself holds no word of the vocabularies, similarity decides alone.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from medtrinity25m.knowledge.index import Index, Mask
from medtrinity25m.knowledge.terms import of_kind, terms_of, wider
from medtrinity25m.registry import vocabulary


@dataclass(frozen=True)
class Subject:
    """What a query is about, in ids.

    Args:
        diseases: those it names.
        wider: what these are kinds of.
        organs: those it names, and where its diseases occur.
        modalities: those it names.
    """

    diseases: frozenset[str] = frozenset()
    wider: frozenset[str] = frozenset()
    organs: frozenset[str] = frozenset()
    modalities: frozenset[str] = frozenset()

    @classmethod
    def of(cls, text: str, terms: Collection[str] | None) -> Subject:
        """Return what is asked for: by the terms given, or by the words of a text where none were."""
        known = frozenset(terms_of(text, "") if terms is None else terms)
        diseases = of_kind(known, "disease")
        places = {organ for disease in diseases for organ in vocabulary("disease")[disease].organs}
        return cls(
            diseases=diseases,
            wider=frozenset[str]().union(*map(wider, diseases)) - diseases,
            organs=of_kind(known, "anatomy") | places,
            modalities=of_kind(known, "modality"),
        )

    @property
    def known(self) -> bool:
        """Whether the vocabularies know anything of it."""
        return bool(self.diseases or self.organs or self.modalities)

    def admits(self, index: Index) -> tuple[Mask, Mask]:
        """Return which rows of an index are sure to fit, and which fit if similar enough; (count,) bool each."""
        if not self.known:
            return np.zeros(index.count, np.bool_), np.ones(index.count, np.bool_)
        kinds = index.about_kind
        same_place = index.about(self.organs) | (~kinds["anatomy"] if self.organs else True)
        same_modality = index.about(self.modalities) | (~kinds["modality"] if self.modalities else True)
        placed, anywhere = self._by_place()
        disease = index.about(placed) | (index.about(anywhere) & same_place)
        organ = index.about(self.organs) & same_modality
        modality = index.about(self.modalities) & ~kinds["anatomy"]
        nothing = ~(kinds["anatomy"] | kinds["modality"])
        sure = np.where(kinds["disease"], disease, (organ | modality) & index.plain)
        return sure, ~kinds["disease"] & ~sure & (organ | modality | nothing)

    def _by_place(self) -> tuple[set[str], set[str]]:
        """Return the diseases that say where they are, and those that may be anywhere."""
        terms = vocabulary("disease").terms
        own = self.diseases | self.wider
        placed = {disease for disease in own if terms[disease].organs}
        return placed, {*own} - placed
