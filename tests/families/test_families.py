"""Every family through every way of tuning, against plain transformers and PEFT.

What each test finds goes into the report of the run (`pytest --junitxml=FILE`) as the property `support`, from which
`python -m tools.support_matrix FILE` writes the table of docs/support.md.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from catalogue import FAMILIES, plain, save
from peft import get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from pydantic import TypeAdapter
from reference import forest_rows, loss_and_gradient
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from weitiao.errors import ModelError
from weitiao.export.merge import merge
from weitiao.forest.layout import build_forest
from weitiao.generation.config import GenerationConfig
from weitiao.generation.generate import generate
from weitiao.methods.config import MethodConfig
from weitiao.methods.final import save_final
from weitiao.methods.method import Method
from weitiao.methods.note import Note
from weitiao.methods.open import open_model
from weitiao.models.alone import branches, keeps_state
from weitiao.models.attention import FOREST, runs_alone
from weitiao.models.config import ModelConfig
from weitiao.models.fingerprint import model_fingerprint
from weitiao.models.load import OWN, load_model
from weitiao.models.losses import token_losses
from weitiao.models.parts import decoder
from weitiao.models.probe import forest_or_alone
from weitiao.rendering.items import as_items

ROWS = forest_rows()
IDS = [row.token_ids.tolist() for row in ROWS]
Support = Callable[[str], None]

pytestmark = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture
def support(request: pytest.FixtureRequest, record_property: Callable[[str, object], None], family: str) -> Support:
    """Tells the report what a test found; what it does not tell did not work."""
    feature = request.function.__name__.removeprefix("test_")
    return lambda found: record_property("support", f"{family}|{feature}|{found}")


@pytest.fixture(scope="session")
def directory_of(tiny_llama_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Each family as a directory on disk, made once."""
    home, tokenizer = tmp_path_factory.mktemp("families"), AutoTokenizer.from_pretrained(tiny_llama_dir)

    def directory(family: str) -> Path:
        place = home / f"{list(FAMILIES).index(family)}"
        return place if place.exists() else save(family, place, tokenizer)

    return directory


def made(directory: Path, settings: dict[str, Any], **model: Any) -> tuple[Method, nn.Module]:
    """A model with what a method puts into it, and something in every part of that."""
    config = ModelConfig(name=str(directory), dtype="float32", **model)
    method: Method = TypeAdapter(MethodConfig).validate_python(settings).build()
    adapted = method.apply(load_model(config, attention=FOREST, options=method.load_options()), seed=0)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad and settings["type"] != "full":
                parameter.copy_(torch.randn_like(parameter) * 0.1)
    forest_or_alone(adapted, IDS, longest=max(map(len, IDS)))
    return method, adapted


def learned(model: nn.Module) -> tuple[float, dict[str, Tensor]]:
    """The loss of all rows in one forest, and the gradients."""
    losses, weights = token_losses(model, build_forest(as_items(ROWS)))
    loss = (losses * weights).sum()
    loss.backward()
    return loss.item(), gradients(model)


def gradients(model: nn.Module) -> dict[str, Tensor]:
    return {name: one.grad for name, one in model.named_parameters() if one.grad is not None}


def require_close(found: tuple[float, dict[str, Tensor]], loss: float, expected: dict[str, Tensor]) -> None:
    assert found[0] == pytest.approx(loss, rel=1e-5)
    assert found[1].keys() == expected.keys()
    of_all = torch.cat([found[1][name].flatten() - expected[name].flatten() for name in expected])
    assert of_all.norm() / torch.cat([one.flatten() for one in expected.values()]).norm() < 1e-5


def final(directory: Path, base: Path, method: Method, model: nn.Module, kind: str) -> Path:
    note = Note(str(base), model_fingerprint(base), method=kind)
    save_final(directory, model, AutoTokenizer.from_pretrained(base), method=method, note=note)
    return directory


@torch.no_grad()
def logits(model: nn.Module) -> Tensor:
    return model.eval()(input_ids=torch.tensor([IDS[0]]), use_cache=False).logits


def close(found: nn.Module, expected: Tensor) -> None:
    torch.testing.assert_close(logits(found), expected, atol=1e-4, rtol=1e-4)


def test_attention(family: str, directory_of: Callable[[str], Path], tmp_path: Path, support: Support) -> None:
    """All of it learns: losses and gradients are those of every sequence alone, and so is what is saved."""
    method, model = made(directory_of(family), {"type": "full"})
    assert runs_alone(model) == keeps_state(model)  # by which a forecast decides
    reference = plain(family)
    loss, _ = loss_and_gradient(reference, ROWS)
    require_close(learned(model), loss, gradients(reference))
    with torch.no_grad():
        for one in (model, reference):
            for parameter in one.parameters():
                if parameter.grad is not None:
                    parameter.sub_(0.01 * parameter.grad)
    expected = logits(reference)
    saved = final(tmp_path / "final", directory_of(family), method, model, "full")
    close(open_model(saved, attention=OWN).model, expected)
    close(AutoModelForCausalLM.from_pretrained(saved), expected)
    kind = "alone, branching" if branches(decoder(model)) else "alone"
    support(kind if runs_alone(model) else "forest")


