"""The describing stage: a model is asked, its reply read and checked, and what does not hold is not shipped.

For each sample: measure (`MeasuredDescriber`); ask; read the reply. A reply that cannot be read is asked for again, at
most `attempts` times in all, the prompt saying what was wrong. A question too large for the model is asked once more
without quotations, with one picture of half the size. Every statement of a readable reply is held against the row
(`quality.check`). A contradiction is shown to the model once, with what the row holds; if its next reply cannot be read
or contradicts the row again, the row gets the measured text. So does every row for which there is no reply at all.
Provenance says who wrote the text, and in `fallback` why it was not the model.

No sample is skipped: whoever wants a model for a part of the rows builds that part. Only what was not decoded is
refused (`description.no_pixels`).

**Why** a dialog is a generator that yields requests and is sent answers: the dialogs of a batch advance together, so a
server sees as many requests at once as there are samples, and each dialog still reads from top to bottom. Why nothing
of a reply is edited after checking: the text that ships is the text whose every statement was checked. Why a region's
text is held against its own region, too: "in the left half, 4 % of the image" may be true of another one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field

from medtrinity25m import __version__
from medtrinity25m.description.exchange import Answer, Model, Request
from medtrinity25m.description.measured import MeasuredDescriber
from medtrinity25m.description.prompt import Question, question_for
from medtrinity25m.description.prompt_files import prompt_file
from medtrinity25m.description.prompting import Prompting
from medtrinity25m.description.quotation import quoted
from medtrinity25m.description.reply import REPLY_CHARS, Reply, Unusable, parse
from medtrinity25m.description.verification import Verified, verify_reply
from medtrinity25m.errors import RefusedError
from medtrinity25m.knowledge.snippet import Snippet
from medtrinity25m.quality.evidence import Evidence
from medtrinity25m.triplet import Exchange, Provenance, Sample

Dialog = Generator[Request, Answer, Sample]
Passages = Callable[[Sequence[str]], list[Snippet]]

CONTRADICTED, ABSTAINED, TOO_LARGE = "quality.contradicted", "mllm.abstained", "mllm.too_large"
MOST_CONTRADICTIONS = 20  # shown to the model at once; one that gets more wrong will not mend them all
SAID_CHARS, EXPECTED_CHARS = 300, 300


@dataclass
class Ledger:
    """What one dialog took so far, and the hashes of its last prompt and reply."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    contradicted: int = 0
    repairs: int = 0
    prompt_sha256: str | None = None
    reply_sha256: str | None = None

    def ask(self, request: Request) -> Generator[Request, Answer, Answer]:
        """Yield a request and return its answer, counted."""
        answer = yield request
        self.requests += 1
        self.prompt_tokens += answer.usage.prompt_tokens
        self.completion_tokens += answer.usage.completion_tokens
        self.prompt_sha256 = request.prompt_sha256
        self.reply_sha256 = None if answer.content is None else answer.sha256
        return answer

    def exchange(self) -> Exchange:
        """Return the counts for the manifest."""
        return Exchange(**{name: getattr(self, name) for name in Exchange.model_fields})


