"""Where the steps of an answer end in tokens: tokenizers of all kinds, and templates that print answers otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from transformers import PreTrainedTokenizerBase

from weitiao.data.conversion.steps import step_reader
from weitiao.data.example import Example, Rows
from weitiao.data.reading.rows import Row
from weitiao.errors import RenderingError
from weitiao.rendering.config import RenderingConfig
from weitiao.rendering.items import TokenSequence
from weitiao.rendering.render import render

CHATML = (
    "{% for one in messages %}<|im_start|>{{ one.role }}\n{{ one.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
STEPS = [" \n Certainly: it is clear", "the café 👩‍👩‍👧  ", "今天天气很好。", "12 of 2025\n"]


def example(steps: list[str], separator: str) -> Example:
    row: dict[str, Any] = {"prompt": "What is it?", "completions": steps, "labels": [0.5] * len(steps)}
    return step_reader("rows", Rows("step", separator=separator))(Row(1, 1, row), "rows:1")


def rendered(one: Example, tokenizer: PreTrainedTokenizerBase, **settings: Any) -> TokenSequence:
    config = RenderingConfig(**settings)
    (sequence,) = render([one], tokenizer, config, max_context=4096, skip_bad_rows=False).sequences
    return sequence


@pytest.mark.parametrize("template", [CHATML, CHATML.replace("one.content }}", "one.content | trim }}")])
@pytest.mark.parametrize("separator", ["\n", "\n\n", "", " ки "])
def test_a_step_ends_with_the_token_that_makes_it_whole(template: str, separator: str, tokenizer: Any) -> None:
    tokenizer.chat_template = template
    found = rendered(example(STEPS, separator), tokenizer)
    ends = np.flatnonzero(found.columns["step"] >= 0).tolist()
    begun = [tokenizer.decode(found.token_ids[: place + 1].tolist()) for place in range(len(found))]
    wanted = [next(place for place, text in enumerate(begun) if step.strip() in text) for step in STEPS[:-1]]
    assert ends == [*wanted, len(found) - 1]
    assert tokenizer.convert_ids_to_tokens(int(found.token_ids[-1])) == "<|im_end|>"


def test_steps_that_are_cut_off_are_left_out_and_a_template_that_rewrites_them_is_refused(tokenizer: Any) -> None:
    tokenizer.chat_template = CHATML
    whole = rendered(example(STEPS, "\n"), tokenizer)
    first, second, *_ = np.flatnonzero(whole.columns["step"] >= 0).tolist()
    some = rendered(example(STEPS, "\n"), tokenizer, on_long="truncate", max_length=second)
    assert np.flatnonzero(some.columns["step"] >= 0).tolist() == [first]
    with pytest.raises(RenderingError, match="its first step is longer"):
        rendered(example(STEPS, "\n"), tokenizer, on_long="truncate", max_length=first)
    tokenizer.chat_template = CHATML.replace("one.content }}", "one.content | upper }}")
    with pytest.raises(RenderingError, match="does not print the answer as its steps are written"):
        rendered(example(STEPS, "\n"), tokenizer)


def test_a_token_that_reaches_over_the_beginning_of_an_answer_is_refused(byte_level: Any) -> None:
    byte_level.chat_template = CHATML.replace("assistant\n{% endif", "assistant\n{{ ' ' }}{% endif").replace(
        "one.content }}", "(' ' if one.role == 'assistant' else '') + one.content }}"
    )
    with pytest.raises(RenderingError, match="a token reaches over the beginning of an answer"):
        rendered(example(["it is", "clear"], "\n"), byte_level)
