"""What a model may answer: the schema it is given, and the strict reading of what came.

Reading is a short ladder, each step exact: a leading `<think>` block is taken off; the rest is one JSON object; or one
JSON object in a code fence; or one JSON object with prose, free of braces and brackets, around it. Anything else (two
objects, a cut object, a trailing comma, NaN, a name given twice) is `mllm.bad_json`.

Then every field is held against the schema. Line breaks become blanks, `**`, backticks and characters nobody sees are
taken out; a link, an address, HTML, a text too long or not in English, or one that speaks of boxes, prompts or the
writer instead of the image, is `mllm.schema`. So is a region answered twice, not at all, or with the place of another
one: then the reply is about another image or mixes its regions.

**Why** broken JSON is never mended: what a mender puts where the model stopped, nobody has said. Asking again is cheap.
Why the model must copy the place of each region: it is the one thing in a reply that shows which region is meant.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StrictBool, StrictInt, StrictStr, ValidationError

from medtrinity25m.description.quotation import visible
from medtrinity25m.errors import one_line
from medtrinity25m.quality.extract.sentences import sentences
from medtrinity25m.triplet import Frozen

Why = Literal["fields", "regions", "markup", "task", "language", "sentences"]
"""What is wrong with a reply that is JSON: a section of `prompts/again.md`."""

GLOBAL_CHARS, REGION_CHARS, RELATION_CHARS, CAPTION_CHARS = 1500, 1000, 700, 3000
"""Twice what the prompt asks for, at 7 characters a word."""
PLACE_CHARS, TEXTURE_CHARS = 80, 200
REPLY_CHARS = 60_000  # five regions, every text at its limit, every character escaped
MOST_RELATION_SENTENCES = 2

_THINKING = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)
_FENCE = re.compile(r"```(?:json)?[ \t]*\n(.*?)\n?```", re.DOTALL)
_MARKUP = re.compile(r"\]\s*\(|<[a-zA-Z!/?]|\b(?:https?|ftp|file)://|\bwww\.|\b(?:javascript|data|vbscript):\S|\{\{")
_TASK = re.compile(
    r"\bgreen (?:bounding )?box|\bbounding box|\bpictures? [12]\b"
    r"|\bregions?(?: of interest)? #?\d{1,3}\b(?![.,×]?\d|\s*(?:mm|cm|µm|pixels?|px|%|[×x]))"
    r"|\b(?:as an|i am an?|i'm an?) (?:ai|language model|assistant)\b|\blanguage model\b"
    r"|\b(?:system|user|provided|given) (?:prompt|message|passage|fact|reference)s?\b"
    r"|\bpassages? (?:\d|state|say|mention)"
    r"|\b(?:ignor|disregard|follow)\w* (?:(?:all|any|the|these|your|previous|prior|above|earlier) )*instructions?\b"
    r"|\bi(?:'m| am) (?:sorry|unable|not able)\b|\bi (?:cannot|can't|can not)\b|\bmedical (?:annotation|knowledge)\b",
    re.IGNORECASE,
)
_ENGLISH = re.compile(
    r"\b(?:the|a|an|of|in|is|are|with|and|no|on|to|at|by|it|this|that|from|as|shows?)\b", re.IGNORECASE
)
_BRACES = set("{}[]")
_WORD = re.compile(r"[^\W\d_]+")
_LEAST_WORDS = 3  # the shape shown in the prompt, copied with its dots, is no text
_WORDS_TO_JUDGE, _ENGLISH_SHARE = 8, 0.08
"""A sentence of eight words without any of these is no English one; in English about two of five words are."""


class _BadTextError(ValueError):
    """A text that may not ship; its one argument is a `Why`."""


@dataclass(frozen=True)
class Unusable:
    """Why a reply cannot be used: its code, the section of `again.md` that says so to the model, and for a person."""

    code: Literal["mllm.bad_json", "mllm.schema"]
    why: Why | None
    detail: str


def _text(text: str) -> str:
    """Return a text as it may ship."""
    plain = visible(text.replace("**", "").replace("`", ""))
    if _MARKUP.search(plain):
        raise _BadTextError("markup")
    if _TASK.search(plain):
        raise _BadTextError("task")
    if not _english(plain):
        raise _BadTextError("language")
    return plain


def _note(text: str) -> str:
    """Return words that do not ship, on one line."""
    return visible(text)


def _relation(text: str) -> str:
    if len(sentences(text)) > MOST_RELATION_SENTENCES:
        raise _BadTextError("sentences")
    return text


def _english(text: str) -> bool:
    """Say whether a text may be English: Latin letters, and common words where it is long enough to have some."""
    letters = [c for c in text if c.isalpha()]
    if any(ord(c) > 0x24F and not 0x370 <= ord(c) < 0x400 for c in letters):  # Latin, and Greek letters in names
        return False
    words = _WORD.findall(text)
    return len(words) < _WORDS_TO_JUDGE or len(_ENGLISH.findall(text)) >= _ENGLISH_SHARE * len(words)


def _of(limit: int) -> Any:
    return Field(max_length=limit)


class RegionReply(Frozen):
    """What was answered about one region; only `text` ships."""

    roi: StrictInt
    location: Annotated[StrictStr, _of(PLACE_CHARS), AfterValidator(_note)]
    texture: Annotated[StrictStr, _of(TEXTURE_CHARS), AfterValidator(_note)]
    text: Annotated[StrictStr, _of(REGION_CHARS), AfterValidator(_text)]


class Reply(Frozen):
    """A reply that follows the schema; texts are empty only where the model abstains, or of the relation."""

    global_text: Annotated[StrictStr, _of(GLOBAL_CHARS), AfterValidator(_text)]
    local: tuple[RegionReply, ...] = ()
    relation_text: Annotated[StrictStr, _of(RELATION_CHARS), AfterValidator(_text), AfterValidator(_relation)] = ""
    caption: Annotated[StrictStr, _of(CAPTION_CHARS), AfterValidator(_text)]
    abstain: StrictBool

    def regions(self, places: Mapping[int, str]) -> dict[int, str]:
        """Return the text of each region by index into `rois`, in the order of `places`."""
        texts = {region.roi: region.text for region in self.local}
        return {index: texts[index] for index in places}


def reply_schema(places: Mapping[int, str]) -> dict[str, Any]:
    """Return the JSON Schema of a reply about regions at these places; without regions it has no local part."""

    def text(limit: int) -> dict[str, Any]:
        return {"type": "string", "maxLength": limit}

    fields: dict[str, Any] = {"global_text": text(GLOBAL_CHARS)}
    if places:
        region = {
            "roi": {"type": "integer", "enum": list(places)},
            "location": {"type": "string", "enum": sorted(set(places.values()))},
            "texture": text(TEXTURE_CHARS),
            "text": text(REGION_CHARS),
        }
        number = len(places)
        fields["local"] = {"type": "array", "items": _object(region), "minItems": number, "maxItems": number}
        fields["relation_text"] = text(RELATION_CHARS)
    return _object(fields | {"caption": text(CAPTION_CHARS), "abstain": {"type": "boolean"}})


def reply_shape(places: Mapping[int, str]) -> dict[str, Any]:
    """Return a reply with its texts left out, for models that are not given the schema apart."""
    local = [{"roi": roi, "location": place, "texture": "…", "text": "…"} for roi, place in places.items()]
    regions = {"local": local, "relation_text": "…"} if places else {}
    return {"global_text": "…", **regions, "caption": "…", "abstain": False}


def _object(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": dict(fields), "required": list(fields), "additionalProperties": False}


def parse(content: str, places: Mapping[int, str]) -> Reply | Unusable:
    """Return the reply in a model's words, or why there is none; `places` are those of the regions asked about."""
    if len(content) > REPLY_CHARS:
        return Unusable("mllm.schema", "fields", f"{len(content):,} characters; a reply has at most {REPLY_CHARS:,}")
    found = list(_objects(_THINKING.sub("", content)))
    if len(found) != 1:
        return Unusable("mllm.bad_json", None, f"not one JSON object: {one_line(content[:100])}")
    try:
        reply = Reply(**found[0])
    except (ValidationError, TypeError) as error:
        return _explained(error)
    return _misplaced(reply, places) or reply


