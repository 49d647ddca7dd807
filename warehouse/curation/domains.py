"""The domain of a prompt whose source does not name one: cheap rules, first match wins."""

from __future__ import annotations

import re

GENERAL = "general"

_BY_VERIFIER = {
    "math": "math",
    "numeric": "math",
    "code": "code",
    "instructions": "instruction_following",
    "json_schema": "instruction_following",
    "regex": "instruction_following",
    "countdown": "logic",
    "knights_and_knaves": "logic",
}
_HEAD = 4_000  # characters that the rules look at
_CODE = re.compile(
    r"```|^\s*(?:def|class|import|from|#include|public|fn|func|SELECT)\s+\w"
    r"|\b(?:write|implement|complete|debug|refactor)\b[^.\n]{0,60}\b(?:function|program|code|script|method|class|query)\b"
    r"|\b(?:python|javascript|java|c\+\+|rust|sql|bash|typescript)\b[^.\n]{0,40}\b(?:function|program|code|script|class)\b",
    re.IGNORECASE | re.MULTILINE,
)
_MATH = re.compile(
    r"\\(?:frac|sqrt|sum|int|boxed|cdot|begin\{|text\{|angle|triangle|binom|pi\b)|\$[^$\n]{1,200}[=+^\\<>][^$\n]{0,200}\$"
    r"|\b(?:how many|how much|what is the (?:value|sum|product|remainder|probability|area|volume|perimeter))\b[^?]*\?"
    r"|\b(?:solve|compute|calculate|evaluate|simplify|find (?:the|all|x))\b[^.\n]{0,80}[\d=]",
    re.IGNORECASE,
)
_LOGIC = re.compile(
    r"\bknights?\b[^.]{0,80}\bknaves?\b|\btruth[- ]teller|\blogic(?:al)? (?:puzzle|grid)\b", re.IGNORECASE
)


def domain_of(text: str, verifier: str | None = None) -> str:
    """Return `code`, `math`, `logic`, `instruction_following` or `general`.

    A verifier that works for one domain decides; then the wording does. The rules are ours, and rough: name the domain
    in the source's settings where it matters.
    """
    if verifier in _BY_VERIFIER:
        return _BY_VERIFIER[verifier]
    head = text[:_HEAD]
    if _LOGIC.search(head):
        return "logic"
    if _CODE.search(head):
        return "code"
    if _MATH.search(head):
        return "math"
    return GENERAL
