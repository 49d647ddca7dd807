r"""What makes a text no answer: an operation that is still to be carried out, an implication, a hidden character.

An answer may contain arithmetic, powers and roots. Any other operator must be of a kind that the gold has too:
`\sum_{i=1}^{10} i` is no answer where the gold is 55.
"""

import re
from functools import lru_cache

from verifiers import wording

_NAMED = {
    "sum": r"\\sum(?![a-z])|[∑Σ]",
    "product": r"\\prod(?![a-z])|∏",
    "integral": r"\\(?:i{1,3}nt|oint|smallint|idotsint)(?![a-z])|[∫∬∭∮]",
    "limit": r"\\lim|(?<![a-z])lim(?![a-z])",
    "determinant": r"\\det(?![a-z])|(?<![a-z])det(?![a-z])|\\begin\{vmatrix",
    "greatest common divisor": r"(?<![a-z])(?:gcd|hcf|gcf)(?![a-z])",
    "least common multiple": r"(?<![a-z])(?:lcm|lcd)(?![a-z])",
    "binomial": r"\\[dt]?binom|\\choose|(?<![a-z])(?:choose|comb|binomial|ncr|npr|perm)(?![a-z])|\\atop"
    r"|\\brace(?![a-z])|(?<![A-Za-z])[CP] ?\( ?[0-9]+ ?, ?[0-9]+ ?\)|_\{? ?[0-9]+ ?\}? ?[CP] ?_"
    r"|[0-9] ?[CP] ?_? ?\{? ?[0-9]",
    "factorial": r"!(?!=)",
    "remainder": r"\\[bp]?mod(?![a-z])|\\equiv|≡|(?<![a-z])(?:mod|modulo)(?![a-z])",
    "rounding": r"\\[lr](?:floor|ceil)|[⌊⌋⌈⌉]|(?<![a-z])(?:floor|ceil|ceiling|round|trunc)(?![a-z])",
    "extremum": r"\\(?:max|min|sup|inf)(?![a-z])|(?<![a-z])(?:max|min|sup|argmax|argmin)(?![a-z])",
    "derivative": r"\\partial|\\nabla|\\frac ?\{d(?:\^[^{}]*)?[^{}]{0,12}\} ?\{d ?[a-z]|'|\\prime|\\dot(?![a-z])",
    "absolute value": r"\||\\[lr]?[vV]ert|\\mid(?![a-z])|(?<![a-z])abs(?![a-z])|\\begin\{Vmatrix",
    "logarithm": r"\\?(?<![a-z])(?:log|ln|lg)(?![a-z])",
    "trigonometric function": r"\\?(?<![a-z])(?:arc|a)?(?:sin|cos|tan|cot|sec|csc)h?(?![a-z])",
    "part of a complex number": r"\\(?:Re|Im|arg|overline|bar|conj|mathrm\{Re\})(?![a-z])",
    "function": r"\\(?:Gamma|zeta) ?\(|\\(?:deg|dim|ker|rank|tr|Pr|hom)(?![a-z])"
    r"|(?<![a-z])(?:trace|rank|tr|length|area|number|count) ?(?:\(|of(?![a-z]))",
    "ellipsis": r"\\(?:[lc]?dots|ddots|vdots|cdots)(?![a-z])|…|\.\.\.",
    "implication": r"\\(?:Right|Left|right|left|Leftright|leftright|Longright|Longleft)arrow"
    r"|\\(?:to|implies|iff|mapsto)(?![a-z])|[→⇒⇔⟹⟺↦]|=>|->|\\(?:therefore|because)|[∴∵]",
    "negation": r"\\(?:neg|lnot|not|notin|cancel|sout|xcancel|bcancel|ne|neq)(?![a-z])|[≠¬]|!=|(?<![a-z])not(?![a-z])",
    "approximation": r"\\approx(?![a-z])|\\sim(?:eq)?(?![a-z])|≈",
    "set operation": r"\\(?:cap|setminus|triangle|complement|subset|supset|subseteq|supseteq)(?![a-z])|[∩∖⊂⊃⊆⊇]",
    "comparison with words": r"(?<![a-z])(?:at least|at most|more than|less than|greater than|or more|or less|fewer"
    r"|under|over|above|below|up to|between|except|any|unknown|none of|some)(?![a-z])",
    "denial": wording.DENIAL.pattern,
    "doubt": wording.DOUBT.pattern,
    "operation in words": wording.OPERATIONS.pattern,
    "invisible text": r"\\(?:phantom|hphantom|vphantom|color|textcolor|hspace|vspace|tag|label|ref|href|url|input"
    r"|include|def|newcommand|write|begin\{comment|hidden|footnote|scriptsize|tiny|rlap|llap|smash)",
}
_OF_NAMES = frozenset(
    {"sum", "product", "integral", "determinant", "greatest common divisor", "least common multiple", "binomial"}
    | {"factorial", "rounding", "extremum", "absolute value", "part of a complex number", "function", "derivative"}
)
TAKES_BACK = frozenset({"negation", "denial", "doubt"})
_WORDS = frozenset({"denial", "doubt", "operation in words"})
_KINDS = tuple((kind, re.compile(pattern, re.IGNORECASE if kind in _WORDS else 0)) for kind, pattern in _NAMED.items())
# Zero-width, soft-hyphen and bidirectional controls, private use, surrogates: the text is not what it looks like.
_HIDDEN = re.compile(
    r"[\x00-\x08\x0e-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    r"\u2060-\u206f\u3164\ud800-\udfff\ue000-\uf8ff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\uffff"
    r"\U000e0000-\U000e0fff\U000f0000-\U0010ffff]"
)


@lru_cache(maxsize=1 << 13)
def kinds(text: str) -> frozenset[str]:
    """Return the kinds of operators in a short text, beyond arithmetic, powers and roots."""
    return frozenset(kind for kind, pattern in _KINDS if pattern.search(text))


def kinds_claimed(name: str, text: str) -> frozenset[str]:
    r"""Return the kinds in `name = value` but for those that the name alone may have: `\gcd(10, 15) = 5` is 5."""
    named, sign, value = text.rpartition("=")
    if not name or not sign:
        return kinds(text)
    return (kinds(named) - _OF_NAMES) | kinds(value)


def hidden(text: str) -> bool:
    """Whether a text holds characters that do not show, or that change the order in which others show."""
    return _HIDDEN.search(text) is not None
