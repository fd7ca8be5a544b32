"""Answers that have to fit a JSON Schema, and log-probabilities that are the model's own all the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from asking import ask_all, ids, reference_answer, reference_logprobs, save_model, with_engine
from transformers import AutoModelForCausalLM, AutoTokenizer

from weitiao.serve.engine import Request, RequestError
from weitiao.serve.own.engine import OwnEngine

SCHEMAS: dict[str, Any] = {
    "object": {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 8},
            "size": {"enum": ["small", "large"]},
            "parts": {"type": "array", "items": {"type": "integer", "maximum": 99, "minimum": 0}, "maxItems": 3},
        },
        "required": ["name", "size", "parts"],
        "additionalProperties": False,
    },
    "choice": {"enum": ["yes", "no", "微调 🙂"]},
    "one of": {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
}


@pytest.fixture(scope="module")
def model(tiny_llama_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model"), tiny_llama_dir, "llama")


def test_answers_fit_their_schema_beside_free_ones(model: Path) -> None:
    asked = [
        Request(prompt=(5, 6, n), max_tokens=120, schema=schema, temperature=1.0, seed=n, stop_ids=frozenset({2}))
        for schema in SCHEMAS.values()
        for n in range(3)
    ]

    async def talk(engine: OwnEngine) -> Any:
        return engine.tokenizer, await ask_all(engine, [*asked, Request(prompt=(5, 6, 0), max_tokens=20)])

    tokenizer, answers = with_engine(talk, model)
    for request, answer in zip(asked, answers[:-1], strict=True):
        assert answer[-1].finish == "stop"
        text = tokenizer.decode([token for token in ids(answer) if token != 2])
        jsonschema.validate(json.loads(text), request.schema)
    plain = AutoModelForCausalLM.from_pretrained(model, attn_implementation="eager")
    assert ids(answers[-1]) == reference_answer(plain, (5, 6, 0), 20)
    logprobs = reference_logprobs(plain, asked[0].prompt, ids(answers[0]))
    expected = [float(logprobs[row, token]) for row, token in enumerate(ids(answers[0]))]
    assert [token.logprob for token in answers[0]] == pytest.approx(expected, abs=1e-4)


def test_a_number_may_go_on_until_the_model_ends_it(model: Path) -> None:
    async def talk(engine: OwnEngine) -> Any:
        request = Request(prompt=(5, 6), max_tokens=9, schema={"type": "integer"}, stop_ids=frozenset({2}))
        return (await ask_all(engine, [request]))[0]

    answer = with_engine(talk, model)
    tokenizer = AutoTokenizer.from_pretrained(model)
    ended = answer[-1].id == 2
    assert answer[-1].finish == ("stop" if ended else "length")
    int(tokenizer.decode(ids(answer)[: -1 if ended else None]))


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"type": "circle"}, "circle"),
        ({"type": "string", "minLength": 5, "maxLength": 2}, ""),
        ({"type": "string", "pattern": "("}, ""),
        (False, ""),
    ],
    ids=["no type", "nothing fits", "no pattern", "false"],
)
def test_a_schema_that_cannot_be_met_is_an_error_before_anything_is_written(model: Path, schema: Any, why: str) -> None:
    async def talk(engine: OwnEngine) -> None:
        with pytest.raises(RequestError, match=f"The JSON Schema cannot be met.*{why}"):
            await ask_all(engine, [Request(prompt=(5, 6), schema=schema)])

    with_engine(talk, model)
