"""A run as it was exported: the file to ship is served, its adapter on its base, and a route outlives the server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import torch
from export.conftest import END, make_model, make_run
from openai import OpenAI
from peft import PeftModel
from serving import MODEL, Served, serving
from transformers import AutoModelForCausalLM, AutoTokenizer
from workbench import weitiao

from weitiao.export.converter import Converter

pytestmark = pytest.mark.usefixtures("at_once")
ROUTE = ["--route", "tuned=0.2,base=0.8", "--feedback", "feedback.db"]  # as the help of the command has it


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, smollm2_dir: Path) -> Path:
    home = tmp_path_factory.mktemp("exported")
    base = make_model(home / "base", AutoTokenizer.from_pretrained(smollm2_dir))
    run = make_run(home, base, train={"max_steps": 8, "learning_rate": 0.02})
    formats = "gguf-f16,gguf-q8_0,gguf-lora"
    done = weitiao("export", run, "--to", formats, "--largest-loss", "1", "--rows", "6")
    assert done.returncode == 0, done.stderr
    return run


def client_of(served: Served) -> OpenAI:
    return OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0)


def test_the_smallest_good_export_is_served_and_a_route_that_was_set_outlives_the_server(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "tickets").symlink_to(run)
    targets = ["tuned=runs/tickets", f"base={MODEL}"]

    def weights(served: Served) -> Any:
        return httpx2.get(f"{served.url}/v1/route").json()["weights"]

    with serving(tmp_path / "first", *targets, *ROUTE) as served:
        roots = {one["id"]: one.get("root") for one in httpx2.get(f"{served.url}/v1/models").json()["data"]}
        assert roots["tuned"] == (
            "runs/tickets/export/gguf-q8_0/model-q8_0.gguf, the smallest export that is still good"
        )
        assert weights(served) == {"tuned": 0.2, "base": 0.8}
        answer = client_of(served).chat.completions.create(
            model="default", messages=[{"role": "user", "content": "Hi"}], max_tokens=2
        )
        assert answer.model in ("tuned", "base")
        assert httpx2.post(f"{served.url}/v1/route", json={"weights": {"tuned": 1.0}}).status_code == 200
        served.process.kill()
        served.process.wait()
    with serving(tmp_path / "again", *targets, *ROUTE) as served:
        assert weights(served) == {"tuned": 1.0}
        assert httpx2.get(f"{served.url}/v1/route").json()["previous"] == {"tuned": 0.2, "base": 0.8}
    assert "as it was set last" in (tmp_path / "again" / "serve.log").read_text()
    other = ["--route", "tuned=0.5,base=0.5", *ROUTE[2:]]
    with serving(tmp_path / "other", *targets, *other) as served:
        assert weights(served) == {"tuned": 0.5, "base": 0.5}
    with serving(tmp_path / "back", *targets, *ROUTE) as served:
        assert weights(served) == {"tuned": 0.2, "base": 0.8}


def test_several_files_of_which_none_was_found_good_are_told(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    copy.mkdir()
    for one in run.iterdir():
        (copy / one.name).symlink_to(one)
    (copy / "exports.json").unlink()
    done = weitiao("serve", copy)
    assert done.returncode == 2
    assert "several GGUF files" in done.stderr and "Name the one" in done.stderr


@pytest.fixture(scope="module")
def lora(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenAI]:
    home = tmp_path_factory.mktemp("lora")
    Converter().model(run.parent / "base", home / "base.gguf", "f32")
    adapter = run / "export" / "gguf-lora" / "adapter.gguf"
    with serving(home, home / "base.gguf", "--adapter", f"tuned={adapter}") as served:
        yield client_of(served)


def test_an_adapter_in_gguf_answers_as_plain_peft_does_and_the_base_as_it_is(lora: OpenAI, run: Path) -> None:
    base = AutoModelForCausalLM.from_pretrained(run.parent / "base")
    without = _answers(lora, run, "base", base)
    assert without != _answers(lora, run, "tuned", PeftModel.from_pretrained(base, run / "final"))


def _answers(lora: OpenAI, run: Path, name: str, model: Any) -> list[str]:
    """What is served, which is what a model writes by itself."""
    every = []
    tokenizer = AutoTokenizer.from_pretrained(run / "final")
    ends = [tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids(END)]
    for number in range(4):
        turns: Any = [{"role": "user", "content": f"which colour has thing {number}?"}]
        ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        out = model.eval().generate(**ids, do_sample=False, max_new_tokens=6, eos_token_id=ends)
        expected = tokenizer.decode(out[0, ids["input_ids"].shape[1] :], skip_special_tokens=True)
        found = lora.chat.completions.create(model=name, messages=turns, max_tokens=6, logprobs=True, top_logprobs=1)
        with torch.no_grad():
            logits = model(out).logits[0, ids["input_ids"].shape[1] - 1 : -1].log_softmax(-1)
        assert found.choices[0].message.content == expected
        for told, row in zip((found.choices[0].logprobs.content or [])[:2], logits, strict=False):  # type: ignore[union-attr]
            assert told.logprob == pytest.approx(float(row.max()), abs=0.05)
        every.append(expected)
    return every
