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
from weitiao.text.wording import Language, Wording

_GIB = 2**30


def print_plan(report: PlanReport, console: Console, language: Language = "en") -> None:
    """Print a plan: the forecast with the source of each figure, then other ways to tune.

    Args:
        report: From `weitiao.study.plan`.
        console: Where to.
        language: In which it is said.
    """
    words, found = Wording(language), report.forecast
    key, colour = ("plan.fits", "green") if report.fits else ("plan.fits.not", "red")
    share = {"learned": found.num_learned, "all": found.num_parameters, "share": found.learned_share}
    tokens, alone = found.tokens_per_step
    time, source = duration(found.seconds, language), report.time_source[language]
    comma, device = words("progress.comma"), report.device
    if found.num_ranks > 1:
        device = words("plan.ranks", number=found.num_ranks, name=device)
    console.print(
        facts(
            [
                (words("plan.model"), comma.join((report.model, report.method, report.precision))),
                ("", words("plan.learned", **share)),
                (words("plan.data"), report.data[language]),
                ("", words("plan.tokens", tokens=tokens, alone=alone)),
                (words("plan.device"), words("plan.free", name=device, size=gib(report.limit_bytes))),
                (words("plan.memory"), Text(words(key, size=gib(found.num_bytes)), colour)),
                (
                    words("plan.time"),
                    words("plan.time.value", time=time, seconds=found.seconds_per_step, source=source),
                ),
                (words("plan.energy"), comma.join([f"{report.kilowatt_hours:.3g} kWh", *_costs(report)])),
            ]
        )
    )
    console.print()
    lines = [
        (words(f"plan.line.{line.name}"), gib(line.bytes).removesuffix(" GiB"), line.source[language])
        for line in found.memory
    ]
    console.print(table((words("plan.memory"), "GiB", words("plan.from")), lines, words=(0, 2)))
    console.print(Text(words("plan.rule", **{name: gib(size) for name, size in report.rule_of_thumb.items()}), "dim"))
    console.print()
    console.print(Text(words("plan.ways"), "bold"))
    console.print(_options(report, words))
    console.print()
    console.print(Text(report.advice[language], "bold"))


def _options(report: PlanReport, words: Wording) -> object:
    budgets = sorted({budget for row in report.options for budget, _ in row.budgets})
    names = (words(f"plan.{one}") for one in ("ways.method", "ways.format", "ways.learn", "time"))
    headings = ("", *names, *(f"{budget:,}" for budget in budgets))
    rows = []
    for index, row in enumerate(report.options):
        mark = "*" if index == report.recommended else ""
        cells = [_cell(dict(row.budgets).get(budget), report.limit_bytes) for budget in budgets]
        share = f"{row.forecast.learned_share:.2%}"
        method = words("plan.ways.checkpointing", method=row.method) if row.checkpointing else row.method
        time = duration(row.forecast.seconds, words.language)
        rows.append((mark, method, row.precision, share, time, *cells))
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
