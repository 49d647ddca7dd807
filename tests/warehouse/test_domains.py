"""The rules for prompts whose source names no domain."""

import pytest

from warehouse.curation.domains import domain_of


@pytest.mark.parametrize(
    ("text", "verifier", "domain"),
    [
        ("Write a Python function that reverses a list.", None, "code"),
        ("Fix this:\n```\nx = 1\n```", None, "code"),
        ("def add(a, b):\n    return a + b", None, "code"),
        ("Find the value of $x$ if $x^2 = 4$.", None, "math"),
        ("Compute \\frac{1}{2} + 3", None, "math"),
        ("Natalia sold 48 clips in April. How many clips did she sell?", None, "math"),
        ("An island of knights and knaves. Who is a knight?", None, "logic"),
        ("Write a poem about autumn.", None, "general"),
        ("Anything at all", "math", "math"),
        ("Anything at all", "code", "code"),
        ("Anything at all", "knights_and_knaves", "logic"),
        ("Anything at all", "instructions", "instruction_following"),
        ("Anything at all", "exact", "general"),
    ],
)
def test_rules(text, verifier, domain):
    assert domain_of(text, verifier) == domain
