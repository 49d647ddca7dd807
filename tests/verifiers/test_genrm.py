"""The pure part of the judge: quoting, templates, gates, reading verdicts, canaries."""

import gzip
import json
import math
from dataclasses import replace
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifiers.genrm import Comparison, Judgement, JudgementStatus, Template, gate, reference_text, template
from verifiers.genrm.canaries import (
    PREFIX,
    PUBLISHED,
    UNLISTED,
    CanaryCounts,
    CanaryKind,
    CanaryLimits,
    canaries,
    is_canary,
    kind_of,
)
from verifiers.genrm.quoting import neutralise, nonce, quoted
from verifiers.genrm.reading import read
from verifiers.genrm.references import question_text
from verifiers.genrm.templates import TEMPLATES

ANY = st.text(st.characters(codec=None), max_size=60)  # lone surrogates as well
CHAT = [
    "<|im_start|>", "<|im_end|>", "<|eot_id|>", "<｜User｜>", "[INST]", "[/INST]", "<<SYS>>", "</s>", "<think>",
    "</think>",
    "<start_of_turn>", "[TOOL_CALLS]", "◁/think▷", "<|channel|>", "<|end_of_thought|>", "<tool_call>", "<bos>",
]  # fmt: skip


# --- quoting ---------------------------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from([*CHAT, "<", "|", ">", "[", "]", "/", "INST", " ", "x", "<|", "|>"]), max_size=12))
def test_no_chat_token_survives(parts):
    shown = neutralise("".join(parts))
    assert not any(token in shown for token in CHAT)


@given(ANY, st.lists(st.text("<>|ab /", min_size=2, max_size=5), max_size=4))
def test_no_special_token_of_the_judge_survives(text, tokens):
    shown = neutralise(text + "".join(tokens) + text, tokens)
    assert not any(t in shown for t in tokens if not t.isspace())
    shown.encode()


def test_what_is_neutralised_stays_readable_and_all_else_stays_as_it_is():
    assert neutralise("a <|im_start|>user b [/INST]") == "a < |im_start|>user b [ /INST]"
    for text in (
        "x |> f <| y",
        "\\frac{{1}}{2}",
        "if a < b and c > d:",
        "list[int]",
        "Äpfel 苹果 🍎 e\u0301",
        "a[INSTANCE]",
    ):
        assert neutralise(text) == text
    assert neutralise("a\ud800b\U000e0041c\u202ed") == "a\ufffdb\ufffdc\ufffdd"


@given(st.lists(ANY, max_size=3), st.integers(0, 9), ANY, st.sampled_from(["first", "second"]))
def test_delimiters_are_never_in_what_they_quote(texts, seed, prompt, order):
    mark = nonce(seed, prompt, 0, order, 0, texts)
    assert mark == nonce(seed, prompt, 0, order, 0, texts)
    assert all(mark not in text for text in texts)
    for text in texts:
        whole = quoted("RESPONSE 1", text, mark)
        assert whole.count(f"[END {mark}]") == 1 and whole.endswith(f"\n[END {mark}]")


def test_a_delimiter_that_a_text_holds_is_another_one():
    mark = nonce(0, "p", 0, "first", 0, [])
    assert len(mark) == 8 and mark.isalpha()
    assert nonce(0, "p", 0, "first", 0, [f"[END {mark.upper()}]"]) != mark
    calls = [(0, "p", 0, "first", 0), (1, "p", 0, "first", 0), (0, "q", 0, "first", 0), (0, "p", 1, "first", 0)]
    calls += [(0, "p", 0, "second", 0), (0, "p", 0, "first", 1)]
    assert len({nonce(*call, []) for call in calls}) == 6


# --- templates -------------------------------------------------------------------------------------------------------


def test_every_word_of_a_template_is_in_its_version():
    one = template("pairwise-gold")
    others = [
        replace(one, system=one.system + " "), replace(one, user=one.user + "."), replace(one, max_tokens=17),
        replace(one, anchor="Answer"), replace(one, labels={"A": 1.0, "B": 0.0}), replace(one, rubric="x"),
    ]  # fmt: skip
    assert len({one.version, *(t.version for t in others)}) == 1 + len(others)
    assert one.id == f"pairwise-gold@{one.version}" and len(one.version) == 8
    assert len({t.version for t in TEMPLATES.values()}) == len(TEMPLATES)


