"""Validation against a JSON Schema; runs in a worker process, which is killed when a pattern does not come back."""

import decimal
import json
import re
import sys
from decimal import Decimal
from functools import lru_cache
from typing import Any

from verifiers import json_text
from verifiers.contract import Outcome, Status
from verifiers.json_schema_rules import validator_of

MAX_DETAIL = 300
REMAINDER_DIGITS = 4 * json_text.MAX_DIGITS
"""Precision at which the remainder of any two numbers within the limits is exact."""

_DECIMAL = re.compile(r"Decimal\('([^']*)'\)")
_validator = lru_cache(maxsize=64)(validator_of)


def warm_up() -> None:
    """Allow the recursion that a document within the limits can need."""
    sys.setrecursionlimit(20_000)


def work(payload: dict[str, str]) -> Outcome:
    """Validate a canonical document against a prepared schema; the detail is the first error with its path."""
    document: Any = json.loads(payload["document"], parse_float=Decimal)
    try:
        with decimal.localcontext(prec=REMAINDER_DIGITS):
            error = next(_validator(payload["schema"]).iter_errors(document), None)
    except RecursionError:
        return Outcome(Status.error, None, "the schema applies itself to this document deeper than can be followed")
    if error is None:
        return Outcome(Status.correct, None, "valid")
    message = _DECIMAL.sub(r"\1", error.message)
    return Outcome(Status.incorrect, None, f"{error.json_path}: {message}"[:MAX_DETAIL])
