"""Ray Data as an engine: the other engines as actors, on one machine or many.

One dataset lives from the first request to `close`: a source of pieces of work, and a pool of actors that each hold
`engine.ray_engine`. Actors load their model once for all calls and batches, and never idle between windows, because
there are none: a bounded number of pieces is on its way, and each that comes back makes room for the next.

Nothing is lost or doubled when a node dies. Ray starts its actors again where there is room and repeats their tasks;
where there is none, both would wait for ever, so the desk hands out again what the node had. Completions travel through
the desk and not inside the dataset, since a block that lay on a dead node could only be made again by its actor. Each
piece is taken once, and checked sample by sample.

Code: a cluster that is started here sees this checkout. To a cluster that was given, the few folders that engines need
are sent; its nodes have preppo's dependencies installed, and models that are folders at the same path.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import pickle
import queue
import shutil
import tempfile
import threading
import time
from collections import Counter
from dataclasses import replace
from importlib import import_module
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.engines.contract import Completion, EngineError
from trainer.engines.ray_worker import NUMBER, WORK, Answer, Desk, Worker, explained, key_of, pack
from trainer.engines.weights import NURSERY, find_model, fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from trainer.engines.contract import Request
    from warehouse.settings import EngineSettings, PolicySettings

_LOG = logging.getLogger(__name__)
ROOT = Path(__file__).resolve().parents[2]
_SENT = ("trainer", "warehouse")  # what an actor imports of preppo
_WATCH_S = 1.0  # how often it is looked whether all nodes live
_PATIENCE_S = 10.0  # how long an end may take
_OBJECT_STORE = 256 << 20  # bytes, of a cluster that is started here; far more than what is on its way
# vLLM starts a request whenever another ends, so pieces are small, and many are with an actor: half as many samples
# again as it computes at once. Its own default for `max_num_seqs` depends on the GPU; this is the largest.
_VLLM_PIECE, _VLLM_SEQUENCES = 16, 1024


class RayEngine:
    """Generate with `engine.ray_actors` actors on a Ray cluster. `Completion.engine` is "ray+" and the inner engine.

    Args:
        policy: of the model; which engine runs it is said by `machine.ray_engine`.
        machine: what to start, and where.
    """

    def __init__(self, policy: PolicySettings, machine: EngineSettings) -> None:
        folder = find_model(policy.model)
        self.fingerprint = fingerprint(folder)
        self.name = f"ray+{machine.ray_engine}"
        # Actors run in folders of their own: a path must not depend on where the run was started.
        local = policy.model != "nursery" and Path(policy.model).expanduser().is_dir()
        self._policy = policy.model_copy(
            update={"engine": machine.ray_engine, "model": str(folder.resolve()) if local else policy.model}
        )
        self._machine = machine
        self._streaming = machine.ray_engine == "vllm"
        # A piece is at most a chunk, and for an engine that works in batches it is one batch: what a killed run has
        # generated and not yet kept is then less than a chunk for each actor.
        chunk = policy.chunk_prompts * (policy.samples + policy.reference_samples)
        self._size = min(_VLLM_PIECE if self._streaming else policy.batch_size, chunk)
        sequences = int(machine.vllm.get("max_num_seqs", _VLLM_SEQUENCES))
        self._at_once = math.ceil(1.5 * sequences / self._size) if self._streaming else 1
        self._connected = False
        self._folder: str | None = None
        self._stream: _Stream | None = None

    def generate(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """Yield one completion a request, a piece at a time, as pieces finish.

        Raises:
            EngineError: Ray is not installed or not to be reached, no node has room for an actor, or an actor's engine
                failed; what was finished before is yielded first.
        """
        source = iter(requests)
        pieces = iter(lambda: list(islice(source, self._size)), [])
        most = self._machine.ray_actors * (self._at_once + 2) + 2
        waiting: dict[int, list[Request]] = {}
        try:
            for piece in pieces:
                stream = self._started()
                waiting[stream.send(piece)] = piece
                if len(waiting) >= most:
                    yield from self._receive(stream, waiting)
            while waiting:
                yield from self._receive(self._started(), waiting)
        finally:
            if waiting:
                # The caller went away, or an actor failed: nobody waits for what is still on its way.
                self._end_stream()

    def close(self) -> None:
        """End the actors and disconnect; a cluster that was started here ends, too."""
        self._end_stream()
        if self._connected:
            self._connected = False
            _library().shutdown()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _receive(self, stream: _Stream, waiting: dict[int, list[Request]]) -> Iterator[Completion]:
        """Wait for one piece and yield its completions; after a problem, those of all that is finished."""
        found, problem = stream.receive(), None
        while found is not None:
            number, answer = found
            piece = waiting[number]
            if answer.problem is None:
                _check(piece, answer)
                del waiting[number]
            for completion in answer.completions:
                yield replace(completion, engine=self.name)
            problem = problem or answer.problem
            found = None if problem is None else stream.receive(wait=False)
        if problem is not None:
            msg = f"policy.engine = 'ray': {problem}"
            raise EngineError(msg)

    def _started(self) -> _Stream:
        if self._stream is None:
            self._connect()
            self._stream = _Stream(self._policy, self._machine, self.fingerprint, self._at_once)
        return self._stream

    def _end_stream(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _connect(self) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to anybody
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # Ray's own remarks, on this process's standard error
        try:
            ray = _library()
        except ImportError as error:
            msg = f"policy.engine = 'ray': Ray is not installed: pip install 'preppo[ray]' ({error})"
            raise EngineError(msg) from error
        if ray.is_initialized():  # a cluster that somebody in this process is connected to: used, and left alone
            return
        address = self._machine.ray_address
        options = {"log_to_driver": False, "logging_level": logging.CRITICAL, "configure_logging": True}
        try:
            if address is None:
                self._folder = tempfile.mkdtemp(prefix="preppo-ray-")
                cpus = max(os.cpu_count() or 1, math.ceil(self._machine.ray_actors * self._machine.ray_cpus))
                ray.init(
                    address="local",  # not what RAY_ADDRESS names
                    num_cpus=cpus,
                    object_store_memory=_OBJECT_STORE,
                    include_dashboard=False,
                    runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}},
                    _temp_dir=self._folder,
                    _system_config={"worker_niceness": 0},  # actors do the work: nothing here is more important
                    **options,
                )
            else:
                with _sent_code(nursery=self._policy.model == "nursery") as folder:
                    ray.init(address=address, runtime_env={"working_dir": folder}, **options)
        except Exception as error:  # Ray raises what it likes
            self.close()
            where = "a cluster on this machine" if address is None else f"engine.ray_address = {address!r}"
            msg = f"policy.engine = 'ray': {where} cannot be used: {explained(error)}"
            raise EngineError(msg) from error
        self._connected = True


class _Stream:
    """The dataset that never ends, its desk, and a thread that reads the numbers of finished pieces."""

    def __init__(self, policy: PolicySettings, machine: EngineSettings, mark: str, at_once: int) -> None:
        self._ray = ray = _library()
        self._machine = machine
        self._numbers = 0
        self._nodes: set[str] = set()
        self._looked = -math.inf
        self._look()
        here = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}
        self._desk: Any = ray.remote(Desk).options(num_cpus=0, label_selector=here).remote()
        self._finished: queue.SimpleQueue[int | BaseException] = queue.SimpleQueue()
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        context.target_max_block_size = 1  # every piece is a block: none waits for others
        context.execution_no_progress_timeout_s = -1  # between two calls nothing moves
        for handler in logging.getLogger("ray.data").handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.setLevel(logging.CRITICAL)
        # Ray Data restarts actors and repeats their tasks without end: a dead node costs time alone.
        pool = ray.data.ActorPoolStrategy(
            size=machine.ray_actors,
            max_tasks_in_flight_per_actor=at_once + 1,  # one waits beside the actor
            max_concurrent_calls_per_actor=at_once,
            enable_true_multi_threading=at_once > 1,
        )
        self._dataset = (
            ray.data.from_items([0])
            .map_batches(_pieces, fn_args=(self._desk,), num_cpus=0, label_selector=here)
            .map_batches(
                _Actor,
                fn_constructor_args=(self._desk, policy, machine, mark),
                fn_constructor_kwargs={"streaming": at_once > 1},
                batch_size=1,
                compute=pool,
                num_cpus=machine.ray_cpus,
                num_gpus=machine.ray_gpus,
            )
        )
        self._reader = threading.Thread(target=self._read, daemon=True, name="preppo-ray-read")
        self._reader.start()

    def send(self, piece: Sequence[Request]) -> int:
        """Put a piece on its way; return its number."""
        self._numbers += 1
        self._asked(self._desk.put.remote(self._numbers, pack(piece)))
        return self._numbers

    def receive(self, *, wait: bool = True) -> tuple[int, Answer] | None:
        """Return the next piece that is finished and its answer; None where none is and none is waited for.

        Raises:
            EngineError: there will be none.
        """
        while True:
            if time.monotonic() - self._looked > _WATCH_S and (died := self._look()):
                lost = self._asked(self._desk.hand_out_again.remote(died))
                _LOG.warning("%d nodes of the Ray cluster died: %d pieces are handed out again", len(died), lost)
            try:
                found = self._finished.get(timeout=_WATCH_S) if wait else self._finished.get_nowait()
            except queue.Empty:
                if wait:
                    continue
                return None
            if isinstance(found, BaseException):
                msg = f"policy.engine = 'ray': {_cause(found)}"
                raise EngineError(msg) from found
            packed = self._asked(self._desk.fetch.remote(found))
            if packed is not None:  # else it was handed out twice
                return found, Answer(*pickle.loads(packed))

    def close(self) -> None:
        """End what runs, without waiting for pieces that nobody waits for."""
        actors = []
        with contextlib.suppress(Exception):  # a cluster that is gone holds nothing of ours
            actors = self._ray.get(self._desk.close.remote(), timeout=_PATIENCE_S)
        self._reader.join(timeout=_PATIENCE_S)
        for actor in [*actors, self._desk]:
            with contextlib.suppress(Exception):
                self._ray.kill(actor)

    def _asked(self, answer: Any) -> Any:
        """Return what the desk answers."""
        try:
            return self._ray.get(answer)
        except self._ray.exceptions.RayError as error:
            msg = f"policy.engine = 'ray': the cluster does not answer any more: {explained(error)}"
            raise EngineError(msg) from error

    def _read(self) -> None:
        try:
            for block in self._dataset.iter_batches(batch_size=None, prefetch_batches=0, batch_format="numpy"):
                for number in block[NUMBER]:
                    self._finished.put(int(number))
        except BaseException as error:  # raised again where pieces are waited for
            self._finished.put(error)
        else:
            self._finished.put(EOFError("the stream of pieces ended"))

    def _look(self) -> list[str]:
        """Look at the nodes; return those that died since.

        Raises:
            EngineError: none of them could ever hold an actor.
        """
        try:
            alive = {n["NodeID"]: n["Resources"] for n in self._ray.nodes() if n["Alive"]}
        except Exception as error:  # Ray raises what it likes
            msg = f"policy.engine = 'ray': the cluster does not answer any more: {explained(error)}"
            raise EngineError(msg) from error
        cpus, gpus = self._machine.ray_cpus, self._machine.ray_gpus
        if not any(r.get("CPU", 0) >= cpus and r.get("GPU", 0) >= gpus for r in alive.values()):
            each = ", ".join(f"{r.get('CPU', 0):g} and {r.get('GPU', 0):g}" for r in alive.values())
            msg = (
                f"policy.engine = 'ray': an actor needs {cpus:g} CPUs and {gpus:g} GPUs (engine.ray_cpus, "
                f"engine.ray_gpus), and no node has them; nodes have {each}"
            )
            raise EngineError(msg)
        died = sorted(self._nodes - alive.keys())
        self._nodes, self._looked = set(alive), time.monotonic()
        return died


def _library() -> Any:
    """Return Ray, with its data part; its types are not looked at, since it may not be installed."""
    import_module("ray.data")
    return import_module("ray")


def _check(piece: Sequence[Request], answer: Answer) -> None:
    """Raise EngineError where a sample is missing, there twice, or not of this piece."""
    wanted = Counter(key_of(r) for r in piece)
    got = Counter(key_of(c) for c in answer.completions)
    if got != wanted:
        missing, more = (wanted - got).total(), (got - wanted).total()
        msg = (
            f"policy.engine = 'ray': of {len(piece)} samples {missing} are missing; {more} came that were not asked for"
        )
        raise EngineError(msg)


def _pieces(_batch: Any, desk: Any) -> Iterator[dict[str, list[Any]]]:
    """Yield the pieces from the desk, for as long as it is open. Runs beside the driver, in a task of Ray Data."""
    ray = _library()
    for place in count():
        piece = ray.get(desk.take.remote(place))
        if piece is None:
            # An error ends the dataset at once; a source that ends would have it wait for what is on its way.
            msg = "closed"
            raise EngineError(msg)
        yield {NUMBER: [piece[0]], WORK: [piece[1]]}


class _Actor:
    """What Ray Data runs in every actor: one piece in, its number out, its completions to the desk."""

    def __init__(
        self, desk: Any, policy: PolicySettings, machine: EngineSettings, mark: str, *, streaming: bool
    ) -> None:
        from trainer.engines import load_engine

        ray = _library()
        context = ray.get_runtime_context()
        self._desk, self._name, self._node = desk, context.get_actor_id(), context.get_node_id()
        ray.get(desk.register.remote(self._name, context.current_actor))
        self._worker = Worker(policy, machine, mark, streaming=streaming, load=load_engine)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        ray = _library()
        for number, work in zip(batch[NUMBER].tolist(), batch[WORK].tolist(), strict=True):
            if ray.get(self._desk.begin.remote(number, self._name, self._node)):
                answer = self._worker.answer(pickle.loads(work))
                # Waited for: a number that is out says that the answer is safe.
                ray.get(self._desk.answer.remote(number, pack(answer)))
        return {NUMBER: batch[NUMBER]}


@contextlib.contextmanager
def _sent_code(*, nursery: bool) -> Iterator[str]:
    """Yield a folder of what a cluster needs of this checkout; Ray copies it and keeps it by its content."""
    unwanted = shutil.ignore_patterns("__pycache__", "*.pyc")
    with tempfile.TemporaryDirectory(prefix="preppo-ray-code-") as folder:
        for name in _SENT:
            shutil.copytree(ROOT / name, Path(folder) / name, ignore=unwanted)
        if nursery:
            shutil.copytree(NURSERY, Path(folder) / NURSERY.relative_to(ROOT), ignore=unwanted)
        yield folder


def _cause(error: BaseException) -> str:
    """Return one line: what was raised on the cluster, without the stacks that Ray puts around it."""
    while (inner := getattr(error, "cause", None) or error.__cause__) is not None and inner is not error:
        error = inner
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1] if lines else ''}"
