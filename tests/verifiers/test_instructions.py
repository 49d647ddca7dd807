"""Instruction following: each kind of constraint, the two modes, joining, and golds."""

import gzip
import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verifiers import Status, Task, VerifierPool, verify
from verifiers.contract import BadGold, Deferred
from verifiers.instructions import VERIFIER, check, language, parse_gold
from verifiers.instructions.finding import Question
from verifiers.instructions.joining import work
from verifiers.instructions.kinds import KINDS
from verifiers.instructions.language import Detector, distinct_letters
from verifiers.instructions.sentences import at_most, ended
from verifiers.instructions.text import Reading, folded, inflected_occurrences, loosened, occurrences, variants

ENGLISH = "this sentence is written in plain english and has quite enough words for a detector to be sure of it"
GERMAN = "dieser satz ist auf deutsch geschrieben und hat genug wörter für eine sichere erkennung der sprache"


def gold_of(*instructions, mode="strict", score="all"):
    """Return a gold from (id, arguments) pairs."""
    ids, arguments = zip(*instructions, strict=True)
    return {"instruction_id_list": list(ids), "kwargs": list(arguments), "mode": mode, "score": score}


def outcome_of(response, gold):
    outcome = check(response, parse_gold(gold), "")
    return work(json.loads(outcome.payload)) if isinstance(outcome, Deferred) else outcome


def holds(response, name, mode="strict", **arguments):
    (part,) = outcome_of(response, gold_of((name, arguments), mode=mode)).parts
    assert part.name == name
    return part.status.value


ONE_EACH = {
    "keywords:existence": {"keywords": ["cat"]},
    "keywords:frequency": {"keyword": "cat", "frequency": 2, "relation": "at least"},
    "keywords:forbidden_words": {"forbidden_words": ["dog"]},
    "keywords:letter_frequency": {"letter": "a", "let_frequency": 3, "let_relation": "less than"},
    "language:response_language": {"language": "hi"},
    "length_constraints:number_sentences": {"num_sentences": 2, "relation": "at least"},
    "length_constraints:number_words": {"num_words": 5, "relation": "at least"},
    "length_constraints:number_paragraphs": {"num_paragraphs": 2},
    "length_constraints:nth_paragraph_first_word": {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "so"},
    "detectable_content:number_placeholders": {"num_placeholders": 1},
    "detectable_content:postscript": {"postscript_marker": "P.S."},
    "detectable_format:number_bullet_lists": {"num_bullets": 2},
    "detectable_format:constrained_response": {},
    "detectable_format:number_highlighted_sections": {"num_highlights": 1},
    "detectable_format:multiple_sections": {"section_spliter": "SECTION", "num_sections": 2},
    "detectable_format:json_format": {},
    "detectable_format:title": {},
    "combination:two_responses": {},
    "combination:repeat_prompt": {"prompt_to_repeat": "Say hello."},
    "startend:end_checker": {"end_phrase": "Any questions?"},
    "startend:quotation": {},
    "change_case:capital_word_frequency": {"capital_frequency": 1, "capital_relation": "at least"},
    "change_case:english_capital": {},
    "change_case:english_lowercase": {},
    "punctuation:no_comma": {},
}


def test_the_25_kinds_are_there():
    assert set(KINDS) == set(ONE_EACH) and len(KINDS) == 25


@pytest.mark.parametrize("name", sorted(ONE_EACH))
@pytest.mark.parametrize("empty", ["", " \n\t ", "\u200b\u2060", "\u3164", "\0", "<think>cat cat</think>\n"])
@pytest.mark.parametrize("mode", ["strict", "loose"])
def test_nothing_meets_no_constraint(name, empty, mode):
    outcome = outcome_of(empty, gold_of((name, ONE_EACH[name]), mode=mode))
    assert outcome.status is Status.unparsed
    assert [part.status for part in outcome.parts] == [Status.incorrect]


YES, NO, NULL = "correct", "incorrect", "error"


