"""Our own engine behind the API: adapters on one base, compared on a route; feedback; scores; evaluation's answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import torch
from openai import OpenAI
from peft import LoraConfig, get_peft_model
from scipy import stats
from serving import Served, serving
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer, LlamaConfig
from workbench import weitiao

from weitiao.data.example import Example
from weitiao.evaluation.answers import write_answers
from weitiao.evaluation.sequential import compare_rates
from weitiao.feedback.traffic import ServedAnswer, TrafficStore, UnknownAnswerError
from weitiao.generation.config import GenerationConfig
from weitiao.methods.open import open_model

QUESTION = [{"role": "user", "content": "which colour has thing 3?"}]


@pytest.fixture(scope="module")
def home(tiny_llama_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two adapters on the tiny model, and a reward model."""
    home = tmp_path_factory.mktemp("home")
    for seed, name in enumerate(("one", "two")):
        torch.manual_seed(seed)
        config = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
        get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_llama_dir), config).save_pretrained(str(home / name))
    judge = LlamaConfig.from_pretrained(tiny_llama_dir, num_labels=1)
    judge.pad_token_id = 0
    AutoModelForSequenceClassification.from_config(judge).save_pretrained(home / "reward")
    AutoTokenizer.from_pretrained(tiny_llama_dir).save_pretrained(home / "reward")
    return home


def start(home: Path, tiny: Path, *more: str | Path) -> Any:
    targets = [f"tuned={home / 'one'}", f"base={tiny}", f"reward={home / 'reward'}"]
    route = ["--route", "tuned=0.3,base=0.7", "--feedback", home / "feedback.db"]
    return serving(home / "server", *targets, *route, "--adapters", home, *more)


@pytest.fixture(scope="module")
def served(home: Path, tiny_llama_dir: Path) -> Iterator[Served]:
    with start(home, tiny_llama_dir) as found:
        yield found


@pytest.fixture(scope="module")
def client(served: Served) -> OpenAI:
    return OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0)


def ask(client: OpenAI, user: str | None = None, *, model: str = "default", content: str = "hi", **more: Any) -> Any:
    turns: Any = [{"role": "user", "content": content}]
    extra = {} if user is None else {"user": user}
    return client.chat.completions.create(model=model, messages=turns, max_tokens=1, **extra, **more)


HTTP = httpx2.Client()


def judge(url: str, **body: Any) -> httpx2.Response:
    return HTTP.post(f"{url}/v1/feedback", json=body)


def route(url: str) -> Any:
    return HTTP.get(f"{url}/v1/route").json()


def test_answers_are_those_of_evaluation(client: OpenAI, home: Path, tiny_llama_dir: Path) -> None:
    rows = [
        Example(str(i), ({"role": "user", "content": f"thing {i}?"}, {"role": "assistant", "content": "x"}))
        for i in range(6)
    ]
    for name, target in (("base", tiny_llama_dir), ("tuned", home / "one")):
        opened = open_model(target)
        expected = write_answers(opened.model, opened.tokenizer, rows, GenerationConfig(max_new_tokens=20))
        for row, one in zip(rows, expected, strict=True):
            found = client.chat.completions.create(model=name, messages=list(row.prompt), max_tokens=20)  # type: ignore[arg-type]
            assert found.choices[0].message.content == one.answer
            assert found.choices[0].finish_reason == ("stop" if one.stopped else "length")


def test_users_stay_with_their_model_and_the_shares_are_met(client: OpenAI) -> None:
    users = [f"user {i}" for i in range(60)]
    found = {user: ask(client, user).model for user in users}
    assert {user: ask(client, user).model for user in users[:10]} == {user: found[user] for user in users[:10]}
    tuned = sum(model == "tuned" for model in found.values())
    assert stats.binomtest(tuned, len(users), 0.3).pvalue > 1e-3


def test_judgements_decide_and_outlive_a_killed_server(home: Path, tiny_llama_dir: Path) -> None:
    copy = home / "again"
    copy.mkdir()
    for name in ("one", "two", "reward"):
        (copy / name).symlink_to(home / name)
    counts = {"tuned": [0, 0], "base": [0, 0]}
    with start(copy, tiny_llama_dir) as served:
        client = OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0)
        for i in range(24):
            answer = ask(client, f"judge {i}", content=f"question {i % 5}")
            good = answer.model == "tuned" or i % 4 == 0
            counts[answer.model][not good] += 1
            assert judge(served.url, id=answer.id, rating="good" if good else "bad").status_code == 200
            if i < 5:
                judge(served.url, id=answer.id, rating="bad")  # a user counts once
        expected = compare_rates(*(tuple(counts[name]) for name in ("tuned", "base")))
        (found,) = route(served.url)["comparisons"]
        assert found["judged"] == [sum(counts["tuned"]), sum(counts["base"])]
        assert found["win_rate_interval"] == pytest.approx(expected.win_rate[1:])
        served.process.kill()
        served.process.wait()
    kept = TrafficStore(copy / "feedback.db").outcomes()
    assert kept == {name: tuple(found) for name, found in counts.items()}
    done = weitiao("feedback", "export", copy / "feedback.db", copy / "pairs.jsonl")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (copy / "pairs.jsonl").read_text().splitlines()]
    assert rows
    assert all(row["messages"][0]["content"].startswith("question") for row in rows)


