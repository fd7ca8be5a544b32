"""From rows to sequences: lengths, raw text, counts and what is reported."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from chat_styles import CHATML
from transformers import ByT5Tokenizer

from weitiao.data.example import Example
from weitiao.errors import RenderingError
from weitiao.rendering.config import RenderingConfig
from weitiao.rendering.render import Prompts, end_of_turn_id, render
from weitiao.rendering.tokens import Encoder


def row(question: str, answer: str, number: int = 1) -> Example:
    messages = ({"role": "user", "content": question}, {"role": "assistant", "content": answer})
    return Example(f"rows.jsonl:{number}", messages=messages)


@pytest.fixture
def chatml(byte_level: Any) -> Any:
    byte_level.chat_template = CHATML
    return byte_level


def test_prompts_read_the_vocabulary_once(chatml: Any) -> None:
    reads = 0

    class Counting(type(chatml)):  # type: ignore[misc]
        @property
        def added_tokens_decoder(self) -> Any:
            nonlocal reads
            reads += 1
            return super().added_tokens_decoder

    chatml.__class__ = Counting
    prompt = Prompts(chatml)
    asked: list[list[dict[str, Any]]] = [[{"role": "user", "content": str(i)}] for i in range(20)]
    first = prompt(asked[0])
    made = reads
    assert [first, *map(prompt, asked[1:])] == [
        chatml.apply_chat_template(one, add_generation_prompt=True)["input_ids"] for one in asked
    ]
    assert reads == made


def test_sequences_keep_the_order_of_the_rows(chatml: Any) -> None:
    rows = [row("x" * (number % 7), f"answer {number}", number) for number in range(2500)]
    rows[100] = Example("rows.jsonl:100", text="raw text")
    sequences = render(rows, chatml, RenderingConfig(), max_context=100).sequences
    assert [sequence.row_id for sequence in sequences] == [example.row_id for example in rows]
    assert "answer 2499<|im_end|>" in chatml.decode(sequences[2499].token_ids.tolist())
    assert chatml.decode(sequences[100].token_ids.tolist()) == "raw text</s>"


def test_long_rows_are_dropped_and_the_first_is_named(chatml: Any) -> None:
    rows = [row("a", "b"), row("a", "long " * 50, 2), row("a", "long " * 60, 3)]
    rendered = render(rows, chatml, RenderingConfig(max_length=40), max_context=100)
    assert [sequence.row_id for sequence in rendered.sequences] == ["rows.jsonl:1"]
    assert not any("Truncated" in line for line in rendered.report)
    assert any("Dropped 2 rows (the first is rows.jsonl:2): longer than 40 tokens" in line for line in rendered.report)
    longest = max(len(_whole(chatml, example)) for example in rows)
    assert f"the longest row has {longest:,}." in rendered.report[0]


def _whole(tokenizer: Any, example: Example) -> list[int]:
    text = tokenizer.apply_chat_template(list(example.messages), tokenize=False).removesuffix("\n")
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def test_limit_is_the_context_of_the_model_and_a_row_of_that_length_fits(chatml: Any) -> None:
    example = row("a", "one two three")
    length = len(_whole(chatml, example))
    assert render([example], chatml, RenderingConfig(), max_context=length).sequences
    with pytest.raises(RenderingError, match=f"longer than {length - 1}"):
        render([example], chatml, RenderingConfig(), max_context=length - 1)


def test_truncation_keeps_the_beginning_and_marks_the_sequence(chatml: Any) -> None:
    rows = [row("a", "long " * 50), row("b", "c", 2)]
    whole = render(rows, chatml, RenderingConfig(), max_context=1000).sequences[0]
    rendered = render(rows, chatml, RenderingConfig(max_length=30, on_long="truncate"), max_context=1000)
    cut, short = rendered.sequences
    assert cut.token_ids.tolist() == whole.token_ids[:30].tolist()
    assert cut.weights.tolist() == whole.weights[:30].tolist()
    assert (cut.truncated, short.truncated) == (True, False)
    assert any("Truncated 1 row (the first is rows.jsonl:1) to 30 tokens" in line for line in rendered.report)


def test_truncation_drops_rows_of_which_only_the_prompt_is_left(chatml: Any) -> None:
    rows = [row("long " * 50, "answer"), row("b", "c", 2)]
    rendered = render(rows, chatml, RenderingConfig(max_length=30, on_long="truncate"), max_context=1000)
    assert len(rendered.sequences) == 1
    assert any(line.startswith("Dropped 1 row ") for line in rendered.report)
    assert not any("Truncated" in line for line in rendered.report)
    assert any("nothing to learn was left" in line for line in rendered.report)


def test_long_row_is_an_error_on_request(chatml: Any) -> None:
    config = RenderingConfig(max_length=30, on_long="error")
    length = len(_whole(chatml, row("a", "long " * 50)))
    with pytest.raises(RenderingError, match=f"rows.jsonl:2: {length} tokens, more than the limit of 30"):
        render([row("a", "b"), row("a", "long " * 50, 2)], chatml, config, max_context=1000)


def test_max_length_above_the_context_is_an_error(chatml: Any) -> None:
    with pytest.raises(RenderingError, match=r"rendering\.max_length is 200 tokens, the model's context 100"):
        render([row("a", "b")], chatml, RenderingConfig(max_length=200), max_context=100)


def test_data_set_without_a_supervised_token_is_an_error(chatml: Any) -> None:
    rows = [Example(f"rows.jsonl:{number}", messages=({"role": "user", "content": "a"},)) for number in range(3)]
    with pytest.raises(RenderingError, match=r"whole data set: .*Dropped 3 rows \(the first is rows.jsonl:0\)"):
        render(rows, chatml, RenderingConfig(), max_context=100)
    with pytest.raises(RenderingError, match="No supervised token"):
        render(rows, chatml, RenderingConfig(train_on_prompt=True), max_context=100)


def test_rows_without_an_answer_are_counted(chatml: Any) -> None:
    question = Example("rows.jsonl:9", messages=({"role": "user", "content": "a"},))
    rendered = render([row("a", "b"), question], chatml, RenderingConfig(), max_context=100)
    assert len(rendered.sequences) == 1
    assert any("Dropped 1 row" in line and "no token" in line for line in rendered.report)
    assert any("rows.jsonl:9" in line for line in rendered.report)


def test_special_text_in_a_row_is_reported_and_left_alone(chatml: Any) -> None:
    rendered = render([row("a", "b"), row("<|im_end|> hi", "b", 2)], chatml, RenderingConfig(), max_context=100)
    assert any("'<|im_end|>'" in line and "1 row (the first is rows.jsonl:2)" in line for line in rendered.report)
    assert "user\n<|im_end|> hi<|im_end|>" in chatml.decode(rendered.sequences[1].token_ids.tolist())


def test_no_rows_give_no_sequences(chatml: Any) -> None:
    assert render([], chatml, RenderingConfig(), max_context=100).sequences == ()


def test_report_counts_tokens(chatml: Any) -> None:
    rendered = render([row("a", "b"), row("c", "d e", 2)], chatml, RenderingConfig(), max_context=100)
    tokens = sum(len(sequence.token_ids) for sequence in rendered.sequences)
    learned = int(sum(sequence.weight for sequence in rendered.sequences))
    assert rendered.report == (
        f"2 sequences from 2 rows: {tokens} tokens, of which {learned} are learned; "
        f"the longest row has {max(map(len, rendered.sequences))}.",
    )


def test_conversation_without_a_template_is_an_error(byte_level: Any) -> None:
    with pytest.raises(RenderingError, match=r"rows.jsonl:1: a conversation needs a chat template") as caught:
        render([row("a", "b")], byte_level, RenderingConfig(), max_context=100)
    assert "rendering.template" in caught.value.remedy
    with pytest.raises(RenderingError):
        Prompts(byte_level)([{"role": "user", "content": "a"}])


def test_raw_text_is_learned_whole_and_closed(tokenizer: Any) -> None:
    text = "What is it?\n\nIt is 🙂 天气 12."
    (sequence,) = render([Example("t:1", text=text)], tokenizer, RenderingConfig(), max_context=100).sequences
    own = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert sequence.token_ids.tolist() == [*own, tokenizer.eos_token_id]
    assert tuple(sequence.weights) == (0.0,) + (1.0,) * len(own)


def test_raw_text_gets_the_tokens_that_the_tokenizer_adds(tokenizer: Any) -> None:
    from tokenizers.processors import TemplateProcessing

    bos, eos = tokenizer.bos_token, tokenizer.eos_token
    tokens = [(bos, tokenizer.bos_token_id), (eos, tokenizer.eos_token_id)]
    own = tokenizer("It is", add_special_tokens=False)["input_ids"]
    for single in (f"{bos} $A", f"{bos} $A {eos}"):
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=single, special_tokens=tokens)
        (sequence,) = render([Example("t:1", text="It is")], tokenizer, RenderingConfig(), max_context=100).sequences
        assert sequence.token_ids.tolist() == [tokenizer.bos_token_id, *own, tokenizer.eos_token_id]


def test_raw_text_that_brings_its_own_bos_token_does_not_get_a_second_one(tokenizer: Any) -> None:
    from tokenizers.processors import TemplateProcessing

    bos, own = tokenizer.bos_token, tokenizer("It is", add_special_tokens=False)["input_ids"]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{bos} $A", special_tokens=[(bos, tokenizer.bos_token_id)]
    )
    rows = [Example("t:1", text="It is"), Example("t:2", text=f"{bos}It is")]
    rendered = render(rows, tokenizer, RenderingConfig(), max_context=100)
    assert [one.token_ids.tolist().count(tokenizer.bos_token_id) for one in rendered.sequences] == [1, 1]
    assert len(rendered.sequences[0]) == len(own) + 2
    assert any("Raw text begins with the BOS token" in line and "t:2" in line for line in rendered.report)


def test_raw_text_without_an_eos_token_is_an_error(byte_level: Any) -> None:
    byte_level.eos_token = None
    with pytest.raises(RenderingError, match="EOS"):
        render([Example("t:1", text="a")], byte_level, RenderingConfig(), max_context=100)


@pytest.mark.parametrize("with_bos", [False, True])
@pytest.mark.parametrize(("limit", "overlap"), [(3, 1), (8, 1), (8, 5), (10, 8), (100, 3)])
def test_every_token_of_a_long_text_is_learned_once_behind_its_context(
    tokenizer: Any, with_bos: bool, limit: int, overlap: int
) -> None:
    from tokenizers.processors import TemplateProcessing

    if with_bos:
        bos = (tokenizer.bos_token, tokenizer.bos_token_id)
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=f"{bos[0]} $A", special_tokens=[bos])
    text = " ".join(map(str, range(40)))
    whole = [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]
    config = RenderingConfig(max_length=limit)
    rendered = render([Example("t:1", text=text)], tokenizer, config, max_context=100, window_overlap=overlap)
    done = 1
    for index, one in enumerate(rendered.sequences):
        ids, learned = one.token_ids.tolist(), int(np.count_nonzero(one.weights))
        assert len(ids) <= limit
        assert one.weights.tolist() == [0.0] * (len(ids) - learned) + [1.0] * learned
        assert (ids[0] == tokenizer.bos_token_id) == with_bos
        start = int(with_bos and index > 0)
        assert ids[start:] == whole[done + learned - len(ids) + start : done + learned]
        assert index == 0 or len(ids) - learned - start == overlap
        done += learned
    assert done == len(whole)


def test_a_text_to_pretrain_on_needs_no_eos_token(byte_level: Any) -> None:
    byte_level.eos_token = None
    (one,) = render(
        [Example("t:1", text="abc")], byte_level, RenderingConfig(), max_context=100, window_overlap=1
    ).sequences
    assert one.token_ids.tolist() == byte_level("abc")["input_ids"]


def test_tokenizer_without_a_fast_backend_gives_the_same_mask() -> None:
    tokenizer = ByT5Tokenizer()
    tokenizer.chat_template = "{%- for m in messages -%}{{- m.content + '</s>' -}}{%- endfor -%}"
    (sequence,) = render([row("为什么?", "因为🙂")], tokenizer, RenderingConfig(), max_context=100).sequences
    question, answer = len("为什么?".encode()) + 1, len("因为🙂".encode()) + 1
    assert tuple(sequence.weights) == (0.0,) * question + (1.0,) * answer
    assert sequence.token_ids[-1] == tokenizer.eos_token_id


def test_end_of_turn_is_the_token_that_ends_an_answer(byte_level: Any) -> None:
    assert end_of_turn_id(byte_level) is None
    byte_level.chat_template = CHATML
    assert end_of_turn_id(byte_level) == byte_level.convert_tokens_to_ids("<|im_end|>")
    byte_level.chat_template = "{%- for m in messages -%}{{- m.content -}}{%- endfor -%}"
    assert end_of_turn_id(byte_level) is None


TEXTS = [
    "",
    " ",
    "a",
    "  two spaces  ",
    "<|im_start|>user\n\n\n hi  <|im_end|>\n<|im_start|><|im_start|>\t12",
    "<|im_<|im_end|>|>",
    "x <tool_call> y </tool_call>\n\n",
    "今天 🙂<s>👩‍👩‍👧</s>cafe\u0301",
    "<s>",
    "   <s>   ",
]


@pytest.mark.parametrize("lstrip", [False, True])
@pytest.mark.parametrize("rstrip", [False, True])
def test_encoder_gives_the_ids_of_the_tokenizer(tokenizer: Any, lstrip: bool, rstrip: bool) -> None:
    from tokenizers import AddedToken

    tokenizer.add_tokens(
        [AddedToken("<mask>", lstrip=lstrip, rstrip=rstrip, special=True), AddedToken("<|im_", single_word=True)],
        special_tokens=True,
    )
    encoder = Encoder(tokenizer)
    texts = [*TEXTS, *(text.replace("<s>", "<mask>") for text in TEXTS), "a <mask> b<mask>  <|im_ x<|im_end|>"]
    for text in texts:
        assert encoder.encode(text) == tokenizer(text, add_special_tokens=False)["input_ids"]
    learned = Encoder(tokenizer)
    learned.learn(texts)
    assert [learned.encode(text) for text in texts] == [encoder.encode(text) for text in texts]


def test_cut_makes_tokens_end_at_every_place(tokenizer: Any) -> None:
    encoder = Encoder(tokenizer)
    text = "the answer\n\n\nis  12 🙂 naïve"
    for place in range(len(text) + 1):
        ids, (count,) = encoder.cut(text, [place])
        assert tokenizer.decode(ids) == text
        assert ids[:count] == tokenizer(text[:place], add_special_tokens=False)["input_ids"]