@pytest.mark.parametrize(
    ("text", "keyword", "found"),
    [
        ("The cat sat.", "cat", 1), ("CAT, Cat; (cat) *cat* _cat_ cat-like", "cat", 6), ("category concat", "cat", 0),
        ("cats", "cat", 0), ("cat's", "cat", 1), ("c.t cut", "c.t", 1), ("a+b a+bc", "a+b", 1),
        ("new\n york NEW YORK newyork", "New  York", 2), ("#tag #tags", "#tag", 1),
        ("naïve nai\u0308ve naive", "naïve", 2),
        ("caf\u0065\u0301", "cafe", 0), ("काम का", "क", 0), ("我喜欢猫咪", "猫", 1), ("ba a a", "a a", 1),
        ("straße STRASSE", "strasse", 2), ("don't do it", "do", 1), ("C++ and c++.", "c++", 2),
    ],
)  # fmt: skip
def test_keywords_are_literal_whole_words(text, keyword, found):
    assert len(list(occurrences(folded(keyword), folded(text)))) == found


@pytest.mark.parametrize(
    ("keyword", "inflected", "others"),
    [
        ("law", "law laws law's lawed", "lawn lawsuit lawyer outlaw la-w lawś"),
        ("knot", "knot knots knotted knotting KNOTS", "knotty unknot knottedly knote"),
        ("trust", "trusted trusting trusts", "trustee trusty entrusted"),
        ("riddle", "riddles riddled", "riddler riddleing riddling"),
        ("box", "boxes boxed boxing", "boxen boxer"),
        ("be", "be", "bed being bes"), ("str", "str", "string strs"), ("café", "café", "cafés cafe"),
        ("new york", "New Yorks NEW  YORK", "new yorker"), ("42nd", "42nd", "42nds"),
        ("猫s", "猫s", "猫sed"),
    ],
)  # fmt: skip
def test_inflected_forms_of_a_keyword(keyword, inflected, others):
    words = inflected.split() if " " not in keyword else [inflected[: len("new yorks")], inflected[-len("new  york") :]]
    for text in (*words, "(" + words[-1] + ")."):
        assert len(list(inflected_occurrences(folded(keyword), folded(text)))) == 1, text
    for text in others.split() if " " not in keyword else [others]:
        assert not list(inflected_occurrences(folded(keyword), folded(text))), text


def test_keyword_constraints():
    assert holds("A cat and a dog.", "keywords:existence", keywords=["CAT", "dog"]) == YES
    assert holds("A cat.", "keywords:existence", keywords=["cat", "dog"]) == NO
    frequency = {"keyword": "cat", "frequency": 2}
    assert holds("cat cat", "keywords:frequency", relation="at least", **frequency) == YES
    assert holds("cat cats", "keywords:frequency", relation="at least", **frequency) == YES
    assert holds("cat category", "keywords:frequency", relation="at least", **frequency) == NO
    assert holds("cat cats", "keywords:frequency", relation="less than", **frequency) == NO
    assert holds("cat category", "keywords:frequency", relation="less than", **frequency) == YES
    assert holds("cat cat", "keywords:frequency", relation="less than", **frequency) == NO
    assert holds("rocky rocks", "keywords:forbidden_words", forbidden_words=["rock"]) == YES
    assert holds("Our LAWS and riddles.", "keywords:existence", keywords=["law", "riddle"]) == YES
    assert holds("It does ROCK!", "keywords:forbidden_words", forbidden_words=["pop", "rock"]) == NO


@pytest.mark.parametrize(
    "disguise",
    [
        "ro\u200bck",
        "ro\u00adck",
        "ｒｏｃｋ",
        "rосk",
        "_rock_",
        "r\u0336o\u0336c\u0336k\u0336",
        "ROCK",
        "𝐫𝐨𝐜𝐤",
        "rock\u200d",
    ],
)
def test_a_disguise_hides_no_forbidden_word_and_shows_no_required_one(disguise):
    assert holds(f"We will {disguise} you", "keywords:forbidden_words", forbidden_words=["rock"]) == NO
    if disguise.casefold().strip("_\u200d") != "rock":
        assert holds(f"We will {disguise} you", "keywords:existence", keywords=["rock"]) == NO


def test_foreign_words_are_not_taken_for_latin_ones():
    assert loosened("мир и война") == "мир и война"
    assert loosened("cамолёт") == "camoлёt"  # mixed: a Latin c before Cyrillic


