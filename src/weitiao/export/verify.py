"""What an exported model said, held against what the tuned model said to the same questions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from weitiao.evaluation.answers import Prediction, graded
from weitiao.evaluation.comparison import compare_predictions
from weitiao.evaluation.paired import PairedDifference, paired_difference
from weitiao.evaluation.task import Task
from weitiao.export.questions import Heard, Questions
from weitiao.rendering.answers import AnswerReader
from weitiao.verdict.exported import Agreement

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def agreement_of(
    questions: Questions, tuned: Heard, heard: Heard, tokenizer: PreTrainedTokenizerBase, allowed: float
) -> Agreement:
    """How far two models agree.

    Args:
        questions: What both were asked.
        tuned: What the tuned model said.
        heard: What the exported one said.
        tokenizer: Of the tuned model.
        allowed: Mean difference of log-probabilities that the format explains, in nats.
    """
    pairs = zip(tuned.logprobs, heard.logprobs, strict=True)  # an engine may be asked for some of them only
    differences = np.concatenate([np.abs(np.subtract(a[: len(b)], b)) for a, b in pairs])
    same = [a == b for a, b in zip(tuned.answers, heard.answers, strict=True)]
    return Agreement(
        num_prompts=len(questions.texts),
        num_tokens=len(differences),
        other_ids=sum(a != b for a, b in zip(questions.ids, heard.ids, strict=True)),
        mean_difference=float(differences.mean()),
        max_difference=float(differences.max()),
        allowed=allowed,
        same_answers=sum(same) / len(same) if same else 1.0,
        missing_ends=tuple(map(str, tokenizer.convert_ids_to_tokens(sorted(set(tuned.ends) - set(heard.ends))))),
        same_template=heard.template == tuned.template,
    )


def quality_of(
    questions: Questions, tuned: Heard, heard: Heard, task: Task | None, tokenizer: PreTrainedTokenizerBase
) -> tuple[str, PairedDifference | None]:
    """The task's first metric of the answers of two models to the same rows, and its name; None without rows."""
    if task is None or not task.gradable:
        return "", None
    names = ("tuned", "exported")
    before, after = (graded(_predictions(questions, one, task, tokenizer), task.metrics) for one in (tuned, heard))
    compared = compare_predictions(before, after, names=names, metrics=task.metrics)
    return compared.primary, compared.gain


def nats_of(
    questions: Questions, tuned: Heard, heard: Heard
) -> tuple[PairedDifference | None, tuple[float, float] | None]:
    """The loss per learned token of each row under two models, and the perplexity; None without rows, or where not all
    of their tokens were asked."""
    rows = [one.logprobs[questions.num_own[1] :] for one in (tuned, heard)]
    if not rows[0] or any(len(a) != len(b) for a, b in zip(*rows, strict=True)):
        return None, None
    losses = [[-math.fsum(row) / len(row) for row in one] for one in rows]
    tokens = sum(map(len, rows[0]))
    before, after = (math.exp(-math.fsum(map(math.fsum, one)) / tokens) for one in rows)
    return paired_difference(*losses, bounded=False), (before, after)


def _predictions(
    questions: Questions, heard: Heard, task: Task, tokenizer: PreTrainedTokenizerBase
) -> Sequence[Prediction]:
    reader = AnswerReader(tokenizer)
    own = questions.num_own[0]
    return [
        Prediction.of(
            row,
            reader.read(row.prompt, row.tools, ids, expected=row.answer),
            num_tokens=len(ids),
            stopped=stopped,
        )
        for row, ids, stopped in zip(task.gradable, heard.answers[own:], heard.stopped[own:], strict=True)
    ]
