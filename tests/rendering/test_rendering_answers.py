"""Templates that put reasoning around answers: what is learned of them, and what is read of what a model writes."""

from __future__ import annotations

from typing import Any

import pytest
from chat_styles import CHATML, MISTRAL_FIRST, QWEN3

from weitiao.data.example import Example
from weitiao.errors import RenderingError
from weitiao.rendering.answers import AnswerReader
from weitiao.rendering.config import RenderingConfig
from weitiao.rendering.items import TokenSequence
from weitiao.rendering.render import Prompts, Rendered, render

Messages = list[dict[str, Any]]
# The prompt ends in an open think block, and answers are printed without their reasoning (as DeepSeek-R1's).
R1 = """
{%- for m in messages -%}
{%- if m.role == 'user' -%}{{- '<|im_start|>user ' + m.content -}}
{%- else -%}{{- '<|im_start|>assistant' + m.content.split('</think>')[-1] + '<|im_end|>' -}}{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant<think>\n' -}}{%- endif -%}
"""
# The prompt holds an empty think block: the model is asked not to reason (as Qwen3 without thinking).
NO_THINKING = QWEN3.replace(
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}",
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n<think>\n\n</think>\n\n' -}}",
)
HEADERLESS = CHATML.partition("{%- if add_generation_prompt -%}")[0]  # no generation prompt: the header is written
REASONED = "<think>\nit is dusk\n</think>\n\nred"


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def answer(text: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}


def found(tokenizer: Any, template: str, *conversations: Messages, skip: bool = False, **config: Any) -> Rendered:
    tokenizer.chat_template = template
    rows = [Example(f"rows.jsonl:{number}", tuple(one)) for number, one in enumerate(conversations, 1)]
    return render(rows, tokenizer, RenderingConfig(**config), max_context=1000, skip_bad_rows=skip)


def parts(sequence: TokenSequence, tokenizer: Any) -> tuple[str, str]:
    """The text before the first learned token, and from there on."""
    first = next(index for index, weight in enumerate(sequence.weights) if weight)
    assert all(sequence.weights[first:])
    return tokenizer.decode(sequence.token_ids[:first].tolist()), tokenizer.decode(sequence.token_ids[first:].tolist())


@pytest.mark.parametrize(
    ("template", "content", "written"),
    [
        (R1, REASONED, "it is dusk\n</think>\n\nred<|im_end|>"),
        (R1, "<think>it is dusk</think>red", "it is dusk</think>red<|im_end|>"),
        (R1, "red", "red<|im_end|>"),
        (R1.replace("<think>\n", ""), REASONED, f"{REASONED}<|im_end|>"),
        (QWEN3, REASONED, f"{REASONED}<|im_end|>"),
        (QWEN3, "red", "<think>\n\n</think>\n\nred<|im_end|>"),
        (NO_THINKING, "red", "red<|im_end|>"),
        (NO_THINKING, "<think>\n\n</think>\n\nred", "red<|im_end|>"),
        (HEADERLESS, "red", "<|im_start|>assistant\nred<|im_end|>"),
    ],
)
def test_an_answer_is_learned_behind_the_prompt_that_asks_for_it(
    byte_level: Any, template: str, content: str, written: str
) -> None:
    (sequence,) = found(byte_level, template, [user("colour?"), answer(content)]).sequences
    prompt = byte_level.apply_chat_template([user("colour?")], tokenize=False, add_generation_prompt=True)
    assert parts(sequence, byte_level) == (prompt, written)


@pytest.mark.parametrize("template", [R1, QWEN3, NO_THINKING])
def test_every_turn_of_a_rewritten_conversation_stands_behind_what_is_asked_then(
    byte_level: Any, template: str
) -> None:
    reasoned = REASONED if template != NO_THINKING else "red"
    messages = [user("a?"), answer(reasoned), user("b?"), answer(reasoned), user("c?"), answer("blue")]
    sequences = found(byte_level, template, messages).sequences
    asked = [
        byte_level.apply_chat_template(messages[:end], tokenize=False, add_generation_prompt=True) for end in (1, 3, 5)
    ]
    assert [parts(one, byte_level)[0] for one in sequences] == asked
    assert {one.row_id for one in sequences} == {"rows.jsonl:1"}
    assert [Prompts(byte_level)(messages[:end]) for end in (1, 3, 5)] == [
        one.token_ids[: one.weights.tolist().index(1.0)].tolist() for one in sequences
    ]
    assert all("dusk" not in text for text in asked)  # the reasoning of earlier turns is not in a prompt
    # Training on the prompt learns every token of the tree once.
    everything = found(byte_level, template, messages, train_on_prompt=True).sequences
    tree = {one.token_ids[: i + 1].tobytes() for one in everything for i in range(1, len(one))}
    assert sum(one.weight for one in everything) == len(tree)


def test_answers_that_the_template_leaves_alone_share_a_sequence(byte_level: Any) -> None:
    # Two answers to one question, a tool's reply between them, are printed alike; that to an earlier question is not.
    tool = {"role": "tool", "content": "12"}
    first, second = found(
        byte_level, QWEN3, [user("a?"), answer("red"), user("b?"), answer("let me see"), tool, answer("blue")]
    ).sequences
    assert parts(first, byte_level)[1] == "<think>\n\n</think>\n\nred<|im_end|>"
    assert byte_level.decode([t for t, w in zip(second.token_ids, second.weights, strict=True) if w]) == (
        "<think>\n\n</think>\n\nlet me see<|im_end|><think>\n\n</think>\n\nblue<|im_end|>"
    )


