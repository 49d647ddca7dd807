"""What `trainer.engines.ray` runs on a cluster: the desk that pieces of work go over, and the actor's engine.

Nothing here imports Ray or torch; both classes are plain Python, and the driver makes actors of them.

The desk lies beside the driver, on the one node whose death ends the run anyway. It holds every piece from when it is
sent until its completions are fetched, so a dead node can take nothing with it: what the node was working on is
handed out again, and whoever is first with a piece is heard.
"""

from __future__ import annotations

import asyncio
import pickle
import queue
import threading
from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from trainer.engines.contract import Completion, Engine, Request
    from warehouse.settings import EngineSettings, PolicySettings

NUMBER, WORK = "number", "work"  # the columns of the stream
Key = tuple[str, str, int]


class Answer(NamedTuple):
    """What became of a piece: its completions, and why there are no more of them, where there are not."""

    completions: list[Completion]
    problem: str | None = None


class Desk:
    """Holds pieces until they are answered and fetched. Payloads are bytes: nothing is unpacked here."""

    def __init__(self) -> None:
        self._order: list[int] = []  # numbers in the order of handing out; a piece that is handed out again recurs
        self._work: dict[int, bytes] = {}
        self._with: dict[int, tuple[str, str]] = {}  # number -> actor and node that work on it
        self._dead: set[str] = set()  # nodes
        self._answers: dict[int, bytes] = {}
        self._actors: dict[str, Any] = {}
        self._closed = False
        self._news = asyncio.Condition()

    async def put(self, number: int, work: bytes) -> None:
        """Take a piece in."""
        async with self._news:
            self._work[number] = work
            self._order.append(number)
            self._news.notify_all()

    async def take(self, place: int) -> tuple[int, bytes] | None:
        """Return what is at a place of the order, as soon as there is something; nothing after `close`.

        A reader that starts anew asks from the first place again: what has been answered is empty then.
        """
        async with self._news:
            await self._news.wait_for(lambda: self._closed or place < len(self._order))
            if self._closed:
                return None
            number = self._order[place]
            return number, self._work.get(number, b"")

    async def register(self, name: str, actor: Any) -> None:
        """Note an actor, so that it can be ended without waiting for what it does."""
        self._actors[name] = actor

    async def begin(self, number: int, actor: str, node: str) -> bool:
        """Tell whether an actor is to work on a piece: it needs an answer, and nobody else is at it.

        An actor that was started again has its old name, and so may do again what it did.
        """
        holder, place = self._with.get(number, (actor, node))
        if number not in self._work or (holder != actor and place not in self._dead):
            return False
        self._with[number] = actor, node
        return True

    async def answer(self, number: int, answer: bytes) -> None:
        """Take the answer to a piece. A second one is not heard."""
        if self._work.pop(number, None) is not None:
            self._answers[number] = answer

    async def fetch(self, number: int) -> bytes | None:
        """Hand an answer over, once; none where it is not there yet, since an actor passed over what another has."""
        found = self._answers.pop(number, None)
        if found is not None:
            self._with.pop(number, None)
        return found

    async def hand_out_again(self, dead: list[str]) -> int:
        """Hand out every piece that these nodes had, or that may be on its way to them; return how many."""
        self._dead.update(dead)
        lost = [n for n in self._work if n not in self._with or self._with[n][1] in self._dead]
        async with self._news:
            self._order.extend(lost)
            self._news.notify_all()
        return len(lost)

    async def close(self) -> list[Any]:
        """End the stream; return the actors."""
        async with self._news:
            self._closed = True
            self._news.notify_all()
        return list(self._actors.values())


class Worker:
    """The engine of one actor. It never raises: a problem is an answer, so that it reaches the driver as one line.

    Args:
        policy: with the engine that runs in the actor.
        machine: of `[engine]`.
        fingerprint: of the weights that the driver sees; others under the same name would go unnoticed.
        streaming: whether the engine wants one stream that does not end (vLLM), or a batch at a time.
        load: makes the engine.
    """

    def __init__(
        self,
        policy: PolicySettings,
        machine: EngineSettings,
        fingerprint: str,
        *,
        streaming: bool,
        load: Callable[[PolicySettings, EngineSettings], Engine],
    ) -> None:
        self._stream: _Stream | None = None
        self._problem: str | None = None
        try:
            self._engine = load(policy, machine)
            if self._engine.fingerprint != fingerprint:
                self._problem = f"policy.model = {policy.model!r}: its files differ from those where preppo runs"
        except Exception as error:  # whatever it is: a person is told where the run is
            self._problem = explained(error)
        if streaming and self._problem is None:
            self._stream = _Stream(self._engine)

    def answer(self, requests: list[Request]) -> Answer:
        """Return the completions of a piece; several pieces may be asked for at once where the engine streams."""
        if self._problem is not None:
            return Answer([], self._problem)
        if self._stream is not None:
            return self._stream.answer(requests)
        found: list[Completion] = []
        try:
            found.extend(self._engine.generate(requests))
        except Exception as error:
            return Answer(found, explained(error))
        return Answer(found)


class _Stream:
    """One endless call of an engine that serves many pieces at once, so that its batch never runs empty between them.

    A completion belongs to the piece that has waited for its name the longest.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._requests: queue.SimpleQueue[Request] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._waiting: dict[Key, deque[_Piece]] = defaultdict(deque)
        self._running = False

    def answer(self, requests: list[Request]) -> Answer:
        piece = _Piece(len(requests))
        with self._lock:
            for request in requests:
                self._waiting[key_of(request)].append(piece)
                self._requests.put(request)
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, daemon=True, name="preppo-ray-stream").start()
        piece.done.wait()
        return Answer(piece.completions, piece.problem)

    def _run(self) -> None:
        problem = "the engine ended although requests were left"
        try:
            for completion in self._engine.generate(self._incoming()):
                with self._lock:
                    waiting = self._waiting[key_of(completion)]
                    piece = waiting.popleft()
                    if not waiting:
                        del self._waiting[key_of(completion)]
                    piece.add(completion)
        except Exception as error:
            problem = explained(error)
        with self._lock:
            for waiting in self._waiting.values():
                for piece in waiting:
                    piece.fail(problem)
            self._waiting.clear()
            self._requests = queue.SimpleQueue()  # the old one may still be read by the call that failed
            self._running = False

    def _incoming(self) -> Iterator[Request]:
        requests = self._requests
        while True:
            yield requests.get()


class _Piece:
    def __init__(self, size: int) -> None:
        self.completions: list[Completion] = []
        self.problem: str | None = None
        self.done = threading.Event()
        self._size = size

    def add(self, completion: Completion) -> None:
        self.completions.append(completion)
        if len(self.completions) == self._size:
            self.done.set()

    def fail(self, problem: str) -> None:
        self.problem = problem
        self.done.set()


def key_of(sample: Request | Completion) -> Key:
    """Return the name of a sample."""
    return sample.prompt_id, sample.role, sample.sample


def pack(value: Iterable[Request] | Answer) -> bytes:
    """Return bytes for the way between two processes of one run; what samples share is there once."""
    return pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)


def explained(error: BaseException) -> str:
    """Return one line that says what happened."""
    text = " ".join(str(error).split())
    named = type(error).__module__.startswith(("trainer.", "warehouse."))  # these messages are whole sentences
    return text if named and text else f"{type(error).__name__}: {text}"
