"""The score of a model on test rows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from weitiao.data.example import Example
from weitiao.evaluation.answers import Prediction, Progress, is_gradable, predict
from weitiao.evaluation.config import EvaluationConfig
from weitiao.evaluation.scores import Scores, score

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The scores of a model and the predictions that they were counted from."""

    scores: Scores
    predictions: tuple[Prediction, ...]


def evaluate(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    config: EvaluationConfig,
    *,
    on_progress: Progress | None = None,
) -> Evaluation:
    """Let a model answer test rows, and score the answers.

    Args:
        model: The model with forest attention, with or without adapter.
        tokenizer: Its tokenizer, with the chat template of the training.
        examples: The test rows. Of a conversation the last assistant turn is the expected answer. Rows without one
            are counted in `num_ungraded` and left out.
        config: The recipe section `evaluate`.
        on_progress: Told how many answers are ready.

    Returns:
        Scores (without validation loss) and predictions, one per graded row in order.

    Raises:
        RenderingError: The template refuses a row, the tokenizer has none, or a prompt fills the model's context.
    """
    wanted = examples[: config.limit]
    gradable = [example for example in wanted if is_gradable(example)]
    start = time.perf_counter()
    predictions = predict(model, tokenizer, gradable, config, on_progress=on_progress) if gradable else ()
    scores = score(
        predictions,
        config.normalize,
        num_ungraded=len(wanted) - len(gradable),
        seconds=time.perf_counter() - start,
    )
    return Evaluation(scores, predictions)