def test_letters_and_commas():
    few = {"letter": "q", "let_frequency": 2}
    assert holds("Quiet, quick", "keywords:letter_frequency", let_relation="at least", **few) == YES
    assert holds("quick", "keywords:letter_frequency", let_relation="less than", **few) == YES
    tags = {"letter": "#", "let_frequency": 2, "let_relation": "at least"}
    assert holds("#a #b", "keywords:letter_frequency", **tags) == YES
    assert holds("no comma here", "punctuation:no_comma") == YES
    for comma in ",，、،﹐､‚︐":
        assert holds(f"one{comma} two", "punctuation:no_comma") == NO
    assert holds("it’s ‘so’; fine", "punctuation:no_comma") == YES


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("one two three", 3, 3), ("don't well-known snake_case", 6, 6), ("* - _ !", 0, 0), ("3.14 is pi", 4, 4),
        ("हिन्दी में दो", 3, 3), ("我喜欢猫", 1, 4), ("ฉันชอบแมว", 1, 8), ("é e\u0301", 2, 2),
    ],
)  # fmt: skip
def test_number_of_words(text, least, most):
    assert Reading(text).word_count == (least, most)


def test_words_without_blanks_are_undecided_between_the_bounds():
    def chinese(count, relation):
        return holds("我喜欢猫和狗", "length_constraints:number_words", num_words=count, relation=relation)

    assert chinese(7, "at least") == NO and chinese(7, "less than") == YES
    assert chinese(3, "at least") == NULL and chinese(3, "less than") == NULL


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("One. Two! Three?", 3), ("No stop", 1), ("...", 0),
        ("Dr. Smith met Mr. J. Jones at 5 p.m. on Main St. today.", 1),
        ("It costs 3.50 dollars. Yes.", 2), ("1. First step.\n2. Second step.", 2), ("a) One.\nb) Two.", 2),
        ('"Stop!" he said. "Why?" she asked.', 2), ("Well... maybe. Yes", 2), ("Wait... What?", 2), ("! ! ! !", 0),
        ("Use e.g. this, i.e. that.", 1), ("She got a Ph.D. Then she left.", 2), ("visit example.com now.", 1),
        ("你好。再见！", 2), ("all in small letters. even here. yes", 3), ("So do I. And you?", 2),
        ("**Bold.** Next.", 2),
        ("What?! Really?!", 2), ("Title\n\nText here.", 1), ("यह है। वह है।", 2),
        ('{"a": "One here.",\n"b": "Two here."}', 2),
    ],
)  # fmt: skip
def test_number_of_sentences(text, count):
    assert ended(text) == count


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("1. First step.\n2. Second step.", 4), ("Steps:\n\n1. First\n 2. Second.", 3), ("1. small.\n2. letters.", 2),
        ("It was 1. A thing.", 2), ("a) One.\nb) Two.", 2), ("1) One.\n2) Two.", 2), ("- 10. **Ten** is it.", 2),
        ("1... Wait.", 1), ("1! Yes.", 1),
    ],
)  # fmt: skip
def test_numbers_of_list_items_count_from_above_only(text, count):
    assert at_most(text) == count
    assert ended(text) <= at_most(text)


def test_leaving_out_full_stops_does_not_make_a_long_text_short():
    line = "this line goes on and on without any full stop at its very end"
    text = "\n".join([line] * 5)
    assert ended(text) == 1 and at_most(text) == 5
    less = {"num_sentences": 4, "relation": "less than"}
    assert holds(text, "length_constraints:number_sentences", **less) == NO
    assert holds(text, "length_constraints:number_sentences", num_sentences=4, relation="at least") == NO
    assert at_most("# A heading of many words which ends without any full stop at all here\n\nText.") == 1


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("a\n***\nb", 2), ("a ***\n\nb\n\n*** c", 3), ("***\na\n***\nb\n***", 2), ("a ***b*** c", 1), ("a", 1),
        ("a\n***\n \n***\nb", None), ("a ****** b", 1), ("one. ***Two here. ***Three here.", 3),
    ],
)  # fmt: skip
def test_paragraphs(text, number):
    for wanted in (1, 2, 3):
        found = holds(text, "length_constraints:number_paragraphs", num_paragraphs=wanted)
        assert found == (YES if wanted == number else NO)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("One.\n\nSo it is.", YES), ("One.\n\n\n \nSo, it is.", YES), ('One.\n\n"so', YES),
        ("One.\n\n“So” it is.", YES), ("One.\n\nSo", YES),
        ("One.\n\nSo: it is.", NO), ("One.\n\n**So** it is.", NO), ("One.\n\n# So it is.", NO),
        ("One.\n\n\u200bSo it is.", NO), ("One.\n\nSo-called", NO), ("One.\n\n!so", NO),
        ("One.\n\nSome", NO), ("So.\n\nOne.", NO), ("One.\n\nSo.\n\nThree.", NO), ("One.\nSo.", NO),
        ("One\n\n\u200b\n\nso", YES),
    ],
)  # fmt: skip
def test_first_word_of_a_paragraph(text, status):
    name = "length_constraints:nth_paragraph_first_word"
    assert holds(text, name, num_paragraphs=2, nth_paragraph=2, first_word="so") == status


