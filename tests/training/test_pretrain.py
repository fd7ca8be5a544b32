"""Pretraining on raw text against a loop of plain transformers over windows that are cut token by token."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path

import pytest
import torch
from reference import plain_loop, sequence_loss_sum
from rich.console import Console
from transformers import AutoModelForCausalLM, AutoTokenizer
from workbench import evaluate_target, steps_of, write_recipe, write_rows

from weitiao.errors import RenderingError
from weitiao.recipe import load_recipe
from weitiao.rendering.items import TokenSequence
from weitiao.study.check import check_recipe
from weitiao.study.pipeline.run import run_pipeline
from weitiao.study.train import train
from weitiao.study.why import rows_behind
from weitiao.text.wording import Wording

LIMIT, OVERLAP = 24, 6
WORDS = ["red", "green", "blue", "white", "black", "question", "answer"]


def texts(num: int, *, start: int = 0) -> list[str]:
    """Documents from one word to many windows, some with a beginning in common."""
    return [" ".join(WORDS[(i * k + k) % 7] for k in range(1 + (i * 5) % 60)) for i in range(start, start + num)]


def plain_windows(text: str, tokenizer: AutoTokenizer) -> list[TokenSequence]:
    """Token after token: the next one goes into a window of its own as soon as the one before is full."""
    ids = tokenizer(text)["input_ids"] + [tokenizer.eos_token_id]
    made, window, weights = [], [ids[0]], [0.0]
    for place in range(1, len(ids)):
        if len(window) == LIMIT:
            made.append(TokenSequence.of(text, window, weights))
            window, weights = ids[place - OVERLAP : place], [0.0] * OVERLAP
        window, weights = [*window, ids[place]], [*weights, 1.0]
    return [*made, TokenSequence.of(text, window, weights)]


@pytest.fixture
def recipe(tiny_llama_dir: Path, tmp_path: Path) -> Path:
    for name, rows in (("texts", texts(24)), ("held", texts(6, start=40))):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps({"text": row}) + "\n" for row in rows))
    path = write_recipe(
        tmp_path,
        tiny_llama_dir,
        objective={"type": "pretrain", "overlap": OVERLAP},
        rendering={"max_length": LIMIT},
        data={"train": "texts.jsonl", "validation": "held.jsonl", "test": "held.jsonl"},
        train={"max_steps": 4, "warmup": 0, "seed": 3, "learning_rate": 0.001, "keep_best": False},
        evaluate={"metrics": ["perplexity"]},
    )
    path.write_text(path.read_text().replace('"r": 4', '"type": "full"'))
    return path


def test_losses_and_perplexity_are_those_of_a_plain_loop_over_windows(recipe: Path, tiny_llama_dir: Path) -> None:
    shown = Console(file=io.StringIO(), width=200)
    run = train(load_recipe(recipe), console=shown).path
    printed = shown.file.getvalue()
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama_dir)
    windows = [window for text in texts(24) for window in plain_windows(text, tokenizer)]
    assert len(windows) > 2 * 24
    model = AutoModelForCausalLM.from_pretrained(tiny_llama_dir, attn_implementation="eager")
    expected = plain_loop(model, windows, steps=4, seed=3, learning_rate=0.001)
    assert [line["loss"] for line in steps_of(run)] == pytest.approx(expected, rel=2e-5)
    assert "windows of at most 24 tokens" in printed

    held = [window for text in texts(6, start=40) for window in plain_windows(text, tokenizer)]
    with torch.no_grad():
        loss = sum(float(sequence_loss_sum(model, one)) for one in held) / sum(one.weight for one in held)
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["validation_loss"] == pytest.approx(loss, rel=1e-4)
    assert last["validation_perplexity"] == pytest.approx(math.exp(loss), rel=1e-3)
    documents = [(text, tokenizer(text)["input_ids"]) for text in texts(6, start=40)]
    num = sum(len(text) - len(tokenizer.decode(ids[0])) for text, ids in documents)  # the first token is given
    nats = loss * sum(one.weight for one in held) / num
    assert last["validation_nats_per_character"] == pytest.approx(nats, rel=1e-4)
    assert last["validation_bits_per_byte"] == pytest.approx(nats / math.log(2), rel=1e-4)  # of ASCII
    assert f"nats per character {nats:.2f}" in printed
    scores = evaluate_target(run, console=Console(quiet=True)).scores
    assert scores.validation_nats_per_character is not None
    assert scores.validation_bits_per_byte is not None
    assert scores.validation_nats_per_character.value == pytest.approx(nats, rel=1e-4)
    assert scores.validation_bits_per_byte.value == pytest.approx(nats / math.log(2), rel=1e-4)
    assert scores.validation_perplexity is not None
    assert scores.validation_perplexity.value == pytest.approx(math.exp(loss), rel=1e-3)
    assert scores.metrics["perplexity"].value == pytest.approx(math.exp(loss), rel=1e-3)

    assert f"perplexity {math.exp(loss):.1f}" in printed
    checked = check_recipe(load_recipe(recipe), console=Console(quiet=True))
    assert not [one for one in checked.findings if one.kind == "long"]
    culprit = rows_behind(run, 2, num=1)[0]
    assert culprit.prompt + culprit.answer in tokenizer.decode(tokenizer(texts(24)[_row(culprit.row_id)])["input_ids"])


def _row(row_id: str) -> int:
    return int(row_id.rpartition(":")[2]) - 1


def test_what_cannot_be_pretrained_on_is_refused(recipe: Path) -> None:
    write_rows(recipe.parent / "texts.jsonl", 3)
    with pytest.raises(RenderingError, match="is a conversation"):
        train(load_recipe(recipe), console=Console(quiet=True))
    with pytest.raises(RenderingError, match="leave no room in windows of 24"):
        train(load_recipe(recipe, ["objective.overlap=23"]), console=Console(quiet=True))


def test_the_whole_work_is_done_without_answers(recipe: Path) -> None:
    """What a text that is held out says, and retention, and no verdict: there is nothing to compare prompts with."""
    changed = ["data.test=", "retention={parts: [text-en], limit: 4}", "run.on_findings=continue"]
    result = run_pipeline(load_recipe(recipe, changed), console=Console(quiet=True))
    states = {step.name: step.state for step in result.steps}
    assert {name for name, state in states.items() if state == "skipped"} == {"baseline", "compare", "verdict"}
    assert set(states.values()) == {"skipped", "done"}
    assert (result.verdict, result.exit_code) == (None, 0)
    read = (json.loads((result.path / f"retention-{side}.json").read_text()) for side in ("before", "after"))
    before, after = (Wording("en").nats(one["parts"][0]["estimate"]["value"]) for one in read)
    assert before != after
    assert result.report is not None
    assert f"{before} → {after}" in result.report.read_text()
