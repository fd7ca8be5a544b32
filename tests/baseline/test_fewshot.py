"""Solved examples in prompts: which ones, how they stand there, and how much of the context they take."""

from __future__ import annotations

import math
import random
from collections import Counter
from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from weitiao.baseline.fewshot import choose_shots, nearest, prompt_cost, require_room, terms, with_shots
from weitiao.data.example import Example
from weitiao.errors import DataError, RecipeError, RenderingError
from weitiao.rendering.render import Prompts

SYSTEM = "answer the question in one word"
LABELS = ["red", "green", "blue"]


def row(number: int, question: str, answer: str, *, part: str = "train", system: str | None = SYSTEM) -> Example:
    first = () if system is None else ({"role": "system", "content": system},)
    turns = ({"role": "user", "content": question}, {"role": "assistant", "content": answer})
    return Example(f"{part}.jsonl:{number}", (*first, *turns))


TRAIN = [row(i, f"what colour has thing {i}?", LABELS[0 if i < 9 else i % 3]) for i in range(15)]
TEST = [row(i, f"what colour has part {i}?", LABELS[i % 3], part="test") for i in range(4)]


def ids(rows: tuple[Example, ...]) -> list[str]:
    return [one.row_id for one in rows]


@pytest.fixture(scope="module")
def tokenizer(tiny_llama_dir: Path) -> PreTrainedTokenizerFast:
    return AutoTokenizer.from_pretrained(tiny_llama_dir)


@pytest.mark.parametrize("selection", ["random", "per_class"])
def test_shared_examples_depend_on_content_and_seed_alone(selection: str) -> None:
    chosen = choose_shots(TRAIN, TEST, num=6, selection=selection, seed=3)  # type: ignore[arg-type]
    shuffled = random.Random(0).sample(TRAIN, len(TRAIN))
    again = choose_shots(shuffled, TEST, num=6, selection=selection, seed=3)  # type: ignore[arg-type]
    assert len(chosen) == len(TEST)
    assert len({tuple(ids(one)) for one in chosen}) == 1
    assert [ids(one) for one in again] == [ids(one) for one in chosen]
    other = choose_shots(TRAIN, TEST, num=6, selection=selection, seed=4)  # type: ignore[arg-type]
    assert ids(other[0]) != ids(chosen[0])


def test_more_random_examples_begin_with_the_fewer() -> None:
    four, eight = (choose_shots(TRAIN, TEST, num=num, selection="random", seed=0)[0] for num in (4, 8))
    assert ids(eight)[:4] == ids(four)
    assert choose_shots(TRAIN, TEST, num=0, selection="random", seed=0) == ((), (), (), ())


@pytest.mark.parametrize("selection", ["random", "per_class", "nearest"])
def test_what_is_asked_is_never_shown(selection: str) -> None:
    twins = [row(100, "WHAT colour has part 0", "red"), row(101, "What  colour has “part 2”!", "blue")]
    rows = [*twins, *TRAIN, row(102, "what colour has thing 3", "green")]  # the last repeats a row of TRAIN
    chosen = choose_shots(rows, TEST, num=15, selection=selection, seed=0)  # type: ignore[arg-type]
    for one in chosen:
        assert sorted(ids(one)) == sorted(ids(tuple(TRAIN)))
    with pytest.raises(DataError, match=r"16 examples.*15 rows that can be shown, of 18"):
        choose_shots(rows, TEST, num=16, selection=selection, seed=0)  # type: ignore[arg-type]


def test_another_system_text_does_not_make_another_question() -> None:
    twin = row(100, "what colour has part 0?", "red", system=None)
    chosen = choose_shots([twin, *TRAIN], TEST, num=15, selection="random", seed=0)
    assert twin.row_id not in ids(chosen[0])


@pytest.mark.parametrize(("num", "counts"), [(2, {1}), (3, {1}), (6, {2}), (9, {2, 5})])
def test_labels_take_turns(num: int, counts: set[int]) -> None:
    """TRAIN has eleven rows of one label and two of each other one."""
    (chosen, *_) = choose_shots(TRAIN, TEST, num=num, selection="per_class", seed=1)
    found = Counter(one.answer for one in chosen)
    assert found.total() == num
    assert set(found.values()) == counts
    assert len(set(ids(chosen))) == num
    assert len({one.answer for one in chosen[:3]}) == min(num, 3)


def test_labels_are_needed_for_turns() -> None:
    free = [row(i, f"question {i}", f"an answer of its own, number {i}") for i in range(20)]
    with pytest.raises(RecipeError, match="per_class"):
        choose_shots(free, TEST, num=4, selection="per_class", seed=0)


TEXTS = [
    "How do I reset my card PIN?",
    "My card was declined at the shop.",
    "The card I ordered has not arrived, the card is late.",
    "我的银行卡还没有寄到",
    "怎么重置银行卡的密码？",
    "如何更改收货地址",
    "Where is my refund",
    "…",
]


def brute_force(texts: list[str], query: str) -> list[float]:
    """BM25 in Lucene's form, from its formula, term by term."""
    documents = [Counter(terms(text) or [""]) for text in texts]
    average = sum(document.total() for document in documents) / len(documents)
    scores = [0.0] * len(texts)
    for term in terms(query):
        having = sum(term in document for document in documents)
        idf = math.log(1 + (len(texts) - having + 0.5) / (having + 0.5))
        for place, document in enumerate(documents):
            length = 1 - 0.75 + 0.75 * document.total() / average
            scores[place] += idf * document[term] / (document[term] + 1.5 * length)
    return scores