def test_first_words_of_a_paragraph():
    def begins(text, first_word):
        name = "length_constraints:nth_paragraph_first_word"
        return holds(text, name, num_paragraphs=1, nth_paragraph=1, first_word=first_word)

    assert begins("Once  upon, a time", "once upon") == YES
    assert begins("Once. Upon a time", "once upon") == YES
    assert begins("Once a time", "once upon") == NO
    assert begins("!b", "!a") == NO and begins("!a b", "!a") == YES
    assert begins("**Summary** of it", "summary") == NO
    loose = {"num_paragraphs": 1, "nth_paragraph": 1, "first_word": "summary"}
    assert holds("**Summary** of it", "length_constraints:nth_paragraph_first_word", mode="loose", **loose) == YES


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("[name] and [the address]", 2), ("[] [ ] [1]", 0), ("[a [b] c]", 1), ("[text](http://x)", 0), ("[a\nb]", 0),
        ("[[name]]", 1), ("[x", 0), ("[名前]", 1),
    ],
)  # fmt: skip
def test_placeholders(text, number):
    def at_least(count):
        return holds(text, "detectable_content:number_placeholders", num_placeholders=count)

    assert at_least(number + 1) == NO and (not number or at_least(number) == YES)


@pytest.mark.parametrize(
    ("text", "marker", "status"),
    [
        ("Dear A.\n\nP.S. Write soon", "P.S.", YES), ("Text. P.S. more", "P.S.", YES),
        ("Text\n**P.S.** more", "P.S.", YES),
        ("Text\np.s. more", "P.S.", YES), ("Text\nP. S. more", "P.S.", YES), ("Text\nP.S.", "P.S.", NO),
        ("the P.S. is a thing", "P.S.", NO), ("Text\nP.P.S. more", "P.S.", NO), ("Text\nP.P.S more", "P.P.S", YES),
        ("Text\nP.S. more", "P.P.S", NO), ("Text\nPS: more", "P.S.", NO), ("Text\nP.S. P.S. P.S.", "P.S.", NO),
        ("Text\nAfterword: more", "Afterword:", YES), ("Postscript (P.S.) more", "P.S.", YES),
    ],
)  # fmt: skip
def test_postscript(text, marker, status):
    assert holds(text, "detectable_content:postscript", postscript_marker=marker) == status


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("* a\n* b\n* c", 3), ("- a\n  - b", 2), ("+ a", 1), ("**bold** line\n---\n***", 0), ("*emphasis* line", 0),
        ("*\n-", 0), ("a * b\n1. c", 0), ("-5 degrees", 0), ("\t* a", 1), ("• a", 0),
    ],
)  # fmt: skip
def test_bullets(text, number):
    for wanted in (1, 2, 3):
        found = holds(text, "detectable_format:number_bullet_lists", num_bullets=wanted)
        assert found == (YES if wanted == number else NO)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("*one* and **two** and ***three***", 3), ("* one\n* two", 0), ("* *one* item *", 1), ("**", 0), ("****", 0),
        ("* *", 0), ("*a\nb*", 0), ("2 * 3 * 4", 0), ("*a **b** c*", 2), ("*!*", 0), ("_a_", 0),
    ],
)  # fmt: skip
def test_highlights(text, number):
    def at_least(count):
        return holds(text, "detectable_format:number_highlighted_sections", num_highlights=count)

    assert at_least(number + 1) == NO and (not number or at_least(number) == YES)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("SECTION 1\na\nSECTION 2\nb", 2), ("**SECTION 1:** a\n## SECTION 2\nb", 2), ("SECTION 1 SECTION 2", 1),
        ("SECTION 1\nSECTION 2\nb", 1), ("SECTION 1\na\nSECTION 01\nb", 1), ("Section 1\na", 0), ("SECTIONS 1\na", 0),
        ("SECTION one\na", 0), ("SECTION1\na", 1), ("In SECTION 1 a", 0),
    ],
)  # fmt: skip
def test_sections(text, number):
    def at_least(count):
        return holds(text, "detectable_format:multiple_sections", section_spliter="SECTION", num_sections=count)

    assert at_least(number + 1) == NO and (not number or at_least(number) == YES)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ('{"a": 1}', YES), ("[1, 2]", YES), ('```json\n{"a": [1]}\n```', YES), ("```\n[1]\n```", YES), ("{}", NO),
        ("5", NO),
        ('"text"', NO), ('{"a": NaN}', NO), ('{"a": 1, "a": 2}', NO), ('{"a": 1} and more', NO),
        ('Here: {"a": 1}', NO),
        ("[" * 70 + "1" + "]" * 70, NO), ("[" * 100_000, NO), ("{'a': 1}", NO), ('[1,]', NO),
        ('```python\n[1]\n```', NO),
        ('["\\ud800"]', NO), ("[1e999999999]", NO), ('["' + "a" * 1000 + '"]', YES),
    ],
)  # fmt: skip
def test_json(text, status):
    assert holds(text, "detectable_format:json_format") == status


