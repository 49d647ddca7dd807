"""Rules by content that were tried against announcements and not taken, for benchmarks/judge.py.

They need no list of words: an announcement has nothing of the question or of the reference, so a short response that
shares no content with either, beside a much longer reference, might be one. So are terse right answers, names, and
refusals of what should be refused. `foreign_letters` is a part of it with hardly a false gate in English data: a
line with letters beyond ASCII where the task has none. What it does to tasks in other languages, whose short texts may
well lack such letters, this data cannot tell.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks._agreement import records
from verifiers.genrm.gates import gate, visible_answer
from verifiers.genrm.openers import words

STEM = 4  # characters by which words are compared
_MARKUP = re.compile(r"[`={}\[\]<>|\\/@&0-9]")
_WORDS = re.compile(r"[^\W\d_]+")


class Pair(NamedTuple):
    """A real response, and another real one to the same question in the place of the reference."""

    question: str
    response: str
    reference: str


def _stems(text: str) -> set[str]:
    return {word[:STEM] for word in words(text)}


def _shares(answer: str, known: str) -> bool:
    there = _stems(known)
    return any(word[:STEM] in there for word in words(answer) if len(word) >= STEM)


def no_content(question: str, response: str, reference: str) -> bool:
    """Tell whether a response has at most 15 words, a third of the reference's, and none of its or the question's."""
    answer, length = visible_answer(response), len(words(reference))
    few = len(words(answer))
    if not few or few > 15 or length < max(20, 3 * few) or _MARKUP.search(answer):
        return False
    return not _shares(answer, f"{question} {reference}")


def foreign_letters(question: str, response: str, reference: str) -> bool:
    """Tell whether a line shares no word and has, in a word that is no name, letters that an ASCII task has not."""
    answer, known = visible_answer(response), f"{question} {reference}"
    if len(answer) > 120 or "\n" in answer or _MARKUP.search(answer) or any(c.isalpha() and c > "\x7f" for c in known):
        return False
    foreign = [w for w in _WORDS.findall(answer) if not w.isascii() and w[0].islower()]
    return bool(foreign) and not _shares(answer, known)


RULES = {"no_content": no_content, "foreign_letters": foreign_letters}


def real_pairs(data: Path) -> Iterator[tuple[str, Pair]]:
    """Yield (set, pair), both ways round, as far as the public data is there."""
    columns = {
        "pref_alpaca_eval_gpt4turbo": ("instruction", "output_1", "output_2"),
        "pref_pandalm_human3": ("instruction", "response1", "response2"),
        "pref_autoj_pairwise_human": ("prompt", "response 1", "response 2"),
    }
    for name, (question, one, other) in columns.items():
        if (data / f"{name}.jsonl.gz").exists():
            rows = [r for _, r in records(data, name) if r.get("model") != "NullModel"]
            for a, b in ((one, other), (other, one)):
                yield from ((name, Pair(_asked(r, question), str(r[a]), str(r[b]))) for r in rows if r[a] and r[b])
    name = "pref_hh_helpful_test_dsp"
    if (data / f"{name}.jsonl.gz").exists():
        for _, row in records(data, name):
            texts = row["text"] if isinstance(row["text"], list) else ast.literal_eval(row["text"])
            question, _, one = texts[0].rpartition("Assistant:")
            other = texts[1].rpartition("Assistant:")[2]
            yield from ((name, Pair(question, a, b)) for a, b in ((one, other), (other, one)))


def _asked(row: dict[str, Any], column: str) -> str:
    return f"{row[column]}\n{row.get('input') or ''}".strip()


def measured(data: Path, keys: list[tuple[str, str]], open_ended: list[tuple[str, str]]) -> dict[str, Any]:
    """Return, by rule, the share of keys (group, text) that still reach a judge, and the real responses it would stop.

    Args:
        data: folder of the public data.
        keys: with their groups.
        open_ended: (question, reference) of tasks without a gold.
    """
    pairs = [(n, p) for n, p in dict.fromkeys(real_pairs(data)) if gate(p.response, question=p.question) is None]
    past = [
        (group, text, question, reference)
        for group, text in keys
        for question, reference in open_ended
        if gate(text, question=question, reference=reference) is None
    ]
    found: dict[str, Any] = {}
    for name, rule in RULES.items():
        hit = [(n, p) for n, p in pairs if rule(*p)]
        reach = {
            group: sum(g == group and not rule(question, text, reference) for g, text, question, reference in past)
            / (len(open_ended) * sum(g == group for g, _ in keys))
            for group in dict.fromkeys(g for g, _ in keys)
        }
        stopped = {n: [sum(m == n for m, _ in hit), sum(m == n for m, _ in pairs)] for n in dict.fromkeys(dict(pairs))}
        short = sorted({p.response.strip() for _, p in hit if len(p.response.strip()) <= 60})
        found[name] = {
            "reach_the_judge": reach,
            "real_responses_stopped": stopped,
            "such_as": short[:: max(1, len(short) // 6)][:6],
        }
    return found
