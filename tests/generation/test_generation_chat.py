"""Chat: whole characters, turns that are remembered, commands, and lines from a pipe."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from peft import LoraConfig, get_peft_model
from rich.console import Console
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast
from typer.testing import CliRunner

from weitiao.cli.use import chat
from weitiao.errors import DataError, ModelError
from weitiao.generation.answer_text import AnswerText
from weitiao.generation.chat import Conversation
from weitiao.generation.config import GenerationConfig
from weitiao.generation.generate import generate, stop_ids
from weitiao.models.attention import FOREST
from weitiao.rendering.render import Prompts
from weitiao.terminal.chat import chat_interactively

CONFIG = GenerationConfig(max_new_tokens=12)


@pytest.fixture
def tokenizer(tiny_llama_dir: Path) -> PreTrainedTokenizerFast:
    return AutoTokenizer.from_pretrained(tiny_llama_dir)


@pytest.fixture
def model(tiny_llama_dir: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(tiny_llama_dir, dtype=torch.float32, attn_implementation=FOREST)


def tuned(model: Any) -> Any:
    torch.manual_seed(1)
    return get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)).eval()


def reply(model: Any, tokenizer: Any, messages: list[dict[str, Any]]) -> str:
    """The answer as evaluation would write it."""
    prompt = Prompts(tokenizer)(messages)
    (answer,) = generate(model, [prompt], CONFIG, stop_ids=stop_ids(model, tokenizer))
    return str(tokenizer.decode(answer.token_ids, skip_special_tokens=True))


def typed(lines: Iterable[str | type[BaseException]]) -> Callable[[str], str]:
    """Somebody at the keyboard; an exception type stands for the key that raises it."""
    left = iter(lines)

    def read(prompt: str) -> str:
        line = next(left, EOFError)
        if isinstance(line, str):
            return line
        raise line

    return read


def screen() -> tuple[Console, StringIO]:
    out = StringIO()
    return Console(file=out, width=100), out


@pytest.mark.parametrize("text", ["plain words", "你好，微调 🙂👍🏽 é", "  spaces \n\n kept ", "…"])
def test_characters_of_several_bytes_come_whole(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    tokens = tokenizer(text).input_ids
    answer = AnswerText(tokenizer)
    pieces = [answer.push(token) for token in tokens]
    assert "".join(pieces) == text
    assert answer.finish() == ""
    assert not any("\ufffd" in piece for piece in pieces)


def test_bytes_that_never_become_a_character_are_shown_at_the_end_only(tokenizer: PreTrainedTokenizerFast) -> None:
    tokens = tokenizer("ab好").input_ids[:-1]
    answer = AnswerText(tokenizer)
    assert "".join(answer.push(token) for token in tokens) == "ab"
    assert "\ufffd" in answer.finish()


def test_a_conversation_remembers_its_turns(model: Any, tokenizer: PreTrainedTokenizerFast) -> None:
    conversation = Conversation(model, tokenizer, CONFIG, system="answer in one word")
    system = {"role": "system", "content": "answer in one word"}
    for question in ("a small model", "learns"):
        messages = [system, *conversation.turns, {"role": "user", "content": question}]
        expected = reply(model, tokenizer, messages)
        assert "".join(conversation.answer(question)) == expected
        assert [m["content"] for m in conversation.turns[-2:]] == [question, expected]
    conversation.reset()
    assert conversation.turns == []


def test_an_answer_that_is_stopped_stays_as_far_as_it_came(model: Any, tokenizer: PreTrainedTokenizerFast) -> None:
    conversation = Conversation(model, tokenizer, CONFIG)
    answer = conversation.answer("a small model")
    first = next(answer)
    answer.close()
    assert conversation.turns[-1] == {"role": "assistant", "content": first}


def test_the_base_answers_beside_the_tuned_model(model: Any, tokenizer: PreTrainedTokenizerFast) -> None:
    question = [{"role": "user", "content": "a small model"}]
    of_base = reply(model, tokenizer, question)
    wrapped = tuned(model)
    of_tuned = reply(wrapped, tokenizer, question)
    assert of_base != of_tuned
    speakers = {name: Conversation(wrapped, tokenizer, CONFIG, base=name == "base") for name in ("base", "tuned")}
    console, _ = screen()
    chat_interactively(speakers, console, read=typed(["a small model"]))
    assert {name: c.turns[-1]["content"] for name, c in speakers.items()} == {"base": of_base, "tuned": of_tuned}


def test_commands_and_keys(model: Any, tokenizer: PreTrainedTokenizerFast) -> None:
    conversation = Conversation(model, tokenizer, CONFIG)
    expected = reply(model, tokenizer, [{"role": "user", "content": "a few"}])
    console, out = screen()
    keys = ["a small model", "/reset", "", KeyboardInterrupt, "/nonsense", "a few", "/exit", "never said"]
    chat_interactively({"model": conversation}, console, read=typed(keys))
    shown = out.getvalue()
    assert shown.startswith("Type a message.")
    assert "There is no command /nonsense" in shown
    assert [m["content"] for m in conversation.turns] == ["a few", expected]
    assert shown.endswith(expected + "\n")


def test_a_conversation_that_outgrows_the_context_can_be_reset(model: Any, tokenizer: PreTrainedTokenizerFast) -> None:
    conversation = Conversation(model, tokenizer, CONFIG)
    console, out = screen()
    chat_interactively({"model": conversation}, console, read=typed(["a", "learns " * 600, "/reset", "a"]))
    assert "leaves no room for an answer" in " ".join(out.getvalue().split())
    assert len(conversation.turns) == 2


def run(*arguments: str, lines: str | bytes) -> Any:
    app = typer.Typer()
    app.command()(chat)
    return CliRunner().invoke(app, [*arguments, "--max-new-tokens", "12"], input=lines)


def test_each_line_of_a_pipe_is_a_prompt_of_its_own(
    tiny_llama_dir: Path, model: Any, tokenizer: PreTrainedTokenizerFast
) -> None:
    result = run(str(tiny_llama_dir), lines="a small model\n\nlearns\n")
    expected = [reply(model, tokenizer, [{"role": "user", "content": text}]) for text in ("a small model", "learns")]
    assert result.exit_code == 0
    assert result.stdout == "".join(answer + "\n" for answer in expected)


def test_both_answer_the_lines_of_a_pipe(
    tiny_llama_dir: Path, tmp_path: Path, model: Any, tokenizer: PreTrainedTokenizerFast
) -> None:
    question = [{"role": "user", "content": "a small model"}]
    of_base = reply(model, tokenizer, question)
    wrapped = tuned(model)
    of_tuned = reply(wrapped, tokenizer, question)
    wrapped.save_pretrained(tmp_path)
    assert run(str(tmp_path), "--compare", lines="a small model\n").stdout == f"base: {of_base}\ntuned: {of_tuned}\n"
    assert run(str(tmp_path), "--base", lines="a small model\n").stdout == f"{of_base}\n"
    assert run(str(tmp_path), lines="a small model\n").stdout == f"{of_tuned}\n"


@pytest.mark.parametrize("option", ["--compare", "--base"])
def test_there_is_nothing_to_compare_without_an_adapter(tiny_llama_dir: Path, option: str) -> None:
    result = run(str(tiny_llama_dir), option, lines="a\n")
    assert isinstance(result.exception, ModelError)
    assert "has no adapter" in str(result.exception)


def test_prompts_that_are_no_text_are_refused(tiny_llama_dir: Path) -> None:
    result = run(str(tiny_llama_dir), lines=b"a\n\xff\xfe\n")
    assert isinstance(result.exception, DataError)
    assert "not UTF-8" in str(result.exception)
