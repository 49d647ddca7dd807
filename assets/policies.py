"""The policies whose rollouts count: the one that `[policy]` names, and those of recorded rollouts."""

from __future__ import annotations

import atexit
from typing import TYPE_CHECKING

from assets.recorded import matches
from trainer.engines import Engine, load_engine, policy_id, sampling_of
from trainer.engines.weights import model_fingerprint

if TYPE_CHECKING:
    from assets.project import Project
    from warehouse.settings import EngineSettings, PolicySettings
    from warehouse.store import Snapshot


def recorded_policy_id(name: str) -> str:
    """Return the id of the policy that recorded rollouts name. Nothing else is known of it."""
    return policy_id(f"recorded:{name}")


def own_policy_id(policy: PolicySettings) -> str | None:
    """Return the id of the policy that is rolled out here, or None where rollouts are only imported. No torch."""
    if policy.engine == "recorded":
        return None
    # The fingerprint covers the chat template, which is a file of the model.
    return policy_id(model_fingerprint(policy), sampling_of(policy), None, policy.system_prompt)


def policy_order(project: Project, view: Snapshot, name: str | None = None) -> list[str]:
    """Return the policies whose scores count in a selection, the preferred one first.

    The policy that is rolled out here comes first, then the recorded ones in the order of the settings; with a name,
    that one alone ("policy" for the one rolled out here).

    Raises:
        LookupError: no policy of that name has rollouts.
    """
    own = own_policy_id(project.settings.policy)
    ids = {"policy": own} if own is not None else {}
    for commit in view.of_stage("prompts"):
        ids |= {p: recorded_policy_id(p) for p in matches(project, view, commit.batch)}
    if name is None:
        order = [s.name for s in project.settings.rollouts]
        recorded = sorted((p for p in ids if p != "policy"), key=lambda p: (_rank(p, order), p))
        return [ids[p] for p in [*(["policy"] if own is not None else []), *recorded]]
    if name not in ids:
        msg = f"selection: no policy is named {name!r}; there are: {', '.join(sorted(ids))}"
        raise LookupError(msg)
    return [ids[name]]


def _rank(policy: str, order: list[str]) -> int:
    """Return a policy's place in the settings; a section whose format holds several starts their names."""
    if policy in order:
        return order.index(policy)
    return next((i for i, name in enumerate(order) if policy.startswith(name)), len(order))


def engine_for(policy: PolicySettings, machine: EngineSettings) -> Engine:
    """Return the engine, ready to be asked; the last one stays, so that a run of many batches loads it once."""
    global _kept
    key = (policy, machine)
    if _kept is None or _kept[0] != key:
        close_engine()
        _kept = key, load_engine(policy, machine)
    return _kept[1]


def close_engine() -> None:
    """Give back what the engine of this process holds: memory, processes, connections."""
    global _kept
    if _kept is not None:
        _kept[1].close()
        _kept = None


_kept: tuple[tuple[PolicySettings, EngineSettings], Engine] | None = None
atexit.register(close_engine)
