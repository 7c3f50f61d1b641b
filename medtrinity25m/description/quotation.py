"""Words of others inside a prompt: made harmless, short, and impossible to take for the prompt's own.

A quotation stands between tags (`<passage>` … `</passage>`), and no `<` or `>` is left inside it: the closing tag
cannot occur, and neither can the marks by which chat templates tell who speaks (`<|im_start|>`, `</s>`, `<image>`),
which tokenizers would read as such. Marks in brackets (`[INST]`) get parentheses.

**Why** nothing is searched for: a list of phrases such as "ignore previous instructions" catches those who wrote it.
What protects a row is that labels never come from a model, that a reply must follow a schema, and that what it says
is checked.
"""

from __future__ import annotations

import re
import unicodedata

_ANGLES = str.maketrans({"<": "‹", ">": "›"})
_BRACKETED = re.compile(r"\[(/?[A-Z_]+)\]")
_UNSEEN = ("Cc", "Cf", "Cn", "Co", "Cs")
"""Unicode categories of what no reader sees: control, format (bidi, zero width), unassigned, private, surrogate."""


def visible(text: str) -> str:
    """Return `text` in NFC on one line: white space as single blanks, characters nobody sees left out."""
    normal = unicodedata.normalize("NFC", " ".join(text.split()))
    kept = "".join(c for c in normal if c == " " or unicodedata.category(c) not in _UNSEEN)
    return " ".join(kept.split())


def quoted(text: str, limit: int) -> str:
    """Return at most `limit` characters of `text` that can stand between tags; a cut is marked by `…`."""
    flat = visible(text[: 4 * limit])  # hostile texts may have megabytes
    flat = _BRACKETED.sub(r"(\1)", flat.translate(_ANGLES))
    if len(flat) <= limit and len(text) <= 4 * limit:
        return flat
    return flat[: limit - 1].rsplit(" ", 1)[0] + "…"