@pytest.mark.parametrize(
    ("name", "text", "status"),
    [
        ("detectable_format:title", "<<A title>>\ntext", YES), ("detectable_format:title", "<<>> << >>", NO),
        ("detectable_format:title", "<<a\nb>>", NO), ("detectable_format:title", "<title>", NO),
        ("detectable_format:title", ">>a<<", NO), ("detectable_format:title", "<<<a>>>", YES),
        ("detectable_format:constrained_response", "My answer is yes.", YES),
        ("detectable_format:constrained_response", "Hm. My answer is no. Because.", YES),
        ("detectable_format:constrained_response", "My answer is yes. My answer is no.", NO),
        ("detectable_format:constrained_response", "my answer is yes", NO),
        ("combination:two_responses", "a\n******\nb", YES), ("combination:two_responses", "a ******* b ******", YES),
        ("combination:two_responses", "a\n******\n A ", NO), ("combination:two_responses", "a\n*****\nb", NO),
        ("combination:two_responses", "a\n******\nb\n******\nc", NO),
        ("combination:two_responses", "a\n******\n", NO),
        ("combination:two_responses", "a\n************\nb", NO), ("combination:two_responses", "a ****** \u200b", NO),
        ("startend:quotation", '"yes"', YES), ("startend:quotation", "“yes”", YES), ("startend:quotation", '"', NO),
        ("startend:quotation", '""', NO), ("startend:quotation", '" "', NO), ("startend:quotation", "'yes'", NO),
        ("startend:quotation", '"yes" no', NO), ("startend:quotation", "”yes“", NO),
    ],
)  # fmt: skip
def test_forms(name, text, status):
    assert holds(text, name) == status


def test_repeated_prompt():
    prompt = "Write a poem about cats."

    def repeat(text, prompt=prompt):
        return holds(text, "combination:repeat_prompt", prompt_to_repeat=prompt)

    assert repeat(prompt + "\n\nCats are nice.") == YES
    assert repeat(prompt.upper() + "  \n Cats") == YES
    assert repeat(prompt) == NO and repeat(prompt + "\n...\n") == NO
    assert repeat("Sure! " + prompt + " Cats.") == NO and repeat("Write a poem about dogs. Cats.") == NO
    assert repeat("about cattle and so on", "about cat") == NO


def test_end():
    def end(text, phrase="Any questions?"):
        return holds(text, "startend:end_checker", end_phrase=phrase)

    assert end("Text. Any questions?") == YES and end('"Text. any  questions?"\n') == YES
    assert end("Any questions? No.") == NO and end("Text. Many questions?") == NO
    assert end("Go to Delhi", "hi") == NO


def test_capital_words():
    def capitals(text, count, relation):
        name = "change_case:capital_word_frequency"
        return holds(text, name, capital_frequency=count, capital_relation=relation)

    assert capitals("I am HERE now A1", 3, "at least") == YES
    assert capitals("Only Title Case", 1, "at least") == NO
    assert capitals("1 2 3", 1, "less than") == YES


