"""The task of a project in the browser: what is asked of the tuned model, what metrics say of an answer, and prompts
that are tried by hand."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from playwright.sync_api import Page, expect
from starlette.testclient import TestClient
from transformers import AutoModelForCausalLM, AutoTokenizer
from ui.conftest import Served
from workbench import COLOURS, INSTRUCTION, write_long_rows, write_recipe

from weitiao.data.load import DataSet, load_data
from weitiao.evaluation.config import METRICS
from weitiao.recipe import load_recipe
from weitiao.study.trying import try_prompt, words_of
from weitiao.ui.servers import Servers
from weitiao.ui.versions import versions
from weitiao.ui.workspace import Workspace

PROMPT = "Say it in a word: {{ input }}"


def test_what_is_asked_is_in_the_recipe_and_the_baseline_on_the_page(client: TestClient, workspace: Workspace) -> None:
    project = workspace.new_project("one")
    (project.path / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n', encoding="utf-8")
    text = "model: m\ndata: {train: rows.jsonl}\nevaluate: {metrics: [exact_match, json_valid]}\n"
    project.recipe.write_text(text, encoding="utf-8")
    etag = client.get("/api/projects/one/task").json()["etag"]
    wanted = {"etag": etag, "metric": "json_valid", "target": 0.8, "suite": "small"}
    saved = client.post("/api/projects/one/task", json=wanted)
    assert saved.status_code == 200, saved.text
    recipe = load_recipe(project.recipe)
    assert [one.title for one in recipe.evaluate.metrics] == ["json_valid", "exact_match"]
    assert (recipe.verdict.target, recipe.retention.suite) == (0.8, "small")
    refused = client.post("/api/projects/one/task", json={**wanted, "etag": saved.json()["etag"], "target": 8})
    assert (refused.status_code, refused.json()["error"]["field"]) == (400, "verdict.target")
    with_settings = {
        **wanted, "etag": saved.json()["etag"], "metric": "regex",
        "settings": {"pattern": "(\\d+)", "take": "last", "compare": "true"},
    }  # fmt: skip
    saved = client.post("/api/projects/one/task", json=with_settings)
    assert saved.status_code == 200, saved.text
    first = load_recipe(project.recipe).evaluate.metrics[0].model_dump(exclude_unset=True)
    assert first == {"type": "regex", "pattern": "(\\d+)", "take": "last"}
    lacking = client.post("/api/projects/one/task", json={**wanted, "etag": saved.json()["etag"], "metric": "judge"})
    assert (lacking.status_code, lacking.json()["error"]["field"]) == (400, "settings.judge.model")

    baseline: Path = workspace.root / "tickets" / "runs" / "1" / "baseline.json"
    (project.runs / "1").mkdir(parents=True)
    shutil.copy(baseline, project.runs / "1" / "baseline.json")
    for language in ("en", "zh"):
        page = client.get("/projects/one/task", headers={"accept-language": language})
        assert page.status_code == 200
        assert (
            client.get("/api/projects/one/task").json()["baseline"]["advice"]["reasons"][0][language][:20] in page.text
        )


def test_every_metric_grades_an_answer_or_says_what_it_needs(client: TestClient, workspace: Workspace) -> None:
    project = workspace.new_project("graded")
    project.recipe.write_text("model: m\nevaluate: {metrics: [number, {type: length, most: 2}]}\n", encoding="utf-8")

    def grades(answer: str, expected: str, settings: dict[str, Any] | None) -> dict[str, Any]:
        body = {"items": [{"expected": expected, "answer": answer}], "settings": settings}
        found = client.post("/api/projects/graded/grades", json=body)
        assert found.status_code == 200, found.text
        return {one["metric"]: one for one in found.json()}

    plain = grades("It makes 42", "The sum is 42.", {})
    assert list(plain) == list(METRICS)
    found = {kind: one["grades"] and one["grades"][0] for kind, one in plain.items()}
    assert (found["number"], found["exact_match"], found["json_valid"]) == (1.0, 0.0, 0.0)
    assert {kind: one["needs"] for kind, one in plain.items() if one["needs"]} == {
        "regex": ["pattern"], "json_schema": ["path", "definition"], "language": ["code"], "function": ["path"],
        "endpoint": ["url"], "judge": ["model"],
    }  # fmt: skip
    assert "JSON" in plain["json_fields"]["problem"]  # the expected answer is none

    (project.path / "mine.py").write_text("def ends(answer, expected, row): return answer[-1] == expected[-1]\n")
    told = {
        "regex": {"pattern": "[0-9]+"}, "json_schema": {"definition": '{"type": "integer"}'},
        "language": {"code": "zh"}, "function": {"path": "mine.py:ends"}, "length": {"least": "3", "unit": "words"},
    }  # fmt: skip
    asked = grades("共 42", "42", told)
    assert [asked[kind]["grades"][0] for kind in told] == [1.0, 0.0, 1.0, 1.0, 0.0]
    own = grades("about 42", "42", None)
    assert {kind: one["grades"] for kind, one in own.items()} == {"number": [1.0], "length": [1.0]}

    (workspace.root.parent / "other.py").write_text("def ends(answer, expected, row): return 1\n")
    outside = grades("a", "b", {"function": {"path": "../../other.py:ends"}})["function"]
    assert (outside["grades"], "outside" in outside["problem"]) == (None, True)


def test_general_rows_are_asked_for_with_what_they_cost(
    client: TestClient, workspace: Workspace, tiny_llama_dir: Path
) -> None:
    path = workspace.root / "kept"
    recipe = write_recipe(path, tiny_llama_dir, num_rows=57, train={"share_prefixes": False, "epochs": 1})
    write_long_rows(workspace.root / "general.jsonl", 2, words=30)
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama_dir)

    def lengths(file: Path) -> list[int]:
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        told = [
            [
                {"role": "user", "content": "\n".join(filter(None, (row["instruction"], row["input"])))},
                {"role": "assistant", "content": row["output"]},
            ]
            for row in rows
        ]
        ids = [tokenizer.apply_chat_template(one, return_dict=False) for one in told]
        return [len(one) - 1 for one in ids]  # nothing is learned behind the end of the answer

    told = client.get("/api/projects/kept/replay", params={"path": "general.jsonl", "share": 0.05}).json()
    assert (told["num_rows"], told["num_different"], told["num_train"]) == (3, 2, 57)
    some, general = sum(lengths(path / "rows.jsonl")), lengths(workspace.root / "general.jsonl")
    longer = [(sum(general) + one) / some for one in general]
    assert min(longer) * 0.98 < told["share_longer"] < max(longer) * 1.02  # one of the two comes twice

    task = client.get("/api/projects/kept/task").json()
    wanted = {"etag": task["etag"], "replay": {"path": "general.jsonl", "share": 0.2}}
    saved = client.post("/api/projects/kept/task", json=wanted).json()
    loaded = load_data(load_recipe(recipe).data)
    assert loaded.num_replay == round(57 * 0.2 / 0.8)
    assert client.get("/api/projects/kept/task").json()["replay"] == wanted["replay"]
    assert [one.what for one in versions(workspace.project("kept"))] == ["found", "replayed"]
    again = client.post("/api/projects/kept/task", json={**wanted, "etag": saved["etag"]}).json()
    assert len(versions(workspace.project("kept"))) == 2  # nothing changed
    client.post("/api/projects/kept/task", json={"etag": again["etag"], "replay": {"share": 0.2}})
    assert load_recipe(recipe).data.replay is None
    outside = {"etag": "", "replay": {"path": "../x.jsonl", "share": 0.1}}
    assert client.post("/api/projects/kept/task", json=outside).status_code == 403


@pytest.mark.parametrize("part", ["validation", "train"])
def test_rows_under_another_prompt_are_the_same_rows(tmp_path: Path, tiny_llama_dir: Path, part: str) -> None:
    data = {"test": 0.25, **({"validation": 0.25} if part == "validation" else {})}
    recipe = load_recipe(write_recipe(tmp_path, tiny_llama_dir, data=data))
    words, columns = words_of(recipe.data.train[0], "answer")
    assert (words, columns) == ({"prompt": "{{ instruction }}\n{{ input }}"}, ("instruction", "input", "output"))
    plain, other = try_prompt(recipe, {}, num=4), try_prompt(recipe, {"prompt": PROMPT, "system": "Be brief."}, num=4)
    loaded = load_data(recipe.data)
    rows = loaded.validation or loaded.train
    by_id = {one.row_id: one for one in rows}
    assert (plain.part, plain.num_rows, len(plain.task.examples)) == (part, len(rows), 4)
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama_dir)
    for one, asked, text in zip(plain.task.examples, other.task.examples, other.texts, strict=True):
        question = str(by_id[one.row_id].messages[0]["input"])
        assert (asked.row_id, asked.answer) == (one.row_id, by_id[one.row_id].answer)
        turns = [
            {"role": "system", "content": "Be brief."}, {"role": "user", "content": f"Say it in a word: {question}"},
        ]  # fmt: skip
        assert text == tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    shown = try_prompt(recipe, {"prompt": PROMPT}, num=4, shots=2)
    hidden = {one.row_id for one in (*loaded.test, *plain.task.examples)}
    for one in shown.task.examples:
        solved = [str(turn["content"]) for turn in one.messages[:4:2]]
        assert all(turn.startswith("Say it in a word: ") for turn in solved)
        assert not {f"Say it in a word: {row.messages[0]['input']}" for row in (*loaded.test, *plain.task.examples)} & {
            *solved
        }
    assert hidden.isdisjoint(one.row_id for one in loaded.train) == (part == "validation")


@pytest.fixture
def project(served: Served, tiny_llama_dir: Path) -> Iterator[Path]:
    """A project with validation rows; the servers that its trials start end with the test."""
    data = {"validation": 0.2, "test": 0.2}
    yield write_recipe(served.root / "tried", tiny_llama_dir, data=data, evaluate={"generation": {"max_new_tokens": 6}})
    servers = Servers(served.queue)
    for one in servers.all():
        servers.stop(one)


def things(data: DataSet) -> list[set[str]]:
    """What the rows of each part ask about, whatever their words."""
    return [set(re.findall(r"thing \d+", str(part))) for part in (data.train, data.validation, data.test)]


def greedy(model: Path, prompt: str) -> str:
    """What plain transformers answers."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    loaded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    ids = tokenizer(prompt, return_tensors="pt", add_special_tokens=False)
    ends = tokenizer.convert_tokens_to_ids(["<|im_end|>"])
    out = loaded.generate(**ids, do_sample=False, max_new_tokens=6, eos_token_id=ends, pad_token_id=ends[0])
    return str(tokenizer.decode(out[0, ids["input_ids"].shape[1] :], skip_special_tokens=True))


