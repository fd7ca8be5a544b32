"""A run directory as the steps leave it, made by the program's own types from made-up answers."""

from __future__ import annotations

import json
import math
import random
from dataclasses import asdict
from pathlib import Path

from weitiao.baseline.advice import Contender, advise
from weitiao.baseline.fewshot import PromptCost
from weitiao.baseline.result import Baseline, Candidate, Cell, write_baseline
from weitiao.evaluation.answer_files import write_predictions
from weitiao.evaluation.answers import Prediction
from weitiao.evaluation.borders import VerdictConfig
from weitiao.evaluation.comparison import compare_predictions, write_comparison
from weitiao.evaluation.gap.analyse import analyse_gap
from weitiao.evaluation.metrics.labels import Accuracy, MacroF1
from weitiao.evaluation.metrics.matching import ExactMatch
from weitiao.evaluation.paired import paired_difference
from weitiao.evaluation.scores import score, write_scores
from weitiao.files import write_json
from weitiao.quality.check import CheckReport
from weitiao.quality.findings import Findings, Place, Problem
from weitiao.quality.inspection import Histogram, Inspection, Lengths, PartInspection, RowLength
from weitiao.retention.comparison import compare_retention
from weitiao.retention.run import NO_TEMPLATE
from weitiao.retention.scores import RetentionScores, accuracy, loss
from weitiao.runs.record import Records, StepRecord, find_outputs
from weitiao.study.pipeline.steps import STEPS
from weitiao.verdict.exported import Agreement, Exported, Exports, write_exports
from weitiao.verdict.verdict import decide, write_verdict

MODEL = "smollm2-135m"
LABELS = [
    "card_arrival", "lost_card", "top_up_failed", "exchange_rate", "pin_blocked", "cash_withdrawal", "refund_pending",
    "transfer_timing", "identity_check", "app_login",
]  # fmt: skip
METRICS = tuple(config.build(labels=LABELS) for config in (ExactMatch(), Accuracy(), MacroF1()))
HOSTILE = '<script>alert("x")</script><img src=http://evil.example/a.png onerror=alert(1)> {{ 7 * 7 }} "&\' </style>'

_SECONDS = {
    "check": 4.2, "baseline": 96.0, "retention-before": 187.0, "train": 655.0, "eval": 41.5, "retention-after": 190.0,
    "compare": 1.4, "verdict": 0.1, "export": 33.0,
}  # fmt: skip


def predictions(
    share_right: float, *, shots: int = 0, rows: int = 240, seed: int = 1, text: str = ""
) -> list[Prediction]:
    """Answers of a model that has a share of the rows right, the same rows for all models."""
    draw = random.Random(seed)
    found = []
    for number in range(rows):
        expected = LABELS[number % len(LABELS)]
        luck = random.Random(number).random() * 0.8 + draw.random() * 0.2
        wrong = draw.choice([*LABELS, "", "I cannot help with that.", f"The intent is {expected}!", "banking question"])
        answer = expected if luck < share_right else wrong
        question = f"Customer {number}: where is my card, and why does it take {number % 7} days? {text}"
        turns = [{"role": "user", "content": "example"}, {"role": "assistant", "content": LABELS[0]}] * shots
        found.append(
            Prediction(
                row_id=f"test.csv:{number + 2}",
                messages=(*turns, {"role": "user", "content": question}),
                expected=expected,
                answer=answer + (text if answer != expected else ""),
                num_tokens=6,
                stopped=number % 40 != 0,
                correct=answer == expected,
                columns={"channel": ["app", "web", "phone"][number % 3]},
            )
        )
    items = [one.item for one in found]
    for metric in METRICS:
        for one, grade in zip(found, metric.grade_all(items), strict=True):
            one.grades[metric.title] = grade
    return found


def write_recipe(path: Path, **sections: object) -> None:
    recipe = {"model": {"name": MODEL}, "data": {"train": "train.csv", "test": "test.csv"}, "method": {"type": "lora"}}
    path.write_text(json.dumps({**recipe, **sections}, indent=1, ensure_ascii=False), encoding="utf-8")


