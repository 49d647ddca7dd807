"""The gold of an instruction-following prompt, in IFEval's own form, and what is wrong with one."""

from typing import Any, NamedTuple

from verifiers.contract import BadGold
from verifiers.instructions.conflicts import conflict
from verifiers.instructions.kinds import KINDS, Kind

FORM = (
    'an instructions ground_truth is {"instruction_id_list": ["punctuation:no_comma", ...], "kwargs": [{}, ...], '
    '"mode": "strict" or "loose", "score": "all" or "fraction"}; the last two may be left out'
)
MAX_INSTRUCTIONS = 64
_KEYS = frozenset({"instruction_id_list", "kwargs", "mode", "score", "key"})


class Instruction(NamedTuple):
    """One constraint: its id, what decides it, and its arguments, complete and checked."""

    id: str
    kind: Kind
    arguments: dict[str, Any]


class Gold(NamedTuple):
    """The constraints on one prompt's responses.

    Attributes:
        instructions: in the gold's order, at least one.
        loose: whether a constraint may hold in any of the loose readings of a response.
        fraction: whether the share of constraints that hold is the score.
        source: what it was read from, for a worker to read it again.
    """

    instructions: tuple[Instruction, ...]
    loose: bool
    fraction: bool
    source: dict[str, Any]


def parse_gold(value: Any) -> Gold:
    """Read a gold; raises `BadGold` for what is missing, of the wrong type, unknown, or cannot be met."""
    if not isinstance(value, dict):
        raise _bad(f"the ground_truth is {type(value).__name__}, not an object", FORM)
    if unknown := sorted(set(value) - _KEYS):
        raise _bad(f"unknown keys: {', '.join(map(repr, unknown))[:80]}", FORM)
    ids, arguments = value.get("instruction_id_list"), value.get("kwargs")
    if not isinstance(ids, list) or not ids or not all(isinstance(name, str) for name in ids):
        raise _bad("instruction_id_list is no list of ids, or is empty", FORM)
    if len(ids) > MAX_INSTRUCTIONS:
        raise _bad(f"{len(ids)} instructions", f"at most {MAX_INSTRUCTIONS} are allowed")
    if not isinstance(arguments, list) or len(arguments) != len(ids):
        raise _bad("kwargs is no list of one object per instruction", FORM)
    mode = _choice(value, "mode", ("strict", "loose"))
    score = _choice(value, "score", ("all", "fraction"))
    instructions = tuple(map(_instruction, range(len(ids)), ids, arguments))
    # In the loose mode two constraints may hold in two readings: no commas, without the first line that has them.
    if mode == "strict" and (problem := conflict([(item.id, item.arguments) for item in instructions])):
        raise _bad(f"no response can meet it: {problem}", "remove one of the two")
    return Gold(instructions, mode == "loose", score == "fraction", value)


def _instruction(position: int, name: str, given: Any) -> Instruction:
    where = f"instruction {position + 1}, {name[:60]!r}"
    kind = KINDS.get(name)
    if kind is None:
        raise _bad(f"{where}: unknown id", f"known are {', '.join(sorted(KINDS))}")
    if not isinstance(given, dict | None):
        raise _bad(f"{where}: kwargs is {type(given).__name__}", "expected an object")
    # Tables of prompts carry every argument of every kind; those of other kinds are null.
    present = {key: item for key, item in (given or {}).items() if item is not None}
    if unknown := sorted(set(present) - set(kind.fields)):
        raise _bad(f"{where}: unknown argument {unknown[0][:40]!r}", f"it takes {', '.join(kind.fields) or 'none'}")
    arguments = {}
    for key, field in kind.fields.items():
        if key not in present:
            raise _bad(f"{where}: {key} is missing", f"expected {field.expected}")
        try:
            arguments[key] = field.read(present[key])
        except ValueError:
            raise _bad(f"{where}: {key} is {str(present[key])[:40]!r}", f"expected {field.expected}") from None
    if problem := kind.problem(arguments):
        raise _bad(f"{where}: {problem}", "no response, or every one, would meet it")
    return Instruction(name, kind, arguments)


def _choice(value: dict[str, Any], key: str, allowed: tuple[str, str]) -> str:
    found = value.get(key)
    if found is None:
        return allowed[0]
    if found not in allowed:
        raise _bad(f"{key} is {str(found)[:40]!r}", f"expected {allowed[0]!r} or {allowed[1]!r}")
    return str(found)


def _bad(problem: str, expected: str) -> BadGold:
    return BadGold(f"{problem}; {expected}")