@pytest.mark.parametrize(
    ("name", "text", "status"),
    [
        ("change_case:english_lowercase", ENGLISH, YES), ("change_case:english_lowercase", GERMAN, NO),
        ("change_case:english_lowercase", ENGLISH + " A", NO), ("change_case:english_lowercase", "123", NO),
        ("change_case:english_lowercase", "etchings", NULL), ("change_case:english_capital", ENGLISH.upper(), YES),
        ("change_case:english_capital", GERMAN.upper(), NO), ("change_case:english_capital", ENGLISH, NO),
    ],
)  # fmt: skip
def test_english_in_one_case(name, text, status):
    assert holds(text, name) == status


@pytest.mark.parametrize(
    ("text", "language", "status"),
    [
        (ENGLISH, "en", YES), (ENGLISH, "de", NO), (GERMAN, "de", YES), (GERMAN, "hi", NO), ("ಹೌದು, ಅವು", "kn", YES),
        ("ಹೌದು", "te", NO), ("12345", "hi", NULL),
        ("Да, это предложение написано по-русски, и оно достаточно длинное", "ru", YES),
        ("Да, это предложение написано по-русски, и оно достаточно длинное", "bg", NO), ("ok", "en", NULL),
        (f"{ENGLISH}, {ENGLISH}\n\n{GERMAN} {GERMAN}", "en", NO),
        (f"{ENGLISH}\n\nಹೌದು ಅವು " + "ಅವುಗಳಾಗಿವೆ " * 30, "kn", NO),
        ("这是一个用中文写的句子,它足够长,可以确定它的语言是什么。这里还有更多的文字,用来说明这件事情。", "zh", YES),
        ("これは日本語で書かれた文章です。言語を確実に判定するのに十分な長さがあります。", "ja", YES),
    ],
)  # fmt: skip
def test_languages(text, language, status):
    assert holds(text, "language:response_language", language=language) == status


@pytest.mark.parametrize(
    ("probabilities", "long", "short"),
    [
        ({"en": 1.0}, True, True), ({"en": 0.57, "it": 0.43}, True, True), ({"en": 0.43, "it": 0.57}, None, None),
        ({"en": 0.14, "it": 0.86}, False, None), ({"it": 1.0}, False, None), ({"it": 0.57, "fr": 0.43}, False, None),
        ({"en": 0.14, "it": 0.43, "fr": 0.43}, None, None), ({}, None, None),
    ],
)  # fmt: skip
def test_the_likeliest_language_decides_where_it_is_likelier_than_all_others(monkeypatch, probabilities, long, short):
    class Fixed:
        def probabilities(self, _text):
            return probabilities

    monkeypatch.setattr(language, "detector", Fixed)
    assert language.answer(Question("en", ENGLISH, ())).holds is long
    assert language.answer(Question("en", "etchings", ())).holds is short


def test_detection_repeats_in_a_fresh_detector():
    texts = (ENGLISH, GERMAN, "trace analytics solutions", "hello")
    first, second = Detector(), Detector()
    assert [first.probabilities(text) for text in texts] == [second.probabilities(text) for text in reversed(texts)][
        ::-1
    ]


def test_repetition_is_no_evidence_of_a_language():
    assert distinct_letters("name name NAME 1 2") == 4


def test_strict_and_loose():
    no_comma = "punctuation:no_comma"
    text = "Sure, here it is:\nOne line\nDone, I hope"
    assert holds(text, no_comma) == NO and holds(text, no_comma, mode="loose") == YES
    assert holds("a, b", no_comma, mode="loose") == NO
    first = {"num_paragraphs": 1, "nth_paragraph": 1, "first_word": "line"}
    assert holds("One\nline two", "length_constraints:nth_paragraph_first_word", mode="loose", **first) == YES
    assert holds("<<*", "detectable_format:title", mode="loose") == NO


def test_the_eight_readings():
    assert variants("a*\nb*\nc*") == ["a*\nb*\nc*", "b*\nc*", "a*\nb*", "b*", "a\nb\nc", "b\nc", "a\nb", "b"]
    assert variants("one line") == ["one line"]


CAT, COMMA, HINDI = ("keywords:existence", {"keywords": ["cat"]}), ("punctuation:no_comma", {}), (
    "language:response_language", {"language": "hi"}
)  # fmt: skip


