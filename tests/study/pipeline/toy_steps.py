"""The steps of `weitiao run` with actions that take no time: each writes down what it was given."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from workbench import write_recipe, write_rows

from weitiao.files import written_whole
from weitiao.study.pipeline.keys import Identities
from weitiao.study.pipeline.step import Said, Step, Work
from weitiao.study.pipeline.steps import STEPS


def write_work(directory: Path, model: Path) -> Path:
    """A recipe over small files, of each kind that a step reads."""
    path = write_recipe(
        directory, model, train={"max_steps": 4, "save_every": 1},
        data={"validation": "validation.jsonl", "test": "test.jsonl"},
        retention={"parts": ["text-en"], "limit": 2},
    )  # fmt: skip
    write_rows(directory / "validation.jsonl", 6, start=100)
    write_rows(directory / "test.jsonl", 12, start=200)
    return path


def toy_steps(done: list[str], fail: Callable[[str], None] = lambda name: None) -> tuple[Step, ...]:
    """The real steps, in what they read, need and write, with toy actions.

    Args:
        done: Gets the name of every step that is performed.
        fail: Is called in the middle of every step, with half of its output written.
    """

    def toy(step: Step) -> Callable[[Work], Said]:
        def action(work: Work) -> Said:
            identities = Identities(work.recipe)
            content = {
                "findings": [],
                "advice": {"decision": "tune"},
                "cells": [],
                "seconds": 1.0,
                "decision": "ship",
                "reasons": [],
                "set_aside": [],
                "weights": "",
                "largest_loss": 0.02,
                "num_rows": 1,
                "tuned": {"format": "", "path": None, "engine": "", "outcome": "good", "reason": ""},
                "models": [],
                "reads": {name: identities.of(name) for name in step.reads},
                "upstream": {name: _left(work.run.path, name) for name in step.upstream if work.has(name)},
            }
            text = json.dumps(content, default=str)
            names = [name for name in step.writes if name != "final"]
            for name in names:
                path = work.run.path / name.replace("*", "model")
                path.parent.mkdir(exist_ok=True)
                path.write_text(text[: len(text) // 2])
            fail(step.name)
            for name in names:
                (work.run.path / name.replace("*", "model")).write_text(text)
            if "final" in step.writes:
                with written_whole(work.run.final) as directory:
                    (directory / "weights").write_text(text)
            done.append(step.name)
            return {"en": f"toy {step.name}", "zh": step.name}

        return action

    return tuple(replace(step, action=toy(step)) for step in STEPS)


def _left(run: Path, name: str) -> list[str]:
    step = next(one for one in STEPS if one.name == name)
    return [(run / pattern).read_text() for pattern in step.writes if (run / pattern).is_file()]
