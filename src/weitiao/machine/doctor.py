"""What is installed, which features work on this machine, and how to get the others."""

from __future__ import annotations

import importlib.util
import platform
from dataclasses import dataclass
from importlib import metadata

from packaging.requirements import Requirement

from weitiao.machine.catalogue import CATALOGUE, find_catalogue_file
from weitiao.machine.hardware import Hardware, choose_dtype, choose_threads, detect_hardware
from weitiao.machine.products import product_speeds
from weitiao.machine.versions import version_of

_PACKAGES = (
    "weitiao", "torch", "transformers", "peft", "accelerate", "datasets", "tokenizers", "safetensors", "pydantic",
    "numpy", "pyarrow", "gguf",
)  # fmt: skip
_TRACKERS = {"tensorboard": "TensorBoard", "wandb": "Weights & Biases", "mlflow": "MLflow", "trackio": "trackio"}


@dataclass(frozen=True, slots=True)
class Feature:
    """Something this program can do, here or elsewhere.

    Attributes:
        key: A stable name, for programs.
        title: A name for people.
        available: Whether it works here.
        reason: Why, or why not.
        remedy: The command or step that makes it available; None if it is, or if nothing does.
    """

    key: str
    title: str
    available: bool
    reason: str
    remedy: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What `weitiao doctor` tells.

    Attributes:
        python: Version of Python.
        platform: Operating system and architecture.
        packages: Distribution to version, None if it is not installed.
        hardware: What this process may use.
        device: Where a model trains by default, `cuda` or `cpu`.
        dtype: The number format that `model.dtype: auto` means here.
        num_threads: Threads that a training process takes.
        product_speeds: Billions of operations per second in matrix products on that device, by number format.
        features: What works.
    """

    python: str
    platform: str
    packages: dict[str, str | None]
    hardware: Hardware
    device: str
    dtype: str
    num_threads: int
    product_speeds: dict[str, float]
    features: tuple[Feature, ...]


def diagnose() -> Report:
    """Look at the installation and the machine. Opens no connection; imports PyTorch to see the GPUs."""
    hardware = detect_hardware()
    device = "cuda" if hardware.gpus else "cpu"
    dtype = choose_dtype(hardware, device=device)
    return Report(
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.release()} {platform.machine()}",
        packages={name: version_of(name) for name in _PACKAGES},
        hardware=hardware,
        device=device,
        dtype=dtype,
        num_threads=choose_threads(hardware),
        product_speeds=product_speeds(device),
        features=(
            _package("lora", "LoRA training", "peft"),
            _gguf(),
            *(_catalogue_model(name) for name in CATALOGUE),
            _bf16(hardware, device),
            *_attention_on_cuda(hardware),
            *(_package(f"tracker_{name}", f"Tracking: {title}", name) for name, title in _TRACKERS.items()),
            *(_extra(name, needed) for name, needed in extras().items()),
            _hub(),
        ),
    )


def extras() -> dict[str, tuple[Requirement, ...]]:
    """The extras that the installed package declares, but for `dev`, and what each needs."""
    try:
        names = metadata.metadata("weitiao").get_all("Provides-Extra") or []
    except metadata.PackageNotFoundError:  # run from its source, not installed
        return {}
    declared = [Requirement(text) for text in metadata.requires("weitiao") or () if "extra ==" in text]
    return {
        name: tuple(one for one in declared if one.marker is not None and one.marker.evaluate({"extra": name}))
        for name in sorted(names)
        if name != "dev"
    }


def _extra(name: str, needed: tuple[Requirement, ...]) -> Feature:
    """Whether all of an extra is installed, in versions that suit."""
    found = {one.name: version_of(one.name) for one in needed}
    lacking = [one.name for one in needed if found[one.name] is None]
    unsuited = [
        f"{one.name}{one.specifier} is wanted, {v} is there"
        for one in needed
        if (v := found[one.name]) and v not in one.specifier
    ]
    key, title = f"extra_{name}", f"Extra `{name}`"
    if not lacking and not unsuited:
        return Feature(key, title, True, ", ".join(f"{one} {version}" for one, version in found.items()))
    models = {entry.distribution: entry.install_command for entry in CATALOGUE.values()}
    remedy = next((models[one] for one in lacking if one in models), f"pip install 'weitiao[{name}]'")
    reason = "; ".join([*([f"{', '.join(lacking)} not installed"] if lacking else []), *unsuited])
    return Feature(key, title, False, reason, remedy)


def _package(key: str, title: str, package: str) -> Feature:
    """What a package brings that is imported by its own name."""
    if importlib.util.find_spec(package) is not None:
        return Feature(key, title, True, f"{package} {version_of(package) or ''}".strip())
    return Feature(key, title, False, f"{package} is not installed", f"pip install {package}")


def _gguf() -> Feature:
    return _package("gguf", "Loading GGUF files", "gguf")


def _catalogue_model(name: str) -> Feature:
    key, title = name.replace("-", "_"), f"Model {name}"
    entry, path = CATALOGUE[name], find_catalogue_file(name)
    if path is None:
        return Feature(key, title, False, f"{entry.distribution} is not installed", entry.install_command)
    if (gguf := _gguf()).available:
        return Feature(key, title, True, f"{entry.description}, {path.stat().st_size / 2**20:.0f} MiB")
    return Feature(key, title, False, gguf.reason, gguf.remedy)


def _bf16(hardware: Hardware, device: str) -> Feature:
    if choose_dtype(hardware, device=device) == "bfloat16":
        return Feature("bf16", "bfloat16", True, f"the {device.upper()} computes in it")
    if device == "cpu" and hardware.has_bf16:
        return Feature("bf16", "bfloat16", True, "the CPU computes in it; float32 is the default: model.dtype")
    return Feature("bf16", "bfloat16", False, f"the {device.upper()} has no units for it, float32 is faster here")


def _attention_on_cuda(hardware: Hardware) -> tuple[Feature, Feature]:
    from torch.backends.cuda import is_flash_attention_available

    flex = "flex_attention", "FlexAttention on CUDA"
    flash = "flash_attention", "FlashAttention on CUDA"
    if not hardware.gpus:
        reason = "PyTorch sees no GPU; attention runs per segment on the CPU"
        remedy = "a CUDA GPU, and a build of PyTorch for it (https://pytorch.org/get-started)"
        return Feature(*flex, False, reason, remedy), Feature(*flash, False, reason, remedy)
    name = hardware.gpus[0].name
    if (
        is_flash_attention_available() and choose_dtype(hardware, device="cuda") == "bfloat16"
    ):  # the same GPUs have both
        return Feature(*flex, True, name), Feature(*flash, True, f"{name}, where rows share no beginning")
    reason = "this GPU or this build of PyTorch has no such kernel; FlexAttention computes all"
    return Feature(*flex, True, name), Feature(*flash, False, reason)


def _hub() -> Feature:
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return Feature("hub", "Model hub", False, "offline mode is on; cached models load", "unset HF_HUB_OFFLINE")
    return Feature("hub", "Model hub", True, f"{constants.ENDPOINT} (not contacted now; HF_ENDPOINT changes it)")
