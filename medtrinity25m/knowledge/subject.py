"""Whether a passage is about what a query is about: the gate in front of similarity.

Vectors find passages that sound alike, and the passages on two cancers of one organ sound very much alike. Yet one
about another disease or organ is worse than none: it would be cited, and the text might follow it. So what the
vocabularies know of query and passage decides first:

* a passage that names organs must be about one of the query's, a part of it, or what it is part of: see `places`. Where
  the passage says a location and the query does, locations must meet; tissues count where one of them names no other.
  The query's organs are those it names; where its diseases do not occur there, or it names none, theirs too. Where no
  organ is known at all, passages that name one are out;
* a passage about diseases must be about one of the query's, or about what one of them is a kind of (`terms.wider`);
* a passage about organs and no disease is sure to fit where all of them are the query's or where its diseases occur; if
  it names modalities too, it must share one of these;
* a passage about a modality alone must share it;
* of those without a disease only the ones with a plain title (`terms.plain_title`) are sure to be about nothing else.
  A `Fungus ball of the lung` names an organ and is not about it: there, and where the vocabularies know nothing of a
  passage, similarity decides, and must reach the floor. What the vocabularies know nothing of must also say the
  name of one of the query's diseases or organs somewhere, if the query has any.

Where a query itself holds no word of the vocabularies, similarity decides alone.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from medtrinity25m.knowledge.index import Index, Mask
from medtrinity25m.knowledge.places import NO_PLACE, around, located, same_place
from medtrinity25m.knowledge.terms import of_kind, terms_of, wider
from medtrinity25m.registry import vocabulary


@dataclass(frozen=True)
class Subject:
    """What a query is about, in ids.

    Args:
        diseases: those it names.
        wider: what these are kinds of.
        places: the organs it is about: a passage that names others is refused.
        organs: those whose plain passages are welcome: the same, and where its diseases occur.
        modalities: those it names.
    """

    diseases: frozenset[str] = frozenset()
    wider: frozenset[str] = frozenset()
    places: frozenset[str] = frozenset()
    organs: frozenset[str] = frozenset()
    modalities: frozenset[str] = frozenset()

    @classmethod
    def of(cls, text: str, terms: Collection[str] | None) -> Subject:
        """Return what is asked for: by the terms given, or by the words of a text where none were."""
        known = frozenset(terms_of(text, "") if terms is None else terms)
        diseases = of_kind(known, "disease")
        named = of_kind(known, "anatomy")
        homes = [frozenset(vocabulary("disease")[disease].organs) for disease in diseases]
        places = named.union(*(home if not same_place(named, home) else home - located() for home in homes))
        return cls(
            diseases=diseases,
            wider=frozenset[str]().union(*map(wider, diseases)) - diseases,
            places=places,
            organs=places | (around(places) & frozenset[str]().union(*homes)),
            modalities=of_kind(known, "modality"),
        )

    @property
    def known(self) -> bool:
        """Whether the vocabularies know anything of it."""
        return bool(self.diseases or self.places or self.modalities)

    def admits(self, index: Index) -> tuple[Mask, Mask]:
        """Return which rows of an index are sure to fit, and which fit if similar enough; (count,) bool each."""
        if not self.known:
            return np.zeros(index.count, np.bool_), np.ones(index.count, np.bool_)
        kinds = index.about_kind
        here = self._here(index)
        same_modality = index.about(self.modalities) | (~kinds["modality"] if self.modalities else True)
        disease = index.about(self.diseases | self.wider) & here
        others = vocabulary("anatomy").terms.keys() - self.organs
        organ = index.about(self.organs) & here & same_modality
        alone = organ & ~index.about(others)
        modality = index.about(self.modalities) & ~kinds["anatomy"]
        nothing = ~(kinds["anatomy"] | kinds["modality"])
        if words := self.diseases | self.places:
            nothing &= index.saying(words)
        sure = np.where(kinds["disease"], disease, (alone | modality) & index.plain)
        return sure, ~kinds["disease"] & ~sure & (organ | modality | nothing)

    def _here(self, index: Index) -> Mask:
        """Return which rows name no organ, or one where the query is."""
        fits = index.about(around(self.places))
        if where := self.places & located():
            fits = np.where(index.about(located()), index.about(around(where) & located()), fits)
        return fits | ~index.about(vocabulary("anatomy").terms.keys() - NO_PLACE)
