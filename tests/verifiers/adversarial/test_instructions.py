"""Attacks on the instruction verifier: each case has one status, and none of them is a false accept."""

import json
import time

import pytest

from verifiers import Status, Task, VerifierPool

MEGABYTE = 1_000_000
MANY = 250_000
"""Characters of what must be read in linear time: enough to time out where it is not."""


def gold(*instructions, mode="strict", score="all"):
    ids, arguments = zip(*instructions, strict=True)
    return json.dumps({"instruction_id_list": ids, "kwargs": arguments, "mode": mode, "score": score})


def one(name, mode="strict", **arguments):
    return gold((name, arguments), mode=mode)


NO_COMMA = one("punctuation:no_comma")
CAT = one("keywords:existence", keywords=["cat"])
CATS = one("keywords:frequency", keyword="cat", frequency=3, relation="at least")
FEW_CATS = one("keywords:frequency", keyword="cat", frequency=2, relation="less than")
NO_ROCK = one("keywords:forbidden_words", forbidden_words=["rock"])
FEW_A = one("keywords:letter_frequency", letter="a", let_frequency=1, let_relation="less than")
HINDI = one("language:response_language", language="hi")
KANNADA = one("language:response_language", language="kn")
RUSSIAN = one("language:response_language", language="ru")
LOWER = one("change_case:english_lowercase")
CAPITALS = one("change_case:english_capital")
JSON = one("detectable_format:json_format")
TITLE = one("detectable_format:title")
OPTION = one("detectable_format:constrained_response")
TWO = one("combination:two_responses")
QUOTED = one("startend:quotation")
SECTIONS = one("detectable_format:multiple_sections", section_spliter="SECTION", num_sections=3)
HIGHLIGHTS = one("detectable_format:number_highlighted_sections", num_highlights=3)
BULLETS = one("detectable_format:number_bullet_lists", num_bullets=3)
PLACEHOLDERS = one("detectable_content:number_placeholders", num_placeholders=3)
POSTSCRIPT = one("detectable_content:postscript", postscript_marker="P.S.")
PARAGRAPHS = one("length_constraints:number_paragraphs", num_paragraphs=3)
LONG = one("length_constraints:number_words", num_words=5, relation="at least")
SHORT = one("length_constraints:number_words", num_words=5, relation="less than")
SENTENCES = one("length_constraints:number_sentences", num_sentences=4, relation="at least")
FEW_SENTENCES = one("length_constraints:number_sentences", num_sentences=3, relation="less than")
END = one("startend:end_checker", end_phrase="Any questions?")
PROMPT = "Write a song about cats."
REPEAT = one("combination:repeat_prompt", prompt_to_repeat=PROMPT)
FIRST = one("length_constraints:nth_paragraph_first_word", num_paragraphs=2, nth_paragraph=2, first_word="summary")
BOTH = gold(("punctuation:no_comma", {}), ("keywords:existence", {"keywords": ["cat"]}))
EXPRESSION = one("keywords:existence", keywords=["c.t|.*"])
OPTIONS = "'My answer is yes.', 'My answer is no.', 'My answer is maybe.'"
UNENDED = "\n".join(["a line that goes on for many words and never comes to any full stop"] * 9)

