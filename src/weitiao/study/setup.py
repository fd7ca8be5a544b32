"""What a recipe's model runs on: devices, threads, trackers, and the record of it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
from dataclasses import asdict
from pathlib import Path

import torch
from accelerate import Accelerator
from transformers import PreTrainedModel

from weitiao.errors import MissingExtraError, RecipeError, WeitiaoError
from weitiao.machine.hardware import Hardware, choose_threads
from weitiao.machine.ranks import num_local_ranks
from weitiao.methods.open import OpenModel, open_model
from weitiao.models.attention import FOREST
from weitiao.models.load import load_model
from weitiao.recipe import Recipe
from weitiao.study.dataset import prepare_tokenizer
from weitiao.text.wording import told

VERSIONS = ("weitiao", "torch", "transformers", "peft", "accelerate", "datasets", "tokenizers")


_DIVIDING = {
    "ACCELERATE_USE_FSDP": "FSDP",
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "a parallelism of its own",
}
"""What `accelerate launch` sets where a model is to be divided among its processes."""


def make_accelerator(recipe: Recipe) -> Accelerator:
    """Devices, ranks and trackers of a training.

    Raises:
        RecipeError: The launcher asks for mixed precision, or to divide the model among its processes.
        WeitiaoError: A tracker of the recipe is not known or not installed.
    """
    mixed = os.environ.get("ACCELERATE_MIXED_PRECISION") or "no"  # what `accelerate launch --mixed_precision` sets
    if mixed != "no":
        raise RecipeError(
            f"Accelerate is asked for mixed precision ({mixed}); weitiao computes in the type of the weights.",
            "Launch with --mixed_precision no (or unset ACCELERATE_MIXED_PRECISION), and set train.precision instead.",
        )
    for name, asked in _DIVIDING.items():  # on a CPU Accelerate would not say that it does something else
        if os.environ.get(name, "false").lower() == "true":
            raise RecipeError(
                f"Accelerate is asked for {asked}; weitiao trains the whole model in each process (DDP).",
                "Launch with torchrun; `weitiao plan --ranks N` forecasts whether the model fits into each process.",
            )
    try:
        return Accelerator(
            cpu=not torch.cuda.is_available(),
            mixed_precision="no",
            log_with=recipe.train.trackers or None,
            project_dir=str(recipe.run_dir),
        )
    except (ValueError, ImportError) as error:
        reason = str(error).splitlines()[0]
        raise WeitiaoError(
            f"train.trackers: {', '.join(recipe.train.trackers)} cannot be used: {reason}",
            "Install the tracker's package, or take it out; `weitiao doctor` lists what is installed.",
        ) from error


def require_trainable_dtype(dtype: torch.dtype) -> None:
    """Refuse float16: its smallest number is 6e-8, and gradients below it are lost without a scaled loss.

    Raises:
        RecipeError: It is float16.
    """
    if dtype == torch.float16:
        raise RecipeError(
            "model.dtype: float16 cannot be trained in: gradients below 6e-8 become zero, and the loss is not scaled.",
            "Set model.dtype to bfloat16 (as wide as float32), or train.precision to float16 (the loss is scaled).",
        )


def start_trackers(accelerator: Accelerator, recipe: Recipe) -> None:
    """Open a run in every tracker of the recipe."""
    if recipe.train.trackers:
        settings = {k: v for k, v in recipe.train.model_dump().items() if isinstance(v, int | float | str | bool)}
        try:
            accelerator.init_trackers("weitiao", config=settings)
        except ImportError as error:
            raise MissingExtraError(f"A tracker of train.trackers ({error})", "tensorboard") from error


def set_threads(recipe: Recipe, hardware: Hardware, *, num_processes: int | None = None) -> int:
    """CPU threads: the recipe's, else OMP_NUM_THREADS (which torchrun sets), else this machine's cores.

    Args:
        recipe: Says how many, perhaps.
        hardware: Whose cores they share.
        num_processes: That share them; those of this launch by default.
    """
    if isinstance(recipe.train.threads, int):
        torch.set_num_threads(recipe.train.threads)
    elif "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(choose_threads(hardware, num_processes=num_processes or num_local_ranks()))
    return torch.get_num_threads()


def device_here() -> str:
    """Where answers are written: the GPU when there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def open_recipe(recipe: Recipe, *, tuned: bool, attention: str = FOREST) -> OpenModel:
    """The model that a recipe's run left, or its base model with the recipe's template, where answers are written.

    Raises:
        WeitiaoError: It cannot be loaded.
    """
    if tuned:
        assert recipe.run_dir is not None, "load_recipe sets run_dir"
        return open_model(recipe.run_dir, base=recipe.model, attention=attention, device=device_here())
    model = load_model(recipe.model, attention=attention, device=device_here())
    return OpenModel(model, prepare_tokenizer(recipe), recipe.model.name, None)


def describe(hardware: Hardware, model: PreTrainedModel, device: torch.device, threads: int, budget: int) -> str:
    """One line about what was chosen to run on."""
    name = hardware.cpu_name if device.type == "cpu" else hardware.gpus[device.index or 0].name
    values = {"name": name, "threads": threads, "dtype": str(model.dtype).removeprefix("torch."), "budget": budget}
    return told(lambda words: words("progress.cpu" if device.type == "cpu" else "progress.gpu", **values))


def environment(hardware: Hardware) -> dict[str, object]:
    """Versions and hardware, for `environment.json`."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: importlib.metadata.version(name) for name in VERSIONS},
        "hardware": asdict(hardware),
        "threads": torch.get_num_threads(),
        "free_disk_bytes": shutil.disk_usage(Path.cwd()).free,
    }
