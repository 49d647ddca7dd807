"""Settings of the machines that work is done on, and of what it may cost. None of them decides an outcome."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from warehouse.settings.section import Section


def _address(value: str, example: str, secret: str) -> str:
    """Return an HTTP address without its last slash; a secret in it would end up in files and logs."""
    try:
        parts = urlsplit(value)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        valid = False
    if not valid or "@" in value or parts.query or parts.fragment:
        msg = f'must be like "{example}"; {secret}'
        raise ValueError(msg)
    return value.rstrip("/")


class EngineSettings(Section):
    """`[engine]`: how the engine that `[policy]` names is run."""

    workers: Annotated[int, Field(ge=1)] | None = None  # processes for ingest and verification; default: the cores
    base_urls: list[str] = []  # openai: servers of the same model, used as one pool
    api_key_env: str = "OPENAI_API_KEY"  # openai: the variable that holds the key; the key itself stays out of files
    concurrency: Annotated[int, Field(ge=1, le=65536)] = 256  # openai: requests on their way to each server
    timeout_s: Annotated[float, Field(gt=0.0)] = 600.0  # openai: for one request
    retries: Annotated[int, Field(ge=0, le=1000)] = 8  # openai: of one request, with growing pauses
    compile: bool = False  # transformers: decode through torch.compile; on a CPU it needs a C++ compiler
    vllm_python: str | None = None  # vllm: the interpreter of its environment; default: this one
    vllm: dict[str, Any] = {}  # vllm: arguments of vllm.LLM, such as tensor_parallel_size
    ray_engine: Literal["transformers", "vllm"] = "transformers"  # ray: what each actor runs
    ray_address: str | None = None  # ray: of a running cluster; default: one is started on this machine
    ray_actors: Annotated[int, Field(ge=1)] = 1
    ray_cpus: Annotated[float, Field(ge=0.0)] = 1.0  # ray: of each actor
    ray_gpus: Annotated[float, Field(ge=0.0)] = 0.0

    @field_validator("base_urls")
    @classmethod
    def _urls(cls, value: list[str]) -> list[str]:
        secret = "a key belongs into the environment, see api_key_env"
        return [_address(v, "http://10.0.0.5:8000/v1", secret) for v in value]


class BudgetSettings(Section):
    """`[budget]`: what generating may cost in one run, and what `preppo plan` reckons with."""

    max_tokens: Annotated[int, Field(ge=1)] | None = None  # prompt and response tokens together
    max_cost: Annotated[float, Field(gt=0.0)] | None = None  # in the currency of the prices
    price_prompt: Annotated[float, Field(ge=0.0)] = 0.0  # of a million prompt tokens
    price_response: Annotated[float, Field(ge=0.0)] = 0.0  # of a million response tokens
    tokens_per_second: Annotated[float, Field(gt=0.0)] | None = None  # default: as measured in this home

    @model_validator(mode="after")
    def _priced(self) -> BudgetSettings:
        if self.max_cost is not None and not (self.price_prompt or self.price_response):
            msg = "max_cost needs price_prompt or price_response, in the same currency for a million tokens"
            raise ValueError(msg)
        return self


class VerifierSettings(Section):
    """`[verifiers]`: where code of a response runs. Decides no outcome: verdicts are the same everywhere."""

    sandbox: Literal["bubblewrap", "http", "unsafe"] = "bubblewrap"  # http: on the server at `url`; unsafe: unprotected
    url: str | None = None  # of a `preppo reward serve`; its token comes from PREPPO_REWARD_TOKEN alone
    workers: Annotated[int, Field(ge=1)] | None = None  # processes; default: engine.workers

    @field_validator("url")
    @classmethod
    def _http(cls, value: str | None) -> str | None:
        if value is None:
            return None
        return _address(value, "http://10.0.0.5:8400", "a token belongs into the environment, as PREPPO_REWARD_TOKEN")

    @model_validator(mode="after")
    def _somewhere(self) -> VerifierSettings:
        if self.sandbox == "http" and self.url is None:
            msg = 'sandbox = "http" needs `url`, the address of a `preppo reward serve`'
            raise ValueError(msg)
        return self
