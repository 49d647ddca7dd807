r"""Text that must match a regular expression.

The gold is `{"pattern": "..."}`, with
  "on": "answer" (the final answer, as the other verifiers find it; the default) or "response" (all of it);
  "match": "full" (the pattern covers the whole text; the default) or "search" (it occurs somewhere in it);
  "flags": letters of "i", "m", "s", "x" and "u"; without "u", `\d`, `\w`, `\s` and `\b` know ASCII only.
Patterns are Python's. Reasoning blocks and outer white space do not count, nor is an
answer taken from an HTML comment; a text that shows nothing matches nothing. Matching runs in a worker process:
a pattern that does not come back within the budget is a `timeout`, which is no score.
"""

import json
import re
from typing import Any, NamedTuple

from verifiers.contract import BadGold, Deferred, Outcome, Status, Verifier
from verifiers.extract import MAX_PHRASE, Candidate, candidates, strip_reasoning
from verifiers.hedges import cut_off, taken_back
from verifiers.regex_cost import TooComplex, may_match_empty
from verifiers.visible import is_visible, shown

MAX_PATTERN = 2_000
"""Characters of a pattern."""

MAX_TEXT = 200_000
"""Characters of a text that is matched."""

FLAGS = {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL, "x": re.VERBOSE, "u": re.UNICODE}

_FORM = (
    'a regex ground_truth is JSON text such as {"pattern": "[A-Z]{3}", "flags": "i", "on": "answer", "match": "full"}'
)
_TEXT_COMMAND = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mbox)\s*\{([^{}]*)\}")
_OUTER = " \t\r\n*_`$"


class Gold(NamedTuple):
    """A pattern that compiles, and how it is applied."""

    pattern: str
    flags: str
    on_response: bool
    full: bool


def parse_gold(value: Any) -> Gold:
    """Read a gold.

    Raises:
        BadGold: not such a form; a pattern that does not compile, is over a limit, or matches the empty text.
    """
    if not isinstance(value, dict) or not {"pattern"} <= set(value) <= {"pattern", "flags", "on", "match"}:
        raise BadGold(_FORM)
    pattern, flags = value["pattern"], value.get("flags", "")
    on, match = value.get("on", "answer"), value.get("match", "full")
    if not isinstance(pattern, str) or not isinstance(flags, str) or len(pattern) > MAX_PATTERN:
        message = f"pattern and flags must be texts, the pattern of at most {MAX_PATTERN} characters; {_FORM}"
        raise BadGold(message)
    if unknown := sorted(set(flags) - set(FLAGS)):
        message = f"unknown flags {unknown}; known are {', '.join(FLAGS)}"
        raise BadGold(message)
    if on not in ("answer", "response") or match not in ("full", "search"):
        message = f'on must be "answer" or "response", match "full" or "search"; {_FORM}'
        raise BadGold(message)
    gold = Gold(pattern, "".join(sorted(set(flags))), on == "response", match == "full")
    try:
        empty = may_match_empty(pattern, compile_flags(gold.flags), full=gold.full)
    except (re.error, ValueError, OverflowError, RecursionError) as error:
        problem = "is too complex" if isinstance(error, TooComplex) else "cannot be read"
        message = f"the pattern {pattern[:60]!r} {problem}: {error}"
        raise BadGold(message) from None
    if empty:
        message = f"the pattern {pattern[:60]!r} matches the empty text, so every answer that is none would pass"
        raise BadGold(message)
    return gold


def compile_flags(flags: str) -> int:
    """Return the flags of `re.compile` for the letters of a gold."""
    value = 0 if "u" in flags else int(re.ASCII)
    for letter in flags:
        value |= int(FLAGS[letter])
    return value


def check(response: str, gold: Gold, _prompt: str) -> Outcome | Deferred:
    """Find the text that must match, and leave the matching to a worker."""
    text = strip_reasoning(response)
    readings: list[str] | None
    if gold.on_response:
        source, readings = "response", [text.strip()]
    else:
        source, readings = _answer(shown(text))
        if readings is None:
            limit = f"limit: an answer of {MAX_PHRASE} characters or more; such a gold must be on the response"
            return Outcome(Status.incorrect, None, f"{source}: {limit}")
    if not readings or not any(map(is_visible, readings)):
        return Outcome(Status.unparsed, None, f"{source}: empty")
    if max(map(len, readings)) > MAX_TEXT:
        return Outcome(Status.incorrect, None, f"{source}: limit: a text of more than {MAX_TEXT} characters")
    payload = {"pattern": gold.pattern, "flags": gold.flags, "full": gold.full, "texts": readings}
    return Deferred(json.dumps(payload), readings[0], source)


def _answer(text: str) -> tuple[str, list[str] | None]:
    """Return the rule that found the answer and its readings: to the end of its sentence, or of its line.

    None in place of readings says that the answer goes on beyond what was read of it.
    """
    for candidate in candidates(text):
        if cut_off(candidate):
            return candidate.source, None
        if readings := _readings(candidate):
            # Of "Paris? No." only the whole line may match.
            return candidate.source, readings[1:] if taken_back(candidate) else readings
    last_line = text.rstrip().rpartition("\n")[2]
    return "last line", _readings(Candidate(last_line, "last line"))


def _readings(candidate: Candidate) -> list[str]:
    found = (_TEXT_COMMAND.sub(r"\1", text).strip(_OUTER) for text in (candidate.text, candidate.line))
    return list(dict.fromkeys(text for text in found if text))


VERIFIER = Verifier(
    name="regex",
    version="2",
    parse_gold=parse_gold,
    check=check,
    work="verifiers.regex_worker:work",
    budget_s=2.0,
    memory_mb=1024,
)
