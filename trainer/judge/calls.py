"""One comparison on its way: the calls that it needs, and what came back for each. No engine is asked here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trainer.engines.contract import TOO_LONG, Request, Sampling, sample_seed
from verifiers.genrm.contract import Comparison, Judgement, JudgementStatus
from verifiers.genrm.gates import gate, visible_answer
from verifiers.genrm.quoting import neutralise, nonce
from verifiers.genrm.reading import Reading, read
from verifiers.reasoning import strip_reasoning
from verifiers.visible import is_visible

if TYPE_CHECKING:
    from collections.abc import Collection

    from trainer.engines.contract import Completion
    from verifiers.genrm.templates import Template

FIRST, SECOND = "judge-first", "judge-second"  # where the response stands; the role of a request begins so
# What another try cannot help: the prompt is the same, but for its delimiters.
_FINAL = (TOO_LONG, "empty_prompt", "chat_template")


@dataclass(frozen=True, slots=True)
class JudgeSettings:
    """How the judge is asked. The defaults are ours: arXiv 2503.22230 and 2504.13914 do not give theirs.

    Attributes:
        temperature, top_p: of the judge's sampling. At 0 its log-probabilities are those of softmax(logits), at other
            temperatures of softmax(logits / temperature), before the top_p cut; the two are different judges.
        max_tokens: of the judge's answer; default: what the template says. A model that always thinks first needs more.
        top_logprobs: alternatives asked for at each position; 0 asks for none, and the verdict's line decides.
        min_mass: probability that the labels must have together at the place of the verdict.
        retries: further tries of a call whose verdict cannot be read, each with other delimiters and another seed.
        seed: of delimiters and sampling.
        canaries: of each kind in every batch; 0 for none.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int | None = None
    top_logprobs: int = 20
    min_mass: float = 0.5
    retries: int = 2
    seed: int = 0
    canaries: int = 8

    def __post_init__(self) -> None:
        if not 0 < self.min_mass <= 1 or self.retries < 0 or self.top_logprobs < 0 or self.canaries < 0:
            msg = f"judge settings: min_mass must be in (0, 1], retries, top_logprobs and canaries not negative: {self}"
            raise ValueError(msg)

    def sampling(self, template: Template) -> Sampling:
        """Return how the judge's answer is sampled."""
        return Sampling(self.temperature, self.top_p, self.max_tokens or template.max_tokens)


@dataclass(slots=True)
class Call:
    """One order of one comparison: how often it was tried, and what was read last."""

    order: str
    attempt: int = 0
    reading: Reading | None = None


@dataclass(slots=True)
class Trial:
    """A comparison that the judge is asked about.

    Attributes:
        number: of the comparison in its batch.
        texts: what is quoted: `question`, `response`, `reference`, `gold`, all neutralised.
    """

    number: int
    comparison: Comparison
    texts: dict[str, str]
    calls: list[Call] = field(default_factory=list)

    def request(self, call: Call, template: Template, settings: JudgeSettings) -> Request:
        """Return the request of a call; its names are those of this try alone."""
        one, role = self.comparison, f"{call.order}-{call.attempt}"
        shown = {"question": self.texts["question"], "first": self.texts["response"], "gold": self.texts["gold"]}
        if template.kind == "pairwise":
            pair = self.texts["response"], self.texts["reference"]
            shown["first"], shown["second"] = pair if call.order == FIRST else pair[::-1]
        mark = nonce(settings.seed, one.prompt_id, one.sample, call.order, call.attempt, shown.values())
        messages = template.messages(shown, mark)
        seed = sample_seed(settings.seed, encodable(one.prompt_id), role, one.sample)
        # The batch's own number: ids of a caller need not be unique among canaries and comparisons.
        return Request(
            str(self.number), role, 0, messages, None, seed, settings.sampling(template), settings.top_logprobs
        )

    def take(self, call: Call, completion: Completion, template: Template, settings: JudgeSettings) -> bool:
        """Read the answer to a call; return whether it should be tried again."""
        if completion.finish_reason == "error" or completion.response is None:
            call.reading = Reading(None, completion.detail or "no_text: the engine gave no text and no reason")
            final = call.reading.detail.startswith(_FINAL)
        else:
            call.reading = read(
                template,
                strip_reasoning(completion.response),
                completion.top_logprobs,
                cut=completion.finish_reason != "stop",
                min_mass=settings.min_mass,
            )
            final = call.reading.value is not None
        call.attempt += 1
        return not final and call.attempt <= settings.retries

    def judgement(self, template: Template, judge: str) -> Judgement:
        """Return what all its calls came to."""
        one = self.comparison
        values = [None if c.reading is None else c.reading.value for c in self.calls]
        first = values[0]
        if template.kind == "pointwise":
            second, score = None, first
        else:
            second = None if values[1] is None else 1.0 - values[1]
            score = None if first is None or second is None else (first + second) / 2
        flipped = None if first is None or second is None else (first - 0.5) * (second - 0.5) < 0
        if score is not None:
            ways = dict.fromkeys(c.reading.detail for c in self.calls if c.reading is not None)
            status, detail = JudgementStatus.judged, "+".join(ways)
        else:
            status = JudgementStatus.judge_error
            detail = next(c.reading.detail for c in self.calls if c.reading is not None and c.reading.value is None)
        return Judgement(one.prompt_id, one.sample, status, score, first, second, flipped, judge, template.id, detail)


def opened(
    number: int, comparison: Comparison, template: Template, tokens: Collection[str], judge: str
) -> Trial | Judgement:
    """Return what must be asked about a comparison, or its judgement where nothing need be.

    Args:
        number: of the comparison in its batch.
        comparison: to judge.
        template: that will be asked.
        tokens: special tokens of the judge's tokenizer.
        judge: its identity.
    """
    one = comparison

    def ended(status: JudgementStatus, score: float | None, detail: str) -> Judgement:
        return Judgement(one.prompt_id, one.sample, status, score, None, None, None, judge, template.id, detail)

    if one.response is None or one.finish_reason == "error":
        return ended(JudgementStatus.no_response, None, "no_response: generating the response failed")
    if one.finish_reason == "length":
        return ended(JudgementStatus.truncated, None, "truncated: the response was cut at its token limit")
    stopped = gate(one.response, gold=one.gold, question=one.question, reference=one.reference)
    if stopped is not None:
        return ended(JudgementStatus.not_an_answer, 0.0, f"{stopped.code}: {stopped.detail}")
    if template.kind == "pairwise" and not is_visible(one.reference):
        return ended(JudgementStatus.judge_error, None, "no_reference: there is nothing to compare the response with")
    if template.needs_gold and (one.gold is None or not is_visible(one.gold)):
        detail = f"no_gold: template {template.name} is for tasks with a ground truth, and this one has none"
        return ended(JudgementStatus.judge_error, None, detail)
    texts = {
        "question": one.question,
        "response": visible_answer(one.response),
        "reference": visible_answer(one.reference) or one.reference,
        "gold": one.gold or "",
    }
    quotable = {name: neutralise(text, tokens) for name, text in texts.items()}
    orders = (FIRST, SECOND) if template.kind == "pairwise" else (FIRST,)
    return Trial(number, one, quotable, [Call(order) for order in orders])


def encodable(text: str) -> str:
    """Return a text without lone surrogates, which nothing can encode."""
    return text.encode("utf-8", "replace").decode()