@pytest.mark.parametrize(
    ("response", "score", "status", "value"),
    [
        ("a cat", "all", Status.correct, None), ("a cat, yes", "all", Status.incorrect, None),
        ("a cat, yes", "fraction", Status.partial, 0.5), ("no, it", "fraction", Status.incorrect, None),
        ("a cat", "fraction", Status.correct, None),
    ],
)  # fmt: skip
def test_joining(response, score, status, value):
    outcome = outcome_of(response, gold_of(CAT, COMMA, score=score))
    assert (outcome.status, outcome.score) == (status, value)
    assert [part.name for part in outcome.parts] == ["keywords:existence", "punctuation:no_comma"]


def test_joining_with_something_undecided():
    undecided = outcome_of("1 2 3", gold_of(COMMA, HINDI))
    assert undecided.status is Status.error and undecided.parts[0].score == 1 and undecided.parts[1].score is None
    assert outcome_of("1, 2", gold_of(COMMA, HINDI)).status is Status.incorrect
    assert outcome_of("1, 2", gold_of(COMMA, HINDI, score="fraction")).status is Status.error


def bad(name, **arguments):
    return gold_of((name, arguments))


BOUND = "length_constraints:number_words"
BAD_GOLDS = {
    "no object": [1], "no ids": {"kwargs": []}, "empty": {"instruction_id_list": [], "kwargs": []},
    "lengths differ": {"instruction_id_list": ["punctuation:no_comma"], "kwargs": []},
    "unknown key": {**gold_of(COMMA), "extra": 1}, "mode": {**gold_of(COMMA), "mode": "lenient"},
    "score": {**gold_of(COMMA), "score": 1}, "unknown id": gold_of(("punctuation:no_dots", {})),
    "kwargs no object": {"instruction_id_list": ["punctuation:no_comma"], "kwargs": ["x"]},
    "missing argument": bad("keywords:existence"), "null argument": bad("keywords:existence", keywords=None),
    "wrong type": bad("keywords:existence", keywords="cat"),
    "empty keyword": bad("keywords:existence", keywords=[" "]),
    "no keywords": bad("keywords:existence", keywords=[]),
    "argument of another kind": bad("punctuation:no_comma", letter="a"),
    "relation": bad(BOUND, num_words=3, relation="more than"),
    "boolean": bad(BOUND, num_words=True, relation="at least"),
    "zero": bad(BOUND, num_words=0, relation="at least"), "fraction": bad(BOUND, num_words=2.5, relation="at least"),
    "less than one word": bad(BOUND, num_words=1, relation="less than"), "language": bad(HINDI[0], language="xx"),
    "two letters": bad("keywords:letter_frequency", letter="ab", let_frequency=1, let_relation="at least"),
    "paragraph 3 of 2": bad(
        "length_constraints:nth_paragraph_first_word", num_paragraphs=2, nth_paragraph=3, first_word="a"
    ),
    "range": gold_of(*((BOUND, {"num_words": 9, "relation": relation}) for relation in ("at least", "less than"))),
    "forbidden and required": gold_of(CAT, ("keywords:forbidden_words", {"forbidden_words": ["Cat"]})),
    "comma required": gold_of(COMMA, ("startend:end_checker", {"end_phrase": "So, yes."})),
    "both cases": gold_of(("change_case:english_capital", {}), ("change_case:english_lowercase", {})),
    "english and hindi": gold_of(("change_case:english_capital", {}), HINDI),
    "two languages": gold_of(HINDI, (HINDI[0], {"language": "de"})),
    "json in quotes": gold_of(("detectable_format:json_format", {}), ("startend:quotation", {})),
    "two ends": gold_of(("startend:end_checker", {"end_phrase": "a"}), ("startend:end_checker", {"end_phrase": "b"})),
}  # fmt: skip


@pytest.mark.parametrize("gold", BAD_GOLDS.values(), ids=BAD_GOLDS)
def test_bad_golds(gold):
    with pytest.raises(BadGold) as caught:
        parse_gold(gold)
    assert ";" in str(caught.value)


@pytest.mark.parametrize("name", sorted(ONE_EACH))
def test_nulls_for_unused_arguments_are_ignored(name):
    everything = dict.fromkeys({key for arguments in ONE_EACH.values() for key in arguments})
    assert (
        parse_gold(gold_of((name, {**everything, **ONE_EACH[name]}))).instructions[0].arguments.keys()
        == ONE_EACH[name].keys()
    )
    assert parse_gold(gold_of(("punctuation:no_comma", None))).instructions[0].arguments == {}