def _explained(error: ValidationError | TypeError) -> Unusable:
    """Return what a validation found, the first of it, without the words of the reply."""
    if isinstance(error, TypeError):
        return Unusable("mllm.schema", "fields", "a field has a name that is none")
    first = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    cause = first.get("ctx", {}).get("error")
    why: Why = cause.args[0] if isinstance(cause, _BadTextError) else "fields"
    said = f"not fit to ship ({why})" if isinstance(cause, _BadTextError) else first["msg"]
    return Unusable("mllm.schema", why, one_line(f"{field}: {said}"))


def _misplaced(reply: Reply, places: Mapping[int, str]) -> Unusable | None:
    """Return what is wrong with the regions of a reply, or with texts left empty; None where all is well."""
    if reply.abstain:
        return None
    numbers = sorted(region.roi for region in reply.local)
    if numbers != sorted(places):
        return Unusable("mllm.schema", "regions", f"local: regions {numbers}, asked about {sorted(places)}")
    for region in reply.local:
        if _folded(region.location) != _folded(places[region.roi]):
            detail = f"local: region {region.roi} is not at {one_line(region.location)!r} but at {places[region.roi]!r}"
            return Unusable("mllm.schema", "regions", detail)
    empty = [name for name in ("global_text", "caption") if not _says_something(getattr(reply, name))]
    empty += [f"local.{region.roi}.text" for region in reply.local if not _says_something(region.text)]
    return Unusable("mllm.schema", "fields", f"{', '.join(empty)}: no sentence") if empty else None


def _says_something(text: str) -> bool:
    return len(_WORD.findall(text)) >= _LEAST_WORDS


def _folded(place: str) -> str:
    return place.casefold().replace(" ", "").rstrip(".")


def _objects(content: str) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects of a reply by the ladder; not exactly one of them means that it cannot be read."""
    fences = _FENCE.findall(content)
    body = fences[0] if len(fences) == 1 and not _BRACES & set(_FENCE.sub("", content)) else content
    start, end = body.find("{"), body.rfind("}") + 1
    if start < 0 or _BRACES & set(body[:start] + body[end:]):
        return
    try:
        found = json.loads(body[start:end], object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return
    yield found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object whose names are all different."""
    whole = dict(pairs)
    if len(whole) != len(pairs):
        raise ValueError("a name is given twice")
    return whole


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