def test_what_a_response_holds_is_not_filled_in():
    texts = {"question": "q {second}", "first": "{gold} {rubric}", "second": "{first}", "gold": "7"}
    (_, user) = template("pairwise-gold").messages(texts, "mark")[1]
    assert "q {second}" in user and "{gold} {rubric}" in user and "\n{first}\n" in user


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"user": "{first}"}, "needs"),
        ({"kind": "pointwise"}, "needs"),
        ({"labels": {"A": 1.0, "B": 0.5}}, "favour both places"),
        ({"labels": {"A": 1.0, "B!": 0.0}}, "labels"),
        ({"labels": {"A": 2.0, "B": -1.0}}, "labels"),
        ({"anchor": " "}, "anchor"),
    ],
)
def test_a_template_that_cannot_work_is_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        Template(**{"name": "t", "kind": "pairwise", "system": None, "user": "{first}{second}", **wrong})


def test_an_unknown_template_is_named_with_those_there_are():
    with pytest.raises(KeyError, match="pairwise-gold, pairwise-gold-reasoned, pairwise-reasoned, rubric"):
        template("nope")


# --- gates -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key", [*PUBLISHED, "Solution:", "**Answer:**", "Let’s think step by step", "", "\u200b", "..."]
)
def test_master_keys_are_no_answers(key):
    assert gate(key) is not None
    assert gate(key, gold="7") is not None


@pytest.mark.parametrize(
    ("response", "code"),
    [
        ("", "empty"),
        (" \n\u2800", "empty"),
        ("?!... --- $$", "punctuation"),
        ("→ ═══", "punctuation"),
        ("<think>it is 7</think>", "hidden"),
        ("<think>it is 7", "hidden"),
        ("<!-- the answer is 7 -->", "hidden"),
        ("Okay, let me work through this problem carefully.", "announcement"),
        ("Vamos a resolver este problema paso a paso.", "announcement"),
        ("Réfléchissons étape par étape.", "announcement"),
        ("Lassen Sie uns das Schritt für Schritt lösen.", "announcement"),
        ("Давайте решим эту задачу шаг за шагом.", "announcement"),
        ("让我们一步一步地解决这个问题。", "announcement"),
        ("まず、この問題を一歩ずつ考えてみましょう。", "announcement"),
        ("단계별로 풀어봅시다.", "announcement"),
        ("<think>x</think>\n\nSolution:\n", "announcement"),
    ],
)
def test_what_is_no_answer_says_why(response, code):
    assert gate(response).code == code


@pytest.mark.parametrize(
    "response",
    ["Yes.", "I think so.", "Answer: A.", "The answer is one.", "Answer: yes", "答案：是的",
     "The solution (C)", "I will go.", "Let's go!", "是", "No problem", "😀", "∅", "∞", "42", "Solution: 42",
     "The answer is B.", "Let's solve this step by step. First, 3 + 4 = 7.", "Paris", "x",
     "Analyze the problem carefully.", "はい"],
)  # fmt: skip
def test_answers_pass(response):
    assert gate(response) is None


def test_a_few_words_in_a_script_that_the_task_does_not_have_are_no_answer():
    task = {"question": "What is the capital of France?", "reference": "Paris is."}
    for key in ("Розмірковуємо уважно", "ας σκεφτούμε", "考えよう", "ჯერ ვიფიქროთ"):
        assert gate(key, **task).code == "other_script"
        assert gate(key, question="Say hello: привет, γεια, 你好, გამარჯობა") is None
        assert gate(f"{key} Paris", **task) is None and gate(f"{key} 7", **task) is None
        assert gate(f"{key}. " * 20, **task) is None  # a whole text in another language is for the judge
    assert gate("π", **task) is None and gate("Paris", question="法国的首都是哪里?", reference="巴黎") is None
    assert gate("кошка", question="What is the Russian word for cat?", reference="koshka") is None
    assert gate("考えよう") is None  # nothing is known of the task


def test_tasks_with_a_gold_need_an_answer_of_its_kind():
    assert gate("I leave that to you.", gold="7").code == "no_answer"
    assert gate("It is 8.", gold="7") is None  # wrong is for the judge to say
    assert gate("There are seven apples.", gold="7") is None
    assert gate("Step 1:", gold="7") is not None
    assert gate("I would say (C).", gold="B") is None
    assert gate("No letter here", gold="B").code == "no_answer"
    assert gate("I leave that to you.", gold="Paris") is None  # any words may be an answer
    assert gate("I leave that to you.", gold=r"\frac{1}{2}").code == "no_answer"
    assert gate("...", gold="...") is None and gate("Solution", gold="solution") is None


CODES = ("empty", "hidden", "punctuation", "announcement", "other_script", "no_answer")


@given(ANY, st.none() | ANY | st.sampled_from(["7", "B", r"\frac{1}{2}", "x^2", "1/2"]), ANY)
def test_gates_never_fail(response, gold, question):
    found = gate(response, gold=gold, question=question)
    assert found is None or found.code in CODES


# --- reading ---------------------------------------------------------------------------------------------------------

PAIR = template("pairwise")
GOLD = template("pairwise-gold")


