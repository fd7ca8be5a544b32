"""How often the intervals of the scores hold the true value: python -m benchmarks.coverage [--simulations N]

Shares and differences of shares are summed exactly over all outcomes, and averaged over a grid of true values: for a
single one the coverage of any interval for counts jumps. The others are simulated; the error of a simulated coverage is
about 0.22 / sqrt(N). Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable

import numpy as np
from scipy import stats
from scipy.special import betaln

from weitiao.evaluation.metrics.labels import macro_f1
from weitiao.evaluation.metrics.overlap import corpus_bleu
from weitiao.evaluation.paired import paired_difference
from weitiao.evaluation.statistics import Estimate, Floats, mean, proportion, statistic_of_sums

Random = np.random.Generator
SHARES = np.arange(0.005, 1, 0.005)
CHANGES = (0.03, 0.07, 0.12, 0.2, 0.3)


def shares(n: int) -> Floats:
    """Exact coverage of Wilson's interval for every true share of the grid."""
    intervals = [proportion(k, n) for k in range(n + 1)]
    inside = np.array([[one.low <= p <= one.high for one in intervals] for p in SHARES])
    coverage: Floats = (stats.binom.pmf(np.arange(n + 1), n, SHARES[:, None]) * inside).sum(1)
    return coverage


def differences(n: int) -> Floats:
    """Exact coverage of Tango's interval for every pair of true shares of changes for the better and the worse."""
    cells = [(b, c) for b in range(n + 1) for c in range(n + 1 - b)]
    ends = []
    for better, worse in cells:
        before, after = np.zeros(n), np.zeros(n)
        after[:better], before[better : better + worse] = 1, 1
        found = paired_difference(before, after).difference
        ends.append((found.low, found.high))
    low, high = np.array(ends).T
    counts = np.array([(b, c, n - b - c) for b, c in cells])
    coverages = []
    for p, q in itertools.product(CHANGES, repeat=2):
        weights = stats.multinomial.pmf(counts, n, (p, q, 1 - p - q))
        coverages.append(weights[(low <= p - q) & (p - q <= high)].sum())
    return np.array(coverages)


def overlap_scores(random: Random, n: int) -> Floats:
    """Grades as ROUGE has them: skewed, mean 0.25."""
    return random.beta(0.8, 2.4, n)


def partly_right(random: Random, n: int) -> Floats:
    """Grades as JSON fields have them: 50 % wrong, 30 % right, the rest in quarters; mean 0.4."""
    kinds = random.choice(3, size=n, p=(0.5, 0.3, 0.2))
    return np.where(kinds == 0, 0.0, np.where(kinds == 1, 1.0, random.integers(1, 4, n) / 4))


def nearly_all_right(random: Random, n: int) -> Floats:
    """Grades of a good model: 85 % right, the rest between 0 and 1; mean 0.925."""
    return np.where(random.random(n) < 0.85, 1.0, random.random(n))


def of_mean(draw: Callable[[Random, int], Floats], truth: float) -> Callable[[Random, int, int], bool]:
    """Whether the interval of a mean holds the truth."""
    return lambda random, n, seed: holds(mean(draw(random, n), seed=seed), truth)


def of_difference(random: Random, n: int, seed: int) -> bool:
    """Two models graded in quarters on the same rows, the second better by 0.05 on average."""
    before = random.integers(0, 5, n) / 4
    step = random.choice((-0.25, 0.0, 0.25), size=n, p=(0.1, 0.6, 0.3))
    after = before + step  # may leave 0 to 1: what counts is that the mean of the steps is known
    return holds(paired_difference(before, after, seed=seed).difference, 0.05)


def of_macro_f1(num_labels: int) -> Callable[[Random, int, int], bool]:
    """Labels of uneven frequency, of which a part is answered with the next one."""
    frequency = 1 / np.arange(1, num_labels + 1) ** 0.5
    frequency /= frequency.sum()
    wrong = np.linspace(0.05, 0.45, num_labels)
    answered = frequency * (1 - wrong) + np.roll(frequency * wrong, 1)
    truth = float((2 * frequency * (1 - wrong) / (frequency + answered)).mean())

    def once(random: Random, n: int, seed: int) -> bool:
        expected = random.choice(num_labels, size=n, p=frequency)
        answer = np.where(random.random(n) < wrong[expected], (expected + 1) % num_labels, expected)
        support, answered = np.eye(num_labels)[expected], np.eye(num_labels)[answer]
        items = np.concatenate([support, answered, support * answered], 1)
        return holds(statistic_of_sums(items, macro_f1, seed=seed), truth)

    return once


