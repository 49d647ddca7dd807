"""Removing the reasoning that precedes an answer."""

import re

_NAMES = "(?:seed:)?(?:think|thinking|thought|reasoning|scratchpad)"
# With regard to case: a pattern that begins with one known character is searched for several times as fast.
_ANGLE, _SQUARE = re.compile(r"<[\s/]{0,3}[tTrRsS|]"), re.compile(r"\[/?THINK\]")
_REASONING_TAG = re.compile(
    rf"<\s{{0,2}}(?P<angle>/?)\s{{0,2}}{_NAMES}\s{{0,2}}>|◁(?P<triangle>/?)think▷"
    r"|\[(?P<square>/?)(?-i:THINK)\]|<\|(?P<word>begin|end)_of_thought\|>",
    re.IGNORECASE,
)
# The channels of gpt-oss: the last one named final is the answer.
_CHANNEL, _FINAL = "<|channel|>", "<|channel|>final<|message|>"


def strip_reasoning(response: str) -> str:
    """Remove reasoning blocks: closed ones, all before a lone closing tag, all after a lone opening tag.

    Of a response in channels, only the final one stays.
    """
    # Single characters first: most responses have none of them, and looking for one costs next to nothing.
    if (
        ("<" not in response or _ANGLE.search(response) is None)
        and ("[" not in response or _SQUARE.search(response) is None)
        and "◁" not in response
    ):
        return response
    if _CHANNEL in response:
        response = response.rpartition(_FINAL)[2] if _FINAL in response else response.partition(_CHANNEL)[0]
    kept: list[str] = []
    inside, start = False, 0
    for tag in _REASONING_TAG.finditer(response):
        if tag["angle"] or tag["triangle"] or tag["square"] or (tag["word"] or "").lower() == "end":
            kept = kept if inside else []  # without its opening, all before it was reasoning
            inside, start = False, tag.end()
        elif not inside:
            kept.append(response[start : tag.start()])
            inside = True
    if not inside:
        kept.append(response[start:])
    return "".join(kept)
