"""What metrics are as forms, what they need, and what they give answers. Their settings are heavy to import."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pydantic import TypeAdapter, ValidationError

from weitiao.errors import Phrase, WeitiaoError
from weitiao.evaluation.config import METRICS, MetricConfig, metric_of
from weitiao.evaluation.metrics.base import Item, Metric, Normalization
from weitiao.recipe.settings import settings_of_form
from weitiao.text.wording import Wording
from weitiao.ui.problems import UiError
from weitiao.ui.workspace import Project, Workspace

_METRIC: TypeAdapter[Metric] = TypeAdapter(MetricConfig)


def metric_forms(written: Sequence[Any], words: Wording) -> list[dict[str, Any]]:
    """Every metric as a form: `type`, `about`, `settings` (as `recipe.settings.Setting`), and `needs`, those without
    which it cannot grade.

    Args:
        written: The metrics of a recipe, whose settings are the values.
        words: In which it is said what they mean.
    """
    known = {one.get("type"): one for one in map(metric_of, written) if isinstance(one, dict)}
    return [
        {
            "type": kind,
            "about": words.described((form.__doc__ or "").split("\n\n")[0], f"about.metric.{kind}"),
            "settings": [
                {**asdict(one), "name": name, "meaning": words.described(one.meaning, *one.texts)}
                for one in settings_of_form("metric", form, known.get(kind, {}))
                if (name := one.name.partition(".")[2]) not in ("type", "name")
            ],
            "needs": needs(kind),
        }
        for kind, form in METRICS.items()
    ]


def needs(kind: str) -> list[str]:
    """The settings without which a metric of a type cannot grade; of several that will do, all."""
    try:
        _METRIC.validate_python({"type": kind})
    except ValidationError as error:
        form = METRICS[kind].model_fields
        missing = [str(one["loc"][-1]) for one in error.errors() if one["type"] == "missing"]
        return missing or [name for name, field in form.items() if name not in ("type", "name") and _is_open(field)]
    return []


def _is_open(field: Any) -> bool:
    return field.get_default(call_default_factory=True) is None


def lacking(metric: Any) -> list[str]:
    """What a metric of a recipe still needs; of several that will do, all of them."""
    values = metric_of(metric)
    wanted = needs(values.get("type")) if values.get("type") in METRICS else []
    return [] if any(name in values for name in wanted) else wanted


def typed(kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """A metric as a recipe has it: settings that were typed as texts, JSON where they are that; defaults left out.

    Raises:
        UiError: There is no such metric.
    """
    if kind not in METRICS:
        raise UiError(f"There is no metric {kind}.", f"There are: {', '.join(METRICS)}.", field="metric")
    known = {one.name.partition(".")[2]: one for one in settings_of_form("metric", METRICS[kind], {})}
    texts = {name for name, one in known.items() if one.is_text}
    values = {name: value if name in texts else _plain(value) for name, value in given.items()}
    return {
        "type": kind,
        **{name: one for name, one in values.items() if name not in known or one != known[name].default},
    }


def _plain(value: Any) -> Any:
    """What a text stands for: the value of JSON, or itself."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value


def built(workspace: Workspace, project: Project, metric: Any) -> Metric:
    """A metric with its files looked up in a project.

    Raises:
        UiError: It cannot be used so, or a file lies outside of the folder that the pages show.
    """
    try:
        found: Metric = _METRIC.validate_python(metric)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(one) for one in first["loc"][1:]) or "metric"
        reason = Phrase(first["msg"].removeprefix("Value error, "))
        what = Phrase("{place}: {reason}.", place=place, reason=reason)
        raise UiError(what, "Correct it.", field="metric") from error
    located: Metric = found.located((project.path,))
    key = getattr(located, "api_key_file", None)
    for path in (*located.files, *([key] if key is not None else [])):
        workspace.inside(str(path))
    return located


def graded(metrics: Sequence[Metric], items: Sequence[Item], normalize: Normalization) -> list[dict[str, Any]]:
    """What metrics give answers. To be called aside.

    Returns:
        For each metric `grades` and `score` (of all together, with its interval), or None and `problem`.
    """
    return [_grades(one, items, normalize) for one in metrics]


def _grades(metric: Metric, items: Sequence[Item], normalize: Normalization) -> dict[str, Any]:
    try:
        ready = metric.build(normalize=normalize)
        for item in items:
            ready.check(item)
        grades = ready.grade_all(items)
    except WeitiaoError as error:  # an extra is missing, or the expected answer is none for it
        return {"grades": None, "score": None, "problem": f"{error.what} {error.remedy}"}
    return {"grades": grades, "score": asdict(ready.estimate(items, grades))}
