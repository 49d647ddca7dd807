"""`POST /reward`: the hybrid reward over HTTP. Rules are verified by the service, all else is scored by its models."""

import asyncio
from collections.abc import Mapping

from verifiers.admission import Refusal
from verifiers.dispatch import Service, VerifyTicket
from verifiers.endpoints import Endpoint, Pending
from verifiers.hybrid import RTV, Reward, Scorable, route
from verifiers.reward_wire import read_rewards_request, write_rewards
from verifiers.rtv import reward_of, task_of
from verifiers.scoring import ScoreTicket, Scoring


class RewardEndpoint(Endpoint):
    """`POST /reward`.

    Args:
        service: verifies what rules decide.
        token: what clients must send.
        scoring: scores all else.
        budget_s: for one verdict; default: what its verifier says.
    """

    def __init__(self, service: Service, token: str | None, scoring: Scoring, budget_s: float | None = None) -> None:
        super().__init__(service, token)
        self._scoring, self._budget_s = scoring, budget_s

    def admit(self, client: str, body: bytes) -> Pending:
        service, scoring = self._service, self._scoring
        asked = read_rewards_request(body, max_tasks=service.limits.request_tasks)
        service.refuse_while_draining()
        if asked.makers is not None:
            refuse_other_makers(asked.makers, scoring.makers)
        ruled = {n: item for n, item in enumerate(asked.items) if _by_rule(item)}
        others = {n: item for n, item in enumerate(asked.items) if n not in ruled}
        answered = {n: item for n, item in ruled.items() if item.response is not None}
        verifying = service.submit(client, [task_of(item, self._budget_s) for item in answered.values()])
        try:
            scored = scoring.submit(client, list(others.values()))
        except Refusal:
            service.cancel(verifying)
            raise

        def body_of_answer() -> bytes:
            rewards = _verified(ruled, answered, verifying) | dict(zip(others, scored.answered(), strict=True))
            return write_rewards([rewards[n] for n in range(len(asked.items))], asked.id)

        def cancel() -> None:
            service.cancel(verifying)
            scoring.cancel(scored)

        return Pending(_both(verifying, scored), body_of_answer, cancel)


def _by_rule(item: Scorable) -> bool:
    return route(item.verifier, item.ground_truth, available=(RTV,)) == RTV


def _verified(
    ruled: Mapping[int, Scorable], answered: Mapping[int, Scorable], ticket: VerifyTicket
) -> dict[int, Reward]:
    verdicts = dict(zip(answered, ticket.answered(), strict=True))
    return {n: reward_of(item, verdicts.get(n)) for n, item in ruled.items()}


def _both(verifying: VerifyTicket, scored: ScoreTicket) -> asyncio.Future[tuple[None, None]]:
    return asyncio.gather(verifying.done, scored.done)


def refuse_other_makers(wanted: Mapping[str, str | None], served: Mapping[str, str]) -> None:
    """Let a request pass whose rewards would be made by whom its client wants.

    Args:
        wanted: a maker (None: anybody) for each source that is to be served, and for no other.
        served: the makers of the sources that are served.

    Raises:
        Refusal: 409.
    """
    what = "start it with the settings of the release, or export again with those of the server"
    for source in sorted(wanted.keys() - served.keys()):
        raise Refusal(409, f"{source} is wanted, and this server serves {_told(served)}: {what}")
    for source in sorted(served.keys() - wanted.keys()):
        raise Refusal(409, f"{source} is served here and not wanted, so that prompts would change their source: {what}")
    for source, maker in sorted(wanted.items()):
        if maker is not None and maker != served[source]:
            message = f"{source} is made by {served[source][:12]} here, and {maker[:12]} is wanted: {what}"
            raise Refusal(409, message)


def _told(served: Mapping[str, str]) -> str:
    return ", ".join(("the rule verifiers", *sorted(served))) if served else "the rule verifiers alone"
