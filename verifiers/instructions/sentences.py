"""Counting sentences.

A sentence ends with `.`, `!`, `?` or `…`, closing quotes, brackets and emphasis included, before a blank or the end
of the text; the full stops of other scripts need no blank. A full stop ends no sentence after an abbreviation, an
initial or the number of a list item, nor do dots before a small letter. A line break alone ends none, so a title or
a list item without a full stop belongs to what follows. What holds no letter is no sentence.
"""

import re

LONG_LINE = 12
"""Words from which an unpunctuated line counts as a sentence where sentences are limited from above."""

# Possessive, and only at the start of a run: linear on a megabyte of dots.
_STOP = re.compile(
    r"(?<![.!?…])[.!?…]++[\"'”’»)\]}*_`]*+(?=\s|[,;]\s*\n|\Z)|(?<![。！？｡।॥۔؟])[。！？｡।॥۔؟]++[\"'”’»」』)\]*_]*+"
)
_CLOSING = "\"'”’»)]}*_`"
_REACH = 40  # characters before a full stop in which the abbreviation that it may end is looked for
_LAST_TOKEN = re.compile(r"[^\s(\[\"'“‘*_]+\Z")
_LIST_NUMBER = re.compile(r"(?:\A|\n)[ \t>#*_-]*(?:[0-9]{1,3}|[A-Za-z]|[ivx]{1,4})\Z")
_NEXT = re.compile(r"\s*+[\"'“‘«(\[*_#-]*+([^\W_])?")
_NOT_PROSE = re.compile(r"\s*+(?:#{1,6}\s|<<|\||\*\*.*\*\*\Z)")
_LETTER = re.compile(r"[^\W\d_]")
_STOPS = str.maketrans("\uff0e\u2024\ua4f8\ufe52\uff01\uff1f", "....!?")
_UNSEEN = re.compile("[\u200b-\u200f\u2060-\u2064\ufeff]")
_GLUED = re.compile(r"(?<=[a-z]{2})[.!?](?=[A-Z][a-z])")
_ABBREVIATION_LIST = (
    "mr mrs ms mx dr prof rev hon sr jr st ste gen col capt cmdr lt sgt maj gov sen rep pres supt insp messrs mme "
    "mlle fr vs v etc e.g eg i.e ie cf al ca approx est dept univ assn bros co corp inc ltd llc plc no nos vol vols "
    "fig figs eq sec ch pp pg ed eds trans jan feb mar apr jun jul aug sep sept oct nov dec mon tue tues wed thu thur "
    "thurs fri sat sun a.m p.m am pm u.s u.k u.n u.s.a e.u d.c b.c a.d b.c.e c.e ph.d m.d b.a m.a b.s m.s b.sc m.sc "
    "m.b.a p.s p.p.s r.s.v.p ave blvd rd hwy apt bldg mt ft lb lbs oz tel ext misc min max hr hrs"
)
_ABBREVIATIONS = frozenset(_ABBREVIATION_LIST.split())
# These also end sentences: abbreviations only where the text goes on with a small letter or a digit.
_OFTEN_LAST_LIST = (
    "etc al no co corp inc ltd llc plc a.m p.m am pm u.s u.k u.n u.s.a e.u d.c b.c a.d b.c.e c.e ph.d m.d b.a m.a "
    "b.s m.s b.sc m.sc m.b.a jr sr mon tue wed thu fri sat sun mar min max sec ed est rd ave blvd apt ext ft fig hr "
    "hrs ch"
)
_OFTEN_LAST = frozenset(_OFTEN_LAST_LIST.split())


def ended(text: str, *, numbers: bool = False) -> int:
    """Return the number of sentences; with `numbers`, the number of a list item ends one."""
    found, start = 0, 0
    for stop in _STOP.finditer(text):
        if numbers and _is_list_number(text, stop):
            found += 1
        elif _LETTER.search(text, start, stop.start()) is not None:
            if not _ends(text, stop):
                continue
            found += 1
        start = stop.end()
    return found + (_LETTER.search(text, start) is not None)


def at_most(text: str) -> int:
    """Return the number of sentences as a limit from above counts them.

    Every long line ends one even without a full stop, so that leaving out full stops does not make a long text short;
    headings, titles and table rows end none. The number of a list item ("1.") ends one unless a small letter follows,
    as in IFEval's program, with which its limits from above were measured. A full stop needs no blank between two
    words, and look-alikes of it are full stops.
    """
    if not text.isascii():
        text = _UNSEEN.sub("", text.translate(_STOPS))
    lines = _GLUED.sub(r"\g<0> ", text).split("\n")
    marked = [line + "!" if _is_unended(line) else line for line in lines]
    return ended("\n".join(marked), numbers=True)


def _is_list_number(text: str, stop: re.Match[str]) -> bool:
    if not stop[0].startswith(".") or stop[0].startswith(".."):
        return False
    before = text[max(0, stop.start() - _REACH) : stop.start()]
    if not before[-1:].isdigit() or _LIST_NUMBER.search(before) is None:
        return False
    following = _NEXT.match(text, stop.end())
    return not (following and following[1] and following[1].islower())


def _is_unended(line: str) -> bool:
    line = line.rstrip()
    if line.rstrip(_CLOSING)[-1:] in ("", *".!?…:。！？।") or _NOT_PROSE.match(line):
        return False
    start = 0
    for stop in _STOP.finditer(line):
        start = stop.end()
    return len(line) - start >= 2 * LONG_LINE and len(line[start:].split()) >= LONG_LINE


def _ends(text: str, stop: re.Match[str]) -> bool:
    following = _NEXT.match(text, stop.end())
    first = following[1] if following and following[1] else ""
    mark = stop[0].rstrip(_CLOSING)
    if mark.startswith(("!", "?")):
        return not (first.islower() and len(mark) < len(stop[0]))  # "Stop!" he said
    if "…" in mark or mark.startswith(".."):
        return not first.islower()
    if mark != ".":
        return True
    before = text[max(0, stop.start() - _REACH) : stop.start()]
    if _LIST_NUMBER.search(before):
        return False
    token = _LAST_TOKEN.search(before)
    if token is None:
        return True
    word = token[0].casefold()
    if word in _ABBREVIATIONS:
        return word in _OFTEN_LAST and not (first.islower() or first.isdigit())
    return not (len(word) == 1 and token[0].isupper() and word != "i")
