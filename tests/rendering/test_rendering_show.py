"""What `show_sequences` prints."""

from __future__ import annotations

import io
from typing import Any

import pytest
from chat_styles import CHATML
from rich.console import Console

from weitiao.data.example import Example
from weitiao.rendering.config import RenderingConfig
from weitiao.rendering.items import TokenSequence
from weitiao.rendering.render import render
from weitiao.terminal.tokens import show_sequences


def sequences_of(tokenizer: Any, *pairs: tuple[str, str], **config: Any) -> tuple[TokenSequence, ...]:
    tokenizer.chat_template = CHATML
    rows = [
        Example(f"r:{index}", ({"role": "user", "content": question}, {"role": "assistant", "content": answer}))
        for index, (question, answer) in enumerate(pairs, start=1)
    ]
    return render(rows, tokenizer, RenderingConfig(**config), max_context=8000).sequences


def shown(sequences: tuple[TokenSequence, ...], tokenizer: Any, *, colour: bool = False, num: int = 3) -> str:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=colour, color_system="standard" if colour else None, width=60)
    show_sequences([("", one) for one in sequences], tokenizer, console, num=num)
    return stream.getvalue()


def test_learned_text_stands_in_brackets_without_colour(tokenizer: Any) -> None:
    sequences = sequences_of(tokenizer, ("What [bold]is[/bold] 天?", "It :smile: 🙂  is\n\nclear."))
    text = shown(sequences, tokenizer)
    assert (
        "<|im_start|>user\nWhat [bold]is[/bold] 天?<|im_end|>\n<|im_start|>assistant\n"
        "⟦It :smile: 🙂  is\n\nclear.<|im_end|>⟧\n"
    ) in text
    learned = int(sequences[0].weight)
    assert f"r:1: {len(sequences[0])} tokens, {learned} learned\n" in text
    assert text.startswith("Legend: ⟦learned⟧ not learned\n")


def test_learned_text_is_coloured_and_special_tokens_stand_out(byte_level: Any) -> None:
    text = shown(sequences_of(byte_level, ("ask", "reply")), byte_level, colour=True)
    green_underlined, dim, bold_magenta = "\x1b[4;32m", "\x1b[2m", "\x1b[1;35m"
    assert f"{green_underlined}reply" in text
    assert f"{bold_magenta}<|im_start|>" in text
    assert f"{dim}user\n" in text.replace("\x1b[0m\n\x1b[2m", "\n")
    assert "⟦" not in text


@pytest.mark.parametrize("num", [1, 2, 5])
def test_shows_as_many_as_asked_for(byte_level: Any, num: int) -> None:
    text = shown(sequences_of(byte_level, ("a", "b"), ("c", "d"), ("e", "f")), byte_level, num=num)
    assert text.count(" tokens, ") == min(num, 3)


def test_long_prompt_is_shortened_and_the_answer_is_not(byte_level: Any) -> None:
    sequences = sequences_of(byte_level, ("x" * 3000, "y" * 3000))
    text = shown(sequences, byte_level)
    assert "characters not shown" in text
    assert "x" * 2000 not in text
    assert "y" * 3000 in text


def test_truncated_sequence_says_so_and_closes_its_bracket(byte_level: Any) -> None:
    sequences = sequences_of(byte_level, ("a", "long " * 50), max_length=20, on_long="truncate")
    text = shown(sequences, byte_level)
    assert "truncated: the end-of-turn token is missing" in text
    assert text.count("⟦") == text.count("⟧") == 2
