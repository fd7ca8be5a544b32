"""llama.cpp behind the interface of engines: a tiny random model in GGUF, against plain transformers."""

from __future__ import annotations

import asyncio
import json
import math
from pathlib import Path
from typing import Any

import psutil
import pytest
import tiny_gguf
import torch
from asking import ids, reference_answer, reference_logprobs
from transformers import PreTrainedModel

from weitiao.data.example import Example
from weitiao.errors import ModelError
from weitiao.evaluation.answers import prompts_of
from weitiao.rendering.config import RenderingConfig
from weitiao.rendering.render import render
from weitiao.serve.engine import Request, RequestError, ServeError, Token
from weitiao.study.engines import EngineSettings, open_engine

# It trims contents, inserts a text, and writes a date into the first turn.
TRIMS = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if loop.first %}Be of use. {% endif %}"
    "{{ m['content'] | trim }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TURNS = (
    {"role": "user", "content": "  the order of 1234 😀\n"},
    {"role": "assistant", "content": " it's 12 "},
    {"role": "user", "content": "\n\nwe'll see  the 你好"},
    {"role": "assistant", "content": "100"},
)


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    vocabulary = tiny_gguf.train_vocabulary()
    torch.manual_seed(0)
    return tiny_gguf.random_model("llama", len(vocabulary[0])).eval()


@pytest.fixture(scope="module")
def file(model: PreTrainedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny_gguf, "TEMPLATE", TRIMS)
        return tiny_gguf.write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", model, tiny_gguf.train_vocabulary())


def with_llama(file: Path, do: Any, **settings: Any) -> Any:
    async def main() -> Any:
        opened = await open_engine(str(file), EngineSettings(engine="llama.cpp", threads=1, **settings))
        try:
            return await do(opened)
        finally:
            await opened.engine.close()

    return asyncio.run(asyncio.wait_for(main(), 60))


async def written(opened: Any, *requests: Request) -> list[list[Token]]:
    async def one(request: Request) -> list[Token]:
        return [token async for token in opened.engine.generate(request)]

    return list(await asyncio.gather(*map(one, requests)))


def test_prompts_are_those_of_training_and_evaluation(file: Path) -> None:
    async def prompts(opened: Any) -> Any:
        return opened.text.tokenizer, opened.text.chat(list(TURNS[:3])).ids

    tokenizer, served = with_llama(file, prompts)
    example = Example("row", TURNS)
    (sequence,) = render([example], tokenizer, RenderingConfig(), max_context=512).sequences
    last = len(tokenizer.encode("100<|im_end|>", add_special_tokens=False))
    assert tuple(sequence.token_ids[:-last].tolist()) == served
    assert prompts_of(tokenizer, [example]) == [list(served)]
    text = tokenizer.decode(served)
    assert "Be of use. the order of 1234 😀<|im_end|>" in text


def test_tokens_and_their_log_probabilities_are_those_of_transformers(file: Path, model: PreTrainedModel) -> None:
    prompts = [tuple(range(3, 3 + size)) for size in (5, 9, 30)] + [tuple(range(100, 140))]
    requests = [Request(prompt=prompt, max_tokens=25, stop_ids=frozenset([2]), logprobs=4) for prompt in prompts]
    found = with_llama(file, lambda opened: written(opened, *requests), context=128)
    for prompt, answer in zip(prompts, found, strict=True):
        expected = reference_answer(model, prompt, 25, 2)
        assert ids(answer) == expected
        whole = reference_logprobs(model, prompt, expected)
        for place, token in enumerate(answer):
            if not math.isnan(token.logprob):
                assert token.logprob == pytest.approx(float(whole[place, token.id]), abs=0.02)
                assert token.alternatives[0][1] == pytest.approx(float(whole[place].max()), abs=0.02)
        assert answer[-1].finish == ("stop" if expected[-1] == 2 else "length")


