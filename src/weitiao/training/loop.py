"""The training loop.

An optimiser step is a list of forests. Its loss is the weighted sum over all items of all forests on all ranks,
divided by their total weight, which is known beforehand. So neither packing, nor sharing, nor the number of ranks
changes what a step means.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from weitiao.console import quoted
from weitiao.errors import TrainingError
from weitiao.files import full_disk_is_named, written_whole
from weitiao.forest.plan import Step, Steps
from weitiao.models.parts import decoder
from weitiao.models.routing import described
from weitiao.rendering.items import Item
from weitiao.rendering.lengths import TextLength
from weitiao.runs.run_dir import RunDir
from weitiao.text.wording import Wording, told
from weitiao.training.checkpoint import State, save_checkpoint, save_weights
from weitiao.training.config import TrainConfig
from weitiao.training.engine import Engine
from weitiao.training.interrupt import Interrupt, Stopped, stoppable
from weitiao.training.item_losses import ItemLoss, MeanLoss, RecentLosses, by_source, item_losses, mean_loss
from weitiao.training.losses import LossLog
from weitiao.training.metrics import MetricsLog, read_metrics
from weitiao.training.progress import Watcher, describe_losses, memory_gib
from weitiao.training.schedule import learning_rate
from weitiao.training.validation import AnswerValidation, ValidationLosses, validation_losses

_SHOWN = ("reward", "kl")
"""What of the facts about a step stands beside its loss while it goes on."""

Number = TypeVar("Number", float, Tensor)


@dataclass(slots=True)
class Loop:
    """Takes one step after the other.

    Attributes:
        engine: Runs the objective, and steps the optimiser.
        steps: Where each step's forests come from.
        sources: Row id to the source that the row is from; empty where all are from one.
        num_steps: Steps of the whole run.
        validation: Held-out items; none means no validation.
        text: The mean length of their text per unit of weight; 0 without any.
        answers: Lets the model answer held-out rows at every validation; None does not.
        judged: What a validation measures in place of the objective's losses: from the model to one of every item.
        config: The recipe's `train` section, nothing in it left open.
        run: Where checkpoints and metrics go.
        state: Where the run stands; kept up to date.
        watcher: Is told about progress (on the main process).
        interrupt: Is asked after each step whether to stop.
    """

    engine: Engine
    steps: Steps
    sources: Mapping[str, str]
    num_steps: int
    validation: Sequence[Item]
    text: TextLength
    answers: AnswerValidation | None
    judged: Callable[[nn.Module], list[ItemLoss]] | None
    config: TrainConfig
    run: RunDir
    state: State
    watcher: Watcher
    interrupt: Interrupt
    _recent: RecentLosses = field(default_factory=RecentLosses)

    def run_to_end(self) -> bool:
        """Train until the last step, an early stop, or an interruption (after which a checkpoint is there).

        Returns:
            Whether the run came to its end.

        Raises:
            TrainingError: A loss or a gradient is not finite.
            RunError: A checkpoint could not be written.
        """
        state, main = self.state, self.engine.is_main
        state.num_steps = self.num_steps
        metrics = MetricsLog(self.run.metrics_path, start=state.step) if main else None
        losses = LossLog(self.run.losses, start=state.step) if main else None
        self.watcher.start(state.step, self.num_steps)
        self.engine.objective.train()
        try:
            if state.validation_due:
                self._validate(metrics)
                if state.validation_due:
                    return False
                self.engine.on_main(lambda: self._save(losses))
            while state.step < self.num_steps and not state.stopped_early:
                begun = time.monotonic()
                try:
                    step = self.steps.step(state.step)
                except Stopped:
                    if state.step:
                        self.engine.on_main(lambda: self._save(losses))
                    return False
                made = time.monotonic()
                values, items = self._step(step) if step.forests else (self._passed_over(), [])
                if losses is not None and items:
                    losses.add(state.step + 1, *zip(*map(dataclasses.astuple, items), strict=True))
                self._require_finite(values, items, losses)
                if items:
                    self.engine.update()
                seconds = time.monotonic() - begun
                state.step += 1
                state.num_tokens += values["num_tokens"]
                state.seconds += seconds
                values |= {"seconds": seconds, "tokens_per_second": values["num_tokens"] / seconds}
                values |= {"memory_gib": memory_gib(), **step.facts}
                if step.facts:
                    values["seconds_training"] = begun + seconds - made
                self._log(metrics, values)
                recent = self._recent.add({name: MeanLoss(**one) for name, one in values.get("sources", {}).items()})
                shown = {name: values[name] for name in (*_SHOWN, *self.engine.objective.told) if name in values}
                self.watcher.step(state.step, values["loss"], values["tokens_per_second"], recent | shown)
                if self._is_due(self.config.validate_every) and self.validation:
                    state.validation_due = True
                    self._validate(metrics)
                stop = self.engine.anyone(self.interrupt.requested)
                ended = not state.validation_due and (state.step == self.num_steps or state.stopped_early)
                whole = self.steps.may_save(state.step)  # else a stop waits for the next step that is
                if whole and (state.step % self.config.save_every == 0 or stop or ended):
                    self.engine.on_main(lambda: self._save(losses))
                if whole and stop and not ended:
                    return False
            return True
        finally:
            self.watcher.stop()

    def _step(self, step: Step) -> tuple[dict[str, Any], list[ItemLoss]]:
        """Forward and backward of one optimiser step; the gradient is clipped, the optimiser not yet stepped."""
        engine, objective = self.engine, self.engine.objective
        rate = learning_rate(self.config, self.state.step, self.num_steps)
        engine.begin_step(rate)
        weights = [objective.weights(forest) for forest in step.forests]
        weight = sum(float(of_items.sum()) for of_items in weights)
        total = torch.zeros((), dtype=torch.float64)
        sums: defaultdict[str, float] = defaultdict(float)
        tables: dict[str, Tensor] = {}
        items: list[ItemLoss] = []
        for index, losses in engine.accumulate(
            step, weight, lambda index: _seed(self.config.seed, self.state.step, index)
        ):
            total += losses.total.detach().double().cpu()
            items += item_losses(step.forests[index], losses.per_item, weights[index])
            for name, value in losses.metrics.items():
                sums[name] += float(value)
            for name, table in losses.tables.items():
                tables[name] = table.double().cpu() + tables.get(name, 0)
        items = engine.collect(items)
        further, counts = _added(engine.collect([sums])), _added(engine.collect([tables]))
        return {
            "step": self.state.step + 1,
            "epoch": (self.state.step + 1) / self.steps.steps_per_epoch,
            "loss": float(engine.sum(total)) / weight,
            **{name: value / weight for name, value in further.items()},
            **({"routed": described(counts["routed"], self.state.step)} if "routed" in counts else {}),
            "learning_rate": rate,
            "grad_norm": engine.finish(self.config.max_grad_norm),
            **({"sources": _as_values(by_source(items, self.sources))} if self.sources else {}),
            "num_sequences": sum(len(f.sequence_items) for f in step.forests),
            "num_forests": len(step.forests),
            "num_tokens": sum(f.num_source_tokens for f in step.forests),
            "num_computed_tokens": sum(len(f.layout) for f in step.forests),
        }, items

    def _passed_over(self) -> dict[str, Any]:
        """What is logged of a step in which nothing is learned."""
        counts = dict.fromkeys(("num_sequences", "num_forests", "num_tokens", "num_computed_tokens"), 0)
        rate = learning_rate(self.config, self.state.step, self.num_steps)
        epoch = (self.state.step + 1) / self.steps.steps_per_epoch
        step = {"step": self.state.step + 1, "epoch": epoch, "loss": 0.0, "learning_rate": rate, "grad_norm": 0.0}
        return step | counts

    def _require_finite(self, values: dict[str, Any], items: list[ItemLoss], log: LossLog | None) -> None:
        bad = [s.row_id for s in items if not math.isfinite(s.loss)]
        overflow = not math.isfinite(values["grad_norm"]) and not self.engine.precision.may_overflow
        if not bad and math.isfinite(values["loss"]) and not overflow:
            return
        if log is not None:
            log.flush()  # for `weitiao why`
        what = "loss" if bad or not math.isfinite(values["loss"]) else "gradient"
        rows = ", ".join(bad or [s.row_id for s in items])
        raise TrainingError(
            f"The {what} of step {values['step']} is not finite; the optimiser was not stepped. Rows: {rows}.",
            f"Look at them with: weitiao why {quoted(self.run.path)} --step {values['step']}; "
            "a lower learning rate may help.",
        )

    def _validate(self, metrics: MetricsLog | None) -> None:
        """Validate, and keep the weights if they are the best so far. A run that is to stop leaves it for later."""
        state = self.state
        losses, further = self._validation_losses()
        if self.engine.anyone(self.interrupt.requested):
            return
        scores = self._answer_scores()
        if scores is None:
            return
        state.validation_due = False
        loss = mean_loss(losses).loss
        best = self._is_best(loss, scores)
        if best:
            state.best_loss, state.best_step, state.num_bad_validations = loss, state.step, 0
            self.engine.on_main(self._save_best)
        else:
            state.num_bad_validations += 1
            patience = self.config.patience
            state.stopped_early = patience is not None and state.num_bad_validations >= patience
        weight = sum(one.weight for one in losses)
        objective, means = self.engine.objective, {name: value / weight for name, value in further.items()}
        readings = objective.readings(loss, self.text)
        values: dict[str, Any] = {f"validation_{name}": value for name, value in (readings | means | scores).items()}
        readings |= {name: means[name] for name in objective.told}
        sources = by_source(losses, self.sources) if self.sources else {}
        if len(sources) > 1:
            values["validation_sources"] = _as_values(sources)
        self._log(metrics, {"step": state.step, "validation_loss": loss, **values, "best": best})
        parts = {name: one.loss for name, one in sources.items()} if len(sources) > 1 else {}
        others = [f"{name.replace('_', ' ')} {value:,.2f}" for name, value in readings.items()]
        others += [f"{name} {value:.1%}" for name, value in scores.items()]

        def validated(words: Wording) -> str:
            facts = words("progress.comma").join([describe_losses(loss, parts, words), *others])
            return words("progress.validated.best" if best else "progress.validated", step=state.step, facts=facts)

        self.watcher.message(told(validated))
        if state.stopped_early:
            number = state.num_bad_validations
            self.watcher.message(told(lambda words: words("progress.stopped_early", number=number)))

    def _validation_losses(self) -> tuple[list[ItemLoss], dict[str, float]]:
        """The losses of all validation items, fewer when the run was asked to stop; and the sums of further metrics."""
        engine, config, judged, found = self.engine, self.config, self.judged, ValidationLosses()
        if judged is not None:

            def rewards() -> list[ItemLoss]:
                with suppress(Stopped), stoppable(decoder(engine.objective.model), self.interrupt):
                    return judged(engine.objective.model)
                return []

            return engine.from_main(rewards), {}
        assert isinstance(config.token_budget, int), "it is chosen before the first step"
        mine = self.validation[engine.rank :: engine.num_ranks]
        budget, share = config.token_budget, config.share_prefixes
        if mine:
            stopping = stoppable(decoder(engine.objective.model), self.interrupt)
            with suppress(Stopped), stopping, engine.precision.computing():
                found = validation_losses(engine.objective, mine, token_budget=budget, share_prefixes=share)
        return engine.collect(found.items), _added(engine.collect([found.sums]))

    def _answer_scores(self) -> dict[str, float] | None:
        """The scores of answers to validation rows; None when the run was asked to stop meanwhile."""
        answers, model = self.answers, self.engine.objective.model
        if answers is None:
            return {}

        def scores() -> dict[str, float] | None:
            with suppress(Stopped), stoppable(decoder(model), self.interrupt):
                return answers.scores(model)
            return None

        return self.engine.from_main(scores)

    def _is_best(self, loss: float, scores: dict[str, float]) -> bool:
        """Whether no validation so far was as good."""
        if self.config.best_by == "loss":
            return self.state.best_loss is None or loss < self.state.best_loss
        assert self.answers is not None, "the configuration asks for answers"
        score, key = scores[self.answers.primary], f"validation_{self.answers.primary}"

        def is_best() -> bool:  # metrics.jsonl ends where the run stands, also after it was resumed
            before = [(one[key], -one["validation_loss"]) for one in read_metrics(self.run.metrics_path) if key in one]
            return (score, -loss) > max(before, default=(-math.inf, 0.0))

        return self.engine.from_main(is_best)

    def _save(self, losses: LossLog | None) -> None:
        assert losses is not None
        losses.flush()
        save_checkpoint(self.run, self.engine, self.state, keep=self.config.keep_checkpoints)

    def _save_best(self) -> None:
        remedy = f"Free some space, then go on with: weitiao train {quoted(self.run.path)}"
        with (
            full_disk_is_named(f"the best weights (step {self.state.step})", remedy),
            written_whole(self.run.best) as directory,
        ):
            save_weights(directory, self.engine.objective)

    def _log(self, metrics: MetricsLog | None, values: dict[str, Any]) -> None:
        if metrics is not None:
            metrics.add(values)
        numbers = {key: value for key, value in values.items() if key != "step" and not isinstance(value, dict)}
        for key in ("sources", "validation_sources"):
            numbers |= {f"{key}/{name}": one["loss"] for name, one in values.get(key, {}).items()}
        self.engine.log(numbers, values["step"])

    def _is_due(self, every: int | str) -> bool:
        period = self.steps.steps_per_epoch if every == "epoch" else int(every)
        return self.state.step % period == 0 or self.state.step == self.num_steps


def _added(sums: Sequence[Mapping[str, Number]]) -> dict[str, Number]:
    """The sums of several ranks as one, in the order of the ranks."""
    names = dict.fromkeys(name for one in sums for name in one)
    return {name: reduce(add, (one[name] for one in sums if name in one)) for name in names}


def _as_values(losses: Mapping[str, MeanLoss]) -> dict[str, dict[str, float]]:
    return {name: dataclasses.asdict(one) for name, one in losses.items()}


def _seed(seed: int, step: int, index: int) -> int:
    """Seed of the dropout of a forest: it depends on neither the rank nor on what ran before."""
    return (seed * 1_000_003 + step) * 1_000_003 + index & (2**63 - 1)
