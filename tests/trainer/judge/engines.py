"""Engines that judge by a rule, and engines that do wrong."""

import math
import re
from collections import Counter
from dataclasses import replace

from trainer.engines.contract import Completion, EngineError, position

_QUOTED = re.compile(r"\[(QUESTION|RESPONSE 1|RESPONSE 2|VERIFIED ANSWER) ([a-z]{8})\]\n(.*?)\n\[END \2\]", re.DOTALL)


def quotations(request):
    """Return what a request quotes, by name."""
    return {name: text for name, _, text in _QUOTED.findall(request.messages[-1][1])}


def marks(request):
    return {mark for _, mark, _ in _QUOTED.findall(request.messages[-1][1])}


class RuleEngine:
    """Says A with a probability that a rule gives for what is quoted: `rule(question, first, second) -> float`."""

    fingerprint = "rule"
    name = "rule"

    def __init__(self, rule, *, logprobs=True, thought=""):
        self.rule, self.logprobs, self.thought = rule, logprobs, thought
        self.requests, self.closed = [], False

    def answer(self, request):
        found = quotations(request)
        p = self.rule(found.get("QUESTION"), found["RESPONSE 1"], found.get("RESPONSE 2"))
        return self.completion(request, p)

    def completion(self, request, p, label=None, **changes):
        label = label or ("A" if p >= 0.5 else "B")
        top = {x: math.log(v) if v > 0 else -math.inf for x, v in ((" A", p), (" B", 1 - p))}
        positions = [position(t, {t: 0.0}.items()) for t in ("Verdict", ":")]
        positions += [position(f" {label}", top.items()), position("<|im_end|>", {"<|im_end|>": 0.0}.items())]
        made = Completion.of_text(
            request, self.name, f"{self.thought}Verdict: {label}", "stop", prompt_tokens=100, response_tokens=4,
            logprob_sum=-1.0, top_logprobs=tuple(positions) if self.logprobs and request.top_logprobs else None,
        )  # fmt: skip
        return replace(made, **changes)

    def generate(self, requests):
        for request in requests:
            self.requests.append(request)
            yield self.answer(request)

    def close(self):
        self.closed = True


class FaultEngine(RuleEngine):
    """Does something wrong with the calls that `when(request, try)` picks; tries are counted by who is asked about."""

    def __init__(self, fault, when=lambda _request, _number: True, rule=lambda _q, _a, _b: 0.7):
        super().__init__(rule)
        self.fault, self.when, self.tries = fault, when, Counter()

    def generate(self, requests):
        for request in requests:
            self.requests.append(request)
            order = request.role.rpartition("-")[0]
            self.tries[request.prompt_id, order] += 1
            if not self.when(request, self.tries[request.prompt_id, order]):
                yield self.answer(request)
                continue
            yield from self.wrong(request)

    def wrong(self, request):
        right = self.answer(request)
        last = right.top_logprobs[-2] if right.top_logprobs else None
        positions = right.top_logprobs or ()
        match self.fault:
            case "nan":
                yield replace(right, top_logprobs=(*positions[:2], last._replace(top={" A": math.nan}), positions[3]))
            case "positive":
                yield replace(right, top_logprobs=(*positions[:2], last._replace(top={" A": 3.0}), positions[3]))
            case "missing labels":
                yield replace(right, top_logprobs=(*positions[:2], last._replace(top={" the": -0.1}), positions[3]))
            case "misaligned":
                yield replace(right, top_logprobs=positions[1:] + positions[1:2])
            case "truncated":
                yield replace(right, finish_reason="length")
            case "refused":
                yield Completion.failed(request, self.name, "refused: content filter")
            case "refuses in words":
                yield replace(right, response="I'm sorry, I can't judge that.", top_logprobs=None)
            case "empty":
                yield replace(right, response="", top_logprobs=())
            case "thinks without end":
                yield replace(right, response="", reasoning="hm", top_logprobs=None)
            case "too long":
                yield Completion.failed(request, self.name, "prompt_too_long: 9999 tokens, and rule takes 512", 9999)
            case "silent":
                return
            case "stammers":
                yield right
                yield self.completion(request, 0.01)
            case "for another":
                yield replace(right, prompt_id="nobody")
            case "dies":
                msg = "no server answers"
                raise EngineError(msg)
            case _:
                raise AssertionError(self.fault)
