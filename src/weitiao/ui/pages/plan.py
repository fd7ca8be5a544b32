"""The plan of a project: ways to tune it side by side on a device, every setting, and the start."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Hashable
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from weitiao.errors import WeitiaoError
from weitiao.text.wording import Wording
from weitiao.ui import recipes
from weitiao.ui.aside import Aside
from weitiao.ui.context import Ui
from weitiao.ui.templating import language_of
from weitiao.ui.workspace import Project

_KEPT = 16

Device = Annotated[str, Query(max_length=100)]


def plan_values(recipe: str, device: str | None) -> dict[str, Any]:
    """What `weitiao plan` tells of a recipe, with the settings of each way and what it costs. To be called aside.

    Returns:
        The report; in `ways` one for each row of its table: `method`, `precision`, `checkpointing`, `learned_share`,
        `seconds`, `num_bytes`, `fits`, `is_recommended`, `is_own`, `costs`, and `settings`, those that lead to it.
    """
    from weitiao.planning.options import settings_of as settings_of_way
    from weitiao.recipe import load_recipe
    from weitiao.study.plan import plan_recipe

    notes: list[str] = []
    report = plan_recipe(load_recipe(Path(recipe)), device=device, prices=None, tell=notes.append)
    own = report.options[0]
    ways = [
        {
            "method": row.method, "precision": row.precision, "checkpointing": row.checkpointing,
            "learned_share": row.forecast.learned_share, "seconds": row.forecast.seconds,
            "num_bytes": row.forecast.num_bytes, "fits": row.fits(report.limit_bytes), "is_own": index == 0,
            "is_recommended": index == report.recommended, "settings": settings_of_way(row, own),
            "costs": [
                {**asdict(one), "amount": one.amount * row.forecast.seconds / own.forecast.seconds}
                for one in report.costs
            ],
        }
        for index, row in enumerate(report.options)
    ]  # fmt: skip
    values = {name: value for name, value in asdict(report).items() if name != "options"}
    return {**values, "num_bytes": report.forecast.num_bytes, "ways": ways, "notes": notes}


class Plans:
    """The last plans: a forecast takes seconds, and is the same until recipe, data files or device change."""

    def __init__(self) -> None:
        self._plans: dict[Hashable, asyncio.Future[dict[str, Any]]] = {}

    async def of(self, aside: Aside, project: Project, device: str) -> dict[str, Any]:
        """The plan of a project on a device, with the `etag` of the recipe that it was made for.

        Raises:
            WeitiaoError: The recipe, its data or the device cannot be used.
        """
        from weitiao.planning.devices import find_device
        from weitiao.recipe import load_recipe

        etag = recipes.read(project).etag
        if device:
            find_device(device)
        sources = load_recipe(project.recipe).data.sources.values()
        paths = [Path(source.path) for part in sources for source in part]
        files = tuple((str(path), stat.st_size, stat.st_mtime_ns) for path in paths if (stat := _stat(path)))
        key = project.path, etag, device, files
        found = self._plans.pop(key, None)
        if found is None or (found.done() and found.exception() is not None):
            found = asyncio.ensure_future(aside.call(plan_values, str(project.recipe), device or None))
        self._plans[key] = found  # also while it goes on: a page that is reloaded waits for the same
        while len(self._plans) > _KEPT:
            self._plans.pop(next(iter(self._plans)))
        return {**await asyncio.shield(found), "etag": etag}


def _stat(path: Path) -> os.stat_result | None:
    return path.stat() if path.exists() else None


def settings_values(values: dict[str, Any], words: Wording) -> list[dict[str, Any]]:
    """Every setting of a recipe, with what it means in a language, and what is done again when it changes."""
    from weitiao.recipe.settings import settings_of
    from weitiao.study.effects import first_step

    return [
        {
            **asdict(one), "meaning": words.described(one.meaning, *one.texts), "section": one.section,
            "differs": one.differs, "redoes": first_step(one.name),
        }
        for one in settings_of(values)
    ]  # fmt: skip


def plan_router(ui: Ui) -> APIRouter:
    """The page and its part of the API."""
    router = APIRouter(tags=["plan"])
    workspace, plans = ui.workspace, Plans()

    @router.get("/projects/{name:path}/plan", include_in_schema=False)
    def page(request: Request, name: str, device: Device = "") -> Response:
        from weitiao.planning.devices import device_names, find_device
        from weitiao.recipe import Recipe

        found = recipes.read(workspace.project(name))
        words = Wording(language_of(request))
        settings = settings_values(found.values, words)
        groups = [("", [one for one in settings if one["differs"]])]
        others = [one for one in settings if not one["differs"]]
        groups += [(section, list(some)) for section, some in groupby(others, key=lambda one: str(one["section"]))]
        titles = {
            section: words.described(field.description or "", f"section.{section}")
            for section, field in Recipe.model_fields.items()
        }
        devices = [find_device(one) for one in device_names()]
        return ui.pages.page(
            request, "plan", project=name, etag=found.etag, groups=groups, titles=titles, devices=devices,
            device=device,
        )  # fmt: skip

    @router.get("/projects/{name:path}/plan/ways", include_in_schema=False)
    async def ways(request: Request, name: str, device: Device = "") -> Response:
        try:
            values, problem = await plan(name, device), None
        except WeitiaoError as error:
            values, problem = None, error
        return ui.pages.page(request, "ways", project=name, plan=values, problem=problem)

    @router.get("/api/projects/{name:path}/plan")
    async def plan(name: str, device: Device = "") -> dict[str, Any]:
        """Memory, time and price of the training of a project, and other ways to tune: `weitiao plan`.

        `device` is one of the catalogue; this machine by default. `ways[].settings` and `advised` are changes for the
        recipe, whose `etag` is beside them.
        """
        return await plans.of(ui.aside, workspace.project(name), device)

    @router.get("/api/projects/{name:path}/settings")
    def settings(name: str) -> list[dict[str, Any]]:
        """Every setting that the recipe of a project may hold: meaning, default, what is written and done again."""
        return settings_values(recipes.read(workspace.project(name)).values, Wording("en"))

    return router
