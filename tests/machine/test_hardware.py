"""What the machine is found to have, from trees of files like those of Linux, and from this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from weitiao.machine.cgroup import CgroupLimits, read_cgroup_limits
from weitiao.machine.hardware import (
    Gpu,
    Hardware,
    choose_dtype,
    choose_threads,
    count_threads,
    detect_hardware,
    read_cpuinfo,
    threads_without_torch,
)

GIB = 2**30


def write_tree(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n", encoding="utf-8")
    return root


def hardware(*, has_bf16: bool = False, gpus: tuple[Gpu, ...] = (), num_threads: int = 8) -> Hardware:
    return Hardware("cpu", 8, num_threads, 16 * GIB, 8 * GIB, True, False, has_bf16, gpus)


def test_no_cgroup_files_mean_no_limits(tmp_path: Path) -> None:
    assert read_cgroup_limits(tmp_path) == CgroupLimits()


def test_version_2_limits_of_a_container_are_read_at_the_mount_point(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/",
        "sys/fs/cgroup/cpu.max": "150000 100000",
        "sys/fs/cgroup/memory.max": str(4 * GIB),
        "sys/fs/cgroup/memory.current": str(3 * GIB),
        "sys/fs/cgroup/memory.stat": f"anon 5\ninactive_file {GIB}",
    }
    limits = read_cgroup_limits(write_tree(tmp_path, files))
    assert limits == CgroupLimits(cpus=1.5, memory_bytes=4 * GIB, used_memory_bytes=2 * GIB)
    assert limits.free_memory_bytes(default=0) == 2 * GIB


def test_version_2_limits_of_outer_groups_hold_for_inner_ones(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/user.slice/job",
        "sys/fs/cgroup/user.slice/cpu.max": "400000 100000",
        "sys/fs/cgroup/user.slice/memory.max": str(2 * GIB),
        "sys/fs/cgroup/user.slice/job/cpu.max": "max 100000",
        "sys/fs/cgroup/user.slice/job/memory.max": "max",
    }
    assert read_cgroup_limits(write_tree(tmp_path, files)) == CgroupLimits(cpus=4.0, memory_bytes=2 * GIB)


def test_version_1_limits_are_read_from_each_controllers_own_group(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "4:memory:/docker/abc\n1:cpu,cpuacct:/docker/abc\n0::/",
        "sys/fs/cgroup/cpu/docker/abc/cpu.cfs_quota_us": "300000",
        "sys/fs/cgroup/cpu/docker/abc/cpu.cfs_period_us": "100000",
        "sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": str(GIB),
        "sys/fs/cgroup/memory/docker/abc/memory.usage_in_bytes": str(GIB // 2),
        "sys/fs/cgroup/memory/docker/abc/memory.stat": f"total_inactive_file {GIB // 4}",
    }
    limits = read_cgroup_limits(write_tree(tmp_path, files))
    assert limits == CgroupLimits(cpus=3.0, memory_bytes=GIB, used_memory_bytes=GIB // 4)


def test_version_1_says_no_limit_with_minus_one_and_a_huge_number(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "4:memory:/\n1:cpu:/",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
    }
    assert read_cgroup_limits(write_tree(tmp_path, files)) == CgroupLimits()


def test_the_quota_caps_the_threads_and_one_always_remains() -> None:
    assert count_threads(16, CgroupLimits()) == 16
    assert count_threads(16, CgroupLimits(cpus=3.5)) == 3
    assert count_threads(2, CgroupLimits(cpus=64.0)) == 2
    assert count_threads(4, CgroupLimits(cpus=0.5)) == 1


def test_threads_are_shared_among_processes() -> None:
    assert choose_threads(hardware(num_threads=8)) == 8
    assert choose_threads(hardware(num_threads=8), num_processes=3) == 2
    assert choose_threads(hardware(num_threads=2), num_processes=4) == 1


def test_a_program_beside_torch_gets_as_many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert threads_without_torch() == choose_threads(detect_hardware())
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert threads_without_torch() == 7


def test_bfloat16_is_chosen_only_on_gpus_with_units_for_it() -> None:
    ampere, turing = Gpu("A", 80 * GIB, (8, 0)), Gpu("T", 16 * GIB, (7, 5))
    assert choose_dtype(hardware()) == "float32"
    assert choose_dtype(hardware(has_bf16=True)) == "float32"  # fused layers are float32
    assert choose_dtype(hardware(gpus=(ampere,)), device="cuda") == "bfloat16"
    assert choose_dtype(hardware(gpus=(ampere, turing)), device="cuda") == "float32"
    assert choose_dtype(hardware(gpus=(ampere,)), device="cpu") == "float32"


@pytest.mark.parametrize(
    ("text", "name", "flag"),
    [
        ("processor : 0\nmodel name\t: Some CPU @ 2GHz\nflags\t\t: fpu avx2 amx_bf16\n", "Some CPU @ 2GHz", "amx_bf16"),
        ("processor : 0\nFeatures\t: fp asimd bf16\n", "", "bf16"),
    ],
)
def test_cpu_name_and_flags_are_read(text: str, name: str, flag: str, tmp_path: Path) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(text, encoding="utf-8")
    found, flags = read_cpuinfo(path)
    assert found == name
    assert flag in flags
    assert read_cpuinfo(tmp_path / "absent") == ("", frozenset())


def test_this_machine_is_described_within_its_bounds() -> None:
    found = detect_hardware()
    assert found.cpu_name
    assert 1 <= found.num_threads <= found.num_physical_cores
    assert 0 < found.available_memory_bytes <= found.memory_bytes <= psutil.virtual_memory().total


def test_a_process_bound_to_one_cpu_gets_one_thread() -> None:
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
        "from weitiao.machine.hardware import detect_hardware; print(detect_hardware().num_threads)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"


def test_threads_spin_for_a_moment_unless_the_user_has_said_how_they_wait() -> None:
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    code = f"import os, weitiao.machine.hardware as h; h.configure_process(); print(*map(os.environ.get, {names}))"
    for given, expected in (
        ({}, "PASSIVE 1000"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE None"), ({"GOMP_SPINCOUNT": "7"}, "PASSIVE 7"),
    ):  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONPATH": os.pathsep.join(sys.path)} | given,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == expected


def test_the_module_is_imported_without_heavy_libraries() -> None:
    code = "import sys, weitiao.machine.doctor; print({'torch', 'transformers', 'rich'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
