"""`/v1/chat/completions` through the official client, against plain transformers' own tokenizer."""

from __future__ import annotations

from pathlib import Path

import pytest
from openai import BadRequestError, NotFoundError, OpenAI
from serving import MODEL
from transformers import AutoTokenizer

QUESTION = [{"role": "user", "content": "Repeat exactly: 😀🎉 你好, naïve café"}]


def _streamed(client: OpenAI, **settings: object) -> tuple[str, str | None, int]:
    pieces, finish, written = [], None, 0
    for chunk in client.chat.completions.create(
        model=MODEL, stream=True, stream_options={"include_usage": True}, **settings
    ):  # type: ignore[call-overload]
        for choice in chunk.choices:
            pieces.append(choice.delta.content or "")
            finish = choice.finish_reason or finish
        if chunk.usage is not None:
            written = chunk.usage.completion_tokens
    assert all("\ufffd" not in piece for piece in pieces[:-1])  # the last may be broken off within a character
    return "".join(pieces), finish, written


@pytest.mark.parametrize(
    "settings",
    [
        {"messages": QUESTION, "max_tokens": 41},
        {"messages": [{"role": "user", "content": "Capital of France?"}], "max_tokens": 30, "stop": ["France is"]},
        {"messages": QUESTION, "max_tokens": 30, "temperature": 0.9, "top_p": 0.9, "seed": 7},
    ],
    ids=["emoji", "a stop string over several tokens", "drawn"],
)
def test_streamed_and_whole_answers_are_the_same(client: OpenAI, settings: dict[str, object]) -> None:
    whole = client.chat.completions.create(model=MODEL, **settings)  # type: ignore[call-overload]
    text, finish, written = _streamed(client, **settings)
    assert whole.choices[0].message.content == text != ""
    assert whole.choices[0].finish_reason == finish
    assert whole.usage.completion_tokens == written
    if "stop" in settings:
        assert finish == "stop"
        assert "France is" not in text
        assert text.endswith("La France, la France. La ")


def test_the_prompt_is_what_the_template_of_the_tokenizer_prints(client: OpenAI, smollm2_dir: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(str(smollm2_dir))
    messages = [{"role": "system", "content": "Be brief. 123"}, *QUESTION]
    found = client.chat.completions.create(model=MODEL, messages=messages, max_tokens=3)  # type: ignore[arg-type]
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
    assert found.usage is not None
    assert found.usage.prompt_tokens == len(ids)
    assert found.usage.completion_tokens == 3
    assert found.choices[0].finish_reason == "length"


def test_an_answer_that_the_model_ends_is_finished_by_stop(client: OpenAI) -> None:
    found = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "Say hi."}], max_tokens=200
    )
    assert found.choices[0].finish_reason == "stop"
    assert "<|im_end|>" not in (found.choices[0].message.content or "")


def test_what_cannot_be_done_is_told_as_openai_tells_it(client: OpenAI) -> None:
    with pytest.raises(NotFoundError) as unknown:
        client.chat.completions.create(model="none", messages=QUESTION)  # type: ignore[arg-type]
    assert unknown.value.code == "model_not_found"
    with pytest.raises(BadRequestError, match="1,023 are taken"):
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "a b " * 2000}])
    with pytest.raises(BadRequestError, match="the user turn is empty"):
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": " "}])
