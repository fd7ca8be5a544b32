"""`weitiao batch`: prompts in, answers out; none is lost and none doubled, whatever ends the process."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer
from workbench import weitiao

from weitiao.generation.config import GenerationConfig
from weitiao.generation.generate import generate, stop_ids
from weitiao.models.attention import FOREST
from weitiao.rendering.render import Prompts

NUM_TOKENS = 12


def write_prompts(path: Path, num: int) -> list[list[dict[str, str]]]:
    """Rows of several forms; the conversations that they are."""
    rows: list[dict[str, Any]] = []
    turns = []
    for i in range(num):
        text = f"answer the question {i} in one word"
        if i % 3 == 0:
            rows.append({"messages": [{"role": "user", "content": text}], "kind": i % 2})
        else:  # the answer that is there is not the question
            said = [{"role": "assistant", "content": "no"}] * (i % 3 - 1)
            rows.append({"messages": [{"role": "user", "content": text}, *said], "kind": i % 2})
        turns.append([{"role": "user", "content": text}])
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return turns


def expected(model: Path, turns: list[list[dict[str, str]]], num_tokens: int = NUM_TOKENS) -> list[tuple[str, int]]:
    """What evaluation would write to each, and in how many tokens, the one that ends it included."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    network = AutoModelForCausalLM.from_pretrained(model, attn_implementation=FOREST)
    prompts = [Prompts(tokenizer)(one) for one in turns]
    config = GenerationConfig(max_new_tokens=num_tokens)
    found = generate(network, prompts, config, stop_ids=stop_ids(network, tokenizer))
    texts = [str(tokenizer.decode(one.token_ids, skip_special_tokens=True)) for one in found]
    return [(text, len(one.token_ids) + one.stopped) for text, one in zip(texts, found, strict=True)]


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def kill_after(path: Path, lines: int) -> Callable[[int], None]:
    """Kills a process once it has written so many lines."""

    def watch(pid: int) -> None:
        deadline = time.monotonic() + 60
        while not (path.exists() and path.read_bytes().count(b"\n") > lines):
            assert time.monotonic() < deadline, "it did not get that far"
            time.sleep(0.002)
        os.kill(pid, signal.SIGKILL)

    return watch


