"""The verifiers by name. A new one is one module with a `VERIFIER` entry, and one line here."""

from verifiers import (
    choice,
    code,
    composite,
    countdown,
    exact,
    instructions,
    json_schema,
    knights_and_knaves,
    math,
    numeric,
    reasoning_gym,
    regex,
)
from verifiers.contract import Verifier

REGISTRY: dict[str, Verifier] = {
    entry.name: entry
    for entry in (
        choice.VERIFIER,
        code.VERIFIER,
        countdown.VERIFIER,
        exact.VERIFIER,
        instructions.VERIFIER,
        json_schema.VERIFIER,
        knights_and_knaves.VERIFIER,
        math.VERIFIER,
        numeric.VERIFIER,
        *([reasoning_gym.VERIFIER] if reasoning_gym.usable() else []),  # where its package is installed
        regex.VERIFIER,
    )
}

REGISTRY[composite.NAME] = composite.verifier(dict(REGISTRY))


def available() -> dict[str, str]:
    """Return the version of each verifier by name, in order of name."""
    return {name: REGISTRY[name].version for name in sorted(REGISTRY)}


def version(name: str) -> str:
    """Return the version of one verifier.

    Raises:
        KeyError: no verifier has this name; the message lists those that exist.
    """
    if name not in REGISTRY:
        raise KeyError(unknown(name))
    return REGISTRY[name].version


def unknown(name: object) -> str:
    """Return the message for a name that is not registered."""
    return f"there is no verifier {str(name)[:60]!r}; available: {', '.join(sorted(REGISTRY))}"
