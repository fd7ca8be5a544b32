"""What goes wrong, as the pages and their API tell it: in words, with a remedy, beside the field that it is about."""

from __future__ import annotations

import errno
import html
import logging
import re
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException

from weitiao.errors import Phrase, WeitiaoError
from weitiao.text.wording import Wording
from weitiao.ui.templating import language_of

_logger = logging.getLogger(__name__)
_FIELD = re.compile(r"`([\w.-]+)`")


class UiError(WeitiaoError):
    """A request that cannot be fulfilled.

    Args:
        what: What is wrong, one line.
        remedy: What to do about it, one line.
        status: The HTTP status.
        field: The field of the request that it is about.
    """

    def __init__(self, what: str, remedy: str, *, status: int = 400, field: str | None = None) -> None:
        super().__init__(what, remedy)
        self.status, self.field = status, field


class NotFoundError(UiError):
    """There is no such project, run or job, or it was deleted meanwhile."""

    def __init__(self, what: str) -> None:
        super().__init__(what, "It may have been moved or deleted; the first page lists what there is.", status=404)


def add_handlers(app: FastAPI) -> None:
    """Let every error of an app be told: `{"error": {"message", "remedy", "field"}}`, or a page for a browser."""

    async def told(request: Request, error: Exception) -> Response:
        return response_of(error, request)

    for kind in (WeitiaoError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, told)


def wants_page(accept: str, path: str) -> bool:
    """Whether who asks is a person with a browser."""
    return "text/html" in accept and not path.startswith("/api/")


def response_of(error: Exception, request: Request) -> Response:
    """An error as JSON, or as a small page, in the language of who asks."""
    (status, body), words = _told(error), Wording(language_of(request))
    body |= {key: words.phrase(body[key]) for key in ("message", "remedy")}
    if not wants_page(request.headers.get("accept", ""), request.url.path):
        return JSONResponse({"error": body}, status)
    said = "".join(f"<p>{html.escape(body[key])}</p>" for key in ("message", "remedy") if body[key])
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>weitiao</title>'
    links = "".join(f'<link rel="stylesheet" href="/static/{name}.css">' for name in ("report", "ui"))
    page = f'<!DOCTYPE html><html lang="{words("page.lang")}">{head}{links}<main><h1>{status}</h1>{said}'
    return HTMLResponse(f'{page}<p><a href="/">weitiao</a></p></main>', status)


def _told(error: Exception) -> tuple[int, dict[str, Any]]:
    match error:
        case UiError():
            return error.status, _body(error.what, error.remedy, error.field)
        case WeitiaoError():
            named = _FIELD.search(error.what)
            return 400, _body(error.what, error.remedy, named[1] if named else None)
        case RequestValidationError():
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"][1:])
            what = Phrase("{place}: {reason}.", place=place or Phrase("The request"), reason=Phrase(first["msg"]))
            return 422, _body(what, "Correct it.", place or None)
        case HTTPException():
            return error.status_code, _body(str(error.detail), "", None)
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            return 507, _body("The disk is full.", "Make room, then do it again.", None)
    _logger.error("A request failed", exc_info=error)
    return 500, _body("That is a bug: the log of `weitiao ui` has the traceback.", "", None)


def _body(message: str, remedy: str, field: str | None) -> dict[str, Any]:
    return {"message": message, "remedy": remedy, "field": field}
