"""The datasets of reasoning_gym, and what their scorers forget to ask of an answer.

A scorer alone cannot be a reward: some evaluate the answer as code, and several give full marks for what is wrong.
Game of life halting takes any text at all, complex arithmetic "nan", number sorting a list of NaN, coin flip "0", the
game of 24 any four numbers that make 24, and an integral is its own unevaluated self. So an answer is read here first:

- it must have the form of its dataset, and a scorer that evaluates gets only what was read, written anew;
- where the scorer is too generous it must be right by a rule of ours, too.

Nothing here runs anything of an answer, and all is bounded by its length. The table is that of one version of the
package, the one that pyproject.toml names: the tests compare it with the package's own code.
"""

import ast
import json
import math
import re
from collections import Counter
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any, NamedTuple

from verifiers import arithmetic

PACKAGE_VERSION = "0.1.25"

Entry = dict[str, Any]

EXACT = frozenset(
    """acre aiw arc_1d base_conversion basic_arithmetic bf binary_alternation caesar_cipher count_bits count_primes
    course_schedule gcd isomorphic_strings largest_island lcm leg_counting letter_counting list_functions
    mahjong_puzzle maze modulo_grid number_filtering number_sequence ransom_note rotate_matrix rotten_oranges
    simple_equations simple_geometry string_manipulation string_splitting string_synthesis syllogism
    word_sequence_reversal""".split()  # noqa: SIM905
)
"""Datasets with the package's default scorer: the right answer is the entry's own text, and nothing else is."""

SCORED = frozenset(
    """ab advanced_geometry arc_agi binary_matrix bitwise_arithmetic calendar_arithmetic chain_sum circuit_logic codeio
    coin_flip color_cube_rotation complex_arithmetic countdown cryptarithm decimal_arithmetic decimal_chain_sum dice
    emoji_mystery family_relationships figlet_font fraction_simplification futoshiki game_of_life game_of_life_halting
    graph_color group_anagrams gsm_symbolic intermediate_integration jugs kakurasu knight_swap knights_knaves
    letter_jumble manipulate_matrix mini_sudoku n_queens needle_haystack number_format number_sorting
    palindrome_generation palindrome_partitioning path_star polynomial_equations polynomial_multiplication pool_matrix
    power_function prime_factorization products puzzle24 quantum_lock rearc rectangle_count rubiks_cube self_reference
    sentence_reordering shortest_path simple_integration sokoban spell_backward spiral_matrix string_insertion sudoku
    survo time_intervals tower_of_hanoi tsumego word_ladder word_sorting zebra_puzzles""".split()  # noqa: SIM905
)
"""Datasets with a scorer of their own."""

UNSUPPORTED = {
    "boxnet": "its entries have no answer, and its scorer lets targets be moved to the boxes",
    "composite": "it has no scorer: name the dataset in the entry's metadata.source_dataset",
    "propositional_logic": "its scorer takes every consequence of the premises, and so a copy of one of them",
    "rush_hour": "its entries have no answer, and its scorer skips moves that are not allowed",
}
"""Datasets whose scorer cannot tell right from wrong, with why."""

EVALUATED = frozenset(
    """binary_matrix countdown intermediate_integration n_queens polynomial_multiplication puzzle24 simple_integration
    spiral_matrix string_insertion""".split()  # noqa: SIM905
)
"""Datasets whose scorer evaluates the answer as Python, or lets sympy do so. Each has a form in `RULES`."""

OWN_ANSWER = {"graph_color": "possible_answer", "rubiks_cube": "example_correct_answer"}
"""Where the metadata has an answer, for datasets whose entries have none."""

MAX_FORMULA = 1_000
MAX_EXPONENT = 100
_MAX_DIGITS = 40
_FORMULA = re.compile(r"[A-Za-z0-9+*/^(). \n-]+")
_JOINED = re.compile(r"[0-9.][A-Za-z]|\*\*\*|//")
_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow)
_FUNCTIONS = frozenset("sin cos tan sec csc cot asin acos atan sinh cosh tanh exp log ln sqrt".split())  # noqa: SIM905
_NAMES = frozenset("CEeabcdefghijklmnopqrstuvwxyzABDFGHJKLMPRTUVWXYZ") | {"pi"}


class Rule(NamedTuple):
    """What an answer must be.

    Attributes:
        form: the text that the scorer is given, or None when the answer has not the form of its dataset.
        right: whether the answer, in that form, is right as far as this rule knows; None where the scorer knows all.
    """

    form: Callable[[str], str | None]
    right: Callable[[str, Entry], bool] | None = None


def own_answer(dataset: str, entry: Entry) -> Any:
    """Return the answer that an entry brings, as text where the dataset's own is an object; None when there is none."""
    own = entry.get("answer")
    if own is None and dataset in OWN_ANSWER:
        own = entry["metadata"].get(OWN_ANSWER[dataset])
    return json.dumps(own) if isinstance(own, dict) else own


