"""Everything that is needed to get the same result again."""

from __future__ import annotations

import json

from weitiao.console import quoted
from weitiao.methods.note import read_note
from weitiao.report.files import RunFiles, Values
from weitiao.report.sections.common import Section, missing
from weitiao.runs.run_dir import RunDir
from weitiao.text.wording import Wording


def reproduce_section(files: RunFiles, words: Wording) -> Section:
    """Commands, machine, versions, recipe and the hashes of what went in and came out.

    Args:
        files: Of the run.
        words: Of the report.
    """
    environment = files.get("environment.json")
    return {
        "commands": _commands(files),
        "recipe": files.recipe,
        "facts": _machine(environment, words) if environment else [],
        "versions": [("python", environment["python"]), *environment["versions"].items()] if environment else [],
        "hashes": _hashes(files, words),
        "missing": missing(files, words, "train", "environment.json"),
    }


def _commands(files: RunFiles) -> list[str]:
    skipped = "".join(f" --skip {name}" for name in files.records.skipped)
    return [
        f"weitiao run {quoted(files.path / 'recipe.yaml')} run_dir=runs/again{skipped}",
        f"weitiao report {quoted(files.path)}",
    ]


def _machine(environment: Values, words: Wording) -> list[tuple[str, str]]:
    hardware = environment["hardware"]
    gpus = words("list.comma").join(gpu["name"] for gpu in hardware["gpus"])
    cpu = words("reproduce.cpu.value", name=hardware["cpu_name"], threads=environment["threads"])
    facts = [
        (words("reproduce.cpu"), cpu),
        (words("reproduce.memory"), words.size(hardware["memory_bytes"])),
        (words("reproduce.system"), environment["platform"]),
    ]
    return [*facts, (words("reproduce.gpu"), gpus)] if gpus else facts


def _hashes(files: RunFiles, words: Wording) -> list[tuple[str, str]]:
    """The base model, the training data as the model saw it, the retention suite, and the outputs of every step."""
    run = RunDir(files.path)
    found = []
    if note := read_note(run.final):
        found.append((words("reproduce.hash.model"), note.fingerprint))
    if checkpoints := run.complete_checkpoints():
        state = json.loads((checkpoints[-1] / "state.json").read_text(encoding="utf-8"))
        found.append((words("reproduce.hash.data"), state["data_fingerprint"]))
    if retention := files.get("retention-before.json"):
        found.append((words("reproduce.hash.retention"), retention["fingerprint"]))
    for name, record in files.records.steps.items():
        if files.records.is_current(name):
            found += [(output, digest) for output, digest in record.outputs.items() if output != "report.html"]
    return found