def test_a_prompt_is_tried_by_hand_and_kept(page: Page, served: Served, project: Path, tiny_llama_dir: Path) -> None:
    kept = things(load_data(load_recipe(project).data))
    address = served.url.replace("/?", "/projects/tried/task?")
    page.goto(address)
    expect(page.locator("[name=prompt]")).to_have_value("{{ instruction }}\n{{ input }}", timeout=30_000)
    page.locator("[name=expected]").fill("<b>red</b>")
    page.locator("[name=answer]").fill("<b>red</b>!")
    page.get_by_role("button", name="Grade it").click()
    expect(page.locator("[data-metric=normalized_match] [data-grade]")).to_have_text("100%", timeout=30_000)
    expect(page.locator("[data-metric=exact_match] [data-grade]")).to_have_text("0%")
    page.locator("[name=system]").fill("Be brief.")
    page.locator("[name=prompt]").fill(PROMPT)
    page.locator("[name=num]").fill("2")
    page.get_by_role("button", name="Ask the model").click()
    page.locator("#score small").wait_for(timeout=60_000)
    expect(page.locator("#answers li")).to_have_count(2)
    seen = page.locator("#answers pre").all_text_contents()
    said = page.locator("#answers .said").all_text_contents()
    rows = [json.loads(line) for line in (project.parent / "rows.jsonl").read_text().splitlines()]
    for prompt, answer in zip(seen, said, strict=True):
        assert prompt.startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nSay it in a word: what")
        assert answer.partition(" ")[2].strip() == greedy(tiny_llama_dir, prompt).strip()
    right = [row["output"] for prompt in seen for row in rows if row["input"] in prompt]
    assert page.locator("#answers b").all_text_contents() == right
    page.reload()
    expect(page.locator("[name=prompt]")).to_have_value(PROMPT)
    assert page.locator("#answers .said").all_text_contents() == said
    (server,) = page.request.get(served.url.replace("/?", "/api/servers?")).json()
    assert server["command"].endswith("--engine own")

    page.get_by_role("button", name="Keep this prompt").click()
    expect(page.locator("[name=prompt]")).to_have_value(PROMPT)
    page.wait_for_function("() => document.querySelector('#trial [name=prompt]').defaultValue.startsWith('Say')")
    loaded = load_data(load_recipe(project).data)
    question = f"Say it in a word: {rows[0]['input']}"
    every = {str(one.messages[1]["content"]): one for one in (*loaded.train, *loaded.validation, *loaded.test)}
    assert every[question].messages[0]["content"] == "Be brief."
    assert every[question].answer in [" and ".join(COLOURS[:k]) for k in (1, 2, 3)]
    assert INSTRUCTION not in "".join(every)
    assert things(loaded) == kept  # no row went to another part