def _as_it_is(answer: str) -> str:
    return answer


def _matching(pattern: str) -> Callable[[str], str | None]:
    whole = re.compile(pattern)
    return lambda answer: answer if whole.fullmatch(answer) else None


def _arithmetic(answer: str) -> str | None:
    """Read sums, differences, products and quotients of integers; a trailing "= 24" is dropped."""
    left, _, _ = answer.partition("=")
    try:
        return arithmetic.render(arithmetic.parse(left))
    except arithmetic.NotArithmetic:
        return None


def _formula(answer: str) -> str | None:
    """Read a formula of numbers, one-letter names and elementary functions, in Python's notation or with ^."""
    if len(answer) > MAX_FORMULA or not _FORMULA.fullmatch(answer) or _JOINED.search(answer):
        return None
    try:
        tree = ast.parse(answer.strip().replace("^", "**"), mode="eval").body
        return ast.unparse(tree) if _is_formula(tree) and _exponent(tree) <= MAX_EXPONENT else None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _is_formula(node: ast.expr) -> bool:
    if isinstance(node, ast.Constant):
        return type(node.value) in (int, float) and len(repr(node.value)) <= _MAX_DIGITS
    if isinstance(node, ast.Name):
        return node.id in _NAMES
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.op, ast.USub | ast.UAdd) and _is_formula(node.operand)
    if isinstance(node, ast.Call):
        named = isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS
        return named and not node.keywords and len(node.args) == 1 and _is_formula(node.args[0])
    if not isinstance(node, ast.BinOp) or not isinstance(node.op, _OPERATORS):
        return False
    return _is_formula(node.left) and _is_formula(node.right)


def _exponent(node: ast.AST) -> float:
    """Return a bound of the exponents in a formula; those of a power that is raised again multiply."""
    inner = max((_exponent(child) for child in ast.iter_child_nodes(node)), default=1.0)
    if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Pow):
        return inner
    parts = list(ast.walk(node.right))
    numbers = [part.value for part in parts if isinstance(part, ast.Constant)]
    if any(isinstance(part, ast.Pow) for part in parts) or len(numbers) > 3:
        return math.inf
    return inner * math.prod(max(1.0, float(number)) for number in numbers if isinstance(number, int | float))


def _number(answer: str) -> str | None:
    """Read one number, with thousands separators, a sign of currency and a full stop behind it if it must be."""
    text = answer.strip().strip("$€£").removesuffix(".").replace(",", "")
    return text if re.fullmatch(r"[-+]?[0-9]{1,60}(?:\.[0-9]{1,60})?", text) else None


def _same(answer: str, entry: Entry) -> bool:
    """The entry's own answer, whatever the case and the blanks."""
    return answer.casefold().split() == str(entry["answer"]).casefold().split()


def _close(absolute: str, relative: str) -> Callable[[str, Entry], bool]:
    """A finite number within both tolerances of the entry's own."""

    def right(answer: str, entry: Entry) -> bool:
        try:
            found, own = Fraction(answer), Fraction(entry["answer"])
        except (ValueError, ZeroDivisionError):
            return False
        return abs(found - own) <= min(Fraction(absolute), abs(own) * Fraction(relative))

    return right


def _same_json(answer: str, entry: Entry) -> bool:
    return _json(answer) == _json(entry["answer"]) is not None


def _json(text: str) -> str | None:
    """Return a text that is equal for equal JSON values, with true and 1 apart."""
    try:
        return json.dumps(json.loads(text), sort_keys=True)
    except (ValueError, RecursionError):
        return None


def _same_numbers(answer: str, entry: Entry) -> bool:
    """The same list of numbers; each may be written as a text."""
    found = _decimals(answer)
    return found is not None and found == _decimals(entry["answer"])


def _decimals(text: str) -> list[Decimal] | None:
    try:
        values = json.loads(text.replace("'", '"'), parse_float=str, parse_int=str)
        numbers = [Decimal(value) for value in values if isinstance(value, str) and len(value) <= 100]
    except (ValueError, RecursionError, InvalidOperation, TypeError):
        return None
    usable = isinstance(values, list) and len(numbers) == len(values) and all(map(Decimal.is_finite, numbers))
    return numbers if usable else None


def _makes(answer: str, numbers: list[int], target: int) -> bool:
    node = arithmetic.parse(answer)
    try:
        value = arithmetic.evaluate(node)
    except ZeroDivisionError:
        return False
    return value == target and Counter(arithmetic.numbers(node)) == Counter(numbers)


def _countdown(answer: str, entry: Entry) -> bool:
    return _makes(answer, entry["metadata"]["numbers"], entry["metadata"]["target"])


