"""Any OpenAI-compatible server as an engine: vLLM, SGLang, hosted; several of one model as one pool.

A call of `generate` has two threads. One takes requests in (whoever makes them may be slow), one runs an event loop
that asks servers; completions come back through a queue. Both end with the call, and so do its connections.

Every request ends in exactly one of three ways: a completion with a text, an error completion whose reason is the
request's own, or an EngineError that ends the call. Which of the last two is decided by asking something trivial: a
server that answers that works, so that the request is at fault; where none does, nothing is blamed on a request.
"""

from __future__ import annotations

import os
import re
import threading
from typing import TYPE_CHECKING

from trainer.engines.contract import Completion, EngineError, Request
from trainer.engines.openai_call import Call
from trainer.engines.openai_wire import Dialect
from trainer.engines.weights import served_fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


class Secret:
    """The key. Nothing that prints it, its owner or a message about it shows it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def __repr__(self) -> str:
        return "Secret(***)" if self._value else "Secret()"

    def headers(self) -> dict[str, str]:
        """Return what a server wants to see; nothing where there is no key."""
        return {"Authorization": f"Bearer {self._value}"} if self._value else {}

    def hide(self, text: str) -> str:
        """Return a text without the key: servers like to quote what they were given."""
        return text.replace(self._value, "***") if self._value else text


class OpenAIEngine:
    """Generate on servers.

    Args:
        model: as the servers call it.
        revision: what the user calls the weights behind it, which nobody here can look at.
        base_urls: of servers of that model, such as http://10.0.0.5:8000/v1.
        api_key_env: the variable that holds the key; may be unset where servers want none.
        concurrency: requests on their way to each server, at most.
        timeout_s: for one request.
        retries: of one request, on other servers where there are any, with growing pauses.

    Raises:
        EngineError: there is no server, or the key cannot be sent.
    """

    def __init__(
        self,
        model: str,
        *,
        base_urls: Sequence[str],
        revision: str | None = None,
        api_key_env: str = "OPENAI_API_KEY",
        concurrency: int = 64,
        timeout_s: float = 600.0,
        retries: int = 8,
    ) -> None:
        if not base_urls:
            msg = "policy.engine = 'openai' needs engine.base_urls, such as [\"http://127.0.0.1:8000/v1\"]"
            raise EngineError(msg)
        self.name = model
        self.fingerprint = served_fingerprint(model, revision)
        self.base_urls = tuple(dict.fromkeys(url.rstrip("/") for url in base_urls))
        self.api_key_env, self.concurrency, self.timeout_s, self.retries = api_key_env, concurrency, timeout_s, retries
        self.secret = Secret(_key(api_key_env))
        self.dialects = {url: Dialect() for url in self.base_urls}  # what was learnt of servers outlives a call
        self._calls: set[Call] = set()
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"OpenAIEngine({self.name!r}, base_urls={self.base_urls!r})"

    def generate(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """Yield one completion a request, as they finish.

        Raises:
            EngineError: the servers stay silent, answer nonsense, or do not let this in. What is finished was yielded.
        """
        call = Call(self, requests)
        with self._lock:
            self._calls.add(call)
        try:
            call.start()
            yield from call.completions()
        finally:
            call.stop()
            with self._lock:
                self._calls.discard(call)

    def close(self) -> None:
        """End what is still generating."""
        with self._lock:
            calls = list(self._calls)
        for call in calls:
            call.stop()


def _key(variable: str) -> str:
    key = os.environ.get(variable, "").strip()
    if not re.fullmatch(r"[!-~]*", key):
        msg = f"the key in {variable} (engine.api_key_env) must be printable ASCII without blanks"
        raise EngineError(msg)
    return key
