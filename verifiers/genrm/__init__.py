"""The pure part of the generative judge: what it is shown, what is no answer, and how its verdict is read.

Nothing here asks a model: `trainer.judge` does, over any engine. See the modules: `templates` (what is asked),
`quoting` (how a response is shown without being obeyed), `gates` (what is not shown at all), `reading` (from a
verdict to a number), `canaries` (is the judge fooled), `references` (what is compared with).
"""

from verifiers.genrm.contract import Comparison, Judgement, JudgementStatus
from verifiers.genrm.gates import Gate, gate
from verifiers.genrm.references import question_text, reference_text
from verifiers.genrm.templates import TEMPLATES, Template, template

__all__ = [
    "TEMPLATES",
    "Comparison",
    "Gate",
    "Judgement",
    "JudgementStatus",
    "Template",
    "gate",
    "question_text",
    "reference_text",
    "template",
]
