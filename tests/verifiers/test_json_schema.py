"""JSON Schema, and the strict reader of JSON text."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifiers import Status, Task, VerifierPool
from verifiers.contract import BadGold, Deferred
from verifiers.json_schema import check, documents, parse_gold
from verifiers.json_schema_rules import prepare, python_pattern, validator_of
from verifiers.json_schema_worker import work
from verifiers.json_text import MAX_DEPTH, MAX_LENGTH, NotJson, OverLimit, canonical, exact, loads

AGE = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}


def decided(schema, response, **options):
    """Return the outcome as the pool would join it."""
    outcome = check(response, parse_gold({"schema": schema, **options}), "")
    return work(json.loads(outcome.payload)) if isinstance(outcome, Deferred) else outcome


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1), ("1.0", 1), ("1e2", 100), ("-0", 0), ("0.30", Decimal("0.3")), ("true", True), ("null", None),
        (' {"a": [1, "x", {}]}\r\n', {"a": [1, "x", {}]}), (r'"\ud83d\ude00"', "😀"), ('"é"', "é"),
        ("9" * 300, int("9" * 300)),
        ("[" * MAX_DEPTH + "]" * MAX_DEPTH, None), ('"[[[[' + "[" * 100 + '"', "[[[[" + "[" * 100),
    ],
)  # fmt: skip
def test_strict_json(text, value):
    read = loads(text)
    if value is not None:
        assert read == value
        assert type(read) is type(value)


@pytest.mark.parametrize(
    "text",
    ["", " ", "{", "[1,]", "{'a': 1}", '{"a": 1, "a": 1}', '[{"b": {"a": 1, "a": 2}}]', "NaN", "-Infinity",
    "[Infinity]",
     "01", "1.", ".5", "+1", "1 2", "[] []", "\ufeff1", "١", '"\x01"', '"a\nb"', r'"\x41"', '"\ud800"', r'["\udc00"]',
     r'{"\ud800": 1}', "nul", "1\0", "// x\n1", "\u00a01"],
)  # fmt: skip
def test_what_is_not_json(text):
    with pytest.raises(NotJson):
        loads(text)


@pytest.mark.parametrize(
    "text", ["9" * 301, "1e301", "1e-400", "1e99999999999999999999", "[" * 65 + "]" * 65, " " * (MAX_LENGTH + 1)]
)
def test_limits_of_json_text(text):
    with pytest.raises(OverLimit):
        loads(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=4), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(JSON)
def test_what_is_written_reads_back_and_has_one_canonical_text(value):
    try:
        read = loads(json.dumps(value))
        again = loads(canonical(read))
    except OverLimit:  # a double may have a larger exponent, or more digits when it is written out
        return
    assert read == exact(value)
    assert again == read
    shuffled = json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True)
    assert canonical(loads(shuffled)) == canonical(read)


@given(st.text(max_size=60) | st.text(alphabet='{}[]",:0123456789.eE+-truefalsn \\u', max_size=60))
def test_whatever_is_read_is_json_for_python_too(text):
    try:
        value = loads(text)
    except NotJson:
        return
    assert exact(json.loads(text)) == value


@pytest.mark.parametrize(
    ("text", "rule", "found"),
    [
        ("{}", "whole response", ["{}"]), ("a\n```json\n1\n```\nb", "json block", ["1"]),
        ("```\n1\n```", "block", ["1"]), ("```python\nx\n```\n```json\n1\n```", "json block", ["1"]),
        ("```\nx\n```\n```JSON\n1\n```", "json block", ["1"]),
        ("```json\n1\n```\n```json\n2\n```", "json block", ["1", "2"]),
        ("~~~json\n1\n~~~", "json block", ["1"]), ("````json\n```\n````", "json block", ["```"]),
        ("```json\n1", "json block", ["1"]), ("```python\nx\n```", "whole response", ["```python\nx\n```"]),
        ("<answer>1</answer> 2", "answer tag", ["1"]), ("<answer>1</answer><ANSWER>2</ANSWER>", "answer tag", ["2"]),
        ("<answer>1", "whole response", ["<answer>1"]), ("<answer>\n```json\n1\n```\n</answer>", "json block", ["1"]),
        ("```json\r\n1\r\n```\r\n", "json block", ["1\r"]),
    ],
)  # fmt: skip
def test_where_the_document_is(text, rule, found):
    assert documents(text) == (rule, found)


@pytest.mark.parametrize(
    ("schema", "response", "status"),
    [
        (AGE, '{"age": 3}', "correct"), (AGE, '{"age": 3.0}', "correct"), (AGE, '{"age": true}', "incorrect"),
        (AGE, "```json\n{\"age\": 3}\n```", "correct"), (AGE, '<think>x</think>{"age": 3}', "correct"),
        (AGE, '```json\n{"age": 3}\n```\nthat is\n```json\n{ "age": 3.0 }\n```', "correct"),
        (AGE, "{}", "incorrect"), (AGE, "no", "unparsed"), (AGE, "", "unparsed"),
        ({"type": "integer"}, "true", "incorrect"), ({"type": "number"}, "false", "incorrect"),
        ({"type": "boolean"}, "1", "incorrect"), ({"type": "integer"}, "1e2", "correct"),
        ({"const": 1}, "1.0", "correct"), ({"const": 1}, "true", "incorrect"),
        ({"const": {"a": [0]}}, '{"a": [false]}', "incorrect"),
        ({"enum": [1, "a"]}, "true", "incorrect"), ({"enum": [True]}, "1", "incorrect"),
        ({"type": "array", "uniqueItems": True}, "[[1], [true], [1]]", "incorrect"),
        ({"type": "array", "uniqueItems": True}, '[1, true, "1", [1], 0, false, null]', "correct"),
        ({"type": "number", "multipleOf": 0.1}, "0.3", "correct"),
        ({"type": "number", "multipleOf": 0.01}, "4.35", "correct"),
        ({"type": "number", "multipleOf": 1e-300}, "1e300", "correct"),
        ({"type": "number", "maximum": 0.3}, "0.30000000000000000001", "incorrect"),
        ({"type": "string", "pattern": "^a$"}, r'"a\n"', "incorrect"),
        ({"type": "string", "pattern": "b"}, '"abc"', "correct"),
        ({"type": "string", "pattern": r"^\w+$"}, '"é"', "incorrect"),
        ({"type": "string", "minLength": 1}, '"😀"', "correct"),
        ({"type": "string", "maxLength": 1}, '"😀"', "correct"),
        ({"type": "string", "format": "email"}, '"x"', "correct"),
        ({"type": "object", "patternProperties": {r"^\d$": {}}, "additionalProperties": False}, '{"٣": 1}',
        "incorrect"),
        ({"type": "object", "properties": {"pattern": {"type": "string"}}}, '{"pattern": 1}', "incorrect"),
        ({"$schema": "http://json-schema.org/draft-04/schema#", "type": "number", "minimum": 1,
        "exclusiveMinimum": True},
         "1", "incorrect"),
        ({"$schema": "http://json-schema.org/draft-07/schema#", "type": "array", "items": [{"type": "integer"}]},
         '["a"]', "incorrect"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "integer"}}}, '"a"', "incorrect"),
        ({"$id": "https://example.org/a", "$ref": "#b", "$defs": {"b": {"$anchor": "b", "type": "integer"}}}, "1",
        "correct"),
        ({"type": "object", "properties": {"next": {"$ref": "#"}}}, '{"next": {"next": 1}}', "incorrect"),
    ],
)  # fmt: skip
def test_validation(schema, response, status):
    outcome = decided(schema, response)
    assert outcome.status == status, outcome.detail


def test_the_detail_is_the_first_error_with_its_path():
    schema = {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "integer"}}}}
    assert decided(schema, '{"a": [1, 2.5]}').detail == "$.a[1]: 2.5 is not of type 'integer'"


def test_whole():
    assert decided(AGE, '{"age": 3}', extract="whole").status is Status.correct
    assert decided(AGE, '```json\n{"age": 3}\n```', extract="whole").status is Status.unparsed


def test_equal_documents_are_one_job():
    gold = parse_gold({"schema": AGE})
    assert check('{"age": 3, "x": 1}', gold, "") == check('{ "x": 1.0,\n"age": 3 }', gold, "")


@pytest.mark.parametrize(
    ("gold", "problem"),
    [
        (None, "ground_truth"), ({}, "ground_truth"), ({"schema": AGE, "x": 1}, "ground_truth"),
        ({"schema": AGE, "extract": "last"}, "extract"), ({"schema": []}, "object"), ({"schema": "{}"}, "object"),
        ({"schema": {}}, "asks for nothing"), ({"schema": True}, "asks for nothing"),
        ({"schema": False}, "accepts nothing"),
        ({"schema": {"properties": {"a": {"type": "string"}}}}, "asks for nothing"),
        ({"schema": {"format": "email"}}, "asks for nothing"), ({"schema": {"title": "x"}}, "asks for nothing"),
        ({"schema": {"type": ["null", "boolean", "number", "string", "array", "object"]}}, "asks for nothing"),
        ({"schema": {"not": {}}}, "accepts nothing"), ({"schema": {"type": "foo"}}, "valid schema"),
        ({"schema": {"type": "object", "required": "a"}}, "valid schema"),
        ({"schema": {"$schema": "https://example.org/mine", "type": "object"}}, r"\$schema"),
        ({"schema": {"$schema": 7, "type": "object"}}, r"\$schema"),
        ({"schema": {"$ref": "https://example.org/a.json"}}, "remote"),
        ({"schema": {"$ref": "file:///etc/passwd"}}, "remote"),
        ({"schema": {"$ref": "https://json-schema.org/draft/2020-12/schema"}}, "remote"),
        ({"schema": {"type": "object", "properties": {"a": {"$ref": "#/$defs/b"}}}}, "leads to nothing"),
        ({"schema": {"$ref": "#"}}, "without end"), ({"schema": {"allOf": [{"$ref": "#"}]}}, "without end"),
        ({"schema": {"type": "object", "properties": {"a": {"anyOf": [{"$ref": "#/properties/a"}]}}}}, "without end"),
        ({"schema": {"type": "object", "$dynamicRef": "#a"}}, "not supported"),
        ({"schema": {"type": "string", "pattern": "("}}, "cannot be read|valid schema"),
        ({"schema": {"type": "string", "pattern": r"\p{L}"}}, "cannot be read|valid schema"),
        ({"schema": {"type": "string", "pattern": "a" * 2001}}, "2000"),
        ({"schema": {"type": "string", "const": "a" * 100_001}}, "characters"),
        ({"schema": {"type": "number", "maximum": float("inf")}}, "double"),
    ],
)  # fmt: skip
def test_bad_golds(gold, problem):
    with pytest.raises(BadGold, match=problem):
        parse_gold(gold)


def test_a_schema_that_multiplies_is_a_bad_gold_at_once():
    levels = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)}
    schema = {"$ref": "#/$defs/d0", "$defs": {**levels, "d40": {"type": "object"}}}
    with pytest.raises(BadGold, match="more than 10000"):
        parse_gold({"schema": schema})
    nested = {"type": "object"}
    for _ in range(28):
        nested = {"allOf": [nested], "unevaluatedProperties": False}
    with pytest.raises(BadGold, match="more than 10000"):
        parse_gold({"schema": nested})


@pytest.mark.parametrize(
    ("pattern", "translated"),
    [("^a$", r"(?a:^a\Z)"), (r"\$", r"(?a:\$)"), ("[$]", "(?a:[$])"), ("[]$]", "(?a:[]$])"),
    (r"[\]$]$", r"(?a:[\]$]\Z)"),
     ("(a$|b)", r"(?a:(a\Z|b))")],
)  # fmt: skip
def test_patterns(pattern, translated):
    assert python_pattern(pattern) == translated


def test_schemas_of_one_dialect_share_one_class():
    first, second = (validator_of(prepare({"type": "integer", "maximum": number})) for number in (1, 2))
    assert type(first) is type(second)
    assert first.is_valid(1) and not first.is_valid(2) and second.is_valid(2)


@given(st.text(max_size=80) | st.text(alphabet='{}[]",:0123456789age true\n`json', max_size=80))
def test_any_text_gets_one_verdict(response):
    for text in (response, f"```json\n{response}\n```", f'{{"age": {response}}}'):
        outcome = decided(AGE, text)
        assert outcome.status in (Status.correct, Status.incorrect, Status.unparsed)
        assert outcome == decided(AGE, text)


@given(JSON)
def test_integers_are_told_from_everything_else(value):
    text = json.dumps({"age": value})
    whole = isinstance(value, int | float) and not isinstance(value, bool) and value == int(value)
    assert (decided(AGE, text).status is Status.correct) == (whole and abs(value) < 10**300)


def test_golds_that_python_made_are_prepared_alike():
    assert prepare(json.loads(json.dumps(AGE))) == prepare(AGE)


def test_through_the_pool():
    slow = {"schema": {"type": "string", "pattern": "^(a|a)*$"}}
    tasks = [
        Task("json_schema", '{"age": 3}', json.dumps({"schema": AGE})),
        Task("json_schema", '"' + "a" * 60 + '!"', json.dumps(slow), budget_s=0.5),
        Task("json_schema", '{"age": "3"}', json.dumps({"schema": AGE})),
        Task("json_schema", '{"age": 3}', json.dumps({"schema": {}})),
    ]
    with VerifierPool(2) as pool:
        verdicts = pool.verify(tasks)
    assert [verdict.status for verdict in verdicts] == ["correct", "timeout", "incorrect", "bad_gold"]
    assert [verdict.score for verdict in verdicts] == [1.0, None, 0.0, None]