def test_lora(family: str, directory_of: Callable[[str], Path], tmp_path: Path, support: Support) -> None:
    """LoRA on all linear layers against PEFT; opened again, merged, and the merged model in plain transformers."""
    method, model = made(directory_of(family), {"type": "lora", "r": 4})
    reference = get_peft_model(plain(family), model.peft_config["default"])  # type: ignore[index,operator]
    set_peft_model_state_dict(reference, get_peft_model_state_dict(model))  # type: ignore[no-untyped-call]
    loss, _ = loss_and_gradient(reference.train(), ROWS)
    require_close(learned(model), loss, gradients(reference))
    expected = logits(reference)
    saved = final(tmp_path / "final", directory_of(family), method, model, "lora")
    close(open_model(saved, attention=OWN).model, expected)
    merge(saved, tmp_path / "merged")
    close(AutoModelForCausalLM.from_pretrained(tmp_path / "merged"), expected)
    support("yes")


def test_bitfit(family: str, directory_of: Callable[[str], Path], tmp_path: Path, support: Support) -> None:
    """Biases that learn, where the architecture has a place for them; a refusal elsewhere."""
    try:
        method, model = made(directory_of(family), {"type": "bitfit"})
    except ModelError as error:
        assert "bias" in str(error)
        support("no")
        return
    reference = load_plain(model)
    loss, _ = loss_and_gradient(reference, ROWS)
    require_close(
        learned(model), loss, {name: one for name, one in gradients(reference).items() if learns(model, name)}
    )
    saved = final(tmp_path / "final", directory_of(family), method, model, "bitfit")
    close(AutoModelForCausalLM.from_pretrained(saved), logits(reference))
    support("yes")


def learns(model: nn.Module, name: str) -> bool:
    return model.get_parameter(name).requires_grad


def load_plain(model: Any) -> nn.Module:
    """The same weights in a new model of the same class, with its own eager attention."""
    config = copy.deepcopy(model.config)  # the attention is noted in it
    reference = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    reference.load_state_dict(model.state_dict())
    return reference


def test_adapter(family: str, directory_of: Callable[[str], Path], tmp_path: Path, support: Support) -> None:
    """Bottleneck adapters: rows in a forest against each of them alone in the same model, saved and opened."""
    try:
        method, model = made(directory_of(family), {"type": "adapter", "size": 4})
    except ModelError as error:
        assert "is not one attention and one feed-forward part" in str(error)
        support("no")
        return
    found = learned(model)
    model.zero_grad()
    saved = final(tmp_path / "final", directory_of(family), method, model, "adapter")
    reference = open_model(saved, attention="eager").model
    for name, parameter in reference.named_parameters():
        parameter.requires_grad_(learns(model, name))
    loss, _ = loss_and_gradient(reference, ROWS)
    require_close(found, loss, gradients(reference))
    support("yes")


def test_nf4(family: str, directory_of: Callable[[str], Path], support: Support) -> None:
    """LoRA on a base in four bits, against the rounded weights written out."""
    config = ModelConfig(name=str(directory_of(family)), dtype="float32", quantization="nf4")
    _, model = made(directory_of(family), {"type": "lora", "r": 4}, quantization="nf4")
    written = load_model(config, attention="eager", dequantize=True)
    reference = get_peft_model(written, model.peft_config["default"])  # type: ignore[index,operator]
    set_peft_model_state_dict(reference, get_peft_model_state_dict(model))  # type: ignore[no-untyped-call]
    loss, _ = loss_and_gradient(reference.train(), ROWS)
    require_close(learned(model), loss, gradients(reference))
    support("yes")


def test_answers(family: str, directory_of: Callable[[str], Path], support: Support) -> None:
    """Greedy answers, token by token those of transformers."""
    model = load_model(ModelConfig(name=str(directory_of(family)), dtype="float32"), attention=FOREST)
    prompts = [IDS[0][:9], IDS[0][:12], IDS[5][:5]]
    answers = generate(model, prompts, GenerationConfig(max_new_tokens=10), stop_ids=frozenset())
    reference = plain(family)
    for prompt, answer in zip(prompts, answers, strict=True):
        ids = torch.tensor([prompt])
        whole = reference.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=10, eos_token_id=None
        )
        assert list(answer.token_ids) == whole[0, len(prompt) :].tolist()
    support("yes")