@pytest.mark.parametrize(
    "query", ["reset the PIN of my card", "银行卡密码忘了", "card card shop", "寄", "unknown words"]
)
def test_nearest_are_those_that_the_formula_says(query: str) -> None:
    scores = brute_force(TEXTS, query)
    expected = sorted(range(len(TEXTS)), key=lambda place: (-round(scores[place], 5), place))
    assert nearest(TEXTS, [query], len(TEXTS)) == [expected]
    assert nearest(TEXTS, [query], 3) == [expected[:3]]


def test_the_most_alike_stands_next_to_the_question() -> None:
    train = [row(i, text, "x") for i, text in enumerate(TEXTS)]
    asked = [row(0, "my PIN, how do I reset it", "x"), row(1, "密码怎么重置", "x")]
    chosen = choose_shots(train, asked, num=2, selection="nearest", seed=0)
    assert [one[-1].row_id for one in chosen] == ["train.jsonl:0", "train.jsonl:4"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The card's PIN, twice: PIN", ["the", "card", "s", "pin", "twice", "pin"]),
        ("card_arrival No7", ["card", "arrival", "no7"]),
        ("我的银行卡", ["我的", "的银", "银行", "行卡"]),
        ("卡 A4纸", ["卡", "a4", "纸"]),
        ("ＡＢＣ：１２", ["abc", "12"]),
        ("카드 카드로", ["카드", "카드", "드로"]),
        ("?!", []),
    ],
)
def test_terms_of_texts(text: str, expected: list[str]) -> None:
    assert terms(text) == expected


def test_a_prompt_is_the_conversation_written_by_hand(tokenizer: PreTrainedTokenizerFast) -> None:
    turns = (
        {"role": "system", "content": "another system text"},
        {"role": "user", "content": "a?"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "and c?"},
        {"role": "assistant", "content": "d"},
        {"role": "user", "content": "never answered"},
    )
    shots = (row(1, "什么颜色？", "红 red"), Example("train.jsonl:2", turns))
    asked = with_shots(row(7, "what colour?\n", "blue", part="test"), shots)
    text = (
        f"<|im_start|>system\n{SYSTEM}<|im_end|>\n"
        "<|im_start|>user\n什么颜色？<|im_end|>\n<|im_start|>assistant\n红 red<|im_end|>\n"
        "<|im_start|>user\na?<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n"
        "<|im_start|>user\nand c?<|im_end|>\n<|im_start|>assistant\nd<|im_end|>\n"
        "<|im_start|>user\nwhat colour?\n<|im_end|>\n<|im_start|>assistant\n"
    )
    assert Prompts(tokenizer)(asked.prompt) == tokenizer(text).input_ids
    assert (asked.row_id, asked.answer) == ("test.jsonl:7", "blue")
    assert with_shots(row(7, "a", "b"), ()) == row(7, "a", "b")


def test_a_row_without_a_system_text_gets_none(tokenizer: PreTrainedTokenizerFast) -> None:
    asked = with_shots(row(7, "c?", "d", system=None), (row(1, "a?", "b"),))
    text = "<|im_start|>user\na?<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n<|im_start|>user\nc?<|im_end|>\n"
    assert Prompts(tokenizer)(asked.prompt) == tokenizer(f"{text}<|im_start|>assistant\n").input_ids


def test_the_share_of_the_context_is_that_of_the_examples_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    shots = choose_shots(TRAIN, TEST, num=4, selection="random", seed=0)
    bare = [len(Prompts(tokenizer)(one.prompt)) for one in TEST]
    full = [len(Prompts(tokenizer)(with_shots(one, some).prompt)) for one, some in zip(TEST, shots, strict=True)]
    turns = "".join(
        f"<|im_start|>user\n{one.messages[1]['content']}<|im_end|>\n<|im_start|>assistant\n{one.answer}<|im_end|>\n"
        for one in shots[0]
    )
    cost = prompt_cost(full, bare, context=512)
    assert cost.example_tokens == pytest.approx(len(tokenizer(turns).input_ids))
    assert cost.context_share == pytest.approx(len(tokenizer(turns).input_ids) / 512)
    assert cost.prompt_tokens == pytest.approx(sum(full) / 4)
    assert (cost.longest_prompt, cost.context) == (max(full), 512)


def test_examples_that_do_not_fit_are_refused_with_the_numbers() -> None:
    def check(lengths: list[int], bare: list[int], shots: int) -> None:
        rows = ["test.jsonl:1", "test.jsonl:2"]
        require_room(lengths, bare, rows, shots=shots, max_new_tokens=12, context=100, model="tiny")

    check([80, 88], [8, 16], 8)
    with pytest.raises(RenderingError, match=r"test\.jsonl:2: the 8-shot prompt of 89 tokens, 73 of them") as caught:
        check([80, 89], [8, 16], 8)
    for text in ("answer of up to 12", "context of tiny, 100 tokens", "baseline.shots to about 7"):
        assert text in str(caught.value)
    with pytest.raises(RenderingError, match=r"Leave examples out"):
        check([95, 99], [85, 87], 1)
    with pytest.raises(RenderingError, match=r"0-shot prompt of 99 tokens, and") as caught:
        check([95, 99], [95, 99], 0)
    assert "Shorten or remove the row" in str(caught.value)
