"""The meter of a budget: never over it, never stopping early for good, whatever the responses turn out to be."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warehouse.curation.budget import Meter, Tokens, cost
from warehouse.settings import BudgetSettings

PRICES = {"price_prompt": 0.5, "price_response": 2.0}
amounts = st.integers(0, 300)
# Of each request: prompt and response at most, and the shares of them that it takes.
requests = st.lists(st.tuples(amounts, amounts, st.floats(0, 1), st.floats(0, 1), st.integers(1, 5)), max_size=40)


def most_and_took(request):
    prompt, response, p, r, _ = request
    return Tokens(prompt, response), Tokens(int(prompt * p), int(response * r))


def generate(meter, todo):
    """Send as generation does: in rounds, each as far as the budget lasts; answers come back at their own time."""
    sent = []
    while todo and meter.allows(most_and_took(todo[0])[0]):
        on_their_way = []
        while todo and meter.take(most_and_took(todo[0])[0]):
            on_their_way.append(todo.pop(0))
            sent.append(on_their_way[-1])
            for _ in range(on_their_way[-1][4] - 2):  # some come back while others are still being sent
                if on_their_way:
                    meter.settle(*most_and_took(on_their_way.pop()))
                    yield sent
        for request in on_their_way:
            meter.settle(*most_and_took(request))
            yield sent
    yield sent


@given(requests, st.integers(1, 4000))
def test_tokens_never_exceed_the_budget(asked, limit):
    meter = Meter(BudgetSettings(max_tokens=limit))
    for _ in generate(meter, list(asked)):
        assert meter.spent.total <= limit


@given(requests, st.floats(1e-6, 5e-3))
def test_money_never_exceeds_the_budget(asked, limit):
    budget = BudgetSettings(max_cost=limit, **PRICES)
    meter = Meter(budget)
    for _ in generate(meter, list(asked)):
        assert cost(budget, *meter.spent) <= limit


@given(requests, st.integers(1, 4000))
def test_it_stops_only_where_the_next_request_might_not_fit(asked, limit):
    meter, todo = Meter(BudgetSettings(max_tokens=limit)), list(asked)
    (*_, sent) = generate(meter, todo)
    assert sent + todo == asked
    took = sum(most_and_took(r)[1].total for r in sent)
    assert meter.spent.total == took
    if todo:
        assert meter.stopped is not None
        assert took + most_and_took(todo[0])[0].total > limit
    else:
        assert meter.stopped is None


@given(requests, st.integers(1, 3000), st.integers(0, 3000))
def test_more_budget_never_sends_less(asked, limit, more):
    small, large = (Meter(BudgetSettings(max_tokens=n)) for n in (limit, limit + more))
    (*_, few), (*_, many) = generate(small, list(asked)), generate(large, list(asked))
    assert len(few) <= len(many)


@given(requests, st.integers(0, 2000), st.integers(1, 4000))
def test_what_the_run_spent_before_counts(asked, before, limit):
    (*_, resumed) = generate(Meter(BudgetSettings(max_tokens=limit + before), Tokens(before, 0)), list(asked))
    (*_, fresh) = generate(Meter(BudgetSettings(max_tokens=limit)), list(asked))
    assert resumed == fresh


def test_without_limits_everything_is_sent():
    meter = Meter(BudgetSettings())
    assert all(meter.take(Tokens(10**9, 10**9)) for _ in range(100))
    assert meter.stopped is None


@pytest.mark.parametrize(
    ("prompt", "response", "expected"),
    [(0, 0, 0.0), (1_000_000, 0, 0.5), (0, 1_000_000, 2.0), (2_000_000, 500_000, 2.0)],
)
def test_prices_are_of_a_million_tokens(prompt, response, expected):
    assert cost(BudgetSettings(**PRICES), prompt, response) == pytest.approx(expected)


def test_the_reason_says_limit_what_is_spent_and_what_does_not_fit():
    meter = Meter(BudgetSettings(max_tokens=1000), Tokens(700, 250))
    assert not meter.take(Tokens(20, 64))
    assert meter.stopped == "budget.max_tokens = 1,000: 950 are spent, and one more sample may take 84"
    meter = Meter(BudgetSettings(max_cost=0.5, **PRICES), Tokens(0, 249_999))
    assert not meter.take(Tokens(1, 64))
    assert meter.stopped.startswith("budget.max_cost = 0.5: 0.5 is spent for 249,999 tokens, and one more sample")


def test_engines_may_ask_in_a_thread_of_their_own():
    meter, most = Meter(BudgetSettings(max_tokens=10_000)), Tokens(1, 9)
    taken = []

    def ask():
        while meter.take(most):
            taken.append(1)
            meter.settle(most, Tokens(1, 4))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert meter.spent == Tokens(len(taken), 4 * len(taken))
    assert 9_900 <= meter.spent.total <= 10_000
