"""The generative judge over any engine. Importing this package loads no weights and no torch."""

from trainer.judge.calls import JudgeSettings
from trainer.judge.judge import CanaryError, Judge, JudgeError
from trainer.judge.rows import judgement_frame

__all__ = ["CanaryError", "Judge", "JudgeError", "JudgeSettings", "judgement_frame"]
