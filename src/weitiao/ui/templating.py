"""Pages from templates, in the language and with the drawings, styles and texts that the report has."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from weitiao.report.markup import prompt_name, shortened, with_code
from weitiao.text.wording import LANGUAGES, Language, Wording, table_of

LANGUAGE_COOKIE = "language"
STATIC = Path(__file__).parent / "static"


class Pages:
    """Makes pages.

    Args:
        areas: Addresses of the parts that the head of every page leads to, by name.
    """

    def __init__(self, areas: dict[str, str]) -> None:
        self._areas = areas
        self._version = importlib.metadata.version("weitiao")
        self._environment = Environment(
            loader=ChoiceLoader(
                [PackageLoader("weitiao.ui", "templates"), PackageLoader("weitiao.report", "templates")]
            ),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {
            "with_code": with_code, "shortened": shortened, "as_json": as_json, "prompt_name": prompt_name,
        }  # fmt: skip

    def page(
        self, request: Request, template: str, /, *, area: str = "", status: int = 200, **values: Any
    ) -> HTMLResponse:
        """The page of a template.

        Args:
            request: Whose language counts.
            template: Its name without its ending; a script of that name is loaded with it, where there is one.
            area: Which part it belongs to.
            status: The HTTP status.
            values: For the template.
        """
        language = language_of(request)
        html = self._environment.get_template(f"{template}.html.jinja").render(
            words=Wording(language),
            language=language,
            area=area,
            areas=self._areas,
            version=self._version,
            script=f"{template}.js" if (STATIC / f"{template}.js").is_file() else None,
            said=_said(template, language),
            here=request.url.path,
            **values,
        )
        return HTMLResponse(html, status, headers={"Cache-Control": "no-store"})


def language_of(request: Request) -> Language:
    """The language that was chosen, or the first that the browser asks for and that there is."""
    asked = [request.cookies.get(LANGUAGE_COOKIE, "")]
    asked += [one.split(";")[0].strip() for one in request.headers.get("accept-language", "").split(",")]
    known = [language for one in asked for language in LANGUAGES if one.lower().startswith(language)]
    return known[0] if known else "en"


Spoken = Annotated[Language, Depends(language_of)]
"""The language of who asks, as an argument of an operation: an agent may name one."""


def as_json(value: Any) -> Markup:
    """A value for a script to read, in a place where nothing ends it."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return Markup(text.replace("<", "\\u003c").replace("&", "\\u0026"))


def _said(name: str, language: Language) -> dict[str, str]:
    """The texts that scripts say: those of every page, `ui.js.*`, and of this one, `ui.NAME.js.*`."""
    return {
        key.removeprefix(prefix): text
        for prefix in ("ui.js.", f"ui.{name}.js.")
        for key, text in table_of(language).items()
        if key.startswith(prefix)
    }
