"""What a model is, and what a training needs, for people."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from weitiao.machine.hardware import Hardware
from weitiao.models.description import ModelDescription
from weitiao.planning.options import Option
from weitiao.planning.plan import PlanReport
from weitiao.terminal.progress import duration
from weitiao.terminal.tables import facts, table

_GIB = 2**30


def print_plan(report: PlanReport, console: Console) -> None:
    """Print a plan: the forecast with the source of each figure, then other ways to tune.

    Args:
        report: From `weitiao.study.plan`.
        console: Where to.
    """
    found = report.forecast
    fits = Text("fits", "green") if report.fits else Text("does not fit", "red")
    learned = f"{found.num_learned:,} of {found.num_parameters:,} parameters learn ({found.learned_share:.4%})"
    tokens, without_sharing = found.tokens_per_step
    console.print(
        facts(
            [
                ("Model", f"{report.model}, {report.method}, {report.precision}"),
                ("", learned),
                ("Data", report.data),
                ("", f"{tokens:,.0f} tokens computed in a step, {without_sharing:,.0f} without sharing"),
                ("Device", f"{report.device}, {gib(report.limit_bytes)} free"),
                ("Memory", Text.assemble(f"{gib(found.num_bytes)}: ", fits)),
                ("Time", f"{duration(found.seconds)}, {found.seconds_per_step:.3g} s a step ({report.time_source})"),
                ("Energy", ", ".join([f"{report.kilowatt_hours:.3g} kWh", *_costs(report)])),
            ]
        )
    )
    console.print()
    lines = [(line.name, gib(line.bytes), line.source) for line in found.memory]
    console.print(
        table(("Memory", "GiB", "From"), [(n, size.removesuffix(" GiB"), s) for n, size, s in lines], words=(0, 2))
    )
    full, lora = (gib(report.rule_of_thumb[name]) for name in ("full", "lora"))
    console.print(
        Text(f"Rule of thumb, float32: full tuning 5 x the weights = {full}, LoRA a little over {lora}", "dim")
    )
    console.print()
    console.print(Text("Other ways: share of parameters that learn, time, and GiB with so many tokens at once", "bold"))
    console.print(_options(report))
    console.print()
    console.print(Text(report.advice, "bold"))


def _options(report: PlanReport) -> object:
    budgets = sorted({budget for row in report.options for budget, _ in row.budgets})
    headings = ("", "Method", "Format", "Learn", "Time", *(f"{budget:,}" for budget in budgets))
    rows = []
    for index, row in enumerate(report.options):
        mark = "*" if index == report.recommended else ""
        cells = [_cell(dict(row.budgets).get(budget), report.limit_bytes) for budget in budgets]
        share = f"{row.forecast.learned_share:.2%}"
        method = f"{row.method}, checkpointing" if row.checkpointing else row.method
        rows.append((mark, method, row.precision, share, duration(row.forecast.seconds), *cells))
    return table(headings, rows, words=(0, 1, 2))


def _cell(needed: float | None, limit: float) -> Text:
    if needed is None:
        return Text("")
    return (
        Text(f"{needed / _GIB:.1f}", "green") if needed <= Option.room(limit) else Text(f"{needed / _GIB:.1f} !", "red")
    )


def _costs(report: PlanReport) -> list[str]:
    return [f"{one.amount:.2f} {one.currency} ({one.provider}, {one.date})" for one in report.costs]


def gib(size: float) -> str:
    """Bytes as GiB."""
    return f"{size / _GIB:,.2f} GiB"


_RULES = (("answers", 1.2), ("LoRA", 1.4), ("full tuning", 5.0))
"""How much memory a use takes, in weights of its number format: rules of thumb."""


def print_model(found: ModelDescription, hardware: Hardware, console: Console) -> None:
    """Print a description, and what of it this machine has room for.

    Args:
        found: The model.
        hardware: This machine.
        console: Where to.
    """
    active = "" if found.num_active == found.num_parameters else f", {found.num_active:,} of them for each token"
    tied = "head and embeddings are one" if found.tied else "with a head of its own"
    heads = f"{found.num_heads} heads, {found.num_key_heads or found.num_heads} of keys" if found.num_heads else ""
    stored = f"{found.file_bytes / _GIB:,.2f} GiB, weights in {', '.join(found.stored)}"
    template = "brings a chat template" if found.template else "no chat template (rendering.template chooses one)"
    rows = [
        ("Model", found.name),
        ("Lies in", str(found.path)),
        ("Class", found.architecture),
        ("Parameters", f"{found.num_parameters:,}{active}"),
        ("Layers", ", ".join(filter(None, [f"{found.num_layers}", f"{found.hidden_size:,} wide", heads]))),
        ("Vocabulary", f"{found.vocabulary:,} embeddings, {found.tokens:,} tokens; {tied}"),
        ("Context", "no limit named" if found.context is None else f"{found.context:,} tokens"),
        ("Files", stored),
        ("Template", template),
        ("Licence", found.licence or "not said by its files"),
        *(("Special", line) for line in found.special[:1]),
        *(("", line) for line in found.special[1:]),
    ]
    console.print(facts(rows))
    console.print()
    free = hardware.available_memory_bytes
    console.print(Text(f"Memory by rules of thumb; {free / _GIB:,.1f} GiB are free here", "bold"))
    for use, factor in _RULES:
        shown = []
        for name, size in found.weight_bytes.items():
            if use == "full tuning" and name != "float32":
                continue  # weights that learn are kept in float32
            needed = size * factor
            shown.append((f"{name} {needed / _GIB:,.2f} GiB", "green" if needed <= free else "red"))
        console.print(Text.assemble(f"  {use}: ", *[part for one in shown for part in (one, "  ")]))
