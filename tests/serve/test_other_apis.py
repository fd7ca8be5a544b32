"""`/v1/completions` and `/v1/responses` through the official client, held against chat and against the tokenizer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from openai import OpenAI
from serving import MODEL
from transformers import AutoTokenizer

QUESTION = "Capital of France?"


def test_responses_say_what_chat_says(client: OpenAI) -> None:
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}]
    chat = client.chat.completions.create(model=MODEL, messages=turns, max_tokens=5)  # type: ignore[arg-type]
    whole = client.responses.create(model=MODEL, instructions="Be brief.", input=QUESTION, max_output_tokens=5)
    assert whole.output_text == chat.choices[0].message.content
    assert whole.status == "incomplete" and whole.incomplete_details is not None
    assert whole.usage is not None and chat.usage is not None
    assert (whole.usage.input_tokens, whole.usage.output_tokens) == (chat.usage.prompt_tokens, 5)
    asked = {"instructions": "Be brief.", "input": turns[1:], "max_output_tokens": 5}
    events = list(client.responses.create(model=MODEL, stream=True, **asked))  # type: ignore[call-overload]
    assert "".join(one.delta for one in events if one.type == "response.output_text.delta") == whole.output_text
    assert [one.sequence_number for one in events] == list(range(len(events)))
    assert events[0].type == "response.created" and events[-1].type == "response.incomplete"
    assert events[-1].response.output_text == whole.output_text


def test_completions_go_on_with_text_and_with_its_tokens(client: OpenAI, smollm2_dir: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(str(smollm2_dir))
    text = "The capital of France is"
    ids = tokenizer(text)["input_ids"]
    settings = {"model": MODEL, "max_tokens": 6, "logprobs": 3}
    one = client.completions.create(prompt=text, **settings)  # type: ignore[call-overload]
    several = client.completions.create(prompt=[ids, text], **settings)  # type: ignore[call-overload]
    assert [choice.text for choice in several.choices] == [one.choices[0].text] * 2
    assert one.usage.prompt_tokens == len(ids)
    told = one.choices[0].logprobs
    assert "".join(told.tokens) == one.choices[0].text
    assert told.text_offset == [len("".join(told.tokens[:n])) for n in range(6)]
    for token, logprob, best in zip(told.tokens, told.token_logprobs, told.top_logprobs, strict=True):
        assert max(best, key=best.get) == token  # greedy
        assert best[token] == pytest.approx(logprob)
    pieces = [chunk.choices[0].text for chunk in client.completions.create(prompt=text, stream=True, **settings)]
    assert "".join(pieces) == one.choices[0].text


def test_several_answers_draw_apart_and_the_seed_decides(client: OpenAI) -> None:
    def answers() -> list[str | None]:
        found = client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": QUESTION}], n=3, temperature=1.5, seed=3, max_tokens=12
        )
        assert found.usage is not None
        assert found.usage.completion_tokens <= 36
        return [one.message.content for one in found.choices]

    first = answers()
    assert len(set(first)) == 3
    assert answers() == first


def test_an_object_comes_where_json_is_asked_for(client: OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"enum": ["Paris", "Rome"]}},
        "required": ["city"],
        "additionalProperties": False,
    }
    found = client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": QUESTION}],
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "city", "schema": {**schema, "additionalProperties": False}},
        },
        logprobs=True,
        top_logprobs=2,
        max_tokens=40,
    )
    choice = found.choices[0]
    assert json.loads(choice.message.content or "")["city"] in ("Paris", "Rome")
    assert choice.finish_reason == "stop"
    assert choice.logprobs is not None and choice.logprobs.content is not None
    assert b"".join(bytes(one.bytes or []) for one in choice.logprobs.content).decode() == choice.message.content