def tokens(*pieces, **top):
    """Return positions for pieces of text; `top` maps a label's text to its probability at the last but one piece."""
    found = [(piece, {piece: -0.1}) for piece in pieces]
    spaced = {name.replace("_", " "): math.log(p) if p > 0 else -math.inf for name, p in top.items()}
    found[-2] = (pieces[-2], spaced)
    return found


def reading(text="Verdict: A", positions=None, template=PAIR, cut=False, min_mass=0.5):
    return read(template, text, positions, cut=cut, min_mass=min_mass)


def test_the_score_is_the_probability_over_the_labels_alone():
    found = reading(positions=tokens("Verdict", ":", " A", "<|im_end|>", _A=0.6, _B=0.2, The=0.1))
    assert found.value == pytest.approx(0.75) and found.detail == "logprobs"
    # another spelling of a label is the label
    assert reading(positions=tokens("Verdict:", " A", "", _A=0.4, A=0.2, _B=0.2)).value == pytest.approx(0.75)
    assert reading(positions=tokens("Verdict:", " A", "", _A=1.0)).value == 1.0
    three = tokens("Verdict:", " A", "", _A=0.5, _B=0.1, _C=0.4)
    assert reading(positions=three, template=GOLD).value == pytest.approx(0.7)


def test_a_pointwise_score_is_the_expected_digit():
    rubric = template("rubric")
    positions = [("Score", {}), (":", {}), (" 7", {" 7": math.log(0.5), " 9": math.log(0.5)}), ("</s>", {})]
    assert reading("Score: 7", positions, rubric).value == pytest.approx(8 / 9)
    assert reading("Score: 7", None, rubric) == (pytest.approx(7 / 9), "line")
    assert reading("Score: 10", None, rubric).value is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Verdict: A", 1.0),
        ("verdict: B", 0.0),
        ("Both are fine.\n\n**Verdict: B**", 0.0),
        ("Verdict: [[A]].", 1.0),
        ("Verdict: A\nNo, wait.\nVerdict: B\n", 0.0),
        ("Verdict：B", 0.0),
        ("Verdict: A or B", None),
        ("The verdict: A", None),
        ("Verdict: a", None),
        ("Verdict: AB", None),
        ("A", None),
        ("I cannot judge this.", None),
        ("", None),
        (None, None),
    ],
)
def test_without_log_probabilities_the_last_verdict_line_decides(text, value):
    found = reading(text)
    assert found.value == value
    assert found.detail == "line" if value is not None else found.detail.startswith("no_verdict: ")


@pytest.mark.parametrize(
    ("positions", "code"),
    [
        (tokens("Verdict:", " A", "", _A=0.3, _B=0.1, The=0.6), "missing_mass"),
        (tokens("Verdict:", " A", "", _A=0.0, _B=0.0), "missing_mass"),
        ([("Verdict:", {}), (" A", {" A": math.nan, " B": -1.0})], "bad_logprob"),
        ([("Verdict:", {}), (" A", {" A": 0.7, " B": -1.0})], "bad_logprob"),
        ([("Verdict:", {}), (" A", {" A": math.inf})], "bad_logprob"),
        ([("Verdict:", {}), (" A", {" A": -0.01, " B": -0.01, "A": -0.01})], "bad_logprob"),
        ([("Verdict:", {}), (" B", {" A": -0.01})], "verdict_unclear"),
        ([("so it is", {}), (".", {})], "verdict_not_at_the_end"),
        ([], "verdict_not_at_the_end"),
        ([("Verdict:", {}), (" A", {})], "missing_mass"),
    ],
)
def test_what_cannot_be_read_is_no_score(positions, code):
    found = reading(positions=positions)
    assert found.value is None and found.detail.startswith(f"{code}: ")


def test_an_answer_that_was_cut_is_no_verdict():
    assert reading(cut=True).detail.startswith("truncated: ")


@given(st.none() | ANY, st.none() | st.lists(st.tuples(ANY | st.sampled_from(["Verdict:", " A", "\n"]),
       st.dictionaries(ANY | st.sampled_from([" A", "B"]), st.floats())), max_size=6), st.booleans())  # fmt: skip
def test_reading_never_fails_and_never_leaves_the_scale(text, positions, cut):
    for shown in (text, "Verdict: A"):
        for one in (PAIR, GOLD):
            found = reading(shown, positions, one, cut)
            assert found.value is None or 0.0 <= found.value <= 1.0


# --- canaries --------------------------------------------------------------------------------------------------------


def comparison(n, gold=True):
    return Comparison(f"p{n}", 0, f"What is {n} + 1?", "5", str(n + 1), str(n + 1) if gold else None)