def of_bleu(random: Random, n: int, seed: int) -> bool:
    """Sentences of 8 to 30 words whose n-grams match the less the longer they are."""
    length = random.integers(8, 31, n)
    reference = length + random.integers(-1, 4, n)  # by 1 longer on average
    quality = random.beta(6, 3, n)
    of_order = np.arange(4)
    all_NK = length[:, None] - of_order
    right_NK = random.binomial(all_NK, quality[:, None] ** (1 + 0.8 * of_order))
    items = np.concatenate([length[:, None], reference[:, None], right_NK, all_NK], 1).astype(np.float64)
    return holds(statistic_of_sums(items, corpus_bleu, seed=seed), bleu_truth())


def bleu_truth() -> float:
    """BLEU of infinitely many sentences: the sums are replaced by their expected values."""
    length = np.arange(8, 31)
    of_order = np.arange(4)
    power = 1 + 0.8 * of_order
    moment = np.exp(betaln(6 + power, 3) - betaln(6, 3))  # the expected value of quality ** power
    all_K = (length[:, None] - of_order).mean(0)
    sums = np.concatenate([[length.mean(), length.mean() + 1], moment * all_K, all_K])
    return float(corpus_bleu(sums[None])[0])


def of_perplexity(random: Random, n: int, seed: int) -> bool:
    """Sequences of very different lengths, each with a mean loss of its own: 2 nats on average."""
    length = random.integers(10, 400, n)
    loss = random.gamma(8.0, 0.25, n)
    items = np.stack([loss * length, length], 1).astype(np.float64)
    found = statistic_of_sums(items, lambda sums: np.exp(sums[:, 0] / sums[:, 1]), bounds=None, seed=seed)
    return holds(found, float(np.exp(2.0)))


def holds(estimate: Estimate, truth: float) -> bool:
    """Whether the interval has the truth in it."""
    return estimate.low <= truth <= estimate.high


SIMULATED: dict[str, tuple[Callable[[Random, int, int], bool], tuple[int, ...]]] = {
    "mean of skewed grades (ROUGE), BCa": (of_mean(overlap_scores, 0.25), (30, 100, 300)),
    "mean of partly right grades (JSON fields), BCa": (of_mean(partly_right, 0.4), (30, 100, 300)),
    "mean of nearly all right grades, BCa": (of_mean(nearly_all_right, 0.925), (30, 100, 300)),
    "paired difference of means, BCa": (of_difference, (30, 100, 300)),
    "macro-F1 of 5 labels, BCa": (of_macro_f1(5), (100, 300)),
    "macro-F1 of 77 labels, BCa": (of_macro_f1(77), (500, 1000)),
    "BLEU, BCa": (of_bleu, (50, 200)),
    "perplexity, BCa": (of_perplexity, (50, 200)),
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulations", type=int, default=4_000)
    args = parser.parse_args()
    print("| interval | n | coverage | lowest of the grid |\n|---|---|---|---|")
    for n in (20, 50, 200, 1000):
        found = shares(n)
        print(f"| share, Wilson | {n:,} | {found.mean():.3f} | {found.min():.3f} |", flush=True)
    for n in (30, 80):
        found = differences(n)
        print(f"| paired difference of shares, Tango | {n:,} | {found.mean():.3f} | {found.min():.3f} |", flush=True)
    for name, (once, sizes) in SIMULATED.items():
        for n in sizes:
            random = np.random.default_rng(n)
            coverage = np.mean([once(random, n, seed) for seed in range(args.simulations)])
            print(f"| {name} | {n:,} | {coverage:.3f} | |", flush=True)


if __name__ == "__main__":
    main()
