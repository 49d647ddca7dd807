"""Knights and knaves."""

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifiers import Status
from verifiers.contract import BadGold
from verifiers.knights_and_knaves import check, parse_gold

THREE = {"names": ["Ava", "Ben", "Cid"], "knights": [True, False, False]}
SHOWN = "Ava: knight, Ben: knave, Cid: knave"


@pytest.mark.parametrize(
    "response",
    [
        "Ava is a knight, Ben is a knave, and Cid is a knave.",
        "Ava is a knight. Ben is a knave. Cid is a knave.",
        "AVA IS A KNIGHT, BEN IS A KNAVE, CID IS A KNAVE",
        "(1) Ava is a knight (2) Ben is a knave (3) Cid is a knave",
        "1. Ava is a knight\n2. Ben is a knave\n3. Cid is a knave",
        "- **Ava**: Knight\n- **Ben**: Knave\n- **Cid**: Knave",
        "Ava: knight, Ben: knave, Cid: knave",
        "Ava - knight; Ben - knave; Cid - knave",
        "Ava = knight\nBen = knave\nCid = knave",
        "Ava → knight\nBen → knave\nCid → knave",
        "Ava (knight), Ben (knave), Cid (knave).",
        "Ava: Knight (truth-teller)\nBen: Knave (liar)\nCid: Knave (liar)",
        "Ava is a knight, and Ben and Cid are knaves.",
        "Ava is a knight, while Ben and Cid are both knaves.",
        "Ava is a knight and both Ben and Cid are knaves",
        "Ava's a knight, Ben's a knave, Cid's a knave",
        "Ava is a knight. The others are knaves.",
        "Ava is a knight; everyone else is a knave",
        "Knights: Ava. Knaves: Ben, Cid.",
        "**Knights:**\n- Ava\n\n**Knaves:**\n- Ben\n- Cid",
        "The knight is Ava and the knaves are Ben and Cid.",
        "Knaves: Ben and Cid\nKnights: Ava",
        "| Person | Role |\n|---|---|\n| Ava | Knight |\n| Ben | Knave |\n| Cid | Knave |",
        "Ava is not a knave, Ben isn't a knight, Cid is not a knight",
        "Therefore, Ava is a knight, Ben is a knave, and Cid is a knave.",
        r"\boxed{\text{Ava is a knight, Ben is a knave, Cid is a knave}}",
        "<think>Ava is a knave.</think><answer>(1) Ava is a knight\n(2) Ben is a knave\n(3) Cid is a knave</answer>",
        "Suppose Ava is a knave. That fails.\n\n### Final Answer\nAva is a knight\nBen is a knave\nCid is a knave",
        "Ava says so. CONCLUSION:\n(1) Ava is a knight\n(2) Ben is a knave\n(3) Cid is a knave",
        "Ava is a knave, Ben is a knave, Cid is a knave.\nWait, that is wrong.\n"
        "Ava is a knight, Ben is a knave, Cid is a knave.",
        "Ava is a knight, Ben is a knave, Cid is a knave.\nThis satisfies every claim.",
        "Ava is a knight, Ben is a knave, Cid is a knave. Ava is a knight.",
        "Ava is a knight, Ben is a knave, Cid is a knave.\n\n<answer>Ava is a knight, Ben and Cid are knaves</answer>",
    ],
)
def test_forms_of_the_right_answer(response):
    outcome = check(response, parse_gold(THREE), "")
    assert (outcome.status, outcome.extracted) == ("correct", SHOWN), outcome.detail
    for position in range(3):
        flipped = [role != (index == position) for index, role in enumerate(THREE["knights"])]
        wrong = check(response, parse_gold({**THREE, "knights": flipped}), "")
        assert (wrong.status, wrong.extracted) == ("incorrect", SHOWN)


def test_nobody_in_a_group():
    gold = parse_gold({"names": ["Ava", "Ben"], "knights": [False, False]})
    assert check("Knights: none. Knaves: Ava, Ben.", gold, "").status is Status.correct
    assert check("Both Ava and Ben are knaves.", gold, "").status is Status.correct
    assert check("All of them are knaves.", gold, "").status is Status.correct


def test_names_inside_one_another():
    gold = parse_gold({"names": ["Ann", "Anna", "Mary Ann"], "knights": [True, False, True]})
    assert check("Ann is a knight, Anna is a knave, Mary Ann is a knight.", gold, "").status is Status.correct
    assert check("Ann: knight\nAnna: knight\nMary Ann: knight", gold, "").status is Status.incorrect


