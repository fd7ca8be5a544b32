"""Where the steps of a reinforcement learning come from: answers that the model wrote a moment ago."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import numpy as np

from weitiao.data.example import asked
from weitiao.errors import TrainingError
from weitiao.forest.plan import Plan, Step, pack
from weitiao.models.parts import decoder
from weitiao.objectives.policy_config import PolicyConfig
from weitiao.rendering.items import Item
from weitiao.rollouts.config import RolloutsConfig
from weitiao.rollouts.describe import describe, mean_kl
from weitiao.rollouts.hacking import length_is_meant, signs
from weitiao.rollouts.measuring import Measurer
from weitiao.rollouts.reference import Reference
from weitiao.rollouts.samples import Rollout, Sample, read_rollout, remove_from, rollout_path, write_rollout
from weitiao.rollouts.writing import Writer, seed_of
from weitiao.seeding import shuffled
from weitiao.training.engine import Engine
from weitiao.training.interrupt import Interrupt, Stopped, stoppable
from weitiao.training.metrics import read_metrics


@dataclass(slots=True)
class Rollouts:
    """The steps of a training that learns from answers of its own model (a `forest.plan.Steps`).

    Rollout number p answers the next prompts of the order that the seed gives; what is drawn depends on seed and p
    alone. It is kept in the run directory before anything is learned from it, so a run that was stopped in the middle
    reads it again. Answers are written, scored and measured on the main process; the others get them.

    Attributes:
        plan: The prompts, and how sequences are packed.
        validation: Further prompts, which a validation asks.
        config: The section `rollouts`.
        settings: The section `objective` where answers are learned from by their rewards; else None.
        writer: Writes and scores answers.
        engine: Of the training.
        reference: The model that the training began with; None where KL has no coefficient.
        directory: Where rollouts are kept.
        metrics_path: Where the numbers of steps that were taken stand.
        interrupt: Is asked while answers are written whether to stop.
        tell: Gets a line where the reward may be hacked, once for each sign of it.
        start: Steps that are done; rollouts that later steps would begin with are removed.
        measurer: Measures samples, and makes items of them.
    """

    plan: Plan
    validation: Sequence[Item]
    config: RolloutsConfig
    settings: PolicyConfig | None
    writer: Writer
    engine: Engine
    reference: Reference | None
    directory: Path
    metrics_path: Path
    interrupt: Interrupt
    tell: Callable[[str], None]
    start: int = 0
    measurer: Measurer = field(init=False)
    _current: tuple[int, Rollout] | None = field(default=None, init=False)
    _told: set[str] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        prompt_ids = {item.row_id: item.sequences[0].token_ids for item in (*self.plan.items, *self.validation)}
        self.measurer = Measurer(
            self.plan, self.num_steps, prompt_ids, self.config, self.settings, self.engine, self.reference
        )
        self.engine.on_main(lambda: remove_from(self.directory, -(-self.start // self.num_steps)))

    @property
    def num_steps(self) -> int:
        """Steps between two rollouts."""
        return self.config.steps(len(self.plan.items), self.plan.batch_size)

    @property
    def steps_per_epoch(self) -> int:
        return self.config.steps_per_epoch(len(self.plan.items), self.plan.batch_size)

    def may_save(self, index: int) -> bool:
        """Always: a rollout that is half used is read again."""
        return True

    def step(self, index: int) -> Step:
        """The step with this number; its rollout is made if it is not there.

        Raises:
            Stopped: The run was asked to stop while answers were written.
            TrainingError: No answer of the rollout can be learned from.
        """
        number, place = divmod(index, self.num_steps)
        most_kl = math.inf if self.settings is None else self.settings.most_kl
        if place and most_kl < math.inf and self.engine.from_main(lambda: self._moved(index, place, most_kl)):
            return Step((), {"rollout": number + 1})
        rollout = self._rollout(number)
        groups = [list(group) for _, group in groupby(rollout.used, key=lambda one: one.group)]
        minibatches = self.num_steps // self.config.repeats
        repeat, part = divmod(place, minibatches)
        order = shuffled(len(groups), seed=self.plan.seed, epoch=number * self.config.repeats + repeat)
        chosen = np.array_split(order, minibatches)[part].tolist() or [order[part % len(order)]]
        items = [self.measurer.item(one) for group in chosen for one in groups[group]]
        forests = pack(items, token_budget=self.plan.token_budget, share_prefixes=self.plan.share_prefixes)
        return Step(forests, {**describe(rollout, number), **(rollout.seconds if place == 0 else {})})

    def _rollout(self, number: int) -> Rollout:
        if self._current is None or self._current[0] != number:
            made = self.engine.from_main(lambda: self._read_or_made(number))
            if made is None:
                raise Stopped
            if not made.used:
                reason = Counter(one.dropped for one in made.samples).most_common(1)[0][0]
                raise TrainingError(
                    f"No answer of rollout {number + 1} can be learned from: {reason}",
                    f"Correct the reward; the answers are in {rollout_path(self.directory, number)}.",
                )
            self._current = number, made
        return self._current[1]

    def _read_or_made(self, number: int) -> Rollout | None:
        """The rollout; None when the run was asked to stop meanwhile."""
        path, model = rollout_path(self.directory, number), self.engine.objective.model
        if path.exists():
            return read_rollout(path)
        with suppress(Stopped), stoppable(decoder(model), self.interrupt):
            rollout = self._made(number)
            write_rollout(path, rollout)
            self._tell_dropped(number, rollout)
            if number and rollout.used and rollout.used[0].rewards:
                self._warn(number, rollout)
            return rollout
        return None

    def _tell_dropped(self, number: int, rollout: Rollout) -> None:
        """Say once that answers could not be scored, and why most of them could not."""
        reasons = Counter(one.dropped for one in rollout.samples if one.dropped).most_common(1)
        if reasons and "dropped" not in self._told:
            self._told.add("dropped")
            where = f"({rollout_path(self.directory, number)}; further ones are counted as `dropped`)"
            num, total = len(rollout.samples) - len(rollout.used), len(rollout.samples)
            self.tell(f"{num:,} of {total:,} answers are not learned from: {reasons[0][0]} {where}")

    def _warn(self, number: int, rollout: Rollout) -> None:
        first, now = describe(read_rollout(rollout_path(self.directory, 0)), 0), describe(rollout, number)
        answers = [(one.answer, asked(self.writer.examples[one.row_id])[1]) for one in rollout.used]
        meant = length_is_meant(self.config.rewards, answers)
        for name, sign in signs(first, now, length_is_meant=meant).items():
            if name not in self._told:
                self._told.add(name)
                self.tell(f"{sign} ({rollout_path(self.directory, number)})")

    def _made(self, number: int) -> Rollout:
        seconds: dict[str, float] = {}
        generation = self.config.generation
        seed = seed_of(self.plan.seed, generation.seed, number)
        prompts, drawn = [*self._prompts(number)], generation.model_copy(update={"seed": seed})
        with _timed(seconds, "seconds_generation"):
            samples = self.writer.answers(self.engine.objective.model, prompts, self.config.samples, drawn)
        with _timed(seconds, "seconds_scoring"):
            self.writer.score(samples)
            _drop_lonely(samples, self.settings.least_samples if self.settings else 1)
        rollout = Rollout(tuple(samples), self._kl(number), seconds)
        with _timed(seconds, "seconds_logprobs"):
            if rollout.used:
                self.measurer.measure(rollout.used, rollout.kl)
        return rollout

    def _moved(self, index: int, place: int, most_kl: float) -> bool:
        """Whether a step from this rollout found the model too far from the one that wrote the answers."""
        lines = [one for one in read_metrics(self.metrics_path) if index - place < one["step"] <= index]
        return any(one.get("old_kl", 0.0) > most_kl for one in lines)

    def _prompts(self, number: int) -> Iterator[Item]:
        """The next prompts of an order that is shuffled anew whenever it has come to its end."""
        items = self.plan.items
        num = self.config.num_prompts(len(items), self.plan.batch_size)
        for place in range(number * num, (number + 1) * num):
            epoch, index = divmod(place, len(items))
            yield items[shuffled(len(items), seed=self.plan.seed, epoch=epoch)[index]]

    def _kl(self, number: int) -> float:
        """The coefficient of KL in a rollout, which follows from the one before."""
        if self.settings is None:
            return 0.0
        if number == 0 or not self.settings.adapts_kl:
            return self.settings.kl
        before = read_rollout(rollout_path(self.directory, number - 1))
        return self.settings.next_kl(before.kl, mean_kl(before), len(before.used))


def _drop_lonely(samples: Sequence[Sample], least: int) -> None:
    """Drop what is left of groups that have become too small."""
    left = Counter(one.group for one in samples if not one.dropped)
    for one in samples:
        if not one.dropped and left[one.group] < least:
            one.dropped = f"fewer than {least} answers to its prompt are left"


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    begun = time.monotonic()
    yield
    seconds[name] = time.monotonic() - begun
