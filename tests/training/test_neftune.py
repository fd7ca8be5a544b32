"""Noise on embeddings: that of the paper for every row alone, off in validation, the same bytes after a resume."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from reference import build, forest_rows
from rich.console import Console
from workbench import final_weights, steps_of, write_recipe

from weitiao.errors import RunError
from weitiao.forest.layout import build_forest, build_layout
from weitiao.models.attention import FOREST
from weitiao.models.losses import token_losses
from weitiao.models.noise import add_embedding_noise
from weitiao.recipe import load_recipe
from weitiao.rendering.items import as_items
from weitiao.study.train import train

ALPHA, WIDTH = 5.0, 32


@pytest.mark.parametrize("share", [True, False])
def test_the_loss_is_that_of_every_row_alone_with_the_noise_of_its_tokens(share: bool) -> None:
    rows = sorted(forest_rows(), key=lambda row: row.inputs.tolist())
    forest = build_forest(as_items(rows), share_prefixes=share)
    model = build("llama", FOREST)
    add_embedding_noise(model, ALPHA)
    plain = token_losses(model, forest)[0]
    model.train()
    torch.manual_seed(3)
    noisy = token_losses(model, forest)[0]
    model.eval()
    assert torch.equal(token_losses(model, forest)[0], plain)

    _, paths = build_layout([row.inputs for row in rows], share_prefixes=share)
    longest = torch.zeros(len(forest.layout))
    for path in map(torch.from_numpy, paths):
        longest[path] = longest[path].clamp(min=len(path))
    torch.manual_seed(3)
    noise = (torch.rand(1, len(longest), WIDTH)[0] * 2 - 1) * ALPHA / (longest * WIDTH).sqrt()[:, None]
    reference = build("llama", "eager")
    expected = []
    with torch.no_grad():
        for row, path in zip(rows, paths, strict=True):
            ids = torch.from_numpy(row.token_ids.astype("int64"))
            embedded = reference.model.embed_tokens(ids[: len(path)]) + noise[torch.from_numpy(path)]
            logits = reference(inputs_embeds=embedded[None]).logits[0]
            learned = torch.from_numpy(row.weights).nonzero()[:, 0]
            expected.append(F.cross_entropy(logits[learned - 1], ids[learned], reduction="none"))
    torch.testing.assert_close(noisy, torch.cat(expected), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(noisy, plain, rtol=1e-2)


def test_a_resumed_run_draws_the_same_noise_and_its_portions_may_not_change(
    tiny_llama_dir: Path, tmp_path: Path
) -> None:
    settings = {
        "max_steps": 4,
        "seed": 7,
        "save_every": 2,
        "keep_checkpoints": 3,
        "neftune": ALPHA,
        "token_budget": 400,
    }
    path = write_recipe(tmp_path, tiny_llama_dir, train=settings)
    quiet = Console(quiet=True)
    run = train(load_recipe(path), console=quiet).path
    whole = final_weights(run)
    shutil.rmtree(run / "final")
    shutil.rmtree(run / "checkpoints" / "step-00000004")
    with pytest.raises(RunError, match="token_budget"):
        train(load_recipe(path, ["train.token_budget=500"]), console=quiet)
    train(load_recipe(path), console=quiet)
    assert final_weights(run) == whole
    without = train(load_recipe(path, ["train.neftune=null", f"run_dir={tmp_path / 'plain'}"]), console=quiet).path
    assert all(a["loss"] != b["loss"] for a, b in zip(steps_of(run), steps_of(without), strict=True))
