"""`weitiao moe usage`: which experts the held-out rows of a run go to, before and after tuning, and by their class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from weitiao.errors import DataError, ModelError, RecipeError
from weitiao.evaluation.experts import Spread, Usage, speciality
from weitiao.forest.plan import pack
from weitiao.machine.hardware import detect_hardware
from weitiao.methods.open import find_final
from weitiao.models.losses import final_states
from weitiao.models.parts import causal_model, decoder, evaluating, require_embeddings
from weitiao.models.probe import probe_once
from weitiao.models.routing import Routing, chosen_counts, members
from weitiao.recipe import Recipe
from weitiao.rendering.items import TokenSequence, as_items
from weitiao.study.dataset import Tell, load_told, render_part
from weitiao.study.prepared import token_budget
from weitiao.study.setup import open_recipe, set_threads

if TYPE_CHECKING:
    from weitiao.data.example import Example

_MOST_CLASSES = 50


def expert_usage(recipe: Recipe, *, by: str | None, tell: Tell) -> Usage:
    """Count which experts the validation and test rows of a run's recipe go to.

    Args:
        recipe: Of the run.
        by: A column of the data whose values are the classes; `answer` is the expected answer. None has no classes.
        tell: Gets every line that a person should see.

    Raises:
        RecipeError: The recipe holds out no rows.
        DataError: There is no such column, or it has too many values.
        ModelError: The model is no mixture of experts.
    """
    assert recipe.run_dir is not None, "load_recipe sets run_dir"
    find_final(recipe.run_dir)  # says what is wrong before data and model are loaded
    data = load_told(recipe, tell)
    examples = (*data.validation, *data.test)
    if not examples:
        raise RecipeError(
            "The recipe holds out no rows: neither `data.test` nor `data.validation` is there.",
            "Add data.test=FILE to the recipe, or to this command.",
        )
    set_threads(recipe, detect_hardware())
    classes = {one.row_id: _class_of(one, by) for one in examples}
    if len(names := sorted(set(classes.values()))) > _MOST_CLASSES:
        raise DataError(
            f"--by {by}: {len(names):,} different values are no classes.", "Name a column with a few values."
        )
    before, _ = _counts(recipe, examples, classes, tuned=False, tell=lambda line: None)
    after, layers = _counts(recipe, examples, classes, tuned=True, tell=tell)
    sizes = {name: sum(one == name for one in classes.values()) for name in names}
    return Usage(
        layers,
        len(examples),
        Spread.of(before.sum(1)),
        Spread.of(after.sum(1)),
        by,
        {name: (sizes[name], Spread.of(after[:, place])) for place, name in enumerate(names)} if by else {},
        speciality(after[0]) if by else None,
    )


def _class_of(example: Example, by: str | None) -> str:
    """The class of a row.

    Raises:
        DataError: It has no such column.
    """
    if by is None:
        return ""
    if by not in example.columns and by != "answer":
        known = ", ".join([*map(str, example.columns), "answer"])
        raise DataError(f"--by {by}: {example.row_id} has no such column.", f"Choose from: {known}.")
    return str(example.columns.get(by, example.answer))


def _counts(
    recipe: Recipe, examples: Sequence[Example], classes: dict[str, str], *, tuned: bool, tell: Tell
) -> tuple[Tensor, list[str]]:
    """Counts [2, C, L, E] of all tokens and of those that predict, by class; and the names of the layers."""
    opened = open_recipe(recipe, tuned=tuned)
    model, routing = opened.model, Routing.of(opened.model)
    if not routing.routers:
        raise ModelError(
            f"{type(causal_model(model)).__name__} has no routers that transformers can record.",
            "Name a run of a mixture of experts.",
        )
    rows = render_part(recipe, examples, opened.tokenizer, "held out", tell).sequences
    require_embeddings(model, ((one.row_id, one.token_ids) for one in rows))
    budget, share = token_budget(recipe, as_items(rows), model.device), recipe.train.share_prefixes
    longest = max(one.num_inputs for one in rows)
    probe_once(model, [one.token_ids for one in rows[:4]], longest=longest, share_prefixes=share)
    with evaluating(model), torch.no_grad():
        parts = _routed(model, routing, rows, classes, max(budget, longest), share=share)
    return parts, list(routing.routers)


def _routed(
    model: nn.Module,
    routing: Routing,
    rows: Sequence[TokenSequence],
    classes: dict[str, str],
    budget: int,
    *,
    share: bool,
) -> Tensor:
    names = sorted(set(classes.values()))
    total: Any = 0
    for forest in pack(as_items(rows), token_budget=budget, share_prefixes=share):
        routing.begin()
        states_TD = final_states(decoder(model), forest.layout)
        routed = routing.end(forest.layout)
        inside_ST = members(forest, states_TD.device)
        learned_ST = torch.zeros_like(inside_ST)
        learned_ST[forest.targets.sequences, forest.targets.positions] = 1
        of_class = [names.index(classes[forest.items[item].row_id]) for item in forest.sequence_items]
        classes_CS = torch.eye(len(names), device=states_TD.device)[of_class].T
        weights_2CT = torch.stack([classes_CS @ inside_ST, classes_CS @ learned_ST])
        total = total + torch.stack([weights_2CT @ chosen_counts(one) for one in routed.values()], 2).double().cpu()
    counts: Tensor = total
    return counts
