"""What is installed, and what works, as tables for people."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from weitiao.machine.doctor import Report
from weitiao.terminal.tables import facts, table

_GIB = 2**30


def print_report(report: Report, console: Console) -> None:
    """Print a report as tables.

    Args:
        report: From `diagnose()`.
        console: Where to.
    """
    packages = [(name, version or Text("not installed", "yellow")) for name, version in report.packages.items()]
    features = [
        (one.title, Text("yes", "green") if one.available else Text("no", "yellow"), one.reason, one.remedy or "")
        for one in report.features
    ]
    headings = ("Feature", "Works here", "Why", "How to get it")
    for shown in (facts(_machine_rows(report)), facts(packages), table(headings, features, words=range(4))):
        console.print(shown)
        console.print()


def _machine_rows(report: Report) -> list[tuple[str, str]]:
    hardware = report.hardware
    units = {"AVX2": hardware.has_avx2, "AVX-512": hardware.has_avx512, "bfloat16": hardware.has_bf16}
    memory = f"{hardware.available_memory_bytes / _GIB:.1f} of {hardware.memory_bytes / _GIB:.1f} GiB free"
    gpus = [f"{gpu.name}, {gpu.memory_bytes / _GIB:.1f} GiB" for gpu in hardware.gpus]
    return [
        ("Python", f"{report.python} on {report.platform}"),
        ("CPU", f"{hardware.cpu_name}, {hardware.num_physical_cores} cores, {report.num_threads} used"),
        ("CPU units", ", ".join(name for name, has in units.items() if has) or "none detected"),
        ("Memory", memory),
        ("GPU", "; ".join(gpus) or "none"),
        ("Trains on", f"{report.device} in {report.dtype}"),
        ("Products", ", ".join(f"{name} {speed:,.1f}" for name, speed in report.product_speeds.items()) + " GFLOP/s"),
    ]