def test_tokens_are_the_same_where_nobody_asks_for_probabilities(file: Path, model: PreTrainedModel) -> None:
    """Many of this model's are bytes that are no text, of which llama.cpp does not tell one by one."""
    prompts = [(7, first, second) for first in range(3, 11) for second in (20, 200)]
    for limit in (3, 12):
        requests = [Request(prompt=prompt, max_tokens=limit, stop_ids=frozenset([2])) for prompt in prompts]
        found = with_llama(file, lambda opened, asked=requests: written(opened, *asked), context=128)
        for prompt, answer in zip(prompts, found, strict=True):
            assert ids(answer) == reference_answer(model, prompt, limit, 2)
            assert answer[-1].finish == ("stop" if answer[-1].id == 2 else "length")
            assert all(token.finish is None for token in answer[:-1])


def test_a_beginning_is_known_at_once_whatever_slot_is_free(file: Path) -> None:
    system = tuple(range(3, 90))

    async def talk(opened: Any) -> list[int]:
        answers = [
            await written(opened, Request(prompt=(*system, one), max_tokens=4, logprobs=p))
            for one, p in ((91, None), (92, None), (93, 2), (94, None))
        ]
        return [one[0].cached for (one,) in answers]

    assert with_llama(file, talk, context=128, slots=4) == [0, *[len(system)] * 3]


def test_the_same_beginning_is_known_and_the_same_seed_draws_the_same(file: Path) -> None:
    prompt = tuple(range(3, 90))
    drawn = Request(prompt=prompt, max_tokens=12, temperature=1.2, top_p=0.9, top_k=50, seed=5)

    async def talk(opened: Any) -> list[list[Token]]:
        return [(await written(opened, one))[0] for one in (drawn, drawn, Request(prompt=prompt, max_tokens=1, seed=6))]

    first, second, third = with_llama(file, talk, context=128, slots=1)
    assert ids(first) == ids(second)
    assert first[0].cached == 0
    assert second[0].cached == third[0].cached == len(prompt) - 1


def test_an_answer_fits_its_schema(file: Path) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "integer", "minimum": 3, "maximum": 9}, "b": {"enum": ["x", "y"]}},
        "required": ["a", "b"],
        "additionalProperties": False,
    }

    async def talk(opened: Any) -> Any:
        asked = [Request(prompt=(5, one), max_tokens=60, schema=schema, stop_ids=frozenset([2])) for one in (6, 7, 8)]
        return [
            opened.text.tokenizer.decode(ids(one), skip_special_tokens=True) for one in await written(opened, *asked)
        ]

    for text in with_llama(file, talk, context=128):
        value = json.loads(text)
        assert value["a"] in range(3, 10) and value["b"] in ("x", "y")
        assert text == json.dumps(value)


def test_what_it_cannot_do_is_refused(file: Path, model: PreTrainedModel, tmp_path: Path) -> None:
    async def talk(opened: Any) -> None:
        with pytest.raises(ServeError, match="while it runs"):
            await opened.engine.load_adapter("a", tmp_path)
        for schema in ({"type": "nonsense"}, {"type": "integer", "minimum": 5, "maximum": 3}, {"$ref": "#/x"}):
            with pytest.raises(RequestError, match="cannot be met"):
                await written(opened, Request(prompt=(5,), schema=schema))
        (answer,) = await written(opened, Request(prompt=(5, 6), max_tokens=500))
        assert ids(answer) == reference_answer(model, (5, 6), 62, 2)  # and no further than the context

    with_llama(file, talk, context=64)
    with pytest.raises(ServeError, match="was made for"):
        with_llama(file, talk, context=100_000)
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(file.read_bytes()[:-50_000])
    with pytest.raises(ModelError, match="is not a whole GGUF file"):
        with_llama(cut, talk, context=64)


def test_a_tokenizer_that_cannot_be_read_leaves_no_process_behind(file: Path, tmp_path: Path) -> None:
    beside = tmp_path / "tiny.gguf"
    beside.symlink_to(file)
    (tmp_path / "tokenizer.json").write_text("{")
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "TokenizersBackend"}')
    with pytest.raises(ModelError, match=r"tokenizer\.json is not JSON"):
        with_llama(beside, lambda opened: None)
    assert not [one for one in psutil.Process().children() if "weitiao.serve.llama_child" in one.cmdline()]