def write_check(path: Path, *, text: str = "", errors: bool = True) -> None:
    findings = Findings()
    for row in range(2, 9):
        findings.add(
            Place("train", "train.csv", row, row),
            Problem("duplicate", "the input of an earlier row", example=f"where is my card {text}"),
            other=Place("train", "train.csv", 1, 1),
        )
    findings.add(Place("train", "train.csv", 12, 13), Problem("whitespace", "white space at the end", "text"))
    if errors:
        leak = Problem("leak", f"the input stands in test.csv {text}", example="where is my card")
        for row in (40, 77, 91):
            leaked = findings.add(Place("train", "train.csv", row, row), leak, other=Place("test", "test.csv", row))
        leaked.num_others += 3
    found = findings.sorted()
    report = CheckReport(tuple(found), {one.kind: one.count for one in found}, 2240, 3.1, {}, ("train.csv: CSV",))
    edges = tuple(range(20, 145, 5))
    counts = tuple(round(220 * math.exp(-(((edge - 55) / 22) ** 2))) for edge in edges[:-1])
    lengths = Lengths(58.2, 20, 55, 88, 121, 143, Histogram(edges, counts))
    answers = Lengths(5.1, 3, 5, 7, 9, 11, Histogram((3, 4, 5, 6, 7, 8, 12), (120, 300, 700, 520, 260, 100)))
    labels = {f"label_{number:02d}": 200 - 2 * number for number in range(77)}
    train = PartInspection(
        "train", ("train.csv: CSV",), 2000, 0, {2: 2000}, lengths, answers, 0.088, {"en": 1990, "fr": 6, "": 4},
        {"en": 2000}, {**labels, f"odd {text}": 1}, (RowLength("train.csv", 9, 143, "long"),), (),
    )  # fmt: skip
    test = PartInspection(
        "test", ("test.csv: CSV",), 240, 0, {2: 240}, lengths, None, 0.09, {"en": 240}, {}, {}, (), ()
    )
    inspection = Inspection("tokens", (train, test))
    write_json(path / "data-check.json", {**report.to_dict(), "inspection": asdict(inspection)})


def write_baseline_files(path: Path, *, target: float, text: str = "") -> list[Prediction]:
    """Two prompts; returns the answers with the better one."""
    cells, answers = [], {}
    for shots, share in ((0, 0.04), (8, 0.52)):
        prompt = f"{shots}-shot random" if shots else "zero-shot"
        found = predictions(share, shots=shots, seed=shots, text=text)
        name = f"predictions-baseline-{MODEL}-{prompt.replace(' ', '-')}.jsonl"
        write_predictions(path / name, found)
        scores = score(found, METRICS, seconds=30.0)
        cost = PromptCost(60.0 + 60 * shots, 80 + 60 * shots, 60.0 * shots, 8192, 60 * shots / 8192)
        cells.append(
            Cell(MODEL, 134_515_008, prompt, shots, scores.metrics, cost, 5.5, 0.12, 0.4, 6, (), name)
        )  # fmt: skip
        answers[prompt] = found
    best = answers["8-shot random"]
    grades = [tuple(one.grades["exact_match"] for one in answers[cell.prompt]) for cell in cells]
    contender = Contender(MODEL, "8-shot random", cells[1].metrics["exact_match"], grades[1], 134_515_008)
    candidate = Candidate(MODEL, 134_515_008, "8-shot random", paired_difference(*grades))
    write_baseline(
        path,
        Baseline(
            "exact_match", target, 240, tuple(cells), (candidate,), MODEL, "8-shot random", advise([contender], target)
        ),
    )
    gap = analyse_gap(
        best, primary="exact_match", score=cells[1].metrics["exact_match"], target=target, training_answers=LABELS,
        model=MODEL, prompt="8-shot random",
    )  # fmt: skip
    write_json(path / "gap.json", gap)
    return best


def retention(drop: float) -> RetentionScores:
    draw = random.Random(3)

    def graded(share: float, num: int) -> dict[str, float]:
        return {f"item {i}": float(random.Random(i).random() < share - drop * draw.random()) for i in range(num)}

    losses = {f"text {i}": 2.6 + 0.4 * random.Random(i).random() + drop * draw.random() for i in range(60)}
    parts = (
        accuracy("knowledge-en", graded(0.62, 480), guessing=0.25),
        accuracy("knowledge-zh", graded(0.27, 120), guessing=0.25),
        accuracy("instructions-en", graded(0.44, 400), guessing=0.0),
        accuracy("my task", graded(0.3, 300), guessing=0.0),
        loss("text-en", losses),
    )
    return RetentionScores("f" * 64, parts, {"instructions-zh": NO_TEMPLATE}, 187.0)


def write_retention(path: Path, scores: RetentionScores, name: str) -> None:
    write_json(path / name, {"name": MODEL, "tuned": "after" in name, "key": {}, **scores.to_dict()})


