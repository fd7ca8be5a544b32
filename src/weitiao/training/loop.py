"""The training loop.

An optimiser step is a list of forests. Its loss is the weighted sum over all targets of all forests on all ranks,
divided by their total weight, which the plan knows beforehand. So neither packing, nor sharing, nor the number of
ranks changes what a step means.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from collections.abc import Sequence as Rows
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object, reduce
from torch import Tensor, nn

from weitiao.console import quoted
from weitiao.errors import TrainingError
from weitiao.files import full_disk_is_named, written_whole
from weitiao.forest.layout import Forest
from weitiao.forest.plan import Plan, Step
from weitiao.models.parts import decoder
from weitiao.rendering.sequence import Sequence
from weitiao.runs.run_dir import RunDir
from weitiao.training.checkpoint import State, learned_parameters, save_checkpoint, save_weights
from weitiao.training.config import TrainConfig
from weitiao.training.interrupt import Interrupt, Stopped, stoppable
from weitiao.training.losses import LossLog
from weitiao.training.metrics import MetricsLog, read_metrics
from weitiao.training.progress import Watcher, describe_losses, memory_gib
from weitiao.training.schedule import learning_rate
from weitiao.training.sequence_losses import (
    MeanLoss,
    RecentLosses,
    SequenceLoss,
    by_source,
    mean_loss,
    sequence_losses,
)
from weitiao.training.validation import AnswerValidation, validation_losses


@dataclass(slots=True)
class Loop:
    """Steps a model through its plan.

    Attributes:
        accelerator: Devices and ranks.
        objective: The objective around the model, as `Accelerator.prepare` returned it.
        optimizer: Likewise.
        plan: Which sequences form which step.
        sources: Row id to the source that the row is from; empty where all are from one.
        num_steps: Steps of the whole run.
        validation: Held-out sequences; none means no validation.
        answers: Lets the model answer held-out rows at every validation; None does not.
        config: The recipe's `train` section, with `token_budget` resolved in `plan`.
        run: Where checkpoints and metrics go.
        state: Where the run stands; kept up to date.
        watcher: Is told about progress (on the main process).
        interrupt: Is asked after each step whether to stop.
    """

    accelerator: Accelerator
    objective: nn.Module
    optimizer: torch.optim.Optimizer
    plan: Plan
    sources: Mapping[str, str]
    num_steps: int
    validation: Rows[Sequence]
    answers: AnswerValidation | None
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
        state, main = self.state, self.accelerator.is_main_process
        state.num_steps = self.num_steps
        metrics = MetricsLog(self.run.metrics_path, start=state.step) if main else None
        losses = LossLog(self.run.losses, start=state.step) if main else None
        self.watcher.start(state.step, self.num_steps)
        self.objective.train()
        try:
            if state.validation_due:
                self._validate(metrics)
                if state.validation_due:
                    return False
                self._on_main(lambda: self._save(losses))
            while state.step < self.num_steps and not state.stopped_early:
                begun = time.monotonic()
                step = self.plan.step(state.step)
                values, sequences = self._step(step)
                if losses is not None:
                    losses.add(state.step + 1, *zip(*map(dataclasses.astuple, sequences), strict=True))
                self._require_finite(values, sequences, losses)
                self.optimizer.step()
                seconds = time.monotonic() - begun
                state.step += 1
                state.num_tokens += values["num_tokens"]
                state.seconds += seconds
                values |= {"seconds": seconds, "tokens_per_second": values["num_tokens"] / seconds}
                values |= {"memory_gib": memory_gib()}
                self._log(metrics, values)
                recent = self._recent.add({name: MeanLoss(**one) for name, one in values.get("sources", {}).items()})
                self.watcher.step(state.step, values["loss"], values["tokens_per_second"], recent)
                if self._is_due(self.config.validate_every) and self.validation:
                    state.validation_due = True
                    self._validate(metrics)
                stop = self._anyone(self.interrupt.requested)
                ended = not state.validation_due and (state.step == self.num_steps or state.stopped_early)
                if state.step % self.config.save_every == 0 or stop or ended:
                    self._on_main(lambda: self._save(losses))
                if stop and not ended:
                    return False
            return True
        finally:
            self.watcher.stop()

    def _step(self, step: Step) -> tuple[dict[str, Any], list[SequenceLoss]]:
        """Forward and backward of one optimiser step; the gradient is clipped, the optimiser not yet stepped."""
        rate = learning_rate(self.config, self.state.step, self.num_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        rank, ranks = self.accelerator.process_index, self.accelerator.num_processes
        rounds = -(-len(step.forests) // ranks)
        total = torch.zeros((), dtype=torch.float64)
        sequences: list[SequenceLoss] = []
        for turn in range(rounds):
            index = turn * ranks + rank
            # A rank without work in the last round runs along without weight: every rank calls the model as often.
            forest = step.forests[index] if index < len(step.forests) else _weightless(step.forests[0])
            torch.manual_seed(_seed(self.config.seed, self.state.step, index))
            with nullcontext() if turn == rounds - 1 else self.accelerator.no_sync(self.objective):
                loss = self.objective(forest)
                # DistributedDataParallel divides the sum of the gradients by the number of ranks
                self.accelerator.backward(loss.total * (ranks / step.weight))
            if index < len(step.forests):
                total += loss.total.detach().double().cpu()
                sequences += sequence_losses(forest, loss.per_sequence)
        if ranks > 1:
            total = reduce(total.to(self.accelerator.device), "sum").cpu()
            sequences = gather_object(sequences)
        limit = math.inf if self.config.max_grad_norm is None else self.config.max_grad_norm
        norm = self.accelerator.clip_grad_norm_(learned_parameters(self.objective).values(), limit)
        assert isinstance(norm, Tensor)
        return {
            "step": self.state.step + 1,
            "epoch": (self.state.step + 1) / self.plan.steps_per_epoch,
            "loss": float(total) / step.weight,
            "learning_rate": rate,
            "grad_norm": float(norm),
            **({"sources": _as_values(by_source(sequences, self.sources))} if self.sources else {}),
            "num_sequences": sum(len(f.row_ids) for f in step.forests),
            "num_forests": len(step.forests),
            "num_tokens": sum(f.num_source_tokens for f in step.forests),
            "num_computed_tokens": sum(len(f.layout) for f in step.forests),
        }, sequences

    def _require_finite(self, values: dict[str, Any], sequences: list[SequenceLoss], log: LossLog | None) -> None:
        bad = [s.row_id for s in sequences if not math.isfinite(s.loss)]
        if not bad and math.isfinite(values["loss"]) and math.isfinite(values["grad_norm"]):
            return
        if log is not None:
            log.flush()  # for `weitiao why`
        what = "loss" if bad or not math.isfinite(values["loss"]) else "gradient"
        rows = ", ".join(bad or [s.row_id for s in sequences])
        raise TrainingError(
            f"The {what} of step {values['step']} is not finite; the optimiser was not stepped. Rows: {rows}.",
            f"Look at them with: weitiao why {quoted(self.run.path)} --step {values['step']}; "
            "a lower learning rate may help.",
        )

    def _validate(self, metrics: MetricsLog | None) -> None:
        """Validate, and keep the weights if they are the best so far. A run that is to stop leaves it for later."""
        state = self.state
        losses = self._validation_losses()
        if self._anyone(self.interrupt.requested):
            return
        scores = self._answer_scores()
        if scores is None:
            return
        state.validation_due = False
        loss = mean_loss(losses).loss
        best = self._is_best(loss, scores)
        if best:
            state.best_loss, state.best_step, state.num_bad_validations = loss, state.step, 0
            self._on_main(self._save_best)
        else:
            state.num_bad_validations += 1
            patience = self.config.patience
            state.stopped_early = patience is not None and state.num_bad_validations >= patience
        values: dict[str, Any] = {f"validation_{name}": value for name, value in scores.items()}
        sources = by_source(losses, self.sources) if self.sources else {}
        if len(sources) > 1:
            values["validation_sources"] = _as_values(sources)
        self._log(metrics, {"step": state.step, "validation_loss": loss, **values, "best": best})
        shown = describe_losses(loss, {name: one.loss for name, one in sources.items()} if len(sources) > 1 else {})
        facts = ", ".join([f"validation {shown}", *(f"{name} {value:.1%}" for name, value in scores.items())])
        self.watcher.message(f"step {state.step}: {facts}{' (best so far)' if best else ''}")
        if state.stopped_early:
            self.watcher.message(f"{state.num_bad_validations} validations without improvement: stopping early.")

    def _validation_losses(self) -> list[SequenceLoss]:
        """The losses of all validation sequences; fewer when the run was asked to stop meanwhile."""
        losses: list[SequenceLoss] = []
        mine = self.validation[self.accelerator.process_index :: self.accelerator.num_processes]
        model = self.accelerator.unwrap_model(self.objective).model
        budget, share = self.plan.token_budget, self.plan.share_prefixes
        with suppress(Stopped), stoppable(decoder(model), self.interrupt):
            losses = validation_losses(model, mine, token_budget=budget, share_prefixes=share) if mine else []
        return gather_object(losses) if self.accelerator.num_processes > 1 else losses

    def _answer_scores(self) -> dict[str, float] | None:
        """The scores of answers to validation rows; None when the run was asked to stop meanwhile.

        The main process lets the model answer, the others wait.
        """
        if self.answers is None:
            return {}
        found: list[dict[str, float] | None] = [None]
        if self.accelerator.is_main_process:
            model = self.accelerator.unwrap_model(self.objective).model
            with suppress(Stopped), stoppable(decoder(model), self.interrupt):
                found = [self.answers.scores(model)]
        broadcast_object_list(found)
        return found[0]

    def _is_best(self, loss: float, scores: dict[str, float]) -> bool:
        """Whether no validation so far was as good."""
        if self.config.best_by == "loss":
            return self.state.best_loss is None or loss < self.state.best_loss
        assert self.answers is not None, "the configuration asks for answers"
        key = f"validation_{self.answers.primary}"
        best = [False]
        if self.accelerator.is_main_process:  # metrics.jsonl ends where the run stands, also after it was resumed
            before = [(one[key], -one["validation_loss"]) for one in read_metrics(self.run.metrics_path) if key in one]
            best = [(scores[self.answers.primary], -loss) > max(before, default=(-math.inf, 0.0))]
        broadcast_object_list(best)
        return best[0]

    def _save(self, losses: LossLog | None) -> None:
        assert losses is not None
        losses.flush()
        model = self.accelerator.unwrap_model(self.objective)
        optimizer = getattr(self.optimizer, "optimizer", self.optimizer)
        save_checkpoint(self.run, model, optimizer, self.state, keep=self.config.keep_checkpoints)

    def _save_best(self) -> None:
        remedy = f"Free some space, then go on with: weitiao train {quoted(self.run.path)}"
        with (
            full_disk_is_named(f"the best weights (step {self.state.step})", remedy),
            written_whole(self.run.best) as directory,
        ):
            save_weights(directory, self.accelerator.unwrap_model(self.objective))

    def _on_main(self, action: Callable[[], None]) -> None:
        """Do it on the main process; the others wait."""
        if self.accelerator.is_main_process:
            action()
        self.accelerator.wait_for_everyone()

    def _log(self, metrics: MetricsLog | None, values: dict[str, Any]) -> None:
        if metrics is not None:
            metrics.add(values)
        numbers = {key: value for key, value in values.items() if key != "step" and not isinstance(value, dict)}
        for key in ("sources", "validation_sources"):
            numbers |= {f"{key}/{name}": one["loss"] for name, one in values.get(key, {}).items()}
        self.accelerator.log(numbers, step=values["step"])

    def _is_due(self, every: int | str) -> bool:
        period = self.plan.steps_per_epoch if every == "epoch" else int(every)
        return self.state.step % period == 0 or self.state.step == self.num_steps

    def _anyone(self, flag: bool) -> bool:
        """Whether the flag is set on any rank."""
        if self.accelerator.num_processes == 1:
            return flag
        return bool(reduce(torch.tensor(float(flag), device=self.accelerator.device), "sum") > 0)


def _weightless(forest: Forest) -> Forest:
    weights = np.zeros_like(forest.targets.weights)
    return dataclasses.replace(forest, targets=dataclasses.replace(forest.targets, weights=weights))


def _as_values(losses: Mapping[str, MeanLoss]) -> dict[str, dict[str, float]]:
    return {name: dataclasses.asdict(one) for name, one in losses.items()}


def _seed(seed: int, step: int, index: int) -> int:
    """Seed of the dropout of a forest: it depends on neither the rank nor on what ran before."""
    return (seed * 1_000_003 + step) * 1_000_003 + index & (2**63 - 1)
