"""The limits that Linux control groups (so containers) put on this process."""

from __future__ import annotations

import ctypes
import resource
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class CgroupLimits:
    """Limits of the control groups that a process is in; None where there is no limit.

    Attributes:
        cpus: CPU time per wall time that the quota pays for, 1.5 for one and a half cores.
        memory_bytes: Memory at most.
        used_memory_bytes: What of it is taken and cannot be given back (file cache can).
    """

    cpus: float | None = None
    memory_bytes: int | None = None
    used_memory_bytes: int = 0

    def free_memory_bytes(self, *, default: int) -> int:
        """Memory left under the limit, or `default` if there is none."""
        return default if self.memory_bytes is None else max(0, self.memory_bytes - self.used_memory_bytes)


def read_cgroup_limits(root: Path) -> CgroupLimits:
    """Read the tightest limits along the path of this process's control groups, version 1 or 2.

    Args:
        root: The directory under which `proc` and `sys` lie, `/` on a live machine.
    """
    found = [
        *(_read_v2(directory) for directory in _ancestors(root, controller="", mount="")),
        *(_read_v1_cpu(directory) for directory in _ancestors(root, controller="cpu", mount="cpu")),
        *(_read_v1_memory(directory) for directory in _ancestors(root, controller="memory", mount="memory")),
    ]
    cpus = [limits.cpus for limits in found if limits.cpus is not None]
    memory = [limits for limits in found if limits.memory_bytes is not None]
    tightest = min(memory, key=lambda limits: limits.free_memory_bytes(default=0), default=CgroupLimits())
    return CgroupLimits(min(cpus, default=None), tightest.memory_bytes, tightest.used_memory_bytes)


def _ancestors(root: Path, *, controller: str, mount: str) -> list[Path]:
    """The directories from the mount point of a controller down to this process's own group.

    In a container the group's path may be told as seen from outside, and then does not exist inside; the mount
    point itself is the container's group, and is always in the list.
    """
    top = root / "sys/fs/cgroup" / mount
    membership = root / "proc/self/cgroup"
    lines = membership.read_text(encoding="utf-8").splitlines() if membership.exists() else []
    directories = [top]
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controller in controllers.split(","):
            for part in Path(group).relative_to("/").parts:
                directories.append(directories[-1] / part)
    return [directory for directory in directories if directory.is_dir()]


def _read_v2(directory: Path) -> CgroupLimits:
    quota, _, period = _read(directory / "cpu.max").partition(" ")
    limit = _read(directory / "memory.max")
    used = int(_read(directory / "memory.current") or 0) - _statistic(directory, "inactive_file")
    return CgroupLimits(
        cpus=int(quota) / int(period) if quota.isdigit() else None,
        memory_bytes=int(limit) if limit.isdigit() else None,
        used_memory_bytes=used,
    )


def _read_v1_cpu(directory: Path) -> CgroupLimits:
    quota, period = _read(directory / "cpu.cfs_quota_us"), _read(directory / "cpu.cfs_period_us")
    return CgroupLimits(cpus=int(quota) / int(period) if quota.isdigit() else None)  # -1 is no quota


def _read_v1_memory(directory: Path) -> CgroupLimits:
    limit = _read(directory / "memory.limit_in_bytes")
    used = int(_read(directory / "memory.usage_in_bytes") or 0) - _statistic(directory, "total_inactive_file")
    # Version 1 says "no limit" with the largest whole number of pages.
    has_limit = limit.isdigit() and int(limit) < 2**62
    return CgroupLimits(memory_bytes=int(limit) if has_limit else None, used_memory_bytes=used)


def _statistic(directory: Path, name: str) -> int:
    for line in _read(directory / "memory.stat").splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""


def peak_bytes(device: str = "cpu") -> int:
    """The most memory that this process has had; on `cuda`, the most that its tensors had there."""
    if device == "cuda":
        import torch

        return torch.cuda.max_memory_allocated()
    if sys.platform == "linux":  # not `ru_maxrss`, which begins at what the process that started this one has had
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def forget_peak(device: str = "cpu") -> None:
    """Let `peak_bytes` begin at what there is now; where the system has no means for that, nothing happens."""
    if device == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats()
    elif sys.platform == "linux":
        with suppress(OSError):  # some sandboxes have no such file
            Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def give_back_memory() -> None:
    """Give the operating system what was freed and is still held, where the C library is glibc: it holds a lot of what
    was loaded in one number format and kept in another."""
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "malloc_trim"):
        library.malloc_trim(0)
