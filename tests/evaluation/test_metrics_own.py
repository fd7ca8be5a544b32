"""Metrics of the user's own: a Python function, and a judge model."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from weitiao.errors import ModelError, RecipeError
from weitiao.evaluation.judges.rating import JudgeMetric, rating
from weitiao.evaluation.metrics.base import Item
from weitiao.evaluation.metrics.function import Function

ITEM = Item("Yes.", "yes", ({"role": "user", "content": "Is it?"},), {"level": 3}, "test.jsonl:7")


def function(tmp_path: Path, text: str) -> Function:
    (tmp_path / "my.py").write_text(text, encoding="utf-8")
    return Function(path=f"{tmp_path / 'my.py'}:score")


def test_a_function_gets_answer_expected_answer_and_row(tmp_path: Path) -> None:
    text = (
        "from dataclasses import dataclass\n"
        "@dataclass\nclass Kept:\n    row: 'dict'\n"
        "def score(answer, expected, row):\n"
        "    assert row['messages'] == [{'role': 'user', 'content': 'Is it?'}] and row['row_id'] == 'test.jsonl:7'\n"
        "    return (answer.lower().strip('.') == expected) * Kept(row).row['level'] / 4\n"
    )
    metric = function(tmp_path, text).build()
    assert metric.title == "score"
    assert metric.grade(ITEM) == 0.75


@pytest.mark.parametrize(("value", "grade"), [("True", 1.0), ("False", 0.0), ("1", 1.0), ("0.25", 0.25)])
def test_a_function_may_return_a_number_or_whether_it_is_right(tmp_path: Path, value: str, grade: float) -> None:
    assert function(tmp_path, f"def score(answer, expected, row):\n    return {value}\n").build().grade(ITEM) == grade


def test_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    text = "import numpy as np\ndef score(answer, expected, row):\n    return np.{}\n"
    assert function(tmp_path, text.format("float32(0.5)")).build().grade(ITEM) == 0.5
    assert function(tmp_path, text.format("bool_(True)")).build().grade(ITEM) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def score(answer, expected, row):\n    return row['no']\n", r"my\.py:2: score failed on test\.jsonl:7: Key"),
        ("def score(answer, expected):\n    return 1\n", r"score failed on test\.jsonl:7: TypeError"),
        ("def score(answer, expected, row):\n    return 1.5\n", r"returned 1\.5 for test\.jsonl:7"),
        ("def score(answer, expected, row):\n    return 'yes'\n", r"returned 'yes' for test\.jsonl:7"),
        ("def score(answer, expected, row):\n    return float('nan')\n", r"returned nan"),
        ("def score(answer, expected, row):\n    pass\n", r"returned None"),
    ],
)
def test_a_function_that_fails_is_named_with_the_row(tmp_path: Path, text: str, message: str) -> None:
    metric = function(tmp_path, text).build()
    with pytest.raises(RecipeError, match=message):
        metric.grade(ITEM)


@pytest.mark.parametrize(
    ("text", "message", "remedy"),
    [
        ("import no_such_package\n", r"my\.py:1: .*ModuleNotFoundError", "Correct the file"),
        ("x = 1\ndef score(:\n", r"my\.py:2: .*SyntaxError", "Correct the file"),
        ("def other(a, b, c):\n    return 1\n", r"has no `score`", "It has other."),
        ("score = 3\n", r"has no `score`", "def score"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, text: str, message: str, remedy: str) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        function(tmp_path, text).build()
    assert remedy in caught.value.remedy


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"no file .*gone\.py"):
        Function(path=f"{tmp_path / 'gone.py'}:score").build()


# -- judge ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ("Score: 4", 4),
        ("The answer has 3 parts, 2 are right.\nScore: **2**", 2),
        ("I rate it 4/5.", 4),
        ("评分：5", 5),
        ("3.5 out of 5", 3.5),
        ("Rating 1 is too low. Rating: 2", 2),
        ("<think>Score: 5</think>Score: 1", 1),
        ("7", None),
        ("12345", None),
        ("good", None),
        ("<think>Score: 5", None),
    ],
)
def test_the_rating_in_a_reply(reply: str, value: float | None) -> None:
    assert rating(reply) == value


class _Server(BaseHTTPRequestHandler):
    """Rates an answer by the digit in it, as an OpenAI-compatible server replies."""

    seen: list[dict[str, Any]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.seen.append({"path": self.path, "key": self.headers["Authorization"], **body})
        question = body["messages"][0]["content"]
        status, content = (500, "") if "break" in question else (200, "Score: " + question.split("quality ")[1][0])
        reply = json.dumps({"choices": [{"message": {"role": "assistant", "content": content}}]}).encode()
        self.send_response(status)
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    seen: list[dict[str, Any]] = []
    handler = type("Handler", (_Server,), {"seen": seen})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}/v1", seen
        running.shutdown()


def test_a_judge_behind_a_server_grades_from_0_to_1(server: tuple[str, list[dict[str, Any]]], tmp_path: Path) -> None:
    (tmp_path / "key").write_text("secret\n")
    url, seen = server
    config = JudgeMetric(type="judge", model=f"{url}#big", api_key_file=tmp_path / "key", max_new_tokens=7)
    metric = config.build()
    items = [Item(f"quality {digit}", "reference text", ITEM.prompt, {}, "r") for digit in "1352x"]
    assert metric.grade_all(items) == [0.0, 0.5, 1.0, 0.25, 0.0]
    assert metric.details(items) == {"num_unrated": 1}
    assert {one["path"] for one in seen} == {"/v1/chat/completions"}
    assert {(one["model"], one["key"], one["temperature"], one["max_tokens"]) for one in seen} == {
        ("big", "Bearer secret", 0, 7)
    }
    asked = next(one["messages"][0]["content"] for one in seen if "quality 3" in one["messages"][0]["content"])
    assert "Is it?" in asked
    assert "reference text" in asked


def test_a_prompt_of_the_user_is_filled_in_and_its_faults_are_named(server: tuple[str, list[dict[str, Any]]]) -> None:
    url, seen = server
    config = JudgeMetric(type="judge", model=f"{url}#m", prompt="Level {{ level }}: {{ answer }} quality 4")
    assert config.build().grade(ITEM) == 0.75
    assert seen[0]["messages"] == [{"role": "user", "content": "Level 3: Yes. quality 4"}]
    lacking = config.model_copy(update={"prompt": "{{ lavel }}"}).build()
    with pytest.raises(RecipeError, match=r"test\.jsonl:7.*lavel"):
        lacking.check(ITEM)


def test_a_server_that_fails_or_is_not_there_is_named(server: tuple[str, list[dict[str, Any]]]) -> None:
    url, _ = server
    metric = JudgeMetric(type="judge", model=f"{url}#m", prompt="break").build()
    with pytest.raises(ModelError, match="500"):
        metric.grade(ITEM)
    with pytest.raises(ModelError, match="cannot be reached"):
        JudgeMetric(type="judge", model="http://127.0.0.1:9/v1#m").build().grade(ITEM)
    with pytest.raises(ModelError, match="names a server and no model"):
        JudgeMetric(type="judge", model=url).build()


def test_a_judge_on_this_machine_replies_as_transformers_does(tiny_llama_dir: Path) -> None:
    """The prompt asks for nothing the random model could know; what counts is that its own greedy reply is rated."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = (kind.from_pretrained(tiny_llama_dir) for kind in (AutoModelForCausalLM, AutoTokenizer))
    answers = [f"answer {k} " + "ab" * k for k in range(6)]
    expected = []
    for answer in answers:
        turns = [{"role": "user", "content": answer}]
        text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        ids = tokenizer(text, return_tensors="pt").input_ids
        output = model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=48, pad_token_id=0
        )
        found = rating(tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True))
        expected.append(0.0 if found is None else (found - 1) / 4)
    config = JudgeMetric(type="judge", model=str(tiny_llama_dir), prompt="{{ answer }}", max_new_tokens=48)
    assert config.build().grade_all([Item(answer, "x") for answer in answers]) == expected