def test_a_better_text_and_a_comparison_become_pairs(served: Served, client: OpenAI, home: Path) -> None:
    first, second = (ask(client, model=name, content="which?") for name in ("base", "tuned"))
    assert judge(served.url, id=first.id, better="red").status_code == 200
    assert judge(served.url, id=second.id, better_than=first.id, comment="shorter").status_code == 200
    other = ask(client, model="base", content="another")
    assert judge(served.url, id=second.id, better_than=other.id).status_code == 400
    assert judge(served.url, id="nobody", rating="good").status_code == 404
    assert judge(served.url, id=first.id).status_code == 400
    weitiao("feedback", "export", home / "feedback.db", home / "better.jsonl")
    rows = [json.loads(line) for line in (home / "better.jsonl").read_text().splitlines()]
    chosen = [row["chosen"]["content"] for row in rows if row["messages"][0]["content"] == "which?"]
    assert chosen[0] == "red"


def test_a_model_is_promoted_and_rolled_back_while_it_runs(served: Served, client: OpenAI) -> None:
    before = route(served.url)["weights"]
    assert HTTP.post(f"{served.url}/v1/route", json={"weights": {"tuned": 1.0}}).status_code == 200
    assert {ask(client, f"user {i}").model for i in range(10)} == {"tuned"}
    assert HTTP.post(f"{served.url}/v1/route", json={"weights": {"nobody": 1.0}}).status_code == 404
    assert HTTP.post(f"{served.url}/v1/route", json={"weights": {"tuned": 0.4}}).status_code == 400
    assert HTTP.post(f"{served.url}/v1/route", json={"weights": route(served.url)["previous"]}).status_code == 200
    assert route(served.url)["weights"] == before


def test_adapters_come_and_go(served: Served, client: OpenAI, home: Path, tmp_path: Path) -> None:
    def load(name: str, path: Path) -> httpx2.Response:
        body = {"lora_name": name, "lora_path": str(path), "base_model_name": "base"}
        return HTTP.post(f"{served.url}/v1/load_lora_adapter", json=body)

    assert "may not come from" in load("two", tmp_path).json()["error"]["message"]
    for path in (home / "missing", home / ("a" * 3000), Path(f"{home}/a\0b")):
        assert load("two", path).status_code == 400
    assert load("tuned", home / "two").status_code == 400
    assert load("two", home / "two").status_code == 200
    assert ask(client, model="two").model == "two"
    assert "two" in {one.id for one in client.models.list()}
    assert HTTP.post(f"{served.url}/v1/unload_lora_adapter", json={"lora_name": "two"}).status_code == 200
    with pytest.raises(Exception, match="no model 'two'"):
        ask(client, model="two")


def test_a_schema_is_met_or_refused(client: OpenAI) -> None:
    def answer(schema: Any, tokens: int = 100) -> Any:
        form: Any = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
        return client.chat.completions.create(
            model="tuned",
            messages=QUESTION,
            response_format=form,
            max_tokens=tokens,  # type: ignore[arg-type]
        )

    found = answer({"enum": ["red", "green"]})
    assert json.loads(found.choices[0].message.content) in ("red", "green")
    assert found.choices[0].finish_reason == "stop"
    with pytest.raises(Exception, match="400"):
        answer({"type": "integer", "minimum": 5, "maximum": 3})


def test_scores_are_those_of_plain_transformers(served: Served, home: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(str(home / "reward"))
    model = AutoModelForSequenceClassification.from_pretrained(home / "reward").eval()
    several = [[*QUESTION, {"role": "assistant", "content": one}] for one in ("red", "a longer answer")]
    found = HTTP.post(f"{served.url}/v1/score", json={"model": "reward", "messages": several}).json()["data"]
    for conversation, one in zip(several, found, strict=True):
        text = tokenizer.apply_chat_template(conversation, tokenize=False).rstrip("\n")
        with torch.no_grad():
            expected = model(**tokenizer(text, return_tensors="pt", add_special_tokens=False)).logits
        assert one["score"] == pytest.approx(float(expected), rel=1e-4, abs=1e-5)
    refused = HTTP.post(f"{served.url}/v1/score", json={"model": "reward", "messages": QUESTION})
    assert refused.status_code == 400
    assert HTTP.post(f"{served.url}/v1/score", json={"model": "base", "messages": several}).status_code == 404


def test_texts_are_left_out_and_forgotten_as_asked(tmp_path: Path) -> None:
    one = ServedAnswer(
        id="a", model="m", routed=True, user="ada", messages=QUESTION, answer="sesame", sampling={}, prompt_tokens=3,
        tokens=1, finish="stop", seconds=0.1,
    )  # fmt: skip
    silent = TrafficStore(tmp_path / "silent.db", keep_texts=False)
    silent.record(one)
    assert silent.rate("a", "good") == "m"
    with pytest.raises(UnknownAnswerError):
        silent.prefer("a", better="x", comment=None)
    whole = TrafficStore(tmp_path / "whole.db")
    whole.record(one)
    whole.prefer("a", better="open", comment=None)
    written = [b"".join(path.read_bytes() for path in tmp_path.glob(f"{name}.db*")) for name in ("silent", "whole")]
    assert [b"sesame" in one for one in written] == [False, True]
    assert not any(b"ada" in one for one in written)
    assert whole.forget(1) == 0
    assert whole.forget(0) == 1
    assert whole.outcomes() == {}
    assert weitiao("feedback", "export", tmp_path / "whole.db", tmp_path / "none.jsonl").returncode == 2
