"""Our engine: answers are those of transformers to each prompt alone, whatever is answered beside them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from asking import VOCABULARY, ask, ask_all, ids, reference_answer, reference_logprobs, running, save_model, with_engine
from transformers import AutoModelForCausalLM, AutoTokenizer

from weitiao.errors import ModelError
from weitiao.generation.config import GenerationConfig
from weitiao.generation.generate import generate, stop_ids
from weitiao.models.attention import FOREST
from weitiao.serve.engine import Request, RequestError, ServeError
from weitiao.serve.own.engine import OwnEngine

FAMILIES = ("llama", "mistral-window", "mixtral", "gpt_neox", "gemma2", "gpt_oss", "lfm2")


def prompts(seed: int = 0) -> list[list[int]]:
    """Some alone, some with long and short beginnings in common, one twice."""
    rng = random.Random(seed)

    def tokens(num: int) -> list[int]:
        return [rng.randrange(VOCABULARY) for _ in range(num)]

    stem, short = tokens(70), tokens(40)
    made = (
        [stem + tokens(n) for n in (3, 9, 20)] + [short + tokens(n) for n in (1, 30)] + [tokens(n) for n in (1, 5, 90)]
    )
    return [*made, made[1]]


@pytest.fixture(scope="module")
def model_of(tiny_llama_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    home = tmp_path_factory.mktemp("served")
    return lambda family: save_model(home / family, tiny_llama_dir, family)


@pytest.mark.parametrize("family", FAMILIES)
def test_answers_are_those_to_each_prompt_alone(family: str, model_of: Callable[[str], Path]) -> None:
    directory, asked = model_of(family), prompts()
    plain = AutoModelForCausalLM.from_pretrained(directory, attn_implementation="eager")
    whole = [reference_answer(plain, prompt, 24) for prompt in asked]
    stop = whole[0][12]  # answers end at different steps
    expected = [one[: one.index(stop) + 1] if stop in one else one for one in whole]
    assert len({len(one) for one in expected}) > 1
    requests = [Request(prompt=tuple(p), max_tokens=24, stop_ids=frozenset({stop}), logprobs=3) for p in asked]

    async def twice(engine: OwnEngine) -> Any:
        return await ask_all(engine, requests), await ask_all(engine, requests[::-1])

    first, again = with_engine(twice, directory, slots=4, piece_tokens=13)
    for found in (first, again[::-1]):
        assert [ids(one) for one in found] == expected
        assert [one[-1].finish for one in found] == ["stop" if one[-1] == stop else "length" for one in expected]
        assert all(token.finish is None for one in found for token in one[:-1])
    for prompt, answer in zip(asked, first, strict=True):
        logprobs = reference_logprobs(plain, prompt, ids(answer))
        values, likely = logprobs.topk(3)
        for row, token in enumerate(answer):
            assert token.logprob == pytest.approx(float(logprobs[row, token.id]), abs=1e-4)
            assert [value for _, value in token.alternatives] == pytest.approx(values[row].tolist(), abs=1e-4)
            assert token.alternatives[0][0] == likely[row, 0]
    cached = [one[0].cached for one in again[::-1]]
    if family == "lfm2":  # of rows that are run alone nothing is kept
        assert not any(cached)
    else:  # by 32 where sequences part; all but the last token of what was there
        assert cached == [64, 64, 64, 32, 64, 0, 0, 64, 64]


def test_a_long_answer_beside_short_ones(tiny_llama_dir: Path, tmp_path: Path) -> None:
    """Longer than what is copied, than a private part gets wide, and than the buffers are at first."""
    directory = save_model(tmp_path / "model", tiny_llama_dir, "mistral-window", max_position_embeddings=2048)
    plain = AutoModelForCausalLM.from_pretrained(directory, attn_implementation="eager")
    rng = random.Random(1)
    asked = [([rng.randrange(VOCABULARY) for _ in range(length)], n) for length, n in ((300, 640), (3, 520), (80, 9))]
    asked += [([rng.randrange(VOCABULARY) for _ in range(10 + i)], 30) for i in range(12)]
    requests = [Request(prompt=tuple(prompt), max_tokens=n) for prompt, n in asked]

    async def talk(engine: OwnEngine) -> Any:
        answers = await ask_all(engine, requests)
        onward = Request(prompt=(*asked[0][0], *ids(answers[0]), 7, 8), max_tokens=5)
        return answers, onward, await ask(engine, onward)

    answers, onward, last = with_engine(talk, directory, slots=3)
    assert [ids(one) for one in answers] == [reference_answer(plain, prompt, n) for prompt, n in asked]
    assert ids(last) == reference_answer(plain, onward.prompt, 5)
    assert last[0].cached == 300 + 640 - 1  # the last token was handed out, and not run


def test_the_real_model_answers_as_evaluation_does(smollm2_dir: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(smollm2_dir)
    questions = ["What is the capital of France?", "Name a primary colour.", "Name a primary colour and why."]
    asked = [
        tokenizer.apply_chat_template([{"role": "user", "content": q}], add_generation_prompt=True, return_dict=False)
        for q in questions
    ]
    model = AutoModelForCausalLM.from_pretrained(smollm2_dir, dtype=torch.float32, attn_implementation=FOREST)
    stops = stop_ids(model, tokenizer)
    expected = generate(model, asked, GenerationConfig(max_new_tokens=12), stop_ids=stops)

    async def talk(engine: OwnEngine) -> Any:
        assert engine.stop_ids == stops
        return await ask_all(engine, [Request(prompt=tuple(p), max_tokens=12, stop_ids=stops) for p in asked])

    answers = with_engine(talk, smollm2_dir)
    assert [ids(one) for one in answers] == [
        [*one.token_ids, *([] if one.end is None else [one.end])] for one in expected
    ]


def test_draws_depend_on_the_seed_alone(model_of: Callable[[str], Path]) -> None:
    directory, asked = model_of("llama"), prompts()
    forms = [{"temperature": 0.8}, {"temperature": 1.2, "top_k": 9}, {"temperature": 1.0, "top_p": 0.7}, {}]
    requests = [
        Request(prompt=tuple(prompt), max_tokens=12, seed=i, **forms[i % 4])  # type: ignore[arg-type]
        for i, prompt in enumerate(asked)
    ]

    async def twice(engine: OwnEngine) -> Any:
        return await ask_all(engine, requests), [await ask(engine, one) for one in requests]

    together, alone = with_engine(twice, directory, slots=4)
    assert [ids(one) for one in together] == [ids(one) for one in alone]
    model = AutoModelForCausalLM.from_pretrained(directory, attn_implementation=FOREST)
    for i, request in enumerate(requests):
        config = GenerationConfig(max_new_tokens=12, seed=i, **forms[i % 4])  # type: ignore[arg-type]
        (expected,) = generate(model, [request.prompt], config, stop_ids=frozenset())
        assert ids(together[i]) == list(expected.token_ids)


def test_an_answer_that_nobody_reads_frees_its_slot_at_once(model_of: Callable[[str], Path]) -> None:
    async def talk(engine: OwnEngine) -> Any:
        long = engine.generate(Request(prompt=(5, 6, 7), max_tokens=400))
        await anext(long)
        other = asyncio.create_task(ask(engine, Request(prompt=(8, 9), max_tokens=3)))
        await asyncio.sleep(0)
        await long.aclose()  # type: ignore[attr-defined]
        await asyncio.wait_for(other, timeout=10)
        return other.result()

    answer = with_engine(talk, model_of("llama"), slots=1)
    assert len(answer) == 3


@pytest.mark.parametrize("seed", range(4))
def test_answers_stay_what_they_are_while_others_come_and_leave(seed: int, model_of: Callable[[str], Path]) -> None:
    """At random times, some broken off; few kept beginnings, so that they go while they are in use."""
    rng = random.Random(seed)
    directory = model_of("gemma2" if seed % 2 else "llama")
    plain = AutoModelForCausalLM.from_pretrained(directory, attn_implementation="eager")
    stems = [[rng.randrange(VOCABULARY) for _ in range(rng.choice([70, 130, 300]))] for _ in range(3)]

    async def one(engine: OwnEngine) -> tuple[tuple[int, ...], list[int]]:
        await asyncio.sleep(rng.random() * 0.5)
        tail = [rng.randrange(VOCABULARY) for _ in range(rng.randrange(1, 40))]
        prompt = tuple((rng.choice(stems) if rng.random() < 0.8 else []) + tail)
        stop_after = rng.choice([None, None, 1, 5])
        stream, found = engine.generate(Request(prompt=prompt, max_tokens=rng.choice([1, 7, 40]))), []
        async for token in stream:
            found.append(token.id)
            if len(found) == stop_after:
                break
        await stream.aclose()
        return prompt, found

    async def talk(engine: OwnEngine) -> Any:
        return await asyncio.gather(*(one(engine) for _ in range(24)))

    answers = with_engine(talk, directory, slots=5, piece_tokens=50, prefix_bytes=200_000)
    for prompt, found in answers:
        assert found == reference_answer(plain, prompt, len(found))


def test_a_long_prompt_does_not_stall_running_answers(model_of: Callable[[str], Path]) -> None:
    order: list[str] = []

    async def talk(engine: OwnEngine) -> None:
        async def note(name: str, request: Request) -> None:
            async for _ in engine.generate(request):
                order.append(name)

        first = asyncio.create_task(note("short", Request(prompt=(5, 6), max_tokens=200)))
        while not order:
            await asyncio.sleep(0)
        await asyncio.gather(first, note("long", Request(prompt=tuple(range(300)), max_tokens=2)))

    with_engine(talk, model_of("llama"), piece_tokens=10)
    begun = order.index("long")
    assert begun >= 30  # a step of the other for each piece
    assert order.count("short") == 200


def test_a_prompt_that_cannot_be_answered_is_refused(model_of: Callable[[str], Path]) -> None:
    async def talk(engine: OwnEngine) -> None:
        with pytest.raises(RequestError, match="500 tokens leaves no room for an answer in a context of 100"):
            await ask(engine, Request(prompt=(1,) * 500))
        with pytest.raises(ModelError, match="token 400 has no embedding"):
            await ask(engine, Request(prompt=(400,)))
        with pytest.raises(ServeError, match="no adapter nobody"):
            await ask(engine, Request(prompt=(1,), adapter="nobody"))
        answer = await ask(engine, Request(prompt=(1,) * 98))
        assert [token.finish for token in answer] == [None, "length"]  # to the end of the context

    with_engine(talk, model_of("llama"), context=100)


def test_an_engine_that_dies_tells_everyone(model_of: Callable[[str], Path]) -> None:
    async def main() -> None:
        async with running(model_of("llama")) as engine:
            model = engine._ready.result().loaded.model
            running_answer = engine.generate(Request(prompt=(5, 6), max_tokens=300))
            await anext(running_answer)

            def out_of_memory(*_: Any) -> None:
                raise RuntimeError("not enough memory")

            model.register_forward_pre_hook(out_of_memory)
            model.model.layers[0].register_forward_pre_hook(out_of_memory)
            with pytest.raises(ServeError, match="died: RuntimeError: not enough memory"):
                async for _ in running_answer:
                    pass
            with pytest.raises(ServeError, match="does not run"):
                await ask(engine, Request(prompt=(5, 6)))

    asyncio.run(main())


def test_closing_ends_running_answers(model_of: Callable[[str], Path]) -> None:
    async def main() -> None:
        async with running(model_of("llama")) as engine:
            answer = engine.generate(Request(prompt=(5, 6), max_tokens=400))
            await anext(answer)
            await engine.close()
            with pytest.raises(ServeError, match="stopped before the answer was ready"):
                async for _ in answer:
                    pass

    asyncio.run(main())


def test_a_context_that_the_model_does_not_have_is_refused(model_of: Callable[[str], Path]) -> None:
    async def main() -> None:
        async with running(model_of("llama"), context=513):
            pass

    with pytest.raises(ServeError, match="made for 512 tokens, not 513"):
        asyncio.run(main())


def test_a_model_that_is_not_there_is_an_error_of_start(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="There is no"):
        asyncio.run(OwnEngine(str(tmp_path / "nothing")).start())
