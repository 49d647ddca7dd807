"""Instruction following: the 25 kinds of constraints of IFEval, each decided by a rule.

The gold is `{"instruction_id_list": [...], "kwargs": [...], "mode": "strict" | "loose", "score": "all" | "fraction"}`
with IFEval's ids and arguments. Reasoning blocks are removed first; what then shows nothing meets no constraint.
`strict` reads the response as it is. `loose` accepts a constraint that holds in the response or without its first
line, its last line or both, each also without asterisks. A part per constraint says what was observed.

Paper: Zhou et al. 2023, Instruction-Following Evaluation for Large Language Models (arXiv:2311.07911), section 2
for the constraints and 2.2 for the two modes. Where its reference program accepts what breaks a constraint (the
repeated prompt without an answer, a keyword inside another word, text without any detectable language), this does
not; the README beside this package lists the differences.
"""

from importlib.metadata import version

from verifiers.contract import Verifier
from verifiers.instructions.gold import parse_gold
from verifiers.instructions.joining import check

VERIFIER = Verifier(
    name="instructions",
    version=f"2+langdetect-{version('langdetect')}",
    parse_gold=parse_gold,
    check=check,
    work="verifiers.instructions.joining:work",
    budget_s=5.0,
)