def test_whole_numbers_may_come_as_floats():
    gold = parse_gold(bad(BOUND, num_words=3.0, relation="at least"))
    assert gold.instructions[0].arguments["num_words"] == 3


@settings(max_examples=150)
@given(st.text(alphabet=st.characters(), max_size=300), st.sampled_from(["strict", "loose"]))
def test_any_text_gets_the_same_decision_twice(text, mode):
    for name, arguments in ONE_EACH.items():
        gold = parse_gold(gold_of((name, arguments), mode=mode))
        first, second = check(text, gold, ""), check(text, gold, "")
        assert first == second
        if not isinstance(first, Deferred):
            assert first.status in (Status.correct, Status.incorrect, Status.unparsed, Status.error)
            assert first.status is not Status.error or "cannot be decided" in first.detail


@given(st.text(max_size=200))
def test_what_holds_strictly_holds_loosely(text):
    for name, arguments in ONE_EACH.items():
        strict = check(text, parse_gold(gold_of((name, arguments))), "")
        if not isinstance(strict, Deferred) and strict.status is Status.correct:
            loose = check(text, parse_gold(gold_of((name, arguments), mode="loose")), "")
            assert not isinstance(loose, Deferred) and loose.status is Status.correct


@given(st.lists(st.sampled_from(["Cat.", "dog!", "3.5", "\n", "e.g.", "* a", "“x”", "猫。"]), max_size=30))
def test_sentences_are_bounded_by_words_and_their_two_counts_ordered(pieces):
    text = " ".join(pieces)
    assert ended(text) <= at_most(text) <= max(1, Reading(text).word_count[1])


def test_verdicts_do_not_depend_on_order_or_number_of_workers():
    texts = [ENGLISH, GERMAN, ENGLISH.upper(), "etchings", "", "a, b", ENGLISH + "\n" + GERMAN]
    golds = [gold_of((name, ONE_EACH[name]), mode=mode) for name in ONE_EACH for mode in ("strict", "loose")]
    tasks = [Task("instructions", text, json.dumps(gold)) for text in texts for gold in golds]
    shuffled = random.Random(0).sample(range(len(tasks)), len(tasks))
    with VerifierPool(1) as one, VerifierPool(2) as two:
        first = one.verify(tasks)
        second = two.verify([tasks[index] for index in shuffled])
    for position, index in enumerate(shuffled):
        ours, theirs = first[index], second[position]
        assert (ours.status, ours.score, ours.detail, ours.parts) == (
            theirs.status,
            theirs.score,
            theirs.detail,
            theirs.parts,
        )


def test_a_long_response_is_decided_in_a_worker():
    text = "cat " * 300_000
    gold = gold_of(CAT, COMMA)
    assert isinstance(check(text, parse_gold(gold), ""), Deferred)
    (verdict,) = verify([Task("instructions", text, json.dumps(gold))])
    assert verdict.status is Status.correct and len(verdict.parts) == 2


def test_version_names_the_library():
    assert "langdetect-" in VERIFIER.version


def test_agreement_with_recorded_labels(shared_data):
    """One model's strict labels, without those that need a language; the benchmark judges all disagreements."""
    with gzip.open(shared_data / "ifeval_even.jsonl.gz", "rt", encoding="utf-8") as lines:
        golds = {record["key"]: record for record in map(json.loads, lines)}
    agree = total = 0
    with gzip.open(shared_data / "rollouts_ifeval_even.jsonl.gz", "rt", encoding="utf-8") as lines:
        for record in map(json.loads, lines):
            if record["model"] != "claude-3-haiku-20240307":
                continue
            gold = golds[record["key"]]
            try:
                parsed = parse_gold({"instruction_id_list": gold["instruction_id_list"], "kwargs": gold["kwargs"]})
            except BadGold as error:
                assert "no response can meet it" in str(error)
                continue
            outcome = check(record["response"], parsed, "")
            if not isinstance(outcome, Deferred):
                total += len(outcome.parts)
                agree += sum(
                    (p.score == 1) == label for p, label in zip(outcome.parts, record["strict_list"], strict=True)
                )
    assert total > 250 and agree / total > 0.98