@dataclass(frozen=True)
class Describe:
    """Fill texts, claims, provenance and `exchange` by asking a model; used as `batched(Describe(...), size)`.

    Args:
        model: who is asked.
        backend: how it is reached (`openai`, `transformers`, `replay`): the describer named in provenance.
        options: how it is asked.
        passages: gives passages by id, for the prompt and as evidence; None for a build without knowledge.
    """

    model: Model
    backend: str
    options: Prompting = field(default_factory=Prompting)
    passages: Passages | None = None

    def __call__(self, samples: Sequence[Sample]) -> list[Sample]:
        """Return the samples described, in order; refusals are marked.

        Raises:
            ConfigError, FetchError: the model cannot be asked, or stopped answering; see `exchange.Model`.
        """
        dialogs = [self._dialog(sample) for sample in samples]
        made: dict[int, Sample] = {}
        waiting: dict[int, Request] = {}
        for index, dialog in enumerate(dialogs):
            try:
                waiting[index] = next(dialog)
            except RefusedError as refusal:
                made[index] = samples[index].reject(refusal.code, refusal.detail)
        while waiting:
            answers = self.model.answer(list(waiting.values()))
            asked, waiting = list(waiting), {}
            for index, answer in zip(asked, answers, strict=True):
                try:
                    waiting[index] = dialogs[index].send(answer)
                except StopIteration as done:
                    made[index] = done.value
        return [made[index] for index in range(len(samples))]

    def _dialog(self, sample: Sample) -> Dialog:
        """Ask about one sample until there is a text, the model's or the measured one."""
        measured = MeasuredDescriber()(sample)
        passages = self._passages(sample)
        ledger = Ledger()
        question, reply = yield from self._readable(measured, passages, ledger)
        if isinstance(reply, str):
            return _fallen_back(measured, ledger, reply)
        evidence = Evidence.of_sample(measured, passages)
        verified = verify_reply(reply, question.places, measured, evidence)
        if verified.wrong:
            ledger.contradicted += len(verified.wrong)
            ledger.repairs += 1
            answer = yield from ledger.ask(_repair(question, reply, verified))
            again = parse(answer.content or "", question.places)
            if isinstance(again, Unusable) or again.abstain:
                return _fallen_back(measured, ledger, CONTRADICTED)
            verified = verify_reply(again, question.places, measured, evidence)
            ledger.contradicted += len(verified.wrong)
            if verified.wrong:
                return _fallen_back(measured, ledger, CONTRADICTED)
        return self._described(measured, ledger, verified)

    def _passages(self, sample: Sample) -> list[Snippet]:
        """Return the passages that were retrieved for a sample."""
        ids = [passage.passage_id for passage in sample.knowledge]
        return self.passages(ids) if self.passages is not None and ids else []

    def _readable(
        self, measured: Sample, passages: Sequence[Snippet], ledger: Ledger
    ) -> Generator[Request, Answer, tuple[Question, Reply | str]]:
        """Ask until a reply can be read; return it, or the code of the last failure, with the question it answers."""
        question = question_for(measured, passages, self.options, self.model.name)
        answer = yield from ledger.ask(question.request)
        if answer.failure == TOO_LARGE:
            side = max(64, self.options.max_side // 2)
            smaller = self.options.with_(pictures="boxed", max_side=side, reference_text=False)
            question = question_for(measured, (), smaller, self.model.name)
            answer = yield from ledger.ask(question.request)
        attempt = 1
        while answer.content is not None:
            reply = parse(answer.content, question.places)
            if isinstance(reply, Reply):
                return question, ABSTAINED if reply.abstain else reply
            if attempt == self.options.attempts:
                return question, reply.code
            answer = yield from ledger.ask(_again(question, reply, attempt))
            attempt += 1
        return question, answer.failure or "mllm.unavailable"

    def _described(self, measured: Sample, ledger: Ledger, verified: Verified) -> Sample:
        """Return the sample with the model's text."""
        rois = tuple(roi.with_(text=verified.regions.get(index)) for index, roi in enumerate(measured.rois))
        return measured.with_(
            rois=rois,
            claims=verified.claims(measured),
            provenance=_provenance(measured, ledger, describer=self.backend, model=self.model.name),
            exchange=ledger.exchange(),
            **verified.texts,
        )


def _fallen_back(measured: Sample, ledger: Ledger, code: str) -> Sample:
    """Return the sample with its measured text and the reason for it."""
    provenance = _provenance(measured, ledger, describer="measured", fallback=code)
    return measured.with_(provenance=provenance, exchange=ledger.exchange())


def _provenance(
    sample: Sample, ledger: Ledger, *, describer: str, model: str | None = None, fallback: str | None = None
) -> Provenance:
    """Return what made the text; the hashes are those of the last prompt and reply, on a fallback too."""
    return Provenance(
        describer=describer,
        model=model,
        prompt_sha256=ledger.prompt_sha256,
        reply_sha256=ledger.reply_sha256,
        experts=sample.asked,
        pipeline_version=__version__,
        fallback=fallback,
        repairs=ledger.repairs,
    )


def _again(question: Question, unusable: Unusable, attempt: int) -> Request:
    """Return a question once more, with what was wrong with the last reply."""
    again = prompt_file("again")
    why = "" if unusable.why is None else again.sections[unusable.why]
    return question.more("again", again.fill(unusable.code, why=why), attempt)


def _repair(question: Question, reply: Reply, verified: Verified) -> Request:
    """Return the request to write a reply again without its contradictions."""
    repair = prompt_file("repair")
    shown = [
        repair.fill(
            "contradiction",
            said=quoted((verified.texts[one.field] or "")[one.start : one.end], SAID_CHARS),
            field=one.field,
            expected=quoted(one.expected or "something else", EXPECTED_CHARS),
        )
        for one in verified.wrong[:MOST_CONTRADICTIONS]
    ]
    before = quoted(json.dumps(reply.model_dump(mode="json"), ensure_ascii=False), REPLY_CHARS)
    return question.more("repair", repair.fill("repair", reply=before, contradictions="\n".join(shown)))
