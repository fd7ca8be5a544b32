"""What this machine has: cores, memory, number formats, GPUs; and the defaults that follow from it.

In a container the limits of the container count, not those of the machine around it.
"""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from weitiao.machine.cgroup import CgroupLimits, read_cgroup_limits

_BF16_CAPABILITY = (8, 0)  # the first CUDA devices with bfloat16 matrix units (Ampere)


@dataclass(frozen=True, slots=True)
class Gpu:
    """A CUDA (or ROCm) device: its name, its memory, and its compute capability."""

    name: str
    memory_bytes: int
    capability: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Hardware:
    """What this process may use.

    Attributes:
        cpu_name: The processor's own name for itself.
        num_physical_cores: Cores of the machine; the two threads of a core count once.
        num_threads: Cores that this process may keep busy: its CPU affinity and its container's quota considered.
        memory_bytes: Memory that this process may use at most.
        available_memory_bytes: What of it is free now.
        has_avx2: Whether the CPU has 256-bit vector units.
        has_avx512: Whether the CPU has 512-bit vector units.
        has_bf16: Whether the CPU multiplies bfloat16 matrices in hardware. Without it they are far slower than float32.
        gpus: The GPUs that PyTorch sees.
    """

    cpu_name: str
    num_physical_cores: int
    num_threads: int
    memory_bytes: int
    available_memory_bytes: int
    has_avx2: bool
    has_avx512: bool
    has_bf16: bool
    gpus: tuple[Gpu, ...]


def configure_process() -> None:
    """Set what must be set before PyTorch is imported, unless the user has set it.

    OpenMP threads that spin while they wait take the cores from whatever else runs on the machine, and every barrier
    then waits for the scheduler; threads that sleep at once are woken at every operation. So they spin for a moment:
    on two quiet cores of a Zen 5 a training step took 0.89 of the time of threads that sleep, rollouts 0.84; where both
    threads have one core between them it costs 14 %, and ten times as long a moment 140 %.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    # oneDNN keeps a kernel for every shape of a product, 0.4 MiB each; forests have as many tokens as they have
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "256")
    # On processors with bfloat16 units bitsandbytes misses a kernel for four-bit weights as soon as PEFT imports it
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)


def detect_hardware() -> Hardware:
    """Look at the CPU, the memory limits and the GPUs. Imports PyTorch."""
    import psutil

    cpu_name, flags = read_cpuinfo(Path("/proc/cpuinfo"))
    limits, cores_used = read_cgroup_limits(Path("/")), _num_cores()
    memory = psutil.virtual_memory()
    return Hardware(
        cpu_name=cpu_name or platform.processor() or platform.machine(),
        num_physical_cores=psutil.cpu_count(logical=False) or cores_used,
        num_threads=count_threads(cores_used, limits),
        memory_bytes=min(memory.total, limits.memory_bytes or memory.total),
        available_memory_bytes=min(memory.available, limits.free_memory_bytes(default=memory.available)),
        has_avx2="avx2" in flags,
        has_avx512="avx512f" in flags,
        has_bf16=not flags.isdisjoint({"amx_bf16", "avx512_bf16", "bf16"}),  # the last one is Arm's name
        gpus=_find_gpus(),
    )


def choose_dtype(hardware: Hardware, *, device: str = "cpu") -> Literal["bfloat16", "float32"]:
    """The number format that trains fast and safely: bfloat16 on GPUs that compute in it, float32 elsewhere.

    A CPU stays with float32, so that a recipe gives the same losses on all of them. On one with bfloat16 units a step
    of LoRA in that format takes 0.55 to 0.8 of the time, on request (docs/benchmarks.md).

    Args:
        hardware: This machine.
        device: The kind of device the model is on, `cpu` or `cuda`.
    """
    computes_in_it = device == "cuda" and all(gpu.capability >= _BF16_CAPABILITY for gpu in hardware.gpus)
    return "bfloat16" if computes_in_it else "float32"


def choose_threads(hardware: Hardware, *, num_processes: int = 1) -> int:
    """Threads for each of `num_processes` processes that compute on this machine at the same time."""
    return max(1, hardware.num_threads // num_processes)


def threads_without_torch() -> int:
    """Threads for a program that computes beside this one: OMP_NUM_THREADS, or as `choose_threads`."""
    said = os.environ.get("OMP_NUM_THREADS", "")
    return int(said) if said.isdecimal() else count_threads(_num_cores(), read_cgroup_limits(Path("/")))


def count_threads(num_cores: int, limits: CgroupLimits) -> int:
    """Cores to keep busy, at least one: no more than the quota pays for, or the scheduler stops all in mid-step."""
    return max(1, num_cores if limits.cpus is None else min(num_cores, int(limits.cpus)))


def read_cpuinfo(path: Path) -> tuple[str, frozenset[str]]:
    """The name of the CPU and its feature flags, from Linux's `/proc/cpuinfo`; empty elsewhere."""
    name, flags = "", frozenset[str]()
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == "model name" and not name:
            name = value.strip()
        elif key.strip() in ("flags", "Features") and not flags:
            flags = frozenset(value.split())
    return name, flags


def _num_cores() -> int:
    return len(_physical_cores(_usable_cpus(), Path("/sys/devices/system/cpu")))


def _usable_cpus() -> frozenset[int]:
    """The logical CPUs that the scheduler may put this process on."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def _physical_cores(cpus: Iterable[int], topology: Path) -> set[str]:
    """The cores behind logical CPUs, each named by the list of its threads (or by the CPU, where Linux tells none)."""
    cores = set()
    for cpu in cpus:
        siblings = topology / f"cpu{cpu}" / "topology" / "thread_siblings_list"
        cores.add(siblings.read_text(encoding="utf-8").strip() if siblings.exists() else str(cpu))
    return cores


def _find_gpus() -> tuple[Gpu, ...]:
    import torch

    if not torch.cuda.is_available():
        return ()
    found = (torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count()))
    return tuple(Gpu(gpu.name, gpu.total_memory, (gpu.major, gpu.minor)) for gpu in found)
