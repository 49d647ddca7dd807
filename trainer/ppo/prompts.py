"""A release as PPO reads it: prompts in curriculum order, those that no source rewards left out and told."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from verifiers.hybrid import GENRM_BEST_OF_N, Scorable, compared_with

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from verifiers.hybrid import HybridReward
    from warehouse.releases import Release

FORMAT = 1  # of a release's manifest
_COLUMNS = ["prompt_id", "messages", "raw_text", "domain", "verifier", "ground_truth", "reference", "reference_kind"]


class PpoError(RuntimeError):
    """A training cannot start or go on; the message says where, why, and what to do."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One row of a release as the hybrid reward takes it; `phase` is empty for a held-out prompt."""

    prompt_id: str
    messages: tuple[tuple[str, str], ...]
    raw_text: str | None
    domain: str
    verifier: str | None
    ground_truth: str | None
    reference: str | None
    phase: str = ""
    reference_wanted: bool = False

    def answered(self, sample: int, response: str | None, finish_reason: str) -> Scorable:
        """Return a response to this prompt, as the hybrid reward takes it."""
        return Scorable(
            self.prompt_id,
            sample,
            self.messages,
            response,
            finish_reason,
            self.verifier,
            self.ground_truth,
            self.reference,
            self.raw_text,
            self.reference_wanted,
        )


@dataclass(frozen=True)
class Prompts:
    """What a release has to train and to evaluate on.

    Attributes:
        train: in curriculum order; a prompt may occur several times.
        heldout: by prompt_id.
        left_out: rows that no source rewards, by what is said of them.
        empty_phases: that the settings of the release name, and that no prompt fell into.
    """

    train: tuple[Prompt, ...]
    heldout: tuple[Prompt, ...]
    left_out: Counter[str]
    empty_phases: tuple[str, ...] = ()


def read_prompts(release: Release, reward: HybridReward, evaluation: int | None = None) -> Prompts:
    """Read a release.

    Args:
        release: of `FORMAT`.
        reward: whose sources decide which prompts can be learnt from.
        evaluation: held-out prompts to take at most; None: all.

    Raises:
        PpoError: the release has another format, or some phase has nothing that can be learnt from.
    """
    check_format(release)
    rows = release.train().select(*_COLUMNS, "phase").collect()
    held = release.heldout().select(_COLUMNS).collect()
    left_out: Counter[str] = Counter()
    train = _rewarded(_prompts(rows), reward, left_out)
    heldout = _rewarded(_prompts(held), reward, left_out)
    _check_phases(release, train, left_out)
    stated = [p["name"] for p in release.manifest.get("policy", {}).get("curriculum", {}).get("phases", [])]
    present = {p.phase for p in train}
    empty = tuple(name for name in stated if name not in present)
    return Prompts(tuple(train), tuple(heldout[:evaluation]), left_out, empty)


def check_format(release: Release) -> None:
    """Refuse a release that is laid out otherwise.

    Raises:
        PpoError: it is.
    """
    found = release.manifest.get("format")
    if found != FORMAT:
        msg = (
            f"release {release.release_id[:12]} has format {found!r}, and this preppo trains on format {FORMAT}: "
            "make it anew with `preppo run`, or use the version of preppo that made it"
        )
        raise PpoError(msg)


def _prompts(rows: pl.DataFrame) -> list[Prompt]:
    found = []
    for row in rows.iter_rows(named=True):
        turns = tuple((m["role"], m["content"]) for m in row.pop("messages") or [])
        reference, wanted = compared_with(row.pop("reference"), row.pop("reference_kind"))
        row |= {"domain": row["domain"] or "none", "reference": reference, "reference_wanted": wanted}
        found.append(Prompt(messages=turns, **row))
    return found


def _rewarded(prompts: Sequence[Prompt], reward: HybridReward, left_out: Counter[str]) -> list[Prompt]:
    """Return the prompts that some source rewards, and count the others by domain and verifier."""
    kept = []
    for prompt in prompts:
        source = reward.source_of(prompt.answered(0, "", "stop"))
        if source is None:
            named = f"verifier {prompt.verifier}" if prompt.verifier else "no verifier"
            left_out[f"domain {prompt.domain}, {named}"] += 1
        elif source == GENRM_BEST_OF_N and prompt.reference is None:
            left_out[f"domain {prompt.domain}, no best of N among its reference samples"] += 1
        else:
            kept.append(prompt)
    return kept


def _check_phases(release: Release, train: Sequence[Prompt], left_out: Counter[str]) -> None:
    """Refuse a phase that nothing rewards: what is left of the curriculum would be another one."""
    present = {p.phase for p in train}
    for name, rows in release.counts.get("rows_by_phase", {}).items():
        if rows and name not in present:
            most = "; ".join(f"{n} of {what}" for what, n in left_out.most_common(3))
            msg = (
                f"phase {name!r}: no source rewards any of its {rows} prompts (in the whole release: {most}); "
                "configure [reward_model] or [judge], or give the prompts a verifier"
            )
            raise PpoError(msg)
    if not train:
        msg = f"release {release.release_id[:12]} has no row to train on"
        raise PpoError(msg)
