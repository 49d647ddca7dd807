"""Removing the reasoning that precedes an answer."""

import re

_REASONING_TAG = re.compile(r"<(/?)(?:think|thinking|thought|reasoning|scratchpad)>", re.IGNORECASE)


def strip_reasoning(response: str) -> str:
    """Remove reasoning blocks: closed ones, all before a lone closing tag, all after a lone opening tag."""
    if "<" not in response or _REASONING_TAG.search(response) is None:
        return response
    kept: list[str] = []
    inside, start = False, 0
    for tag in _REASONING_TAG.finditer(response):
        if tag[1]:  # a closing tag; without its opening, all before it was reasoning
            kept = kept if inside else []
            inside, start = False, tag.end()
        elif not inside:
            kept.append(response[start : tag.start()])
            inside = True
    if not inside:
        kept.append(response[start:])
    return "".join(kept)
