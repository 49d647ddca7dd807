"""How many prompts each group gives, and which prompts may not fill it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from warehouse.curation.apportion import apportion, exact, round_half_up

if TYPE_CHECKING:
    from warehouse.settings.model import ArmSettings


def quotas(sizes: pl.DataFrame, arm: ArmSettings, *, whole: bool) -> pl.DataFrame:
    """Return how many prompts each group is to give: group, base (by the fraction alone), quota (after limits).

    Args:
        sizes: group, domain, size: the scored `new` prompts, whatever the rule, so that arms are of equal size.
        arm: fraction, floors, ceilings.
        whole: take all of them instead of the fraction.

    The arm's size is fraction x prompts, rounded half up, and is spread over the groups by largest remainders. Then a
    domain below its floor is raised to it (or to all it has), one above its ceiling lowered, and what the domain has
    is spread over its groups by size. Other domains do not make up for the difference.
    """
    size = dict(zip(sizes["group"], sizes["size"], strict=True))
    domain = dict(zip(sizes["group"], sizes["domain"], strict=True))
    total = sum(size.values())
    base = size if whole else apportion(round_half_up(exact(arm.fraction) * total), size)
    quota = dict(base)
    for name in sorted(set(domain.values())):
        groups = {g: size[g] for g in size if domain[g] == name}
        own = sum(base[g] for g in groups)
        limited = max(own, min(arm.floors.get(name, 0), sum(groups.values())))
        limited = min(limited, arm.ceilings.get(name, limited))
        if limited != own:
            quota.update(apportion(limited, groups))
    rows = [(g, base[g], quota[g]) for g in sorted(size)]
    return pl.DataFrame(rows, schema={"group": pl.String, "base": pl.Int64, "quota": pl.Int64}, orient="row")


def pick(ordered: pl.DataFrame, limits: pl.DataFrame, max_all_zero_share: float) -> pl.DataFrame:
    """Fill the quotas in order, passing over all-zero prompts beyond their share.

    A prompt whose every scored reward is 0 gives a group-relative trainer no gradient. At most `max_all_zero_share`
    of the prompts picked may be such; the surplus is replaced by the next in order. The allowance is spread over the
    groups by quota, and shrinks where there is nothing to replace the surplus with, so the share holds for what is
    really picked.

    Args:
        ordered: group, all_zero (Boolean), in the order of picking within each group.
        limits: group, base, quota, as `quotas` returns them.
        max_all_zero_share: of all the prompts picked; 1 switches the guard off.

    Returns:
        `ordered` and base, quota, place (1 is first in its group), allowed (not barred by the guard), picked.
    """
    share = exact(max_all_zero_share)
    quota = dict(zip(limits["group"], limits["quota"], strict=True))
    placed = ordered.join(limits, on="group", how="left", maintain_order="left").with_columns(
        place=pl.int_range(1, pl.len() + 1).over("group"), zeros=pl.col.all_zero.cum_sum().over("group")
    )
    allowance = sum(quota.values()) if share == 1 else int(share * sum(quota.values()))
    while True:
        caps = [(group, cap) for group, cap in apportion(allowance, quota).items()]
        cap = pl.DataFrame(caps, schema={"group": pl.String, "cap": pl.Int64}, orient="row")
        out = placed.join(cap, on="group", how="left", maintain_order="left")
        out = out.with_columns(allowed=(pl.col.all_zero & (pl.col.zeros > pl.col.cap)).not_())
        turn = pl.col.allowed.cum_sum().over("group")
        out = out.with_columns(turn=turn).with_columns(picked=pl.col.allowed & (pl.col.turn <= pl.col.quota))
        picked = out.filter("picked").height
        zeros = out.filter("picked", "all_zero").height
        if zeros <= share * picked:
            return out.drop("zeros", "cap")
        allowance = int(share * picked)  # below `zeros`, so each round allows fewer and the loop ends
