"""Attacks on json_schema and regex: each case has one status, and none of them is a false accept."""

import json
import time

import pytest

from verifiers import Status, Task, VerifierPool

PERSON = {
    "schema": {
        "type": "object",
        "properties": {"name": {"type": "string", "minLength": 1}, "age": {"type": "integer", "minimum": 0}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }
}
TAGS = {"schema": {"type": "array", "items": {"type": "string"}, "minItems": 1, "uniqueItems": True}}
UNIQUE = {"schema": {"type": "array", "uniqueItems": True}}
TENTHS = {"schema": {"type": "number", "multipleOf": 0.1}}
DIGITS = {"schema": {"type": "string", "pattern": r"^\d+$"}}
SLOW = {"schema": {"type": "string", "pattern": "^(a|a)*$"}}
TREE = {"schema": {"type": "object", "required": ["v"], "properties": {"next": {"$ref": "#"}}}}
GOOD = '{"name": "Ava", "age": 30}'
BAD = '{"name": "Ava", "age": "30"}'

JSON_CASES = {
    "empty": (PERSON, "", "unparsed"),
    "blank": (PERSON, " \n\t ", "unparsed"),
    "echoed schema": (PERSON, json.dumps(PERSON["schema"]), "incorrect"),
    "echoed schema in a block": (PERSON, f"```json\n{json.dumps(PERSON['schema'])}\n```", "incorrect"),
    "right only in the reasoning": (PERSON, f"<think>{GOOD}</think>", "unparsed"),
    "right in the reasoning, wrong outside": (PERSON, f"<think>{GOOD}</think>{BAD}", "incorrect"),
    "two different blocks": (PERSON, f"```json\n{BAD}\n```\nor\n```json\n{GOOD}\n```", "unparsed"),
    "many guesses": (PERSON, "\n".join(f'```json\n{{"name": "A", "age": {n}}}\n```' for n in range(50)), "unparsed"),
    "wrong block, right prose": (PERSON, f"{GOOD}\n```json\n{BAD}\n```", "incorrect"),
    "two documents in a row": (PERSON, GOOD + GOOD, "unparsed"),
    "two documents on lines": (PERSON, f"{GOOD}\n{GOOD}", "unparsed"),
    "prose before": (PERSON, f"Sure: {GOOD}", "unparsed"),
    "key twice": (PERSON, '{"name": "Ava", "age": "x", "age": 30}', "unparsed"),
    "key twice by escape": (PERSON, r'{"name": "Ava", "age": "x", "\u0061ge": 30}', "unparsed"),
    "true for a number": (PERSON, '{"name": "Ava", "age": true}', "incorrect"),
    "text for a number": (PERSON, BAD, "incorrect"),
    "fraction for an integer": (PERSON, '{"name": "Ava", "age": 30.5}', "incorrect"),
    "almost an integer": (PERSON, '{"name": "Ava", "age": 30.00000000000000000000000000001}', "incorrect"),
    "nan": (PERSON, '{"name": "Ava", "age": NaN}', "unparsed"),
    "infinity": (PERSON, '{"name": "Ava", "age": Infinity}', "unparsed"),
    "overflow to infinity": (PERSON, '{"name": "Ava", "age": 1e999}', "incorrect"),
    "exponent bomb": (PERSON, '{"name": "Ava", "age": 1e999999999999}', "incorrect"),
    "digit bomb": (PERSON, '{"name": "Ava", "age": ' + "9" * 5_000 + "}", "incorrect"),
    "comment": (PERSON, '{"name": "Ava", /* 30 */ "age": 30}', "unparsed"),
    "trailing comma": (PERSON, '{"name": "Ava", "age": 30,}', "unparsed"),
    "single quotes": (PERSON, "{'name': 'Ava', 'age': 30}", "unparsed"),
    "python literals": ({"schema": {"type": "boolean"}}, "True", "unparsed"),
    "leading zero": (PERSON, '{"name": "Ava", "age": 030}', "unparsed"),
    "arabic digits": (PERSON, '{"name": "Ava", "age": ٣٠}', "unparsed"),
    "byte-order mark": (PERSON, "\ufeff" + GOOD, "unparsed"),
    "nul byte": (PERSON, GOOD + "\0", "unparsed"),
    "raw control character": (PERSON, '{"name": "A\x01", "age": 30}', "unparsed"),
    "lone surrogate": (PERSON, '{"name": "\ud800", "age": 30}', "unparsed"),
    "escaped lone surrogate": (PERSON, r'{"name": "\ud800", "age": 30}', "unparsed"),
    "homoglyph key": (PERSON, '{"nаme": "Ava", "age": 30}', "incorrect"),
    "extra key": (PERSON, '{"name": "Ava", "age": 30, "score": 1}', "incorrect"),
    "null": (PERSON, "null", "incorrect"),
    "unclosed": (PERSON, '{"name": "Ava", "age": 30', "unparsed"),
    "deep": (PERSON, "[" * 100_000 + "]" * 100_000, "incorrect"),
    "deep, unclosed": (PERSON, '{"a":' * 100_000, "incorrect"),
    "quotes that never close": (PERSON, '"' + '\\"' * 90_000, "unparsed"),
    "one megabyte": (PERSON, '{"name": "' + "a" * 1_000_000 + '", "age": 30}', "incorrect"),
    "a megabyte of fences": (PERSON, "```\n" * 250_000, "unparsed"),
    "a megabyte of tags": (PERSON, "<answer>" * 125_000, "incorrect"),
    "last tag wins": (PERSON, f"<answer>{GOOD}</answer><answer>{BAD}</answer>", "incorrect"),
    "one is not true": ({"schema": {"const": 1}}, "true", "incorrect"),
    "true is not one": ({"schema": {"const": True}}, "1", "incorrect"),
    "true in a list": ({"schema": {"const": [1, 0]}}, "[true, false]", "incorrect"),
    "false among the allowed": ({"schema": {"enum": [0, 2]}}, "false", "incorrect"),
    "equal items around true": (UNIQUE, "[[1], [true], [1]]", "incorrect"),
    "equal numbers in two forms": (UNIQUE, "[1, 1.0]", "incorrect"),
    "equal objects in two orders": (UNIQUE, '[{"a": 1, "b": 2}, {"b": 2, "a": 1}]', "incorrect"),
    "many unsortable items": (UNIQUE, "[" + ", ".join(f'{{"a": {n}}}, {n}' for n in range(8_000)) + "]", "correct"),
    "repeated tag": (TAGS, '["a", "b", "a"]', "incorrect"),
    "empty list": (TAGS, "[]", "incorrect"),
    "not a tenth": (TENTHS, "0.35", "incorrect"),
    "a tenth that doubles miss": (TENTHS, "0.3", "correct"),
    "foreign digits for a pattern": (DIGITS, '"١٢"', "incorrect"),
    "newline at the end of a pattern": (DIGITS, r'"12\n"', "incorrect"),
    "pattern bomb": (SLOW, '"' + "a" * 60 + '!"', "timeout"),
    "wrong deep inside": (TREE, '{"v": 1, "next": ' * 60 + "{}" + "}" * 60, "incorrect"),
    "block in a comment": (PERSON, f"<!--\n```json\n{GOOD}\n```\n-->\n{BAD}", "incorrect"),
    "tag in a comment": (PERSON, f"<answer>{BAD}</answer><!-- <answer>{GOOD}</answer> -->", "incorrect"),
    "comment in a text": ({"schema": {"const": {"a": "<!-- b -->"}}}, '{"a": "<!-- b -->"}', "correct"),
    "a megabyte of comments": (PERSON, "<!--" * 250_000, "incorrect"),
    "another block says otherwise": (PERSON, f"````json\n{GOOD}\n````\n````json\n{BAD}\n````", "unparsed"),
    "composed and decomposed key": ({"schema": {"type": "object", "required": ["é"]}}, '{"e\u0301": 1}', "incorrect"),
    "full-width letters for a pattern": ({"schema": {"type": "string", "pattern": "^[a-z]+$"}}, '"ａｂ"', "incorrect"),
    "true among the items": ({"schema": {"type": "array", "contains": {"const": 1}}}, "[true]", "incorrect"),
    "whole: block": ({**PERSON, "extract": "whole"}, f"```json\n{GOOD}\n```", "unparsed"),
}

DATE = {"pattern": r"\d{4}-\d{2}-\d{2}"}
WORD = {"pattern": "paris", "flags": "i"}
FOUND = {"pattern": r"\bok\b", "on": "response", "match": "search"}
REGEX_CASES = {
    "empty": (DATE, "", "unparsed"),
    "blank": (FOUND, " \n ", "unparsed"),
    "only markup": (DATE, "** **", "unparsed"),
    "reasoning only": (FOUND, "<think>ok</think>", "unparsed"),
    "echoed pattern": (DATE, r"The answer is \d{4}-\d{2}-\d{2}.", "incorrect"),
    "part of the answer": (DATE, "The answer is 2024-01-02 or so", "incorrect"),
    "two dates": (DATE, "The answer is 2024-01-02 or 2024-01-03.", "incorrect"),
    "questioned": (DATE, "Answer: 2024-01-02? No.", "incorrect"),
    "another one follows": (WORD, "Answer: Paris. Or London.", "incorrect"),
    "last one wins": (WORD, "The answer is Paris. No: the answer is London.", "incorrect"),
    "arabic digits": (DATE, "The answer is ٢٠٢٤-٠١-٠٢", "incorrect"),
    "fullwidth digits": (DATE, "The answer is ２０２４-０１-０２", "incorrect"),
    "kelvin sign": ({"pattern": "k", "flags": "i"}, "The answer is \u212a", "incorrect"),
    "long s": ({"pattern": "s", "flags": "i"}, "\u017f", "incorrect"),
    "homoglyph": (WORD, "Ρaris", "incorrect"),
    "zero-width space": (WORD, "Pa\u200bris", "incorrect"),
    "newline inside": (WORD, r"\boxed{Pa" + "\n" + "ris}", "incorrect"),
    "nul byte": (WORD, "Paris\0", "incorrect"),
    "lone surrogate": (WORD, "Paris\ud800", "incorrect"),
    "part of a word": (FOUND, "token", "incorrect"),
    "nested repetition": ({"pattern": "(a+)+b"}, "a" * 50, "timeout"),
    "alternation": ({"pattern": "(a|aa)+$"}, "a" * 60 + "!", "timeout"),
    "one megabyte": (FOUND, "o" * 1_000_000, "incorrect"),
    "in a comment": (DATE, "Answer: unknown\n<!--\nAnswer: 2024-01-02\n-->", "incorrect"),
    "denied": (WORD, "The answer is not Paris", "incorrect"),
    "two boxes": (WORD, r"\boxed{London} or \boxed{Paris}", "incorrect"),
    "nothing to see for any character": ({"pattern": "."}, "\u200b", "unparsed"),
    "nothing to see for no blank": ({"pattern": r"\S+", "on": "response"}, "\u2060\u3164", "unparsed"),
    "nul bytes for any character": ({"pattern": ".+"}, "\0\0", "unparsed"),
    "a megabyte of comments": (WORD, "<!--" * 250_000, "unparsed"),
    "padding hides the rest": (WORD, "The answer is Paris" + " " * 400 + "or London", "incorrect"),
}  # fmt: skip

CASES = [
    *((f"json: {name}", "json_schema", *case) for name, case in JSON_CASES.items()),
    *((f"regex: {name}", "regex", *case) for name, case in REGEX_CASES.items()),
]


@pytest.fixture(scope="module")
def pool():
    with VerifierPool(1) as pool:
        yield pool


@pytest.mark.parametrize(
    ("verifier", "gold", "response", "status"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_attack(pool, verifier, gold, response, status):
    started = time.perf_counter()
    (verdict,) = pool.verify([Task(verifier, response, json.dumps(gold), budget_s=1.0)])
    assert verdict.status == status, verdict.detail
    assert verdict.score == {"correct": 1.0, "timeout": None}.get(status, 0.0)
    assert time.perf_counter() - started < 4


def test_a_bomb_costs_its_neighbours_nothing(pool):
    bomb = Task("regex", "a" * 60, json.dumps({"pattern": "(a+)+b"}), budget_s=0.5)
    fine = [Task("json_schema", f'{{"name": "Ava", "age": {age}}}', json.dumps(PERSON)) for age in range(50)]
    verdicts = pool.verify([*fine[:25], bomb, *fine[25:]])
    assert [verdict.status for verdict in verdicts].count(Status.correct) == 50
    assert verdicts[25].status is Status.timeout


BAD_GOLDS = {
    "regex: repeats of repeats": ("regex", {"pattern": "(?:a?){900}(?:a?){900}"}),
    "regex: looks of repeats": ("regex", {"pattern": "(?=(?:a?){900})" * 3 + "b?"}),
    "regex: classes that are long to compile": ("regex", {"pattern": "[ -\U0010ffff]" * 300, "flags": "iu"}),
    "regex: nothing": ("regex", {"pattern": r"(?<!a)"}),
    "regex: the empty text among others": ("regex", {"pattern": "^$|x"}),
    "schema: itself": ("json_schema", {"schema": {"$ref": "#"}}),
    "schema: two that refer to each other": (
        "json_schema",
        {"schema": {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}},
    ),
    "schema: ten to the twentieth": (
        "json_schema",
        {
            "schema": {
                "$ref": "#/$defs/d0",
                "$defs": {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 10} for n in range(20)}
                | {"d20": {"type": "string"}},
            }
        },
    ),
    "schema: a file": ("json_schema", {"schema": {"$ref": "file:///etc/passwd"}}),
    "schema: no schema": ("json_schema", {"schema": {"$ref": "#/type", "type": "string"}}),
    "schema: no index": ("json_schema", {"schema": {"$ref": "#/allOf/x", "allOf": [{}], "type": "string"}}),
    "countdown: no solution": ("countdown", {"numbers": [3, 7, 11, 13, 17], "target": 999_999, "use": "subset"}),
    "all: of itself": ("all", [{"verifier": "all", "ground_truth": []}]),
}


@pytest.mark.parametrize(("verifier", "gold"), BAD_GOLDS.values(), ids=BAD_GOLDS)
def test_a_gold_that_is_a_bomb_is_refused_in_time(pool, verifier, gold):
    started = time.perf_counter()
    (verdict,) = pool.verify([Task(verifier, "a", json.dumps(gold))])
    assert verdict.status is Status.bad_gold and "cannot be read: " not in verdict.detail, verdict.detail
    assert time.perf_counter() - started < 2