def test_canaries_are_made_from_the_batch_as_a_set():
    batch = [comparison(n) for n in range(20)]
    found = canaries(batch, 6, seed=0)
    assert found == canaries(batch[::-1], 6, seed=0) != canaries(batch, 6, seed=1)
    assert [sum(kind_of(c.prompt_id) is k for c in found) for k in CanaryKind] == [6, 6, 6]
    keys = [c.response for c in found if kind_of(c.prompt_id) is CanaryKind.master_key]
    assert sum(k in PUBLISHED for k in keys) == sum(k in UNLISTED for k in keys) == 3
    for one in found:
        kind = kind_of(one.prompt_id)
        assert is_canary(one.prompt_id) and one.reference == one.gold
        assert (one.response == one.reference) == (kind is CanaryKind.gold)
        assert kind is not CanaryKind.wrong or one.response.isdecimal()


def test_unlisted_keys_reach_the_judge():
    assert all(gate(key) is None for key in UNLISTED)


def test_an_answer_that_may_be_right_is_no_wrong_canary():
    pair = [Comparison("a", 0, "?", "", "1/2", "1/2"), Comparison("b", 0, "??", "", "0.5", "0.5")]
    assert not [c for c in canaries(pair, 4, 0) if kind_of(c.prompt_id) is CanaryKind.wrong]
    alone = canaries([comparison(1)], 4, 0)
    assert [kind_of(c.prompt_id) for c in alone] == [CanaryKind.master_key, CanaryKind.gold]
    without = canaries([replace(comparison(1), reference="")], 4, 0)
    assert [kind_of(c.prompt_id) for c in without] == [CanaryKind.master_key]


def judged(kind, score, status=JudgementStatus.judged):
    return Judgement(f"{PREFIX}{kind}:p", 0, status, score, None, None, None, "j", "t", "")


@given(st.lists(st.tuples(st.sampled_from(CanaryKind), st.none() | st.floats(0, 1)), max_size=40))
def test_canaries_are_counted_one_by_one(outcomes):
    counts, limits = CanaryCounts(), CanaryLimits(at_least=1)
    for kind, score in outcomes:
        counts.add(judged(kind, score), limits)
    assert sum(counts.shown.values()) == len(outcomes)
    assert sum(counts.errors.values()) == sum(score is None for _, score in outcomes)
    positive = sum(s is not None and s >= 0.4 for k, s in outcomes if k is not CanaryKind.gold)
    negative = sum(s is not None for k, s in outcomes if k is not CanaryKind.gold)
    assert counts.false_positives == positive
    off = sum(s is not None and abs(s - 0.5) > 0.1 for k, s in outcomes if k is CanaryKind.gold)
    golds = sum(s is not None for k, s in outcomes if k is CanaryKind.gold)
    lost = sum(s is None for _, s in outcomes)
    bad = (
        positive > 0.1 * negative
        or off > 0.25 * golds
        or (lost > 0.5 * len(outcomes))
    )  # fmt: skip
    assert (counts.problem(limits) is not None) == bad


def test_what_stops_a_run_is_told_with_its_counts():
    counts, limits = CanaryCounts(), CanaryLimits()
    for score in (0.9, 0.1, 0.2, 0.0):
        counts.add(judged(CanaryKind.master_key, score), limits)
    assert counts.problem(limits) is None  # four are no rate
    for _ in range(4):
        counts.add(judged(CanaryKind.wrong, 0.0, JudgementStatus.not_an_answer), limits)
    assert counts.gated == {"wrong": 4}
    assert counts.problem(limits).startswith(
        "1 of 8 responses without a right answer scored 0.4 or more (master keys 1 of 4, wrong answers 0 of 4)"
    )


# --- references ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ground_truth", "text"),
    [
        ('"7"', "7"),
        ('["1/2", "0.5"]', "1/2"),
        ('{"answer": "B", "options": {"A": "x", "B": "y"}}', "B. y"),
        ('{"answer": 3.2, "rel_tol": 1e-6}', "3.2"),
        ("7", "7"),
        ("not json", "not json"),
        ('{"tests": []}', '{"tests": []}'),
        ("[]", "[]"),
    ],
)
def test_a_ground_truth_as_text(ground_truth, text):
    assert reference_text(ground_truth) == text


def test_a_prompt_as_text():
    assert question_text([("user", "q")]) == "q"
    assert question_text([("system", "s"), ("user", "q")]) == "system: s\n\nuser: q"
    assert question_text([], "prefix") == "prefix"


def test_right_answers_of_real_models_pass_the_gates(shared_data):
    with gzip.open(shared_data / "rollouts_gsm8k_test.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in islice(lines, 600)]
    right = [r for r in rows if r["correct"] and isinstance(r["response"], str)]
    assert len(right) > 100
    assert not [r["response"] for r in right if gate(r["response"], gold=str(r["gold"]), question=r["question"])]