def test_each_row_is_answered_as_evaluation_answers_it(tiny_llama_dir: Path, tmp_path: Path) -> None:
    turns = write_prompts(tmp_path / "prompts.jsonl", 9)
    done = weitiao(
        "batch", tiny_llama_dir, "--data", "prompts.jsonl", "--output", "out/answers.jsonl",
        "--max-new-tokens", str(NUM_TOKENS), "--slots", "4", "--json", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answers = read(tmp_path / "out" / "answers.jsonl")
    assert [one["row_id"] for one in answers] == [f"prompts.jsonl:{i + 1}" for i in range(9)]
    for answer, asked, (text, num) in zip(answers, turns, expected(tiny_llama_dir, turns), strict=True):
        assert answer["messages"] == [*asked, {"role": "assistant", "content": text}]
        assert answer["usage"]["completion_tokens"] == num
        assert answer["finish"] == ("length" if num == NUM_TOKENS else "stop")
        assert answer["columns"]["kind"] in (0, 1)
    told = json.loads(done.stdout)
    assert told["answers"] == sum(told["finish"].values()) == 9
    assert told["completion_tokens"] == sum(one["usage"]["completion_tokens"] for one in answers)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["answers.jsonl"]
    again = weitiao("batch", tiny_llama_dir, "--data", "prompts.jsonl", "--output", "out/answers.jsonl", cwd=tmp_path)
    assert again.returncode == 2
    assert "is there already" in again.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["answers.jsonl"]


def test_a_killed_batch_goes_on_and_no_answer_is_lost_or_doubled(tiny_llama_dir: Path, tmp_path: Path) -> None:
    turns = write_prompts(tmp_path / "prompts.jsonl", 40)
    command = (
        "batch", tiny_llama_dir, "--data", tmp_path / "prompts.jsonl", "--output", tmp_path / "answers.jsonl",
        "--max-new-tokens", "40", "--slots", "2",
    )  # fmt: skip
    partial = tmp_path / "answers.jsonl.partial"
    for lines in (5, 15):
        weitiao(*command, meanwhile=kill_after(partial, lines))
        assert not (tmp_path / "answers.jsonl").exists()
    with partial.open("ab") as file:
        file.write(b'{"row_id": "prompts.jsonl:39", "mess')  # as a kill in the middle of a line leaves it
    kept = read_whole_lines(partial)
    assert len(kept) >= 15
    other = weitiao(*command, "--seed", "1")
    assert other.returncode == 2
    assert "was begun with another setting" in other.stderr
    done = weitiao(*command)
    assert done.returncode == 0, done.stderr
    assert f"{len(kept)} of 40 answers are there already." in done.stderr
    answers = read(tmp_path / "answers.jsonl")
    assert [one["row_id"] for one in answers] == [f"prompts.jsonl:{i + 1}" for i in range(40)]
    assert [one["messages"][-1]["content"] for one in answers] == [
        text for text, _ in expected(tiny_llama_dir, turns, 40)
    ]
    assert all(one in answers for one in kept)


def read_whole_lines(path: Path) -> list[dict[str, Any]]:
    """The answers in a file that was left; the first line says what they are to."""
    lines = path.read_bytes().split(b"\n")[1:-1]
    return [json.loads(line) for line in lines]


def test_bad_rows_are_an_error_or_listed(tiny_llama_dir: Path, tmp_path: Path) -> None:
    rows = [
        {"messages": [{"role": "user", "content": "a small model"}]},
        {"messages": "nothing"},
        {"messages": [{"role": "user", "content": "learns " * 600}]},
    ]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ("batch", tiny_llama_dir, "--data", "prompts.jsonl", "--output", "answers.jsonl", "--max-new-tokens", "3")
    strict = weitiao(*command, cwd=tmp_path)
    assert strict.returncode == 2
    assert "prompts.jsonl, row 2 (line 2)" in strict.stderr
    done = weitiao(*command, "--on-bad-rows", "skip", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [one["row_id"] for one in read(tmp_path / "answers.jsonl")] == ["prompts.jsonl:1"]
    reasons = [one["reason"] for one in read(tmp_path / "rejected.jsonl")]
    assert len(reasons) == 2
    assert "leave no room for an answer in the context of 512" in reasons[1]
    (tmp_path / "prompts.jsonl").write_text(json.dumps(rows[2]))
    long = weitiao(*command[:-4], "--output", "other.jsonl", cwd=tmp_path)
    assert long.returncode == 2
    assert "prompts.jsonl:1: its" in long.stderr


@pytest.mark.parametrize("temperature", ["0", "1"])
def test_answers_that_fit_a_schema(tiny_llama_dir: Path, tmp_path: Path, temperature: str) -> None:
    write_prompts(tmp_path / "prompts.jsonl", 6)
    schema = {"type": "object", "properties": {"size": {"enum": ["small", "large"]}}, "required": ["size"]}
    schema["additionalProperties"] = False
    (tmp_path / "schema.json").write_text('{"type": "circle"}')
    command = ("batch", tiny_llama_dir, "--data", "prompts.jsonl", "--output", "answers.jsonl")
    refused = weitiao(*command, "--schema", "schema.json", cwd=tmp_path)
    assert refused.returncode == 2
    assert "The JSON Schema cannot be met" in refused.stderr
    assert not list(tmp_path.glob("answers*")), "nothing was written, nothing is left"
    (tmp_path / "schema.json").write_text(json.dumps(schema))
    done = weitiao(
        "batch", tiny_llama_dir, "--data", "prompts.jsonl", "--output", "answers.jsonl", "--schema", "schema.json",
        "--temperature", temperature, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = [one["messages"][-1]["content"] for one in read(tmp_path / "answers.jsonl")]
    for text in said:
        jsonschema.validate(json.loads(text), schema)
    assert temperature == "0" or len(set(said)) == 2, "rows draw apart"
