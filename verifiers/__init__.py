"""Rule verifiers: text in, verdict out. No weights, no storage.

`verify` and `VerifierPool.verify` take tasks and return verdicts in the same order. See README.md in this
folder for what each verifier accepts.
"""

from verifiers.contract import Part, Status, Task, Verdict
from verifiers.pool import VerifierPool, check_gold, isolation_problem, sandboxed, verify
from verifiers.registry import available, version

__all__ = [
    "Part",
    "Status",
    "Task",
    "Verdict",
    "VerifierPool",
    "available",
    "check_gold",
    "isolation_problem",
    "sandboxed",
    "verify",
    "version",
]
