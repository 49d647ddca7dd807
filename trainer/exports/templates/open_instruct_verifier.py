"""open-instruct's verifier for an export of preppo: importing this file makes it known under the key `preppo`."""

import logging
import threading
from typing import Any

from open_instruct.ground_truth_utils import VerificationResult, VerifierFunction

from preppo_reward import Scored, score, without_null

_log = logging.getLogger(__name__)


class PreppoVerifier(VerifierFunction):
    """Rewards a response by the task in its label."""

    def __init__(self, verifier_config: Any = None) -> None:
        super().__init__("preppo", verifier_config=verifier_config, weight=1.0)
        self._asked, self._undecided = 0, 0
        self._lock = threading.Lock()

    def __call__(
        self, tokenized_prediction: list[int], prediction: str, label: str, query: str | None = None, **_: Any
    ) -> VerificationResult:
        """Return the score of one response."""
        (one,) = score([label], [prediction])
        self._count(one)
        return VerificationResult(score=without_null(one))

    def _count(self, one: Scored) -> None:
        """Warn of undecided responses: of the first, the second, the fourth, and so on, for there may be many."""
        with self._lock:  # it is called from threads
            self._asked += 1
            if one.reward is not None:
                return
            self._undecided += 1
            if self._undecided & (self._undecided - 1) == 0:
                _log.warning(
                    "preppo_undecided: %d of %d responses so far got the fixed value %s, the last one as %s",
                    self._undecided, self._asked, without_null(one), one.status,
                )  # fmt: skip

    def __getstate__(self) -> dict[str, Any]:
        """Return what can be sent to another process: all but the lock."""
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()