def write_training(path: Path, *, steps: int = 375) -> None:
    draw = random.Random(5)
    lines = []
    for step in range(1, steps + 1):
        value = 3.1 * math.exp(-step / 45) + 0.07 + 0.12 * draw.random() * math.exp(-step / 200)
        lines.append(
            {"step": step, "epoch": step / 125, "loss": value, "learning_rate": 1e-4, "grad_norm": 1.0,
             "num_sequences": 16, "num_forests": 1, "num_tokens": 6400, "num_computed_tokens": 1500, "seconds": 1.7,
             "tokens_per_second": 3700.0, "memory_gib": 2.4}
        )  # fmt: skip
        if step % 25 == 0:
            held_out = 3.0 * math.exp(-step / 50) + 0.16 + step * 0.0001
            lines.append({"step": step, "validation_loss": held_out, "best": step <= 275})
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def write_environment(path: Path) -> None:
    hardware = {
        "cpu_name": "A processor", "num_physical_cores": 2, "num_threads": 2, "memory_bytes": 24 << 30,
        "available_memory_bytes": 20 << 30, "has_avx2": True, "has_avx512": False, "has_bf16": False, "gpus": [],
    }  # fmt: skip
    versions = {"weitiao": "0.1.0", "torch": "2.13.0", "transformers": "5.23.0"}
    values = {"python": "3.11.9", "platform": "Linux", "versions": versions, "hardware": hardware, "threads": 2}
    write_json(path / "environment.json", values)


def write_records(path: Path, *, skipped: tuple[str, ...] = ()) -> Records:
    """`steps.json` over what is there."""
    records = Records(path / "steps.json", skipped=skipped)
    for step in STEPS:
        outputs = find_outputs(path, step.writes)
        if step.name == "train" and outputs:
            outputs = {"final": "a" * 64, **outputs}
        if step.name == "report" or not outputs:
            continue
        upstream = {name: records.steps[name].digest for name in step.upstream if name in records.steps}
        records.steps[step.name] = StepRecord(
            "done", "k", upstream, outputs, "one line", _SECONDS[step.name], int(1.3e9 + 4e6 * _SECONDS[step.name]),
            "2026-11-24T10:00:00+00:00", "2026-11-24T10:01:00+00:00", "一句话",
        )  # fmt: skip
    records.save()
    return records


def write_run(
    path: Path, *, share_right: float = 0.93, drop: float = 0.0, target: float = 0.8, text: str = "", **sections: object
) -> Path:
    """A whole run.

    Args:
        path: The run directory.
        share_right: Of the tuned model.
        drop: How much the tuned model forgot.
        target: The least score.
        text: Put into questions, answers, labels and findings.
        sections: Of the recipe.
    """
    path.mkdir(parents=True, exist_ok=True)
    write_recipe(path / "recipe.yaml", verdict={"target": target}, **sections)
    write_environment(path)
    write_check(path, text=text, errors=False)
    before = write_baseline_files(path, target=target, text=text)
    write_training(path)
    after = predictions(share_right, seed=9, text=text)
    scores = score(after, METRICS, seconds=41.5)
    write_scores(path, scores, after)
    old, new = retention(0.0), retention(drop)
    write_retention(path, old, "retention-before.json")
    write_retention(path, new, "retention-after.json")
    kept = compare_retention(old, new)
    comparison = compare_predictions(before, after, names=(f"{MODEL}, 8-shot random", "tuned"), metrics=METRICS)
    write_comparison(path, comparison, retention=kept.to_dict())
    gap = analyse_gap(
        after, primary="exact_match", score=scores.metrics["exact_match"], target=target, training_answers=LABELS,
        model=MODEL, prompt="tuned",
    )  # fmt: skip
    write_json(path / "gap-tuned.json", gap)
    tuned = comparison.metrics["exact_match"].after
    write_verdict(path, decide(tuned, comparison.gain, kept, VerdictConfig(target=target)))
    write_exports(path, exports(text))
    write_records(path)
    return path


def exports(text: str) -> Exports:
    """One good and one refused."""
    tuned = Exported("as trained", Path("final"), "transformers", "good", "", 540_000_000, 900_000_000, 20.0, 2.0)
    grades = [1.0] * 190 + [0.0] * 10
    good = Exported(
        "gguf-q8_0", Path("export/gguf-q8_0"), "llama.cpp", "good", f"nothing is lost {text}", 145_000_000, 240_000_000,
        80.0, 0.3, Agreement(204, 6000, 0, 0.0185, 0.4, 0.15, 0.98), "exact_match", paired_difference(grades, grades),
    )  # fmt: skip
    return Exports("w", 0.02, 200, tuned, (good, Exported("gguf-q2_k", None, "llama.cpp", "refused", "too far off")))
