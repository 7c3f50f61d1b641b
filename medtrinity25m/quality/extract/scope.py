"""What a sentence denies, doubts, or tells as background, by scope rules in the manner of NegEx and ConText.

A cue has a scope: the rest of its clause up to a word that ends it (`no effusion, but a nodule`), or what stands before
it (`a nodule is not seen`). Phrases that look like a cue and are none (`no change`, `without contrast`) come first.

**Why** background is apart from doubt: "pneumonia often follows" says nothing about this image, whatever its label;
"possible pneumonia" says a little, and is supported where the label agrees.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from medtrinity25m.quality.extract.sentences import Span

Stance = Literal["asserted", "concluded", "hedged", "background"]


_ANY_NO = re.compile(
    r"\bn(?:o|on|ot|or|ever|either|one|obody|othing|owhere|egative)\b|n['’]t\b|without|cannot|absen"
    r"|lack|free\s|devoid|fail"
    r"|exclude|rule|denies|missing|unlikely"
)
"""Whether any of the rules below can apply: most clauses deny nothing."""
_PSEUDO = re.compile(
    r"\b(?:no|without|not)\s+(?:any\s+)?(?:significant\s+|interval\s+|substantial\s+|appreciable\s+"
    r"|major\s+|relevant\s+)*"
    r"(?:change|increase|decrease|difference|progression|improvement|growth)s?\b"
    r"|\bnot\s+(?:only|just|merely|simply|solely|necessarily|limited\s+to)\b|\bno\s+doubt\b"
    r"|\bno\s+(?:more|less|fewer)\s+than\b"
    r"|\b(?:without|no|non)[\s-]+(?:the\s+use\s+of\s+)?(?:(?:any|intravenous|iv|oral"
    r"|administration\s+of|administered)\s+)*"
    r"contrast(?:[\s-]+(?:media|medium|agent|material|enhanced|enhancement|administration))?\b"
    r"|\bnot\s+(?:\w+ly\s+|yet\s+)?(?:included|covered|imaged|available|provided|known|to\s+scale"
    r"|assessed|scanned|evaluated|examined|looked|part\s+of|in\s+(?:the|this)\s+"
    r"(?:field|image|section|slice|scan|picture|frame))\b",
)
_OTHER = re.compile(
    r"\b(?:no|without(?:\s+any)?|not\s+any|free\s+of|absence\s+of|nor)\s+(?:evidence\s+of\s+)?(?:any\s+)?"
    r"(?:other|additional|further|new|second|third|separate|satellite|more|associated|secondary|concomitant|remaining|"
    r"similar|accompanying|adjacent|surrounding|distant|contralateral)\b",
)
"""`no other lesion`: what is denied is something beside what the row holds."""

_DOUBLE = re.compile(
    r"\b(?:can|could)\s*not\s+(?:be\s+)?(?:\w+ly\s+)?(?:excluded?|ruled?\s+out|dismiss(?:ed)?)\b"
    r"|\bcannot\s+(?:be\s+)?(?:\w+ly\s+)?"
    r"(?:excluded?|ruled?\s+out|dismiss(?:ed)?)\b|\bnot\s+(?:be\s+)?(?:excluded?|ruled\s+out)\b"
    r"|\bdoes\s+not\s+exclude\b",
)
_FORWARD = re.compile(
    r"\b(?:no|without|absence\s+of|lack\s+of|lacks|lacking|free\s+(?:of|from)|devoid\s+of"
    r"|negative\s+for|(?<!is )(?<!was )(?<!are )(?<!were )(?<!been )ruled?\s+out"
    r"|rules\s+out|excludes|denies|fails?\s+to\s+(?:show|demonstrate|reveal)|neither|nor|never|nothing|none|nobody"
    r"|excluded\s+as|exclude[sd]?\s+the\s+presence\s+of)\b",
)
_VERB = re.compile(r"(?:\b(?:not|cannot)\b|n['’]t\b)")
_SEEN = (
    r"(?:seen|identified|detected|present|visible|visuali[sz]ed|evident|observed|found|noted|appreciated|demonstrated|"
    r"apparent|shown|depicted|annotated|marked|outlined|boxed|highlighted|delineated|segmented"
    r"|recogni[sz]able|discernible|recogni[sz]ed|suspected|there)"
)
_BACKWARD = re.compile(
    rf"(?:\bnot|n['’]t|\bcannot|\bnever|\bnowhere)\s+(?:\w+ly\s+)?(?:be(?:en)?\s+)?(?:\w+ly\s+)?{_SEEN}\b"
    r"|\b(?:is|are|was|were|appears?)\s+(?:\w+ly\s+)?(?:absent|excluded(?!\s+as)|ruled\s+out|lacking"
    r"|missing|negative)\b"
    r"|\babsent(?=\s*(?:[.;,)]|on\b|in\b|$))|\b(?:has|have)\s+(?:completely\s+|now\s+)?(?:resolved"
    r"|cleared|disappeared)\b"
    r"|\b(?:has|have)\s+been\s+(?:excluded|ruled\s+out)\b|:\s*(?:none|no|absent|negative|not\s+seen)\b"
    r"|\s[-–]\s*(?:absent|negative)\b"
    r"|\bnot\s+the\s+case\b|\bunlikely\b",
)
_END = re.compile(
    r"[;]|,\s*(?:with|showing|demonstrating|revealing|there|it|they|this|the|an?|and\s+(?:the|there|it"
    r"|an?|is|are|shows?|"
    r"measures?|covers?|lies|occup\w+)|measuring|located|occupying|covering|suggesting|indicating"
    r"|consistent|which|where|"
    r"whose|and\s+is)\b|\s(?:but|however|although|though|except|whereas|while|which|because|since"
    r"|therefore|apart|besides|"
    r"aside|rather)\b|(?<!keeping)(?<!consistent)(?<!compatible)(?<!line)(?<!accordance)\s(?:and"
    r"|with)\s+(?:there|an?|the|it|its)\s|\s(?:is|are|was|were)\s+(?:located|centered|centred"
    r"|labell?ed)\b",
)
_HEDGE = re.compile(
    r"\b(?:possibl[ey]|probabl[ey]|likely|may|might|could|suspected|suspicio(?:us|n)|concerning\s+for|"
    r"question(?:able|\s+of)|cannot\s+exclude|differentials?|favou?r(?:s|ed|ing)?|presum(?:ed|ably)|potential(?:ly)?|"
    r"worrisome|perhaps|equivocal|resembl(?:es|ing)|mimic(?:s|king)?|rais(?:es|ing)|if|whether|would|to\s+exclude|"
    r"rule\s+out|r/o|evaluate\s+for|assess\s+for|exclude|impression\s+of|reminiscent)\b|\?",
)
_HEDGE_BACK = re.compile(
    r"\b(?:is|are|was|were)\s+(?:also\s+)?(?:possible|suspected|likely|probable|considered|favou?red"
    r"|suggested)\b|\b(?:may|might|could)\s+(?:also\s+)?be\s+"
    r"(?:present|considered|suspected)\b|\bshould\s+be\s+considered\b|\bless\s+likely\b|\bin\s+the\s+differential\b"
    r"|\b(?:is|are)\s+(?:an?|the|one|another)\s+(?:\w+\s+)?(?:differential|alternative|consideration|possibility)\b"
    r"|\b(?:may|might|could)\s+(?:also\s+)?(?:look|appear|coexist|exist|mimic|explain)\b",
)
_CONCLUDE = re.compile(
    r"\b(?:consistent\s+with|suggests?|suggesting|suggestive\s+of|speaks?\s+for|compatible\s+with"
    r"|indicative\s+of|in\s+keeping\s+with|in\s+line\s+with|characteristic\s+of|typical\s+(?:of|for)|"
    r"diagnostic\s+of|pathognomonic|correspond(?:s|ing)\s+to|attributable\s+to|indicat(?:es?|ing)|reflect(?:s|ing)?|"
    r"(?:typically|commonly|usually|often|frequently)\s+(?:seen|observed|found|encountered"
    r"|associated)\s+(?:in|with)|represent(?:s|ing)?|in\s+accordance\s+with|associated\s+with"
    r"|related\s+to|due\s+to|caused\s+by|secondary\s+to)\b",
)
_HABIT = re.compile(
    r"\b(?:(?:typically|commonly|often|usually|frequently)(?!\s+(?:seen|observed|found|encountered"
    r"|associated)\s+(?:in|with)\b)"
    r"|generally|in\s+general|normally|sometimes|occasionally|rarely|(?:most|more|less)\s+(?:common|frequent|often)"
    r"|commonest|(?:an?|the)\s+(?:common|frequent|rare|usual|typical)\s+(?:cause|source|finding|site"
    r"|tumou?r|type|form|sign|feature))\b"
)
"""What is so in general; it holds from the comma before it."""
_GENERAL = re.compile(
    r"\b(?:(?:is|are)\s+(?:well\s+)?known"
    r"|tends?\s+to|(?:is|are)\s+(?:a|an|one\s+of)\s+(?:\w+\s+){0,3}(?:diseases?|conditions?|disorders?"
    r"|types?|forms?|causes?|complications?|risk)\b"
    r"|can\s+(?:also\s+)?(?:cause|lead|be(?!\s+(?:\w+ly\s+)?(?:seen|identified|appreciated"
    r"|distinguished|visuali[sz]ed|observed|recogni[sz]ed|made\s+out|noted|found|delineated|detected))"
    r"|occur|result|affect|arise|spread|mimic|develop|present|appear|indicate|have|show)"
    r"|may\s+(?:cause|lead|result|progress|develop|arise|metastasi[sz]e|spread)|"
    r"risk\s+(?:of|factors?|for)|prognosis|prevalen\w+|incidence|patients\s+with|people\s+with"
    r"|cases\s+of|complications?\s+of|"
    r"literature|guidelines?)\b",
)
_EXAMPLE = re.compile(r"\b(?:such\s+as|for\s+example|for\s+instance|e\.g)")
_RECOMMEND = re.compile(
    r"\b(?:recommend\w*|advis(?:e|ed|able)|should\s+be|is\s+suggested|follow[\s-]?up"
    r"|further\s+(?:evaluation|work|assessment|imaging|"
    r"characteri[sz]ation)|correlat\w+|warrant\w*|consider|would\s+(?:help|be|allow|better)|(?:can|may"
    r"|could)\s+be\s+(?:used|obtained|performed|"
    r"helpful|useful|needed|considered)|helpful|if\s+clinically|is\s+needed|are\s+needed"
    r"|better\s+(?:assessed|evaluated|seen|characteri[sz]ed)|"
    r"suggest\s+(?:an?\s+)?(?:follow|further|biopsy|mri|ct|ultrasound|oblique|lateral|repeat|dedicated"
    r"|view)|suggested(?=\s*[.;]|$)"
    r"|(?:not\s+)?(?:required|indicated)(?=\s*[.;]|$)|(?:could|can|may|might)\s+(?:also\s+)?help|surveillance|"
    r"biopsy\s+(?:is|may|should|would)|proceed|refer(?:red|ral)?|would\s+\w+|will\s+be|to\s+be\s+\w+ed"
    r"|look(?:ed|ing)?\s+for|awaited|pending|planned|scheduled)\b",
)
_HISTORY = re.compile(
    r"(?<!year[- ])(?<!years[- ])(?<!month[- ])\b(?:old|healed|remote)\s+(?!man|woman|boy|girl|male"
    r"|female|patient|child)"
    r"|\b(?:history|known|under(?:went|goes|going)|status\s+post|s/p|previous(?:ly)?|prior|formerly"
    r"|earlier|indication|clinical(?:ly)?|(?:sent|retrieved|submitted|taken)\s+for|present(?:ed"
    r"|ing)\s+(?:with|to|at)|complain\w*|"
    r"treated|symptoms?|suffers?|suffering|after\s+(?:surgery|resection|treatment|therapy)"
    r"|pre-?operative|postoperative|proven|confirmed|"
    r"diagnosed|query|evaluate|work-?up|first\s+seen|reported\s+(?:by|on|in)|ordered\s+to|done\s+for"
    r"|(?:seen|found|imaged|noted|detected)\s+(?:on|by|at|with)\s+(?:an?\s+|the\s+)?"
    r"(?:earlier|outside|recent|separate|later|same-day|dedicated|screening))\b|\bat\s+(?:histo\w+"
    r"|ultrasound|biopsy|surgery|autopsy|follow)\b",
)
"""What follows is of another time or another examination."""
_WHEN = re.compile(
    r"\b(?:(?:years?|months?|weeks?|days?|hours?)\s+(?:ago|before|earlier|later|after)|(?:last"
    r"|the\s+(?:next|previous|same|following))\s+(?:day|week|month|year)|"
    r"(?:in|of|since|from)\s+(?:19|20)\d\d|(?:in|by)\s+(?:(?:the|his|her|their)\s+)?(?:patient['’]?s?\s+)?history)\b",
)
"""Another time; it holds for the rest of the clause from the comma before it."""
_ELSEWHEN = re.compile(
    r"\b(?:family|father|mother|brother|sister|had|"
    r"(?:was|were)\s+(?:normal|negative|unremarkable|positive|abnormal)|(?:was|were|been|has"
    r"|have)\s+(?:\w+ly\s+)?(?:removed|refused|declined|cancell?ed|requested"
    r"|treated|operated|resected|reported|excised|seen\s+(?:on|by|at|with)|imaged|scanned|photographed"
    r"|ordered|performed|done|obtained|known|"
    r"found\s+(?:on|by|at|with|in\s+\d))|(?:reported|photographed|examined|described|documented"
    r"|dictated|scanned|read)\s+separately|(?:done|performed|obtained"
    r"|taken)\s+(?:\w+\s+){0,3}(?:days?|weeks?|months?|years?|hours?)\s+(?:later|earlier|before|ago"
    r"|after)|separate\s+report|on\s+file|"
    r"(?:has|have)\s+been\s+(?!annotated|outlined|marked|identified|noted|labell?ed|delineated|seen"
    r"|detected|located|found|segmented|highlighted|shown|boxed|drawn|placed)\w+ed|another\s+(?:clinic"
    r"|hospital|examination|image|visit)|surgery|attenuation\s+correction)\b",
)
"""A whole clause of another time, another examination or another person."""
_ELSEWHERE = re.compile(
    r"\b(?:outside|beyond|out\s+of)\s+(?:of\s+)?(?:the|this)\s+(?:field|image|section|slice|scan"
    r"|picture|frame|volume|view)\b|\bother\s+(?:images?|slices?|sections?|views?|planes?)\b"
    r"|\b(?:not|never|nor)\s+(?:\w+ly\s+|yet\s+|been\s+)*(?:included|covered|imaged|assessed|scanned"
    r"|x-?rayed|evaluated|examined|photographed|looked\s+for|part\s+of|in\s+(?:the|this)\s+"
    r"(?:field|image|section|slice|scan|picture|frame|view)|visuali[sz]ed)\b"
    r"|\bis\s+(?:included\s+)?in\s+the\s+field\b"
    r"|\bno\w*\b[^.;]{0,60}\bin(?:cluded)?\s+(?:in\s+)?the\s+field\b",
)
"""What the image is said not to show."""
_COMPARE = re.compile(
    r"\b(?:compar(?:ed?|ison|able|ing)|unlike|in\s+contrast\s+(?:to|with)|as\s+opposed\s+to"
    r"|rather\s+than|instead\s+of|versus|vs\.?|than\s+(?:on|with|by|in)|"
    r"differs?\s+from|distinguish\w*|differentiat\w*|as\s+(?:on|in)\s+(?:the\s+)?(?:previous|prior)"
    r"|guided|similar\s+to|as\s+(?:(?:it|they)\s+)?(?:do|does|is|are))\b",
)
_OVER = re.compile(r"\b(?:favou?r(?:s|ed|ing)?|suggest(?:s|ing)?|supports?|rather)\b[^.;]{0,60}?\sover\s")
"""What is behind `favors … over` is what it is not."""
_WORD_BEFORE = 8  # letters of a word that a cue is glued to: biopsy-proven
_NONE = re.compile(r":\s*(?:none|no|nil|absent|negative|not\s+\w+)\s*(?:[.;,]|$)")
_HEADING = re.compile(r"\s*([A-Z][A-Za-z ]{2,28}?)\s*:")
_BACKGROUND_HEADINGS = frozenset({
    "indication", "indications", "history", "clinical history", "comparison", "comparisons", "recommendation",
    "recommendations", "clinical information", "clinical indication", "reason for exam", "reason for examination",
    "clinical details", "note", "advice", "patient history", "plan", "differential", "differential diagnosis", "ddx",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Scope:
    """What a sentence does with its parts.

    Args:
        denied: parts within which whatever is named is said to be missing.
        reversed_: parts within which a verb is turned round (`is not located in …`): their statements are denied.
        others: parts that deny something beside what the row holds.
    """

    denied: tuple[Span, ...]
    reversed_: tuple[Span, ...]
    others: tuple[Span, ...]
    doubted: tuple[Span, ...]
    concluded: tuple[Span, ...]
    general: tuple[Span, ...]
    recommended: tuple[Span, ...]
    past: tuple[Span, ...]
    compared: tuple[Span, ...]

    def denies(self, start: int, end: int) -> bool:
        """Say whether a thing named here is said to be missing."""
        return _within(self.denied, start, end) or _within(self.reversed_, start, end)

    def turns(self, start: int, end: int) -> bool:
        """Say whether a verb is turned round here: `does not show the liver`."""
        return _within(self.reversed_, start, end)

    def drops(self, start: int, end: int) -> bool:
        """Say whether a place, size or count here belongs to something missing, or to something else."""
        return _within(self.denied, start, end) or _within(self.others, start, end)

    def aside(self, start: int, end: int) -> bool:
        """Say whether a figure here is of another time, another image or of people in general."""
        return any(
            _within(spans, start, end)
            for spans in (self.general, self.recommended, self.past, self.compared, self.others)
        )

    def stance(self, start: int, end: int) -> Stance:
        """Return how a thing named here is said."""
        if self.aside(start, end):
            return "background"
        if _within(self.doubted, start, end):
            return "hedged"
        return "concluded" if _within(self.concluded, start, end) else "asserted"


def _within(spans: tuple[Span, ...], start: int, end: int) -> bool:
    """Say whether one of the parts holds another."""
    return any(span.holds(start, end) for span in spans)


def is_background(text: str, sentence: Span) -> str | None:
    """Return `background` or `findings` when a heading opens the sentence, else None."""
    heading = _HEADING.match(text, sentence.start, sentence.end)
    if heading is None:
        return None
    return "background" if heading[1].strip().casefold() in _BACKGROUND_HEADINGS else "findings"


def scope_of(text: str, sentence: Span, parts: list[Span], *, background: bool) -> Scope:
    """Return the scopes of a sentence; `background` when it stands under a heading like `Indication:`."""
    denied: list[Span] = []
    turned: list[Span] = []
    others: list[Span] = []
    doubted: list[Span] = []
    concluded: list[Span] = []
    general: list[Span] = [sentence] if background else []
    recommended: list[Span] = []
    past: list[Span] = []
    compared: list[Span] = []
    for part in parts:
        _negations(text, part, denied, turned, others, doubted)
        for pattern, spans in ((_HEDGE, doubted), (_CONCLUDE, concluded)):
            spans.extend(Span(cue.start(), part.end) for cue in pattern.finditer(text, part.start, part.end))
        compared.extend(Span(cue.end() - 1, part.end) for cue in _OVER.finditer(text, part.start, part.end))
        doubted.extend(Span(part.start, cue.start()) for cue in _HEDGE_BACK.finditer(text, part.start, part.end))
        past.extend(
            Span(max(part.start, cue.start() - _WORD_BEFORE), part.end)
            for cue in _HISTORY.finditer(text, part.start, part.end)
        )
        general.extend(Span(cue.start(), part.end) for cue in _EXAMPLE.finditer(text, part.start, part.end))
        for cue in _WHEN.finditer(text, part.start, part.end):
            comma = text.rfind(",", part.start, cue.start())
            past.append(Span(part.start if comma < 0 else comma, part.end))
        for cue in _HABIT.finditer(text, part.start, part.end):
            comma = text.rfind(",", part.start, cue.start())
            general.append(Span(part.start if comma < 0 else comma, part.end))
        for pattern, spans in ((_GENERAL, general), (_ELSEWHEN, past), (_ELSEWHERE, past)):
            if pattern.search(text, part.start, part.end):
                spans.append(part)
        compared.extend(_beside(text, part, cue) for cue in _COMPARE.finditer(text, part.start, part.end))
        if _RECOMMEND.search(text, part.start, part.end):
            recommended.append(part)
    for before, part in pairwise(parts):  # "Left breast: see separate report"
        if text[part.start] == ":" and any(span.holds(part.start + 2, part.start + 3) for span in past):
            past.append(before)
        if _NONE.match(text, part.start, part.end):  # "Effusion: none"
            denied.append(before)
    return Scope(*map(tuple, (denied, turned, others, doubted, concluded, general, recommended, past, compared)))


def _beside(text: str, part: Span, cue: re.Match[str]) -> Span:
    """Return the part of a clause that names what is compared with: up to a comma, behind the cue."""
    comma = text.find(",", cue.end(), part.end)
    return Span(cue.start(), part.end if comma < 0 else comma)


def _negations(
    text: str, part: Span, denied: list[Span], turned: list[Span], others: list[Span], doubted: list[Span]
) -> None:
    """Add the parts of a clause that are denied, turned round, about others, or doubted by a double negation."""
    if not _ANY_NO.search(text, part.start, part.end):
        return
    taken: list[Span] = []
    for pattern in (_PSEUDO, _DOUBLE, _OTHER):
        for cue in pattern.finditer(text, part.start, part.end):
            if any(span.holds(cue.start(), cue.start() + 1) for span in taken):
                continue
            taken.append(Span(cue.start(), cue.end()))
            if pattern is _DOUBLE:
                doubted.append(part)
            if pattern is _OTHER:
                others.append(Span(cue.start(), _end(text, cue.end(), part.end)))
    for cue in _BACKWARD.finditer(text, part.start, part.end):
        if not any(span.holds(cue.start(), cue.start() + 1) for span in taken):
            taken.append(Span(cue.start(), cue.end()))
            (doubted if "unlikely" in cue.group().casefold() else denied).append(Span(part.start, cue.start()))
            denied.append(Span(cue.end(), _end(text, cue.end(), part.end)))
    for pattern, spans in ((_FORWARD, denied), (_VERB, turned)):
        for cue in pattern.finditer(text, part.start, part.end):
            if not any(span.holds(cue.start(), cue.start() + 1) for span in taken):
                spans.append(Span(cue.start(), _end(text, cue.end(), part.end)))


def _end(text: str, start: int, limit: int) -> int:
    """Return where a scope that begins at `start` ends."""
    stop = _END.search(text, start, limit)
    return limit if stop is None else stop.start()