def test_a_prompt_is_tried_with_the_template_of_the_recipe(
    client: TestClient, workspace: Workspace, tiny_llama_dir: Path
) -> None:
    limits = {"generation": {"max_new_tokens": 6}}
    rendering = {"template": "alpaca"}
    write_recipe(workspace.root / "other", tiny_llama_dir, data={"test": 0.2}, rendering=rendering, evaluate=limits)
    trial = client.post("/api/projects/other/trials", json={"num": 2}).json()
    server = f"/api/servers/{trial['server']}"
    while client.get(server).json()["state"] == "loading":
        time.sleep(0.1)
    for row in trial["rows"]:
        assert row["text"].startswith("Below is an instruction")
        asked = {"model": trial["model"], **trial["sampling"], **row["request"]}
        told = client.post(f"{server}/v1/chat/completions", json=asked).json()
        assert told["usage"]["prompt_tokens"] == row["tokens"]
        assert told["choices"][0]["message"]["content"].strip() == greedy(tiny_llama_dir, row["text"]).strip()
    client.post(f"{server}/stop")


def test_a_prompt_is_tried_on_the_model_as_the_recipe_rounds_it(
    client: TestClient, workspace: Workspace, tiny_llama_dir: Path
) -> None:
    write_recipe(workspace.root / "rounded", tiny_llama_dir, data={"test": 0.2})
    project = "/api/projects/rounded"
    etag = client.get(f"{project}/recipe").json()["etag"]
    assert client.patch(f"{project}/recipe", json={"changes": {"model.quantization": "nf4"}, "etag": etag}).is_success
    server = client.post(f"{project}/trials", json={"num": 1}).json()["server"]
    assert client.get(f"/api/servers/{server}").json()["command"].endswith("--engine own --quantization nf4")
    client.post(f"/api/servers/{server}/stop")