CASES = {
    "empty": (NO_COMMA, "", "unparsed"),
    "blank": (NO_COMMA, " \n\t\r\x0b\u2003", "unparsed"),
    "zero-width": (NO_COMMA, "\u200b\ufeff\u2060\u00ad", "unparsed"),
    "blank glyphs": (NO_COMMA, "\u2800\u3164\uffa0", "unparsed"),
    "nul bytes": (NO_COMMA, "\0" * 100, "unparsed"),
    "lone surrogates": (NO_COMMA, "\ud800\udfff", "unparsed"),
    "lone combining marks": (NO_COMMA, "\u0301\u0302", "unparsed"),
    "only reasoning": (CAT, "<think>cat</think>", "unparsed"),
    "unclosed reasoning": (CAT, "<think>cat", "unparsed"),
    "keyword only in reasoning": (CAT, "<think>cat</think>dog", "incorrect"),
    "comma only in reasoning": (NO_COMMA, "<think>a, b</think>dog", "correct"),
    "keyword inside a word": (CAT, "concatenate the category of scattering", "incorrect"),
    "keyword with another ending": (CAT, "catty catlike cater cats\u0301", "incorrect"),
    "inflected in another alphabet": (CAT, "the сats cаts caтs cat\u0455", "incorrect"),
    "keyword without blanks": (CAT, "thecatsatonthemat", "incorrect"),
    "keyword in another alphabet": (CAT, "the сат sat", "incorrect"),
    "keyword in full-width letters": (CAT, "the ｃａｔ sat", "incorrect"),
    "keyword with a zero-width space": (CAT, "the c\u200bat sat", "incorrect"),
    "keyword with an accent": (CAT, "the ca\u0301t sat", "incorrect"),
    "keyword with a mark after it": (CAT, "the cat\u0301 sat", "incorrect"),
    "keyword is no expression": (EXPRESSION, "cat and anything else", "incorrect"),
    "frequency by substrings": (CATS, "cat category concat", "incorrect"),
    "frequency by look-alikes": (CATS, "cat сat cаt", "incorrect"),
    "frequency by endings that are none": (CATS, "cats catting catsing catss catedral", "incorrect"),
    "too often, inflected and disguised": (FEW_CATS, "cat c\u00adat\u200bs", "incorrect"),
    "too often, disguised": (FEW_CATS, "cat ｃａｔ", "incorrect"),
    "too often, split by a soft hyphen": (FEW_CATS, "cat c\u00adat", "incorrect"),
    "forbidden in Cyrillic": (NO_ROCK, "we will rосk you", "incorrect"),
    "forbidden in Greek": (NO_ROCK, "we will rοck you", "incorrect"),
    "forbidden in full width": (NO_ROCK, "we will ＲＯＣＫ you", "incorrect"),
    "forbidden in mathematical letters": (NO_ROCK, "we will 𝓻𝓸𝓬𝓴 you", "incorrect"),
    "forbidden with zero-width": (NO_ROCK, "we will r\u200do\u200bc\u2060k you", "incorrect"),
    "forbidden struck through": (NO_ROCK, "we will r\u0336o\u0336c\u0336k\u0336 you", "incorrect"),
    "forbidden in emphasis": (NO_ROCK, "we will _rock_ **rock**", "incorrect"),
    "forbidden in a compound": (NO_ROCK, "a rock-hard head", "incorrect"),
    "forbidden in a tag": (NO_ROCK, "it is #rock", "incorrect"),
    "forbidden across direction marks": (NO_ROCK, "\u202ero\u202ack", "incorrect"),
    "letter in Cyrillic among Latin": (FEW_A, "thаt", "incorrect"),
    "letter in full width": (FEW_A, "ａ", "incorrect"),
    "letter as a capital": (FEW_A, "A", "incorrect"),
    "full-width comma": (NO_COMMA, "one， two", "incorrect"),
    "ideographic comma": (NO_COMMA, "一、二", "incorrect"),
    "arabic comma": (NO_COMMA, "واحد، اثنان", "incorrect"),
    "low quotation mark for a comma": (NO_COMMA, "one‚ two", "incorrect"),
    "language of numbers": (HINDI, "1 2 3 4 5", "error"),
    "language of emoji": (HINDI, "😀😀😀", "unparsed"),
    "romanised Hindi": (HINDI, "namaste aap kaise hain main theek hoon aur aap kahan ja rahe hain", "incorrect"),
    "English for Hindi": (HINDI, "this is an english text that is long enough to be detected", "incorrect"),
    "another script alone": (KANNADA, "ఇది తెలుగు", "incorrect"),
    "English with one Kannada word": (KANNADA, "The answer to the question is ಹೌದು and nothing else", "incorrect"),
    "English introduction": (
        KANNADA,
        "Here is the answer you wanted, written entirely in the language of Karnataka and nothing else:\n\n"
        + "ಹೌದು ಅವುಗಳಾಗಿವೆ " * 30,
        "incorrect",
    ),
    "Bulgarian for Russian": (
        RUSSIAN,
        "Това изречение е написано на български език и е достатъчно дълго, за да бъде разпознато със сигурност.",
        "incorrect",
    ),
    "Latin look-alikes for Russian": (RUSSIAN, "ceкpeт oтвeтa нa вoпpoc oчeнь пpocт и пoнятeн вceм", "incorrect"),
    "German in small letters": (LOWER, "dieser satz ist auf deutsch und lang genug für die erkennung", "incorrect"),
    "no letters in small letters": (LOWER, "123 !", "incorrect"),
    "one capital at the end": (LOWER, "this is english in small letters and it is long enough. A", "incorrect"),
    "one full-width capital": (LOWER, "this is english in small letters and it is long enough. Ａ", "incorrect"),
    "German in capitals": (CAPITALS, "DIESER SATZ IST AUF DEUTSCH UND LANG GENUG FÜR DIE ERKENNUNG", "incorrect"),
    "gibberish in capitals": (CAPITALS, "XQZ KJW PLMT ZZXV QWRT PPLK MNBV XCVB QZXJ WKVJ HHGF TTRR", "incorrect"),
    "json in prose": (JSON, 'Here it is: {"a": 1}', "incorrect"),
    "json twice": (JSON, '{"a": 1}\n{"a": 1}', "incorrect"),
    "json with a key twice": (JSON, '{"a": 1, "a": 2}', "incorrect"),
    "json with nan": (JSON, '{"a": NaN}', "incorrect"),
    "empty json": (JSON, "{}", "unparsed"),
    "json of nothing but a word": (JSON, '"yes"', "incorrect"),
    "json comment": (JSON, '{"a": 1} // done', "incorrect"),
    "json with a byte-order mark": (JSON, '\ufeff{"a": 1}', "incorrect"),
    "deep json": (JSON, "[" * 100_000 + "]" * 100_000, "unparsed"),
    "unclosed json string": (JSON, '["' + '\\"' * 50_000, "unparsed"),
    "empty title": (TITLE, "<<>> << >> <<\u200b>> <<...>>", "unparsed"),
    "title over two lines": (TITLE, "<<a\ntitle>>", "incorrect"),
    "title inside out": (TITLE, ">>title<<", "incorrect"),
    "title in other brackets": (TITLE, "«title» ＜＜title＞＞", "incorrect"),
    "all options": (OPTION, f"I choose from {OPTIONS}", "incorrect"),
    "hedged options": (OPTION, "My answer is yes. My answer is no.", "incorrect"),
    "option in other words": (OPTION, "my answer is Yes", "incorrect"),
    "the same twice": (TWO, "a thing\n******\nA  THING", "incorrect"),
    "nothing second": (TWO, "a\n******\n\u200b", "incorrect"),
    "three responses": (TWO, "a\n******\nb\n******\nc", "incorrect"),
    "five asterisks": (TWO, "a\n*****\nb", "incorrect"),
    "spaced asterisks": (TWO, "a\n* * * * * *\nb", "incorrect"),
    "nothing in quotes": (QUOTED, '" \u200b "', "unparsed"),
    "one quote": (QUOTED, '"', "unparsed"),
    "single quotes": (QUOTED, "''yes''", "incorrect"),
    "text after the quotes": (QUOTED, '"yes" she said', "incorrect"),
    "empty sections": (SECTIONS, "SECTION 1\nSECTION 2\nSECTION 3", "incorrect"),
    "one section three times": (SECTIONS, "SECTION 1\na\nSECTION 1\nb\nSECTION 1\nc", "incorrect"),
    "one section with zeros": (SECTIONS, "SECTION 1\na\nSECTION 01\nb\nSECTION 001\nc", "incorrect"),
    "sections named on one line": (SECTIONS, "SECTION 1, SECTION 2, SECTION 3 and so on", "incorrect"),
    "sections with foreign digits": (SECTIONS, "SECTION １\na\nSECTION ２\nb\nSECTION ３\nc", "incorrect"),
    "asterisks without text": (HIGHLIGHTS, "****** ** ** * * *** ***", "unparsed"),
    "asterisks around blanks": (HIGHLIGHTS, "* * *\u200b* *.* *-*", "unparsed"),
    "multiplications": (HIGHLIGHTS, "2 * 3 * 4 * 5 * 6 * 7", "incorrect"),
    "emphasis over lines": (HIGHLIGHTS, "*a\nb* *c\nd* *e\nf*", "incorrect"),
    "one triple emphasis": (HIGHLIGHTS, "***a***", "incorrect"),
    "rules for bullets": (BULLETS, "---\n---\n---\ntext", "incorrect"),
    "emphasis for bullets": (BULLETS, "*a* x\n*b* y\n*c* z", "incorrect"),
    "empty bullets": (BULLETS, "* \n* \n* ", "unparsed"),
    "too many bullets": (BULLETS, "* a\n* b\n* c\n  * d", "incorrect"),
    "empty placeholders": (PLACEHOLDERS, "[] [ ] [\u200b] [1] [...]", "incorrect"),
    "links for placeholders": (PLACEHOLDERS, "[a](b) [c](d) [e](f)", "incorrect"),
    "unclosed placeholders": (PLACEHOLDERS, "[a [b [c", "incorrect"),
    "postscript without text": (POSTSCRIPT, "Dear all\nP.S.", "incorrect"),
    "postscripts without text": (POSTSCRIPT, "Dear all\nP.S. P.S. P.S. ...", "incorrect"),
    "postscript only announced": (POSTSCRIPT, "I end with a postscript starting with the P.S. marker", "incorrect"),
    "second postscript only": (POSTSCRIPT, "Dear all\nP.P.S. more", "incorrect"),
    "paragraphs of emphasis": (PARAGRAPHS, "a ***b*** c", "incorrect"),
    "empty paragraphs": (PARAGRAPHS, "a\n***\n\u200b\n***\nc", "incorrect"),
    "words of marks": (LONG, "_ _ _ _ _ * * * - - - ! ! !", "unparsed"),
    "words of zero width": (LONG, "one\u200btwo\u200bthree\u200bfour\u200bfive", "incorrect"),
    "words hidden in Chinese": (SHORT, "我喜欢猫和狗还有鸟", "error"),
    "words joined by hyphens": (SHORT, "one-two-three-four-five-six", "incorrect"),
    "words joined by underscores": (SHORT, "one_two_three_four_five_six", "incorrect"),
    "sentences of marks": (SENTENCES, "! ! ! ! ? ? ? ... . . .", "unparsed"),
    "sentences of list numbers": (SENTENCES, "1. 2. 3. 4. 5. only one here", "incorrect"),
    "sentences of list numbers on lines": (SENTENCES, "1.\n2.\n3.\n4.\n5. Only one here", "incorrect"),
    "sentences of abbreviations": (SENTENCES, "Mr. Dr. Mrs. e.g. Prof. i.e. vs. Smith", "incorrect"),
    "sentences of initials": (SENTENCES, "J. R. R. T. B. Tolkien", "incorrect"),
    "sentences of decimals": (SENTENCES, "1.2 3.4 5.6 7.8 9.0", "incorrect"),
    "many lines without a full stop": (FEW_SENTENCES, UNENDED, "incorrect"),
    "end and then more": (END, "Any questions? No.", "incorrect"),
    "end inside a word": (END, "Many questions?", "incorrect"),
    "end in other letters": (END, "Аny questions?", "incorrect"),
    "echoed prompt alone": (REPEAT, PROMPT, "incorrect"),
    "echoed prompt and dots": (REPEAT, PROMPT + " ...\u200b", "incorrect"),
    "something before the echo": (REPEAT, "Sure. " + PROMPT + " Meow.", "incorrect"),
    "changed echo": (REPEAT, "Write a song about dogs. Meow.", "incorrect"),
    "first word in the wrong paragraph": (FIRST, "Summary first.\n\nThen this.", "incorrect"),
    "first word with an ending": (FIRST, "First.\n\nSummaryless.", "incorrect"),
    "first word as a label": (FIRST, "First.\n\nSummary: none.", "incorrect"),
    "first word hidden in front": (FIRST, "First.\n\n<!-- summary --> None.", "incorrect"),
    "first word and a third paragraph": (FIRST, "First.\n\nSummary.\n\nThird.", "incorrect"),
    "the same but for a full stop": (TWO, "a thing\n******\nA thing.", "incorrect"),
    "the same in emphasis": (TWO, "a thing\n******\n**a thing**", "incorrect"),
    "the same with a zero-width space": (TWO, "a thing\n******\na thi\u200bng", "incorrect"),
    "the same in look-alikes": (TWO, "a thing\n******\nа thing", "incorrect"),
    "a full stop for a response": (TWO, "a thing\n******\n.", "incorrect"),
    "a full stop for a paragraph": (PARAGRAPHS, "a\n***\n.\n***\nb", "incorrect"),
    "echoed twice": (REPEAT, f"{PROMPT}\n\n{PROMPT}", "incorrect"),
    "echoed twice in quotes": (REPEAT, f'{PROMPT}\n"{PROMPT}"', "incorrect"),
    "hedged in small letters": (OPTION, "My answer is yes. my answer is no.", "incorrect"),
    "hedged with another mark": (OPTION, "My answer is yes. My answer is no!", "incorrect"),
    "hedged in emphasis": (OPTION, "My answer is yes. My answer is **no**.", "incorrect"),
    "hedged in look-alikes": (OPTION, "My answer is yes. My answer is nо.", "incorrect"),
    "bullets of marks": (BULLETS, "* .\n* -\n* *\ntext", "incorrect"),
    "bullets of zero width": (BULLETS, "* \u200b\n* \u200b\n* \u200b\ntext", "incorrect"),
    "products for emphasis": (HIGHLIGHTS, "5*3*2*1 and 5*4*4*4 and 2*2*2*2", "incorrect"),
    "emphasis of what comes after it": (HIGHLIGHTS, "*\u200b* *\u200b* *\u200b*x", "incorrect"),
    "comment: keyword": (CAT, "A dog. <!-- cat -->", "incorrect"),
    "comment: keyword in a note": (CAT, "A dog.\n\n[//]: # (cat)", "incorrect"),
    "comment: keyword, not closed": (CAT, "A dog. <!-- cat", "incorrect"),
    "comment: keyword after a line of code": (CAT, "```dog```\n<!-- cat -->", "incorrect"),
    "comment: keyword in a block of code": (CAT, "A dog.\n```html\n<!-- cat -->\n```", "correct"),
    "comment: words": (LONG, "dog <!-- one two three four five -->", "incorrect"),
    "comment: forbidden": (NO_ROCK, "we will <!-- rock --> you", "incorrect"),
    "comment: option": (OPTION, "Who knows. <!-- My answer is yes. -->", "incorrect"),
    "comment: second response": (TWO, "a\n******\n<!-- b -->", "incorrect"),
    "comment: sections": (SECTIONS, "<!--\nSECTION 1\na\nSECTION 2\nb\nSECTION 3\nc\n-->\ntext", "incorrect"),
    "comment: title": (TITLE, "<!-- <<title>> --> text", "incorrect"),
    "comment: postscript": (POSTSCRIPT, "Dear all\n\n<!--\nP.S. hi -->", "incorrect"),
    "comment: text of a postscript": (POSTSCRIPT, "Dear all\n\nP.S. <!-- hi -->", "incorrect"),
    "comment: end": (END, "text <!-- Any questions?", "incorrect"),
    "comment: in quotes": (QUOTED, '"<!-- yes -->"', "incorrect"),
    "comment: all": (NO_COMMA, "<!-- yes -->", "incorrect"),
    "comment: loose": (one("keywords:existence", mode="loose", keywords=["cat"]), "A dog.\n<!-- cat -->", "incorrect"),
    "markup: emphasis inside": (NO_ROCK, "we will ro**ck** you", "incorrect"),
    "markup: tags inside": (NO_ROCK, "we will r<b>o</b>ck you", "incorrect"),
    "markup: comment inside": (NO_ROCK, "we will ro<!-- -->ck you", "incorrect"),
    "markup: character reference": (NO_ROCK, "we will r&#111;ck you", "incorrect"),
    "markup: too often": (FEW_CATS, "cat c&#97;t", "incorrect"),
    "markup: comma": (NO_COMMA, "one&#44; two&comma; three", "incorrect"),
    "forbidden in small capitals": (NO_ROCK, "we will ʀᴏᴄᴋ you", "incorrect"),
    "forbidden on squares": (NO_ROCK, "we will 🆁🅾🅲🅺 you", "incorrect"),
    "forbidden in flags": (NO_ROCK, "we will 🇷🇴🇨🇰 you", "incorrect"),
    "few words by zero width": (SHORT, "one\u200btwo\u200bthree\u200bfour\u200bfive", "incorrect"),
    "few words by fillers": (SHORT, "one\u3164two\u3164three\u3164four\u3164five", "incorrect"),
    "few sentences by no blanks": (FEW_SENTENCES, "This is one.This is two.This is three.", "incorrect"),
    "few sentences by other dots": (FEW_SENTENCES, "This is one․ This is two． This is three.", "incorrect"),
    "few sentences by zero width": (FEW_SENTENCES, "It is one.\u200b It is two.\u200b It is three.", "incorrect"),
    "half of two": (BOTH, "a dog", "incorrect"),
    "spray of forms": (
        gold(("detectable_format:json_format", {}), ("keywords:existence", {"keywords": ["cat"]})),
        '"cat" <<cat>> {"cat": 1} *cat* SECTION 1 cat P.S. cat [cat]',
        "incorrect",
    ),
    "loose does not join two readings": (
        one("length_constraints:number_words", mode="loose", num_words=3, relation="at least"), "one\ntwo", "incorrect"
    ),
    "loose of nothing": (one("punctuation:no_comma", mode="loose"), "*,*\n\u200b", "unparsed"),
}  # fmt: skip

