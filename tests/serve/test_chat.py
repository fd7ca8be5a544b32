"""Chat: whole characters, turns that are remembered, commands, and lines from a pipe."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from threading import Timer
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
from weitiao.generation.config import GenerationConfig
from weitiao.generation.generate import generate, stop_ids
from weitiao.models.attention import FOREST
from weitiao.rendering.render import Prompts
from weitiao.serve.engine import Request
from weitiao.study.chat import ChatSettings, Speaker, open_speakers
from weitiao.study.engines import EngineSettings
from weitiao.terminal.chat import chat_interactively

CONFIG = GenerationConfig(max_new_tokens=12)


@pytest.fixture
def tokenizer(tiny_llama_dir: Path) -> PreTrainedTokenizerFast:
    return AutoTokenizer.from_pretrained(tiny_llama_dir)


@pytest.fixture
def model(tiny_llama_dir: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(tiny_llama_dir, dtype=torch.float32, attn_implementation=FOREST)


def tuned(model: Any, **settings: Any) -> Any:
    torch.manual_seed(1)
    config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False, **settings)
    return get_peft_model(model, config).eval()


def reply(model: Any, tokenizer: Any, messages: list[dict[str, Any]]) -> str:
    """The answer as evaluation would write it."""
    prompt = Prompts(tokenizer)(messages)
    (answer,) = generate(model, [prompt], CONFIG, stop_ids=stop_ids(model, tokenizer))
    return str(tokenizer.decode(answer.token_ids, skip_special_tokens=True))


@contextmanager
def chatting(target: Path, *names: str, **settings: Any) -> Iterator[dict[str, Speaker]]:
    """Who answers when a person chats with a model."""
    how = ChatSettings(speakers=names or ("tuned",), how=Request(prompt=(), max_tokens=12), **settings)
    with open_speakers(str(target), how, EngineSettings(engine="own", slots=1)) as speakers:
        yield speakers


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


def test_a_conversation_remembers_its_turns(
    tiny_llama_dir: Path, model: Any, tokenizer: PreTrainedTokenizerFast
) -> None:
    system = {"role": "system", "content": "answer in one word"}
    with chatting(tiny_llama_dir, system="answer in one word") as speakers:
        speaker = speakers["tuned"]
        for question in ("a small model", "learns"):
            messages = [system, *speaker.conversation.turns, {"role": "user", "content": question}]
            expected = reply(model, tokenizer, messages)
            assert "".join(piece.text for piece in speaker.answer(question)) == expected
            assert [m["content"] for m in speaker.conversation.turns[-2:]] == [question, expected]
        speaker.reset()
        assert speaker.conversation.turns == []


def test_an_answer_that_is_stopped_stays_as_far_as_it_came(tiny_llama_dir: Path) -> None:
    with chatting(tiny_llama_dir) as speakers:
        answer = speakers["tuned"].answer("a small model")
        first = next(answer)
        answer.close()
        assert speakers["tuned"].conversation.turns[-1] == {"role": "assistant", "content": first.text}


@pytest.mark.parametrize("dora", [False, True], ids=["one engine for both", "an engine for each"])
def test_the_base_answers_beside_the_tuned_model(
    tiny_llama_dir: Path, tmp_path: Path, model: Any, tokenizer: PreTrainedTokenizerFast, dora: bool
) -> None:
    question = [{"role": "user", "content": "a small model"}]
    of_base = reply(model, tokenizer, question)
    wrapped = tuned(model, use_dora=dora)
    of_tuned = reply(wrapped, tokenizer, question)
    assert of_base != of_tuned
    wrapped.save_pretrained(tmp_path)
    console, out = screen()
    with chatting(tmp_path, "base", "tuned") as speakers:
        chat_interactively(speakers, console, read=typed(["a small model"]))
        said = {name: speaker.conversation.turns[-1]["content"] for name, speaker in speakers.items()}
    assert said == {"base": of_base, "tuned": of_tuned}
    assert "base" in out.getvalue()


def test_commands_and_keys(tiny_llama_dir: Path, model: Any, tokenizer: PreTrainedTokenizerFast) -> None:
    expected = reply(model, tokenizer, [{"role": "user", "content": "a few"}])
    console, out = screen()
    keys = ["a small model", "/reset", "", KeyboardInterrupt, "/nonsense", "a few", "/exit", "never said"]
    with chatting(tiny_llama_dir) as speakers:
        chat_interactively(speakers, console, read=typed(keys))
        turns = speakers["tuned"].conversation.turns
    shown = out.getvalue()
    assert shown.startswith("Type a message.")
    assert "There is no command /nonsense" in shown
    assert [m["content"] for m in turns] == ["a few", expected]
    assert shown.endswith(expected + "\n")


def test_a_conversation_that_outgrows_the_context_can_be_reset(tiny_llama_dir: Path) -> None:
    console, out = screen()
    with chatting(tiny_llama_dir) as speakers:
        chat_interactively(speakers, console, read=typed(["a", "learns " * 600, "/reset", "a"]))
        assert len(speakers["tuned"].conversation.turns) == 2
    assert "leaves no room for an answer" in " ".join(out.getvalue().split())


def test_an_interrupt_ends_an_answer_and_the_next_one_comes(tiny_llama_dir: Path) -> None:
    """A signal while the main thread waits for the next piece, as Ctrl-C sends it."""
    console, out = screen()
    # drawn so that the answer is long: that of the likeliest tokens ends before the signal comes
    how = ChatSettings(how=Request(prompt=(), max_tokens=400, temperature=3.0, seed=8))
    with open_speakers(str(tiny_llama_dir), how, EngineSettings(engine="own")) as speakers:
        speaker = speakers["tuned"]
        pieces = speaker.answer("a small model")
        next(pieces)
        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # under `nohup` it is inherited as ignored
        try:
            Timer(0.05, signal.raise_signal, [signal.SIGINT]).start()
            with pytest.raises(KeyboardInterrupt):
                list(pieces)
        finally:
            signal.signal(signal.SIGINT, before)
        assert len(speaker.conversation.turns[-1]["content"]) > 0
        chat_interactively(speakers, console, read=typed(["/reset", "a"]))
        assert [m["role"] for m in speaker.conversation.turns] == ["user", "assistant"]
    assert "A new conversation." in out.getvalue()


def test_why_shows_the_chance_of_each_token_and_what_else_was_likely(
    tiny_llama_dir: Path, model: Any, tokenizer: PreTrainedTokenizerFast
) -> None:
    question = [{"role": "user", "content": "a small model"}]
    (answer,) = generate(model, [Prompts(tokenizer)(question)], CONFIG, stop_ids=stop_ids(model, tokenizer))
    ids = [*Prompts(tokenizer)(question), *answer.token_ids]
    model.set_attn_implementation("eager")
    with torch.no_grad():
        chances = model(torch.tensor([ids])).logits[0, -len(answer.token_ids) - 1 : -1].softmax(-1)
    result = run(str(tiny_llama_dir), "--why", lines="a small model\n")
    said = str(tokenizer.decode(answer.token_ids, skip_special_tokens=True)) + "\n"
    assert result.stdout.endswith(said)
    lines = result.stdout.removesuffix(said).splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert len(lines) == len(answer.token_ids)
    for line, row in zip(lines, chances, strict=True):
        chance, other = row.topk(2).values.tolist()
        percent = [f"{100 * p:.0f} %" if p >= 0.01 else "<1 %" for p in (chance, other)]
        assert line.strip().startswith(percent[0])
        assert f" {percent[1]}" in line.partition(" or ")[2]


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