def test_reasoning_under_a_prompt_that_excludes_it_is_a_bad_row(byte_level: Any) -> None:
    rows = [[user("a?"), answer("red")], [user("b?"), answer(REASONED)], [user("c?"), answer("blue")]]
    with pytest.raises(RenderingError, match=r"^rows.jsonl:2: message 2, an answer, does not follow from the prompt"):
        found(byte_level, NO_THINKING, *rows)
    kept = found(byte_level, NO_THINKING, *rows, skip=True)
    assert [one.row_id for one in kept.sequences] == ["rows.jsonl:1", "rows.jsonl:3"]
    assert [row_id for row_id, _ in kept.refused] == ["rows.jsonl:2"]
    assert any("1 row that cannot be rendered: rows.jsonl:2" in line for line in kept.report)


REFUSING = "{%- if messages[0].role == 'system' -%}{{- raise_exception('no system role') -}}{%- endif -%}" + CHATML


def test_what_a_template_refuses_is_named_by_rows_and_counted(byte_level: Any) -> None:
    system = {"role": "system", "content": "Be brief."}
    rows = [[user("a"), answer("b")]] + [[system, user("a"), answer("b")]] * 5
    with pytest.raises(RenderingError, match=r"rows.jsonl:2: .*no system role.*and 2 more. In all, 5 rows") as caught:
        found(byte_level, REFUSING, *rows)
    assert "data.on_bad_rows: skip" in caught.value.remedy
    kept = found(byte_level, REFUSING, *rows, skip=True)
    assert len(kept.sequences) == 1 and len(kept.refused) == 5


@pytest.mark.parametrize(
    "broken",
    [
        "{{- messages[7].content -}}",
        "{{- nobody.knows -}}",
        "{{- 1 // 0 -}}",
        "{{- messages[0].content + 1 -}}",
        "{{- 'a'.index('b') -}}",
        "{{- range(10 ** 9) | list -}}",
        "{%- macro again() -%}{{- again() -}}{%- endmacro -%}{{- again() -}}",
        "{{- messages.append('x') -}}",
        "{{- strftime_now(3) -}}",
        "{% for m in messages %}",
        "{{- undefined_function() -}}",
        "{%- include 'other' -%}",
    ],
)
def test_a_template_that_fails_is_an_error_with_the_row(byte_level: Any, broken: str) -> None:
    with pytest.raises(RenderingError, match=r"rows.jsonl:1: the chat template cannot print this conversation: ."):
        found(byte_level, broken, [user("a"), answer("b")])
    with pytest.raises(RenderingError, match=r"rows.jsonl:9: the chat template cannot print"):
        Prompts(byte_level)([user("a")], where="rows.jsonl:9")


def test_what_the_template_does_to_rows_is_counted(byte_level: Any) -> None:
    def lines(template: str, *messages: dict[str, Any]) -> str:
        return "\n".join(found(byte_level, template, list(messages)).report)

    system, odd = {"role": "system", "content": "Be brief."}, {"role": "user", "content": "?", "train": True}
    deaf = "{%- set messages = messages | rejectattr('role', 'equalto', 'system') | list -%}" + CHATML
    thinks = CHATML.replace("m.content", "('<think>' + m.thinking + '</think>' if m.thinking else '') + m.content")
    assert "the role system in 1 row (the first is rows.jsonl:1)" in lines(deaf, system, user("a"), answer("b"))
    assert "Turns of other roles than the assistant's" in lines(CHATML, odd, answer("b"))
    assert r"ends in '<think>\n'" in lines(R1, user("a"), answer("b"))
    assert "without a part of it" in lines(R1, user("a"), answer(REASONED))
    ignored = "does not print the reasoning"
    reasoned = answer("b", reasoning="because")
    assert ignored in lines(CHATML, user("a"), reasoned) and ignored not in lines(thinks, user("a"), reasoned)
    assert len(lines(CHATML, system, user("a"), answer("b")).splitlines()) == 1


@pytest.mark.parametrize(
    ("template", "written", "read"),
    [
        (QWEN3, "<think>\n\n</think>\n\nred", "red"),
        (QWEN3, "<think>\nit is dusk\n</think>\n\nred", "red"),
        (QWEN3, "red", "red"),
        (QWEN3, "<think>\nit is", "<think>\nit is"),
        (R1, "it is dusk\n</think>\n\nred", "red"),
        (R1, "red", "red"),
        (NO_THINKING, "red", "red"),
        (HEADERLESS, "<|im_start|>assistant\nred", "red"),
        (CHATML, REASONED, REASONED),
        (CHATML, " red ", " red "),
        (MISTRAL_FIRST, " red", "red"),
        (MISTRAL_FIRST, "red\n", "red\n"),
    ],
)
def test_an_answer_is_read_without_what_belongs_to_the_template(
    byte_level: Any, template: str, written: str, read: str
) -> None:
    byte_level.chat_template = template
    ids = byte_level(written, add_special_tokens=False)["input_ids"]
    assert AnswerReader(byte_level).read([user("colour?")], (), ids) == read


def test_an_answer_is_compared_with_the_reasoning_where_the_row_brings_it(byte_level: Any) -> None:
    byte_level.chat_template = R1
    ids = byte_level("it is dusk\n</think>\n\nred", add_special_tokens=False)["input_ids"]
    assert AnswerReader(byte_level).read([user("colour?")], (), ids, expected=REASONED) == REASONED
    assert AnswerReader(byte_level).read([user("colour?")], (), ids, expected="red") == "red"
