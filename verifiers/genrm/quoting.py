"""How a text is shown to the judge without acting on it.

Two things can make a judge obey what it should read: the tokens that its chat template marks turns and thoughts with,
and a text that ends its own quotation and goes on as the judge's instructions (the constant output that wins
AlpacaEval, arXiv 2410.07137, is built so). So such tokens are broken up in everything quoted, and every call has
delimiters of its own, which nobody could know when the text was written. Both are our choice: arXiv 2503.22230 and
2504.13914 are silent.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

VERSION = "1"  # changes whenever the same texts may be shown otherwise
_NONCE = 8  # letters: 37 bits
_TAGS = (
    "(?:seed:)?(?:think|thinking|thought|reasoning|scratchpad)|start_of_turn|end_of_turn|start_of_image|bos|eos|pad|unk"
    "|mask|cls|sep|s|tools?|tool_calls?|tool_response|function_call"
)
_BRACKETS = (
    "INST|THINK|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|IMG|PREFIX|MIDDLE|SUFFIX|CLS|SEP|PAD|MASK|UNK"
)
# Whole tokens alone: "|>" is an operator of some languages, and "}}" ends many a formula.
_KNOWN = re.compile(
    rf"<[|｜][^|｜<>\n]{{1,60}}[|｜]>|<</?SYS>>|◁/?think▷|</?(?:{_TAGS})>|\[/?(?:{_BRACKETS})\]", re.IGNORECASE
)
# No character, and the invisible ones that reorder text or hide a second text in it (tags, bidirectional controls).
_UNREADABLE = re.compile("[\ud800-\udfff\U000e0000-\U000e007f\u202a-\u202e\u2066-\u2069\u0000]")
_REPLACEMENT = "\ufffd"
_ROUNDS = 4


def neutralise(text: str, tokens: Iterable[str] = ()) -> str:
    """Return a text in which no chat token is left.

    A blank behind the first character of a token breaks it up, for every tokenizer, and leaves it readable. Lone
    surrogates, which cannot be encoded, and characters that hide text become U+FFFD.

    Args:
        text: any.
        tokens: the special tokens of the judge's own tokenizer; those of the common chat templates are known.
    """
    text = _UNREADABLE.sub(_REPLACEMENT, text)
    patterns = [pattern for pattern in (_KNOWN, _of(tuple(sorted(set(tokens))))) if pattern is not None]
    tries = 0
    while any(pattern.search(text) for pattern in patterns):
        # Breaking up one token can complete another where tokens hold blanks: then they go altogether.
        tries += 1
        for pattern in patterns:
            text = pattern.sub(_broken if tries <= _ROUNDS else _REPLACEMENT, text)
    return text


def _broken(match: re.Match[str]) -> str:
    token = match[0]
    for at in range(1, len(token)):
        broken = f"{token[:at]} {token[at:]}"
        if token not in broken:
            return broken
    return _REPLACEMENT


@lru_cache(maxsize=64)
def _of(tokens: tuple[str, ...]) -> re.Pattern[str] | None:
    """Return a pattern for special tokens; runs of blanks, which some tokenizers have as tokens, mean nothing."""
    marked = sorted((t for t in tokens if len(t) > 1 and not t.isspace() and t != "\ufffd"), key=lambda t: (-len(t), t))
    return re.compile("|".join(map(re.escape, marked))) if marked else None


def nonce(seed: int, prompt_id: str, sample: int, order: str, attempt: int, texts: Iterable[str]) -> str:
    """Return the delimiter of one call: 8 letters, a function of its names, that stands in none of the texts."""
    shown = [text.lower() for text in texts]
    for salt in range(1_000):
        name = "\x1f".join(map(str, (seed, prompt_id, sample, order, attempt, salt)))
        digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        number, found = int.from_bytes(digest, "big"), ""
        for _ in range(_NONCE):
            number, letter = divmod(number, 26)
            found += chr(ord("a") + letter)
        if not any(found in text for text in shown):
            return found
    msg = "no delimiter is left: the texts hold a thousand of them"  # of 2 * 10^11: it would take a text of terabytes
    raise AssertionError(msg)


def quoted(name: str, text: str, mark: str) -> str:
    """Return a text between its delimiters."""
    return f"[{name} {mark}]\n{text}\n[END {mark}]"
