"""vLLM's protocol, spoken with a program that has plain transformers and PEFT behind it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import torch
from asking import ask, ids, reference_answer, reference_logprobs
from forked import server
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from weitiao.serve.engine import Request, ServeError
from weitiao.study.engines import EngineSettings, open_engine

PROMPT = (1, 20, 30, 40)


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """Called as vLLM is."""
    script = tmp_path / "environment" / "bin" / "vllm"
    script.parent.mkdir(parents=True)
    script.write_text(f'#!/bin/sh\nexec {server().python} {Path(__file__).with_name("as_vllm.py")} "$@"\n')
    script.chmod(0o755)
    return script.parents[1]


def test_a_run_and_adapters_beside_it_are_written_by_vllm(tiny_llama_dir: Path, tmp_path: Path, program: Path) -> None:
    places = {}
    for seed, name in enumerate(("own", "beside", "later")):
        torch.manual_seed(seed)
        config = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
        places[name] = tmp_path / name
        get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_llama_dir), config).save_pretrained(str(places[name]))

    async def talk() -> dict[str, Any]:
        settings = EngineSettings(engine="vllm", vllm=program, adapters={"beside": places["beside"]}, context=64)
        opened = await open_engine(str(places["own"]), settings)
        engine: Any = opened.engine
        stops = opened.text.stop_ids
        found = {"own": await ask(engine, Request(prompt=PROMPT, max_tokens=20, stop_ids=stops, logprobs=3))}
        await engine.load_adapter("later", places["later"])
        for name in ("beside", "later"):
            found[name] = await ask(engine, Request(prompt=PROMPT, adapter=name, max_tokens=20, stop_ids=stops))
        await engine.unload_adapter("later")
        with pytest.raises(ServeError, match="no adapter later"):
            await ask(engine, Request(prompt=PROMPT, adapter="later"))
        found["long"] = await ask(engine, Request(prompt=PROMPT, max_tokens=500))
        await engine.close()
        return found

    found = asyncio.run(talk())
    stop = AutoModelForCausalLM.from_pretrained(tiny_llama_dir).config.eos_token_id
    for name, place in places.items():
        model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_llama_dir), str(place)).eval()
        expected = reference_answer(model, PROMPT, 20, stop)
        assert ids(found[name]) == expected
        assert found[name][-1].finish == ("stop" if expected[-1] == stop else "length")
        told = torch.tensor([token.logprob for token in found[name]])
        whole = reference_logprobs(model, PROMPT, expected)
        torch.testing.assert_close(told, whole[torch.arange(len(expected)), expected], atol=1e-4, rtol=0)
        if name == "own":
            assert [[one for one, _ in token.alternatives] for token in found[name]] == whole.topk(3).indices.tolist()
    assert len(found["long"]) == 64 - len(PROMPT)
    assert found["long"][-1].finish == "length"


def test_a_program_that_is_missing_or_does_not_start_is_told(tiny_llama_dir: Path, tmp_path: Path) -> None:
    for program, told in ((tmp_path / "nothing", "There is no program"), (Path("/bin/false"), "cannot be started")):
        settings = EngineSettings(engine="vllm", vllm=program, context=64)
        with pytest.raises(ServeError, match=told):
            asyncio.run(open_engine(str(tiny_llama_dir), settings))
