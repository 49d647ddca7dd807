"""From a request to prompt tokens: the model's own chat template, and prompts that do not fit. No torch.

Every engine that tokenises here renders and cuts off nothing in the same way, so that the same request is the same
tokens to all of them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError
from transformers import AutoTokenizer

from trainer.engines.contract import THINK, TOO_LONG, EngineError, Request

if TYPE_CHECKING:
    from pathlib import Path

_LENGTHS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")
_KEPT = 4096  # prompts whose tokens are remembered: the samples of a prompt come one after the other


class PromptError(ValueError):
    """A prompt cannot be given to the model; the message is the detail of its completions.

    Attributes:
        tokens: of the prompt, where it has any.
    """

    def __init__(self, detail: str, tokens: int | None = None) -> None:
        super().__init__(detail)
        self.tokens = tokens


class PromptEncoder:
    """Turns requests into tokens.

    Args:
        folder: of the model.
        name: what people call it, for messages.
        context: tokens that prompt and response may have together; default: what the configuration says.
    """

    def __init__(self, folder: Path, name: str, context: int | None = None) -> None:
        self.name = name
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.context = context or _context(config, self.tokenizer)
        self.chat_template: str | None = self.tokenizer.chat_template and self.tokenizer.get_chat_template()
        self._known: dict[tuple[Any, ...], list[int] | PromptError] = {}
        self._opens: bool | None = None

    def encode(self, request: Request) -> list[int]:
        """Return the prompt's tokens.

        Raises:
            PromptError: the chat template refuses the messages, or no room for a response is left in the context.
            EngineError: messages were given to a model without a chat template.
        """
        key = (request.raw_text, request.messages if request.raw_text is None else ())
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= _KEPT:
                self._known.clear()
            try:
                found = self._encode(request)
            except PromptError as error:
                found = error
            self._known[key] = found
        if isinstance(found, PromptError):
            raise PromptError(str(found), found.tokens)
        return found

    def opening(self, request: Request) -> str:
        """Return the tag that the prompt ends with where the chat template opens the thought itself, else nothing.

        Put before what was generated, it tells a thought that was cut from an answer.
        """
        if request.raw_text is not None:
            return ""
        if self._opens is None:
            try:
                self._opens = self._rendered((("user", "?"),)).rstrip().endswith(THINK)
            except (TemplateError, EngineError):
                self._opens = False
        return THINK if self._opens else ""

    def room(self, prompt: list[int], request: Request) -> int:
        """Return how many tokens the response may have."""
        return min(request.sampling.max_tokens, self.context - len(prompt))

    def _encode(self, request: Request) -> list[int]:
        if request.raw_text is not None:
            tokens = list(self.tokenizer(request.raw_text, verbose=False)["input_ids"])
        else:
            tokens = self._chat(request.messages)
        if not tokens:
            msg = "empty_prompt: it has no tokens"
            raise PromptError(msg)
        if len(tokens) >= self.context:
            msg = f"{TOO_LONG}: {len(tokens)} tokens, and {self.name} takes {self.context} with the response"
            raise PromptError(msg, len(tokens))
        return tokens

    def _chat(self, turns: tuple[tuple[str, str], ...]) -> list[int]:
        try:
            text = self._rendered(turns)
        except TemplateError as error:
            msg = f"chat_template: that of {self.name} refuses the messages: {error}"
            raise PromptError(msg) from error
        return list(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def _rendered(self, turns: tuple[tuple[str, str], ...]) -> str:
        if self.chat_template is None:
            msg = f"model {self.name!r} has no chat template: use an instruct model, or raw prompts (`raw = true`)"
            raise EngineError(msg)
        messages = [{"role": role, "content": content} for role, content in turns]
        return str(self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))


def _context(config: dict[str, Any], tokenizer: Any) -> int:
    """Return how many tokens prompt and response may have together; architectures name it differently."""
    for part in (config.get("text_config") or {}, config):
        for name in _LENGTHS:
            length = part.get(name)
            if isinstance(length, int) and length > 0:
                return length
    return int(tokenizer.model_max_length)  # a very large number where the tokenizer knows no limit either
