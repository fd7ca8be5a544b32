"""Many adapters on one base: mixed in a batch, each answers as PEFT has it answer alone."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from asking import ask, ask_all, ids, reference_answer, reference_logprobs, running, save_model, with_engine
from bitsandbytes.functional import dequantize_4bit, quantize_4bit
from peft import IA3Config, LoraConfig, PeftConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM
from workbench import evaluate_target, write_recipe

from weitiao.errors import ModelError, WeitiaoError
from weitiao.generation.generate import stop_ids
from weitiao.methods.note import NOTE
from weitiao.methods.open import open_model
from weitiao.recipe import load_recipe
from weitiao.rendering.answers import AnswerReader
from weitiao.rendering.render import Prompts
from weitiao.serve.engine import Request, ServeError
from weitiao.serve.own.engine import OwnEngine
from weitiao.study.engines import EngineSettings, open_engine
from weitiao.study.train import train

ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
CONFIGS: Mapping[str, PeftConfig] = {
    "small": LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False),
    "all": LoraConfig(r=4, lora_alpha=3, target_modules="all-linear", init_lora_weights=False),
    "rslora": LoraConfig(r=8, target_modules=ATTENTION, use_rslora=True, init_lora_weights=False),
    "patterns": LoraConfig(
        r=3, target_modules=ATTENTION, rank_pattern={"q_proj": 5}, alpha_pattern={"v_proj": 16}, init_lora_weights=False
    ),
}
PROMPTS = [[*range(20, 90), 7, n] for n in range(3)] + [[5, 6, 7]]


@pytest.fixture(scope="module")
def base(tiny_llama_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("base"), tiny_llama_dir, "llama")


@pytest.fixture(scope="module")
def adapters(base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    home = tmp_path_factory.mktemp("adapters")
    return {name: save_adapter(base, config, home / name) for name, config in CONFIGS.items()}


def save_adapter(base: Path, config: PeftConfig, directory: Path) -> Path:
    torch.manual_seed(len(directory.name))
    model = AutoModelForCausalLM.from_pretrained(base)
    config.task_type = "CAUSAL_LM"
    get_peft_model(model, config).save_pretrained(str(directory))
    return directory


def plain(base: Path, adapter: Path | None) -> Any:
    model = AutoModelForCausalLM.from_pretrained(base, attn_implementation="eager")
    return model if adapter is None else PeftModel.from_pretrained(model, str(adapter)).eval()


def test_mixed_in_a_batch_each_answers_as_alone(base: Path, adapters: dict[str, Path]) -> None:
    asked = [(name, prompt) for prompt in PROMPTS for name in (None, *adapters)]
    requests = [Request(prompt=tuple(prompt), adapter=name, max_tokens=15) for name, prompt in asked]

    async def talk(engine: OwnEngine) -> Any:
        assert set(engine.served.adapters) == set(adapters)
        mixed = await ask_all(engine, requests)
        await engine.unload_adapter("all")  # one in the middle: those behind it move up
        left = [request for request in requests if request.adapter != "all"]
        return mixed, await ask_all(engine, left)

    mixed, left = with_engine(talk, base, adapters, slots=8)
    models = {name: plain(base, adapters.get(name)) for name in (None, *adapters)}  # type: ignore[arg-type]
    whole = []
    for (name, prompt), found in zip(asked, mixed, strict=True):
        expected = reference_answer(models[name], prompt, 15)
        whole.append(expected)
        assert ids(found) == expected, name
        logprobs = reference_logprobs(models[name], prompt, expected)
        wanted = [float(logprobs[row, token]) for row, token in enumerate(expected)]
        assert [token.logprob for token in found] == pytest.approx(wanted, abs=2e-4)
    assert len(set(map(tuple, whole[: len(adapters) + 1]))) == len(adapters) + 1, "each says something else"
    stay = [place for place, (name, _) in enumerate(asked) if name != "all"]
    assert [ids(one) for one in left] == [whole[place] for place in stay]
    assert [one[0].cached for one in left] == [64 if len(asked[place][1]) > 70 else 0 for place in stay]


def test_loaded_and_unloaded_while_answers_run(base: Path, adapters: dict[str, Path]) -> None:
    async def talk(engine: OwnEngine) -> Any:
        long = asyncio.create_task(ask(engine, Request(prompt=(5, 6), max_tokens=150)))
        await engine.load_adapter("new", adapters["small"])
        request = Request(prompt=(5, 6), adapter="new", max_tokens=60)
        stream = engine.generate(request)
        tokens = [await anext(stream)]
        gone = asyncio.create_task(engine.unload_adapter("new"))
        await asyncio.sleep(0)
        with pytest.raises(ServeError, match="no adapter new"):
            await ask(engine, request)
        async for token in stream:
            assert not gone.done()
            tokens.append(token)
        await gone
        assert not engine.served.adapters
        with pytest.raises(ServeError, match="no adapter new"):
            await engine.unload_adapter("new")
        await engine.load_adapter("new", adapters["all"])  # another one by the same name knows nothing of it
        again = await ask(engine, request)
        assert again[0].cached == 0
        return tokens, again, await long

    tokens, again, long = with_engine(talk, base)
    assert ids(tokens) == reference_answer(plain(base, adapters["small"]), [5, 6], 60)
    assert ids(again) == reference_answer(plain(base, adapters["all"]), [5, 6], 60)
    assert ids(long) == reference_answer(plain(base, None), [5, 6], 150)


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (LoraConfig(r=2, target_modules=["q_proj"], use_dora=True), "lora_magnitude_vector"),
        (LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=["lm_head"]), "lm_head"),
        (LoraConfig(r=2, target_modules=["embed_tokens"]), "embed_tokens"),
        (LoraConfig(r=2, target_modules=["q_proj", "lm_head"]), "lm_head"),
        (IA3Config(target_modules=["k_proj"], feedforward_modules=[]), "is of type IA3"),
    ],
    ids=["dora", "whole parts", "embeddings", "head", "ia3"],
)
def test_what_is_not_plain_lora_is_served_for_itself_or_refused(
    base: Path, tmp_path: Path, config: PeftConfig, why: str
) -> None:
    directory = save_adapter(base, config, tmp_path / "adapter")

    async def refused(engine: OwnEngine) -> None:
        with pytest.raises(ServeError, match=why):
            await engine.load_adapter("it", directory)
        assert ids(await ask(engine, Request(prompt=(5, 6), max_tokens=3)))

    with_engine(refused, base)

    async def alone(engine: OwnEngine) -> Any:
        with pytest.raises(ServeError, match="takes no adapters"):
            await engine.load_adapter("it", directory)
        return await ask(engine, Request(prompt=(5, 6), max_tokens=15))

    assert ids(with_engine(alone, directory)) == reference_answer(plain(base, directory), [5, 6], 15)


def test_an_adapter_that_does_not_fit_is_refused(
    base: Path, adapters: dict[str, Path], tiny_llama_dir: Path, tmp_path: Path
) -> None:
    wider = save_model(tmp_path / "wider", tiny_llama_dir, "llama", hidden_size=64)
    other = save_adapter(wider, CONFIGS["small"], tmp_path / "other")
    noted = save_adapter(base, CONFIGS["small"], tmp_path / "noted")
    (noted / NOTE).write_text('{"base": "elsewhere", "fingerprint": "0123456789abcdef"}')

    async def talk(engine: OwnEngine) -> None:
        for directory, error, message in (
            (other, ServeError, "is for a model.layers.0.self_attn.q_proj of 64 by 32; here it is 32 by 32"),
            (noted, ModelError, "trained on another base model"),
            (base, ServeError, "holds no adapter"),
        ):
            with pytest.raises(error, match=message):
                await engine.load_adapter("it", directory)
        with pytest.raises(ServeError, match="an adapter small already"):
            await engine.load_adapter("small", adapters["small"])

    with_engine(talk, base, {"small": adapters["small"]})

    async def wrong() -> None:
        async with running(base, {"it": other}):
            pass

    with pytest.raises(WeitiaoError, match="is for a"):
        asyncio.run(wrong())


@pytest.mark.parametrize("quantization", [None, "nf4"])
def test_a_run_is_served_as_it_was_evaluated(tiny_llama_dir: Path, tmp_path: Path, quantization: str | None) -> None:
    recipe = write_recipe(
        tmp_path,
        tiny_llama_dir,
        data={"test": 0.3},
        train={"epochs": 2},
        evaluate={"generation": {"max_new_tokens": 12}},
    )
    train(load_recipe(recipe, [] if quantization is None else [f"model.quantization={quantization}"]))
    run = tmp_path / "run"
    scored = evaluate_target(run)
    opened = open_model(run)
    prompt, reader = Prompts(opened.tokenizer), AnswerReader(opened.tokenizer)
    stops = stop_ids(opened.model, opened.tokenizer)

    async def talk(engine: OwnEngine) -> Any:
        assert engine.stop_ids == stops
        requests = [
            Request(prompt=tuple(prompt(one.messages)), max_tokens=12, stop_ids=stops) for one in scored.predictions
        ]
        return await ask_all(engine, requests)

    found = with_engine(talk, run)
    assert len(found) >= 10
    for expected, answer in zip(scored.predictions, found, strict=True):
        tokens = [token for token in ids(answer) if token not in stops]
        assert len(tokens) == expected.num_tokens
        assert reader.read(expected.messages, None, tokens, expected=expected.expected) == expected.answer


def test_an_untuned_model_is_served_with_rounded_weights(base: Path, adapters: dict[str, Path]) -> None:
    reference = plain(base, None)
    for layer in reference.model.layers.modules():
        if isinstance(layer, torch.nn.Linear):
            layer.weight.data = dequantize_4bit(
                *quantize_4bit(layer.weight.data, quant_type="nf4", compress_statistics=True)
            )

    async def served(target: Path, **settings: Any) -> list[int]:
        opened = await open_engine(str(target), EngineSettings(quantization="nf4", **settings))
        try:
            return ids(await ask(opened.engine, Request(prompt=tuple(PROMPTS[0]), max_tokens=10, stop_ids=frozenset())))
        finally:
            await opened.engine.close()

    expected = reference_answer(reference, PROMPTS[0], 10)
    assert expected != reference_answer(plain(base, None), PROMPTS[0], 10)
    assert asyncio.run(served(base)) == expected
    for target, engine, what in ((adapters["all"], "own", "is tuned"), (base, "llama.cpp", "rounds no weights")):
        with pytest.raises(ServeError, match=what):
            asyncio.run(served(target, engine=engine))
