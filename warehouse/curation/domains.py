"""The domain of a prompt whose source does not name one: cheap rules, first match wins.

Plain substring tests come before every regular expression: most prompts never meet one.
"""

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
_HEAD, _TAIL = 500, 300  # characters that the rules look at: what is asked stands first or last

_LOGIC = ("knave", "truth-teller", "logic puzzle", "logical puzzle", "logic grid")
_CODE_SIGNS = ("```", "\ndef ", "#include", "\nimport ", "\nclass ", "public static ", "console.log(", "select * from")
_CODE_NOUNS = ("function", "program", "code", "script", "method", "class", "query")
_CODE_VERBS = ("write", "implement", "complete", "debug", "refactor", "python", "java", "c++", "rust", "sql", "bash")
_CODE = re.compile(
    r"\b(?:write|implement|complete|debug|refactor)\b[^.\n]{0,60}\b(?:function|program|code|script|method|class|query)"
    r"|\b(?:python|javascript|java|c\+\+|rust|sql|bash)\b[^.\n]{0,40}\b(?:function|program|code|script|class)"
)
_LATEX = re.compile(r"\\(?:frac|sqrt|sum|int|boxed|cdot|begin\{|text\{|angle|triangle|binom|pi\b)")
_FORMULA = re.compile(r"\$[^$\n]{1,200}\$")
_MATH_QUESTIONS = ("how many", "how much", "what is the value", "what is the sum", "what is the product",
                   "what is the remainder", "what is the probability", "what is the area")  # fmt: skip
_MATH_VERBS = ("solve", "compute", "calculate", "evaluate", "simplify", "find")
_MATH = re.compile(r"\b(?:solve|compute|calculate|evaluate|simplify|find (?:the|all|x))\b[^.\n]{0,80}[\d=]")


def domain_of(text: str, verifier: str | None = None) -> str:
    """Return `code`, `math`, `logic`, `instruction_following` or `general`.

    A verifier that works for one domain decides; then the wording does. The rules are ours, and rough: name the domain
    in the source's settings where it matters.
    """
    if verifier in _BY_VERIFIER:
        return _BY_VERIFIER[verifier]
    head = (text if len(text) <= _HEAD + _TAIL else f"{text[:_HEAD]}\n{text[-_TAIL:]}").lower()
    if any(sign in head for sign in _LOGIC):
        return "logic"
    if _is_code(head):
        return "code"
    return "math" if _is_math(head) else GENERAL


def _is_code(head: str) -> bool:
    if head.startswith("def ") or any(sign in head for sign in _CODE_SIGNS):
        return True
    about = any(noun in head for noun in _CODE_NOUNS) and any(verb in head for verb in _CODE_VERBS)
    return about and _CODE.search(head) is not None


def _is_math(head: str) -> bool:
    if "\\" in head and _LATEX.search(head):
        return True
    if "$" in head and any(c in f for f in _FORMULA.findall(head) for c in "=+^\\<>"):
        return True
    if "?" in head and any(question in head for question in _MATH_QUESTIONS):
        return True
    return any(verb in head for verb in _MATH_VERBS) and _MATH.search(head) is not None
