"""Log-likelihoods through the forest, against plain transformers on every text alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from weitiao.errors import DataError
from weitiao.evaluation.likelihood import continuation, likelihoods, passage
from weitiao.methods.open import open_model

CONTEXTS = ["Question: what is a model?\nAnswer:", "answer the question ", "", "问题：今天天气好吗？\n答案："]
CONTINUATIONS = [" a small model learns", "few", " from a few short examples", " 好", "  two spaces"]
PAIRS = [(context, text) for context in CONTEXTS for text in CONTINUATIONS]


@pytest.fixture(scope="module")
def opened(tiny_llama_dir: Path) -> Any:
    return open_model(tiny_llama_dir)


@pytest.fixture(scope="module")
def reference(tiny_llama_dir: Path) -> tuple[Any, Any]:
    model = AutoModelForCausalLM.from_pretrained(tiny_llama_dir).eval()
    return model, AutoTokenizer.from_pretrained(tiny_llama_dir)


def alone(model: Any, known: list[int], fresh: list[int]) -> float:
    """The sum of the log-softmax at the tokens of the continuation, by the model's own forward, in float64."""
    with torch.no_grad():
        logits = model(torch.tensor([known + fresh])).logits[0].double()
    scores = torch.log_softmax(logits, -1)[len(known) - 1 : -1]
    return float(scores.gather(1, torch.tensor(fresh).unsqueeze(1)).sum())


def split(tokenizer: Any, context: str, text: str) -> tuple[list[int], list[int]]:
    """Context and continuation as lm-evaluation-harness cuts them: space moves over, the rest of the whole follows."""
    while context and context[-1].isspace():
        context, text = context[:-1], context[-1] + text
    whole = tokenizer(context + text).input_ids
    known = tokenizer(context).input_ids if context else []
    return known or [tokenizer.bos_token_id], whole[len(known) :]


@pytest.mark.parametrize("budget", [1, 40, 2000])
@pytest.mark.parametrize("share", [True, False])
def test_continuations_are_as_likely_as_each_alone(opened: Any, reference: Any, budget: int, share: bool) -> None:
    model, tokenizer = reference
    expected = [alone(model, *split(tokenizer, *pair)) for pair in PAIRS]
    sequences = [continuation(opened.tokenizer, f"pair:{i}", *pair) for i, pair in enumerate(PAIRS)]
    found = likelihoods(opened.model, sequences, token_budget=budget, share_prefixes=share)
    assert [one.log_likelihood for one in found] == pytest.approx(expected, abs=1e-4)
    assert [one.num_tokens for one in found] == [len(split(tokenizer, *pair)[1]) for pair in PAIRS]
    assert found[0].loss == pytest.approx(-expected[0] / found[0].num_tokens, abs=1e-4)


def test_all_tokens_of_a_passage_but_the_first_are_predicted(opened: Any, reference: Any) -> None:
    model, tokenizer = reference
    ids = tokenizer("a small model learns").input_ids
    (found,) = likelihoods(opened.model, [passage(opened.tokenizer, "p:1", "a small model learns")], token_budget=99)
    assert found.num_tokens == len(ids) - 1
    assert found.log_likelihood == pytest.approx(alone(model, ids[:1], ids[1:]), abs=1e-4)


def test_the_tokenizers_own_bos_token_stands_in_front(tiny_llama_dir: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama_dir)
    from tokenizers.processors import TemplateProcessing

    plain = tokenizer("a model", add_special_tokens=False).input_ids
    bos = tokenizer.bos_token_id
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|im_start|> $A <|im_end|>",
        special_tokens=[("<|im_start|>", bos), ("<|im_end|>", tokenizer.eos_token_id)],
    )
    sequence = passage(tokenizer, "p:1", "a model")
    assert sequence.token_ids.tolist() == [bos, *plain]
    assert tuple(sequence.weights) == (0.0, *[1.0] * len(plain))
    pair = continuation(tokenizer, "p:2", "a", " model")
    assert (pair.token_ids.tolist(), sum(pair.weights)) == (
        [bos, *plain],
        len(plain) - len(tokenizer("a").input_ids) + 2,
    )


def test_progress_ends_with_all_and_training_mode_comes_back(opened: Any) -> None:
    calls: list[tuple[int, int]] = []
    sequences = [continuation(opened.tokenizer, f"pair:{i}", *pair) for i, pair in enumerate(PAIRS)]
    opened.model.train()
    likelihoods(opened.model, sequences, token_budget=60, on_progress=lambda done, total: calls.append((done, total)))
    assert opened.model.training
    opened.model.eval()
    assert calls == sorted(calls)
    assert len(calls) > 1
    assert calls[-1] == (len(PAIRS), len(PAIRS))


def test_what_cannot_be_computed_is_named(opened: Any) -> None:
    with pytest.raises(DataError, match=r"item:7.*no token of its own"):
        continuation(opened.tokenizer, "item:7", "a question", "")
    with pytest.raises(DataError, match=r"text:3.*one token"):
        passage(opened.tokenizer, "text:3", "a")
    long = passage(opened.tokenizer, "text:4", "word " * 600)
    with pytest.raises(DataError, match=r"text:4.*context of 512"):
        likelihoods(opened.model, [long], token_budget=99)
    assert likelihoods(opened.model, [], token_budget=99) == []
