"""The catalogue of models: the published number of parameters, and the names under which they are found."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from importlib import resources
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from weitiao.errors import ModelError
from weitiao.methods.lora import LoraConfig
from weitiao.planning.devices import architecture_names, find_architecture


def described(name: str) -> dict[str, Any]:
    file = resources.files("weitiao.planning") / "architectures" / f"{name}.json"
    return dict(json.loads(file.read_text(encoding="utf-8")))


def counted(name: str, count: Callable[[PreTrainedModel], int]) -> int:
    """A count over the whole model, built without memory for its weights.

    All layers are alike, but for the dense ones below the experts: two models of few layers say what any number has.
    """
    values = {key: value for key, value in described(name).items() if key != "weitiao"}
    few = values.get("first_k_dense_replace", 0) + 1
    counts = []
    for num_layers in (few, few + 1):
        with torch.device("meta"):
            config = AutoConfig.for_model(**{**values, "num_hidden_layers": num_layers})
            counts.append(count(AutoModelForCausalLM.from_config(config)))
    return counts[0] + (values["num_hidden_layers"] - few) * (counts[1] - counts[0])


@pytest.mark.parametrize("name", architecture_names())
def test_the_number_of_parameters_is_the_published_one(name: str) -> None:
    assert counted(name, lambda model: model.num_parameters()) == described(name)["weitiao"]["parameters"]


def test_lora_on_mistral_7b_learns_what_courses_say() -> None:
    def tuned(model: PreTrainedModel, only_trainable: bool) -> int:
        parameters = LoraConfig(r=8).build().apply(model, seed=0).parameters()
        return sum(one.numel() for one in parameters if one.requires_grad or not only_trainable)

    assert counted("mistral-7b", partial(tuned, only_trainable=True)) == 20_971_520
    assert counted("mistral-7b", partial(tuned, only_trainable=False)) == 7_262_703_616


@pytest.mark.parametrize(
    "name", ["mistral-7b", "mistralai/Mistral-7B-v0.1", "MISTRAL_7b", "mistralai/Mistral-7B-Instruct-v0.1"]
)
def test_a_model_is_found_however_it_is_written(name: str) -> None:
    config = find_architecture(name)
    assert (config.model_type, config.vocab_size, config.hidden_size) == ("mistral", 32_000, 4096)


def test_every_model_is_found_under_all_its_names_and_no_name_is_given_twice() -> None:
    names = [(key, name) for key in architecture_names() for name in (key, *described(key)["weitiao"]["names"])]
    found = [name.lower().replace("-", "").replace(".", "").replace("_", "") for _, name in names]
    assert len(found) == len(set(found))
    for key, name in names:
        assert find_architecture(f"someone/{name}").to_dict() == find_architecture(key).to_dict()


def test_an_unknown_model_is_an_error_with_the_nearest() -> None:
    with pytest.raises(ModelError, match=r"no 'someone/mistral-8b'\.\nDid you mean mistral-7b"):
        find_architecture("someone/mistral-8b")
    with pytest.raises(ModelError, match=r"Did you mean llama-3\.1-8b\b"):
        find_architecture("someone/Meta-Llama-3.1-8B-Instruct-bnb-4bit")