def _puzzle24(answer: str, entry: Entry) -> bool:
    return _makes(answer, entry["metadata"]["numbers"], 24)


def _as_many(answer: str, entry: Entry) -> bool:
    """As many items as the entry's own answer has."""
    return answer.count(",") == str(entry["answer"]).count(",")


_ROLE = r"[^\W\d_]+ is (?:an? )?[^\W\d_]+"
_DECIMAL = r"[-+]?[0-9]{1,60}(?:\.[0-9]{0,60})?"
_CLOCK = r"[0-9]{1,3}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?"
_MOVE = "Move disk [0-9]{1,3} from Peg [0-9]{1,3} to Peg [0-9]{1,3}"

RULES: dict[str, Rule] = {
    # These evaluate. What the brackets, quotes and letters below can spell is a list, and calls nothing.
    "binary_matrix": Rule(_matching(r"[0-9\s,\[\]-]+")),
    "n_queens": Rule(_matching(r"[Q_\s,\[\]'\"]+")),
    "spiral_matrix": Rule(_matching(r"[0-9\s,\[\]-]+")),
    "string_insertion": Rule(_matching(r"[A-Za-z\s,\[\]'\"]+")),
    "countdown": Rule(_arithmetic, _countdown),
    "puzzle24": Rule(_arithmetic, _puzzle24),  # takes any four numbers
    "intermediate_integration": Rule(_formula),
    "polynomial_multiplication": Rule(_formula),
    "simple_integration": Rule(_formula),
    # These give full marks for what is wrong.
    "advanced_geometry": Rule(_matching(rf"{_DECIMAL}\s*°?|\(\s*{_DECIMAL}\s*,\s*{_DECIMAL}\s*\)")),  # takes a part
    "word_sorting": Rule(_as_it_is, _as_many),  # takes words too many
    "coin_flip": Rule(
        _matching(rf"{_DECIMAL}(?:[eE]-?[0-9]{{1,2}})?|[0-9]{{1,30}}\s*/\s*[0-9]{{1,30}}"), _close("1e-4", "1e-3")
    ),
    "complex_arithmetic": Rule(_matching(r"[-+0-9.ij\s()]+")),  # takes nan
    "decimal_arithmetic": Rule(_matching(_DECIMAL), _close("1e-6", "1e-6")),  # 0 for all that is small
    "figlet_font": Rule(_as_it_is, _same),  # takes ten right letters among others
    "game_of_life": Rule(_as_it_is, _same_json),  # takes rows too many
    "game_of_life_halting": Rule(_as_it_is, _same),  # takes any text
    "letter_jumble": Rule(_as_it_is, _same),  # takes words too many
    "number_sorting": Rule(_as_it_is, _same_numbers),  # takes NaN, and each number within 1
    "polynomial_equations": Rule(_matching(rf"\s*{_DECIMAL}(?:\s*,\s*{_DECIMAL})*\s*"), _as_many),
    "spell_backward": Rule(_as_it_is, _same),  # takes letters too many
    # These look for an answer anywhere in the text, or skip what they do not know.
    "bitwise_arithmetic": Rule(_matching(r"[-+]?(?:0[xX][0-9a-fA-F]{1,60}|[0-9]{1,60})")),
    "cryptarithm": Rule(_matching(r"\s*[A-Z]\s*=\s*[0-9]\s*(?:,\s*[A-Z]\s*=\s*[0-9]\s*)*"), _as_many),
    "fraction_simplification": Rule(
        _matching(r"\$?\s*(?:\\d?frac\s*\{\s*[0-9]+\s*\}\s*\{\s*[0-9]+\s*\}|[0-9]+\s*/\s*[0-9]+)\s*\$?")
    ),
    "gsm_symbolic": Rule(_number, _close("1e-9", "1e-9")),  # takes -5 for 5
    "kakurasu": Rule(_matching(r"[01\s]+")),
    "knights_knaves": Rule(_matching(rf"{_ROLE}(?:(?:,? and |, |\. ){_ROLE})*\.?")),
    "quantum_lock": Rule(_matching(r"[A-Ca-c](?:[\s,→>-]*[A-Ca-c])*")),
    "rubiks_cube": Rule(_matching(r"\s*[A-Za-z]{1,2}['2]?(?:\s+[A-Za-z]{1,2}['2]?)*\s*")),
    "sokoban": Rule(_matching(r"[LRUD\s]+")),
    "survo": Rule(_matching(r"[0-9\s-]+")),
    "time_intervals": Rule(_matching(rf"-?[0-9]{{1,9}}(?: days?)?(?:, *{_CLOCK})?|{_CLOCK}")),
    "tower_of_hanoi": Rule(_matching(rf"\s*{_MOVE}(?:\s+{_MOVE})*\s*")),
}
"""By dataset; those without one take the answer as it is to a scorer that is enough."""