def test_other_roles():
    gold = parse_gold({"names": ["Ava", "Ben"], "knights": [True, False], "roles": ["saint", "sinner"]})
    assert check("Ava is a saint and Ben is a sinner.", gold, "").extracted == "Ava: saint, Ben: sinner"
    assert check("Ava is a knight and Ben is a knave.", gold, "").status is Status.unparsed


@pytest.mark.parametrize(
    ("gold", "problem"),
    [
        (None, "ground_truth"), ([], "ground_truth"), ({"names": ["Ava"]}, "ground_truth"),
        ({"names": [], "knights": []}, "lists of 1"), ({"names": "Ava", "knights": [True]}, "lists"),
        ({"names": ["Ava"] * 51, "knights": [True] * 51}, "lists of 1"),
        ({"names": ["Ava"], "knights": [True, False]}, "for each"), ({"names": ["Ava"], "knights": [1]}, "for each"),
        ({"names": ["Ava"], "knights": ["knight"]}, "for each"),
        ({"names": ["Ava", "ava"], "knights": [True, True]}, "different"),
        ({"names": [""], "knights": [True]}, "name"), ({"names": [3], "knights": [True]}, "name"),
        ({"names": ["a b c 1"], "knights": [True]}, "name"), ({"names": ["Knight"], "knights": [True]}, "different"),
        ({"names": ["And"], "knights": [True]}, "word that answers"),
        ({"names": ["So"], "knights": [True]}, "word that answers"),
        ({"names": ["Ava"], "knights": [True], "roles": ["x", "x"]}, "different"),
        ({"names": ["Ava"], "knights": [True], "roles": "x"}, "roles"),
        ({"names": ["Ava"], "knights": [True], "other": 1}, "ground_truth"),
    ],
)  # fmt: skip
def test_bad_golds(gold, problem):
    with pytest.raises(BadGold, match=problem):
        parse_gold(gold)


NAMES = ["Ava", "Ben", "Cid", "Dee", "Ann", "Anna", "Mary Ann", "José"]
PEOPLE = st.lists(st.sampled_from(NAMES), min_size=1, max_size=8, unique=True)


@given(PEOPLE, st.data())
def test_only_the_gold_itself_passes(names, data):
    knights = data.draw(st.lists(st.booleans(), min_size=len(names), max_size=len(names)))
    said = data.draw(st.lists(st.booleans(), min_size=len(names), max_size=len(names)))
    form = data.draw(st.sampled_from(["{} is a {}", "{}: {}", "{} - {}", "| {} | {} |", "{} ({})"]))
    joint = data.draw(st.sampled_from(["\n", ", ", "; ", "\n- "]))
    text = joint.join(form.format(name, "knight" if role else "knave") for name, role in zip(names, said, strict=True))
    outcome = check(text, parse_gold({"names": names, "knights": knights}), "")
    assert outcome.status == ("correct" if said == knights else "incorrect"), outcome


WORDS = st.lists(
    st.sampled_from(
        ["Ava", "Ben", "Cid", "is", "are", "a", "not", "knight", "knave", "knights", "knaves", "and", "or", ",", ".",
         "\n", ":", "(", ")", "all", "both", "others", "the", "if", "then", "so", "<answer>", "</answer>", "Answer:",
         "|", "1."]
    ),
    max_size=40,
)  # fmt: skip


@given(st.text(max_size=120) | WORDS.map(" ".join))
def test_any_text_gets_one_verdict(response):
    gold = parse_gold(THREE)
    outcome = check(response, gold, "")
    assert outcome.status in (Status.correct, Status.incorrect, Status.unparsed)
    assert outcome == check(response, gold, "")
    if outcome.status is Status.correct:
        assert all(name.casefold() in response.casefold() for name in THREE["names"]) or "other" in response


def test_known_solutions(shared_data):
    with gzip.open(shared_data / "kk_logic_train.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines][::15]
    for row in rows:
        gold = parse_gold({"names": row["names"], "knights": row["solution"]})
        assert check(row["solution_text"], gold, "").status is Status.correct
        assert check(row["solution_text_format"], gold, "").status is Status.correct
        assert check(row["quiz"], gold, "").status is Status.unparsed
        for position in range(len(row["names"])):
            flipped = [role != (index == position) for index, role in enumerate(row["solution"])]
            other = parse_gold({"names": row["names"], "knights": flipped})
            assert check(row["solution_text"], other, "").status is Status.incorrect
