"""How often the rules of advice and retention say more than is true: python -m benchmarks.alarms [--simulations N]

Every share is of simulated (or exactly summed) studies whose truth is known, by the rule of now and by a simpler one
that leaves something out. Prints tables in Markdown.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy import stats

from weitiao.evaluation.borders import VerdictConfig
from weitiao.evaluation.paired import paired_difference
from weitiao.evaluation.statistics import Floats, proportion, simultaneous
from weitiao.retention.comparison import PartComparison

Random = np.random.Generator
TARGET = 0.8


def right_answers(random: Random, shares: Floats, rows: int, alike: float) -> Floats:
    """How many of the same rows each of several prompts has right; `alike` is how much they have in common (0 to 1)."""
    of_row_N = random.standard_normal(rows)
    of_prompt_PN = random.standard_normal((len(shares), rows))
    ease_PN = np.sqrt(alike) * of_row_N + np.sqrt(1 - alike) * of_prompt_PN
    counts: Floats = (ease_PN < stats.norm.ppf(shares)[:, None]).sum(1)
    return counts


def suffices(shares: Floats, rows: int, alike: float, simulations: int, *, seed: int = 0) -> tuple[int, int]:
    """In how many studies the best prompt is said to be enough: by its own interval, and by the corrected one."""
    random, confidence = np.random.default_rng(seed), simultaneous(len(shares))
    alone, corrected = 0, 0
    for _ in range(simulations):
        best = int(right_answers(random, shares, rows, alike).max())
        alone += proportion(best, rows).low >= TARGET
        corrected += proportion(best, rows, confidence=confidence).low >= TARGET
    return alone, corrected


def outcomes(better: float, worse: float, n: int, config: VerdictConfig) -> dict[str, float]:
    """The probability of each outcome of a part with n items, of which such shares change, summed over all counts.

    `point` is that of the rule "surely worse than before, and the difference itself beyond what is tolerated".
    """
    found = dict.fromkeys(("kept", "worse", "lost", "unclear", "point"), 0.0)
    for b in range(n + 1):
        for w in range(n + 1 - b):
            weight = float(stats.multinomial.pmf((b, w, n - b - w), n, (better, worse, 1 - better - worse)))
            if weight < 1e-7:
                continue
            part = _part(b, w, n).judged(config)
            found[part.outcome] += weight
            decline = part.decline
            found["point"] += weight * (part.p_value < 0.05 and decline.low > 0 and decline.value > config.largest_loss)
    return found


def _part(better: int, worse: int, n: int) -> PartComparison:
    before, after = np.zeros(n), np.zeros(n)
    after[:better], before[better : better + worse] = 1, 1
    paired = paired_difference(before, after)
    score = proportion(1, 2)
    return PartComparison("part", "accuracy", score, score, paired.difference, paired.p_value, True, "", 0.0, "unclear")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulations", type=int, default=20_000)
    num = parser.parse_args().simulations
    print("| prompts | rows | in common | truth | its own interval | corrected |\n|---|---|---|---|---|---|")
    for prompts, rows, alike in ((1, 200, 0.5), (3, 200, 0.5), (12, 200, 0.5), (12, 200, 0.0), (12, 1000, 0.5)):
        alone, corrected = suffices(np.full(prompts, TARGET), rows, alike, num)
        print(
            f"| {prompts} | {rows:,} | {alike} | at the target | {_share(alone, num)} | {_share(corrected, num)} |",
            flush=True,
        )
    for best in (0.86, 0.9):
        shares = np.array([best, *[TARGET - 0.1] * 11])
        alone, corrected = suffices(shares, 200, 0.5, num)
        print(
            f"| 12 | 200 | 0.5 | one at {best}, others 0.7 | {_share(alone, num)} | {_share(corrected, num)} |",
            flush=True,
        )
    print("\n| items | changed | true loss | point rule | lost | worse | kept |\n|---|---|---|---|---|---|---|")
    for n, changed, loss in ((90, 0.1, 0.0), (90, 0.2, 0.0), (90, 0.15, 0.05), (90, 0.2, 0.1), (138, 0.15, 0.05)):
        found = outcomes((changed - loss) / 2, (changed + loss) / 2, n, VerdictConfig())
        cells = " | ".join(f"{found[name]:.3f}" for name in ("point", "lost", "worse", "kept"))
        print(f"| {n} | {changed:.0%} | {100 * loss:.0f} points | {cells} |", flush=True)


def _share(count: int, num: int) -> str:
    return f"{count / num:.1%} ({count:,})"


if __name__ == "__main__":
    main()
