"""One decoding step through torch.compile, compiled once whatever joins and leaves.

Rows and columns of a step are sizes that the compiled code takes as they come (dynamic shapes): it is compiled once,
not once a shape. On a GPU each shape is also recorded as a CUDA graph, since launching some hundred small kernels
takes longer than running them; `trainer.engines.slots` rounds the shapes, so that there are few recordings.

The prompts are computed without any of this: they are limited by arithmetic, and hardly two have the same shape.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch._inductor
from torch._dynamo.exc import BackendCompilerFailed, FailOnRecompileLimitHit, TorchDynamoException
from transformers.cache_utils import Cache

from trainer.engines.contract import EngineError
from trainer.engines.slots import SlotLayer, Slots, rounded_rows

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT = 4  # compilations of one engine; one is expected, and one more after a change of the number of threads


@dataclass(frozen=True)
class _Recording:
    """A step of one shape, to be replayed. The tensors are read at the addresses that they have here."""

    replay: Callable[[], None]
    inputs: torch.Tensor
    columns: torch.Tensor


class CompiledDecoder:
    """Computes decoding steps of a model.

    Args:
        model: a causal LM of transformers.
        batch_size: rows of a step, at most.

    Attributes:
        compilations: how often something was compiled.
        limit: rows of a step, at most, as the steps count them.
        recordings: CUDA graphs that are there.
    """

    def __init__(self, model: Any, batch_size: int) -> None:
        self.compilations = 0
        self.recordings: dict[tuple[int, int], _Recording] = {}
        self._model: Any = model
        self._device: torch.device = model.device
        self.limit = max(2, batch_size)
        # With fixed shapes rows are rounded up; without, the code takes any number of them, and none is in vain.
        self.fixed_shapes = self._device.type == "cuda"
        self._idle: Slots | None = None
        self._recorded: object = None  # the stamp of the slots that the recordings write to
        self._pool: Any = torch.cuda.graph_pool_handle() if self.fixed_shapes else None
        self._logits = torch.empty(0)
        # isolate_recompiles: engines of one process do not count against each other's limit.
        compiler: Any = torch.compile  # its types lack two of its arguments
        self._step: Callable[..., torch.Tensor] = compiler(
            self._forward, backend=self._compile, fullgraph=True, recompile_limit=LIMIT, isolate_recompiles=True
        )

    def close(self) -> None:
        """Let go of the model and of all that was computed with it; the compiler remembers the decoder itself."""
        self._model = self._idle = None
        self.recordings.clear()
        self._logits = torch.empty(0)

    def _forward(
        self,
        tokens: torch.Tensor,
        positions: torch.Tensor,
        columns: torch.Tensor,
        keys: list[torch.Tensor],
        values: list[torch.Tensor],
    ) -> torch.Tensor:
        """Return logits [rows, vocabulary]: what is compiled.

        Args:
            tokens: [rows, 1].
            positions: [rows, 1].
            columns: 0, 1, 2, ..., as many as are read.
            keys: of the slots.
            values: of the slots.
        """
        length = columns.shape[0]
        layers: list[Any] = [SlotLayer(k, v, positions, length) for k, v in zip(keys, values, strict=True)]
        output = self._model(
            input_ids=tokens,
            attention_mask=columns <= positions,
            position_ids=positions,
            past_key_values=Cache(layers=layers),
            use_cache=True,
        )
        logits: torch.Tensor = output.logits[:, -1]
        return logits

    def _compile(self, graph: torch.fx.GraphModule, inputs: list[Any]) -> Any:
        self.compilations += 1
        return torch._inductor.compile(graph, inputs)

    def rows(self, rows: int) -> int:
        """Return how many places a step reads that has so many rows."""
        return rounded_rows(rows, self.limit) if self.fixed_shapes else max(2, rows)

    def take(self) -> Slots:
        """Return slots for one stream of rows; those of the stream before, where it is finished."""
        slots, self._idle = self._idle or Slots(), None
        return slots

    def give_back(self, slots: Slots) -> None:
        """Take the slots of a finished stream; the next one's steps then find their recordings."""
        self._idle = slots

    def step(self, tokens: list[int], positions: list[int], length: int, slots: Slots) -> torch.Tensor:
        """Return logits [places, vocabulary], which the next step overwrites.

        The keys and values are written into the slots. Doing a step twice does not change them.

        Args:
            tokens: one a place, from the first.
            positions: of these tokens, each in its place.
            length: columns to read, above all positions.
            slots: with more columns than that.

        Raises:
            EngineError: the model cannot be compiled here.
        """
        inputs = torch.tensor([tokens, positions])
        try:
            if self.fixed_shapes:
                return self._replayed(inputs, length, slots)
            return self._run(inputs.to(self._device), torch.arange(length, device=self._device), slots)
        except (TorchDynamoException, FailOnRecompileLimitHit) as error:
            raise EngineError(_advice(error, self._device)) from error

    def _run(self, inputs: torch.Tensor, columns: torch.Tensor, slots: Slots) -> torch.Tensor:
        tokens, positions = inputs[0][:, None], inputs[1][:, None]
        for tensor in (tokens, positions, columns):
            torch._dynamo.mark_dynamic(tensor, 0)
        return self._step(tokens, positions, columns, slots.keys, slots.values)

    def _replayed(self, inputs: torch.Tensor, length: int, slots: Slots) -> torch.Tensor:
        if slots.stamp is not self._recorded:
            self.recordings.clear()
            self._recorded = slots.stamp
        rows = inputs.shape[1]
        if (rows, length) not in self.recordings:
            self.recordings[rows, length] = self._record(inputs, length, slots)
        recording = self.recordings[rows, length]
        recording.inputs.copy_(inputs)
        recording.replay()
        return self._logits[:rows]

    def _record(self, inputs: torch.Tensor, length: int, slots: Slots) -> _Recording:
        """Record a step of this shape."""
        # These are not freed while the recording is there. They hold a true step already, since the runs before the
        # recording write to the slots.
        inputs, columns = inputs.to(self._device, copy=True), torch.arange(length, device=self._device)
        for _ in range(2):  # while recording nothing may be compiled, tuned or loaded
            logits = self._run(inputs, columns, slots)
        if not self._logits.numel():
            self._logits = logits.new_empty(self.limit, logits.shape[1])
        rows = logits.shape[0]
        del logits

        def work() -> None:
            # All recordings share one pool, whose memory is free again once a step is done: so must its result be.
            self._logits[:rows].copy_(self._run(inputs, columns, slots))

        return _Recording(_captured(work, self._pool), inputs, columns)


def _captured(work: Callable[[], None], pool: Any) -> Callable[[], None]:
    """Record what `work` launches on the GPU, and return what launches all of it again at once.

    Raises:
        EngineError: it does what cannot be recorded, such as to wait for the GPU.
    """
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            work()
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        msg = f"engine.compile: a step of the model cannot be recorded as a CUDA graph ({_first_line(error)}); "
        msg += "set compile = false"
        raise EngineError(msg) from error
    return graph.replay


def _advice(error: Exception, device: torch.device) -> str:
    """Return what went wrong and what helps, in one line."""
    cause = getattr(error, "inner_exception", error)
    what = f"engine.compile: the model cannot be compiled here ({type(cause).__name__}: {_first_line(cause)})"
    if not isinstance(error, BackendCompilerFailed):  # the model's own doing
        return f"{what}; set compile = false"
    tools = "a C++ compiler (g++)" if device.type == "cpu" else "triton and a C compiler (gcc)"
    return f"{what}; torch.compile needs {tools} and Python's header files: install them, or set compile = false"


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason given")