LARGE = {
    "letters": "a" * MANY,
    "commas": "," * MANY,
    "full stops": "." * MANY + "a",
    "short sentences": "a. " * (MANY // 3),
    "blanks": "a" + " " * MANY + "a",
    "line breaks": "\n" * MANY + "a",
    "broken blanks": "\n \t" * (MANY // 3) + "a",
    "asterisks": "*" * MANY,
    "emphasis": "*a" * (MANY // 2),
    "dividers": "***a" * (MANY // 4),
    "brackets": "[" * MANY,
    "angles": "<<" * (MANY // 2),
    "braces": '{"a":' * (MANY // 5),
    "escapes": '"' + '\\"' * (MANY // 2),
    "postscripts": "p.s." * (MANY // 4),
    "sections": "SECTION 1 " * (MANY // 10),
    "headings": "#\n" * (MANY // 2),
    "quotes": '."' * (MANY // 2),
    "accents on one letter": "a" + "\u0315\u0300" * (MANY // 2),
    "mixed alphabets": "aа" * (MANY // 2),
    "long ligatures": "\ufdfa" * (MANY // 3),
    "zero width": "\u200b" * MANY + "a",
    "surrogates": "\ud800" * MANY + "a",
    "Chinese": "中" * (MANY // 3),
    "addresses": ("a" * 64 + "@") * (MANY // 65),
    "reasoning tags": "<think>" * (MANY // 7),
    "comments": "<!--" * (MANY // 4),
    "fences": "```\n" * (MANY // 4),
    "notes": "[a]: " * (MANY // 5),
    "tags": "<a " * (MANY // 3),
    "references": "&a" * (MANY // 2),
}
GOLDS = (
    CAT, FEW_CATS, NO_ROCK, FEW_A, LOWER, KANNADA, JSON, TITLE, OPTION, TWO, QUOTED, SECTIONS, HIGHLIGHTS, BULLETS,
    PLACEHOLDERS, POSTSCRIPT, PARAGRAPHS, LONG, FEW_SENTENCES, END, REPEAT, FIRST, NO_COMMA, CAPITALS,
)  # fmt: skip


@pytest.fixture(scope="module")
def pool():
    with VerifierPool(1) as opened:
        yield opened


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_attack(pool, case):
    truth, response, status = case
    (verdict,) = pool.verify([Task("instructions", response, truth)])
    assert verdict.status.value == status, verdict
    assert len(verdict.parts) == len(json.loads(truth)["kwargs"])


@pytest.mark.parametrize("response", LARGE.values(), ids=LARGE)
def test_a_long_response_is_decided_in_time(pool, response):
    """Each constraint alone, in the worker or here. Linear; the limits leave room for a busy machine."""
    parsed = [json.loads(text) for text in GOLDS]
    for entry in parsed:
        started = time.monotonic()
        (verdict,) = pool.verify([Task("instructions", response, json.dumps(entry), budget_s=10)])
        assert time.monotonic() - started < 5, entry
        assert verdict.status in (Status.correct, Status.incorrect, Status.unparsed, Status.error)


def test_the_calling_process_hands_over_what_is_long():
    from verifiers.contract import Deferred
    from verifiers.instructions import check, parse_gold

    for response in ("a" * MEGABYTE + "b", "aа" * MEGABYTE):
        started = time.monotonic()
        assert isinstance(check(response, parse_gold(json.loads(NO_ROCK)), ""), Deferred)
        assert time.monotonic() - started < 2


def test_an_overlong_decision_ends_with_its_budget(pool):
    """Eight readings of many megabytes against many constraints: a null, and the next task is not touched."""
    every = gold(*((name, {"forbidden_words": ["rock"]}) for name in ["keywords:forbidden_words"] * 60), mode="loose")
    started = time.monotonic()
    slow, quick = pool.verify(
        [Task("instructions", "rосk\n" * (8 * MEGABYTE // 5), every, budget_s=1), Task("instructions", "a cat", CAT)]
    )
    assert slow.status in (Status.timeout, Status.error, Status.incorrect) and slow.score in (None, 0.0)
    assert quick.status is Status.correct
    assert time.monotonic() - started < 30
