"""Matching a regular expression; runs in a worker process, which is killed when it does not come back."""

import re
from functools import lru_cache
from typing import Any

from verifiers.contract import Outcome, Status
from verifiers.regex import compile_flags

_compiled = lru_cache(maxsize=256)(re.compile)


def work(payload: dict[str, Any]) -> Outcome:
    """Match the readings of one answer: correct if any of them matches."""
    pattern = _compiled(payload["pattern"], compile_flags(payload["flags"]))
    matches = pattern.fullmatch if payload["full"] else pattern.search
    for text in payload["texts"]:
        if matches(text):
            return Outcome(Status.correct, text, "it matches")
    return Outcome(Status.incorrect, None, "it does not match")
