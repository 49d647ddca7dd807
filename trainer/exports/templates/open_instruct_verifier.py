"""open-instruct's verifier for an export of preppo: importing this file makes it known under the key `preppo`."""

from typing import Any

from open_instruct.ground_truth_utils import VerificationResult, VerifierFunction

from preppo_reward import score, without_null


class PreppoVerifier(VerifierFunction):
    """Rewards a response by the task in its label."""

    def __init__(self, verifier_config: Any = None) -> None:
        super().__init__("preppo", verifier_config=verifier_config, weight=1.0)

    def __call__(
        self, tokenized_prediction: list[int], prediction: str, label: str, query: str | None = None, **_: Any
    ) -> VerificationResult:
        """Return the score of one response."""
        return VerificationResult(score=without_null(score([label], [prediction])[0]))
