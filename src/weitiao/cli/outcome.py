"""What `weitiao run` and `weitiao demo` print of what came out."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from weitiao.study.pipeline.result import PipelineResult


def print_outcome(result: PipelineResult, console: Console) -> None:
    """The verdict, or why the run ended before there was one."""
    from weitiao.terminal.verdict import verdict_panel

    if result.verdict is not None:
        console.print(verdict_panel(result.verdict))
    elif result.stop is not None:
        console.print(result.stop.text, highlight=False, markup=False, soft_wrap=True)
