"""From what the judge said to a number, or to the reason why there is none.

The score is the expected value of the labels under the judge's own probabilities at the place of the verdict, over the
labels alone (arXiv 2504.13914 takes the probability of YES; that it is renormalised over the labels is ours). Without
log-probabilities it is the value of the label in the last line that is a verdict and nothing else.

What is read is checked, since a wrong number is worse than none: an answer that was cut, several things on the line,
labels that together have too little of the probability, values that are no log-probabilities, a verdict that the text
and the tokens tell differently. Each is an error with a code.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from verifiers.genrm.templates import Template

_AROUND = " \t\r\n*_#>`'\"([{<)]}:.,;!\u2581\u0120"  # blanks and marks around a label, in a token of its own
_SLACK = 1e-4  # by which rounding may lift a log-probability above 0, or a sum of probabilities above 1


class Reading(NamedTuple):
    """A verdict.

    Attributes:
        value: in [0, 1], the expected value of the labels; None where the verdict cannot be read.
        detail: `logprobs` or `line` for how it was read, else "code: what happened".
    """

    value: float | None
    detail: str


def read(
    template: Template,
    text: str | None,
    positions: Sequence[tuple[str, Mapping[str, float]]] | None,
    *,
    cut: bool,
    min_mass: float,
) -> Reading:
    """Read the judge's answer.

    Args:
        template: that was asked.
        text: the answer after any reasoning, or None where there is none.
        positions: each of the last tokens and the log-probabilities (nats) of what could have stood there; None where
            the engine does not know them.
        cut: the answer ended at the token limit.
        min_mass: probability that the labels must have together at the place of the verdict.
    """
    if cut:
        return Reading(None, "truncated: the judge's answer was cut at max_tokens")
    label = _last_label(template, text or "")
    if label is None:
        return Reading(None, f"no_verdict: no line is '{template.anchor}: ' and a label alone: {_excerpt(text)}")
    if positions is None:
        return Reading(template.labels[label], "line")
    return _of_positions(template, label, positions, min_mass)


def _of_positions(
    template: Template, label: str, positions: Sequence[tuple[str, Mapping[str, float]]], min_mass: float
) -> Reading:
    found = _place(template, [token for token, _ in positions])
    if found is None:
        return Reading(None, "verdict_not_at_the_end: more tokens follow it than alternatives are known for")
    if _label_in(template, positions[found][0]) != label:
        return Reading(None, f"verdict_unclear: its text says {label}, its token {positions[found][0]!r}")
    mass = dict.fromkeys(template.labels, 0.0)
    for token, logprob in positions[found][1].items():
        if math.isnan(logprob) or logprob > _SLACK:
            return Reading(None, f"bad_logprob: {logprob} is the log-probability of nothing")
        if (name := _label_in(template, token)) is not None:
            mass[name] += math.exp(logprob)
    total = math.fsum(mass.values())
    if total > 1 + len(positions[found][1]) * _SLACK:
        return Reading(None, f"bad_logprob: the labels have a probability of {total:.3f}")
    if total < min_mass or total <= 0:
        return Reading(None, f"missing_mass: the labels have {total:.3f} of the probability, {min_mass:g} is asked for")
    value = math.fsum(template.labels[name] * p for name, p in mass.items()) / total
    return Reading(min(1.0, max(0.0, value)), "logprobs")


def _place(template: Template, tokens: Sequence[str]) -> int | None:
    """Return which token holds the label of the last verdict, by the text that the tokens make together."""
    match = _last(template, "".join(tokens))
    if match is None:
        return None
    end = match.start("label")
    for number, token in enumerate(tokens):
        end -= len(token)
        if end < 0:
            return number
    return None


def _last_label(template: Template, text: str) -> str | None:
    match = _last(template, text)
    return None if match is None else match["label"]


def _last(template: Template, text: str) -> re.Match[str] | None:
    last = None
    for match in _line(template.anchor, tuple(template.labels)).finditer(text):
        last = match
    return last


@lru_cache(maxsize=64)
def _line(anchor: str, labels: tuple[str, ...]) -> re.Pattern[str]:
    """Return what a verdict's line is: the anchor, one label, marks around it, and nothing else but special tokens."""
    names = "|".join(map(re.escape, sorted(labels, key=len, reverse=True)))
    marks = r"[ \t*_#>`'\"\[\](){}]{0,8}"
    end = r"[ \t*_`'\"\[\](){}.]{0,8}(?:<[^<>\n]{1,40}>[ \t]{0,4}){0,3}"
    return re.compile(rf"(?im:^{marks}{re.escape(anchor)}{marks}[:：]{marks})(?P<label>{names})(?m:{end}$)")


def _label_in(template: Template, token: str) -> str | None:
    name = token.strip(_AROUND)
    return name if name in template.labels else None


def _excerpt(text: str | None) -> str:
    shown = " ".join((text or "").split())
    return repr(shown[-80:]) if shown else "it is empty"
