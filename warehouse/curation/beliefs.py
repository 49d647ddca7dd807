"""What a few samples say about the score that a prompt would have after all of them.

Adaptive sampling (`adaptive`) asks one question of each prompt of a group: where would its score come out if it were
sampled in full? A belief is a distribution over that score X, which takes three forms of answer: P(X > a), the mean
excess E[(X - a)+], and, over the group, the score of the k-th prompt. All else follows from these.

Both kinds borrow strength from the group (empirical Bayes), because real pass rates pile up at 0 and 1: after four
failures the question is how many of such prompts never pass, and only the other prompts can tell. The number of samples
a prompt has got depends on the samples before, but its likelihood does not, so nothing needs correcting for that.

Ours: the prior on nodes with its fixed weight and number of steps, the full score as a finite population, the
shrinkage of variances. From the literature: a posterior per prompt (MoPPS, arXiv 2507.04632, with Beta(1, 1)), the
non-parametric prior by EM (Laird, 1978), expected loss as the worth of a sample (Chick and Inoue, 2001).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import numpy as np
from scipy.special import gammaln, ndtr, xlogy  # type: ignore[import-untyped]  # ships no type information

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

NODES = np.sin(np.pi / 2 * np.linspace(0.0, 1.0, 41)) ** 2  # dense at 0 and 1, where pass rates are; both included
NODES[-1] = 1.0
EM_STEPS = 60
PRIOR_PROMPTS = 8.0  # how many prompts the even prior counts for; also the weight of the pooled variance, in samples
TINY = 1e-9  # scores this near are the same


class Beliefs(Protocol):
    """Distributions over the full-sample scores of the prompts of one group."""

    @property
    def score(self) -> Floats:
        """E[X] of each prompt."""

    @property
    def reward(self) -> Floats:
        """The expected full-sample mean reward of each prompt."""

    @property
    def spread(self) -> float:
        """What one unit of tolerance is, in scores: 1 for pass rates."""

    def above(self, a: float) -> Floats:
        """P(X > a) of each prompt; scores within TINY of `a` are not above it."""

    def excess(self, a: float) -> Floats:
        """E[max(X - a, 0)] of each prompt."""

    def kth(self, k: int) -> float:
        """The score up to which k - 1/2 prompts are expected: where the k-th lowest is likely to be."""

    @property
    def zeros(self) -> Floats:
        """The chance of each prompt that all its rewards are 0 after all samples."""


class PassBeliefs:
    """Verifiable prompts: rewards are 0 or 1.

    The pass rate p of a prompt comes from a prior that the group shares: weights w on the nodes sin^2(pi i / 80), an
    even grid in the variance-stabilising scale arcsin(sqrt(p)). With k passes among n scored samples of each prompt,
    EM_STEPS steps of EM from even weights,

        w_g <- (sum_i P(g | k_i, n_i) + A / G) / (N + A),   P(g | k, n) ~ w_g p_g^k (1 - p_g)^(n - k),

    go towards the maximum a posteriori under A = PRIOR_PROMPTS prompts spread evenly over the G nodes. Having many
    nodes, the posterior follows a pool with two or three humps, which one Beta cannot.

    Of r samples still to come, J pass: P(J | g) = Binomial(r, p_g). The full pass rate is (k + J) / (n + r), so a
    prompt with all its samples has a belief of one point. Prompts with equal counts are computed once.
    """

    def __init__(self, left: Ints, scored: Ints, passes: Ints, score: Callable[[Floats], Floats]) -> None:
        """Fit the prior and form the beliefs.

        Args:
            left: samples that each prompt could still get.
            scored: of those it got, how many have a reward. left + scored > 0.
            passes: of these, how many passed.
            score: from full pass rates to scores.
        """
        wide = int(max(left.max(initial=0), scored.max(initial=0))) + 1
        counts = (left * wide + scored) * wide + passes
        cells, self._of, self._prompts = np.unique(counts, return_inverse=True, return_counts=True)
        left, scored, passes = cells // wide // wide, cells // wide % wide, cells % wide
        posterior = _posterior(scored, passes, self._prompts)
        width = int(left.max(initial=0)) + 1
        self._chance = np.zeros((len(cells), width))
        for r in np.unique(left):
            rows = left == r
            self._chance[rows, : r + 1] = posterior[rows] @ _binomial(int(r))
        rates = (passes[:, None] + np.arange(width)) / (left + scored)[:, None]
        self._score = score(np.minimum(rates, 1.0))  # past the last sample the chance is 0
        self._rate = (self._chance * rates).sum(axis=1)
        self._none = np.where(passes == 0, self._chance[:, 0], 0.0)

    spread = 1.0

    @property
    def score(self) -> Floats:
        return self._each((self._chance * self._score).sum(axis=1))

    @property
    def reward(self) -> Floats:
        return self._each(self._rate)

    def above(self, a: float) -> Floats:
        return self._each((self._chance * (self._score > a + TINY)).sum(axis=1))

    def excess(self, a: float) -> Floats:
        return self._each((self._chance * np.maximum(self._score - a, 0.0)).sum(axis=1))

    def kth(self, k: int) -> float:
        flat = self._score.ravel()
        order = np.argsort(flat, kind="stable")
        expected = np.cumsum((self._chance * self._prompts[:, None]).ravel()[order])
        return float(flat[order[min(int(np.searchsorted(expected, k - 0.5 - TINY)), len(flat) - 1)]])

    @property
    def zeros(self) -> Floats:
        return self._each(self._none)

    def _each(self, of_cells: Floats) -> Floats:
        return of_cells[self._of]


def _posterior(scored: Ints, passes: Ints, prompts: Ints) -> Floats:
    """Return P(node | counts) for each cell, under the prior that EM finds for all of them."""
    log = xlogy(passes[:, None], NODES) + xlogy((scored - passes)[:, None], 1.0 - NODES)
    likelihood = np.exp(log - log.max(axis=1, keepdims=True))
    weights = np.full(len(NODES), 1.0 / len(NODES))
    even = PRIOR_PROMPTS * weights
    for _ in range(EM_STEPS):
        share = prompts / (likelihood @ weights)
        weights = (weights * (share @ likelihood) + even) / (prompts.sum() + PRIOR_PROMPTS)
    joint = likelihood * weights
    out: Floats = joint / joint.sum(axis=1, keepdims=True)
    return out


@lru_cache(maxsize=512)
def _binomial(r: int) -> Floats:
    """Return P(j of r pass) for each node (rows) and j (columns)."""
    j = np.arange(r + 1)
    ways = gammaln(r + 1) - gammaln(j + 1) - gammaln(r - j + 1)
    out: Floats = np.exp(ways + xlogy(j, NODES[:, None]) + xlogy(r - j, 1.0 - NODES[:, None]))
    return out


class MomentBeliefs:
    """Model-scored prompts: rewards are any numbers, known by their mean and variance.

    The variance of a prompt's rewards is shrunk towards the pooled one, s2 = (A s2_pool + (n - 1) s2_own) / (A + n - 1)
    with A = PRIOR_PROMPTS, and its mean towards the group's, with the weights of a normal prior N(m, t2) whose m and t2
    solve the DerSimonian-Laird equations (1986). With posterior mean u and variance v of the true mean, n samples with
    mean y, and r to come, the full-sample mean is normal with

        mean (n y + r u) / (n + r),   variance (r / (n + r))^2 (v + s2 / r).

    Scores that are variances are normal around -s2 with standard deviation r / (n + r) sqrt(2 / (A + n - 1)) s2, the
    large-sample value for normal rewards: rough, but it only decides who is sampled more.
    """

    def __init__(self, left: Ints, scored: Ints, mean: Floats, variance: Floats, *, by_variance: bool = False) -> None:
        """Form the beliefs.

        Args:
            left: samples that each prompt could still get.
            scored: of those it got, how many have a reward. left + scored > 0.
            mean: of its rewards; anything where `scored` is 0.
            variance: of its rewards, that of the population.
            by_variance: the score is minus the variance, else the mean.
        """
        n, some = scored.astype(np.float64), scored > 0
        freedom = np.maximum(n - 1, 0.0)
        squares = np.where(some, n * variance, 0.0)
        # With one sample each nothing is known of the spread within a prompt: all of it may be that.
        pooled = (
            squares.sum() / freedom.sum() if freedom.sum() > 0 else float(np.var(mean[some])) if some.any() else 0.0
        )
        own = (PRIOR_PROMPTS * pooled + squares) / (PRIOR_PROMPTS + freedom)
        m, between = _normal_prior(np.where(some, mean, 0.0)[some], (own / np.maximum(n, 1.0))[some])
        noise = own / np.maximum(n, 1.0)
        keep = np.where(some, between / np.maximum(between + noise, 1e-300), 0.0)
        true_mean = m + keep * (np.where(some, mean, m) - m)
        true_variance = np.where(some, keep * noise, between)
        self.zeros: Floats = (some & (mean == 0) & (variance == 0)).astype(np.float64)  # as far as they were drawn
        rest = left / (n + left)
        self.reward: Floats = (1 - rest) * np.where(some, mean, 0.0) + rest * true_mean
        deviation = rest * np.sqrt(true_variance + own / np.maximum(left, 1))
        self.score: Floats = self.reward
        if by_variance:
            self.score = -((1 - rest) * np.where(some, variance, 0.0) + rest * own)
            deviation = rest * np.sqrt(2.0 / (PRIOR_PROMPTS + freedom)) * own
        self._deviation = np.maximum(deviation, 1e-12)
        width = 4.0 * float(np.sqrt(self.score.var() + (deviation**2).mean()))  # of m +- 2 sd
        self.spread = max(width, 1e-6)  # the unit of rewards, where all are the same

    def above(self, a: float) -> Floats:
        out: Floats = ndtr((self.score - a - TINY) / self._deviation)
        return out

    def excess(self, a: float) -> Floats:
        z = (self.score - a) / self._deviation
        density = np.exp(-z * z / 2) / np.sqrt(2 * np.pi)
        out: Floats = (self.score - a) * ndtr(z) + self._deviation * density
        return out

    def kth(self, k: int) -> float:
        reach = 9 * float(self._deviation.max())
        low, high = float(self.score.min()) - reach, float(self.score.max()) + reach
        for _ in range(60):  # halves the interval to the last bit
            middle = (low + high) / 2
            if len(self.score) - self.above(middle).sum() < k - 0.5:
                low = middle
            else:
                high = middle
        return high


def _normal_prior(mean: Floats, noise: Floats) -> tuple[float, float]:
    """Return mean and variance of the true means, from observed ones with known noise (DerSimonian and Laird, 1986)."""
    if len(mean) < 2:
        return (float(mean[0]) if len(mean) else 0.0), 0.0
    weight = 1.0 / np.maximum(noise, 1e-12)
    centre = float(weight @ mean / weight.sum())
    surplus = float(weight @ (mean - centre) ** 2) - (len(mean) - 1)
    between = max(surplus / float(weight.sum() - (weight**2).sum() / weight.sum()), 0.0)
    weight = 1.0 / np.maximum(noise + between, 1e-12)
    return float(weight @ mean / weight.sum()), between
