"""Errors in the form that OpenAI's clients read, each with the right status."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from weitiao.errors import WeitiaoError
from weitiao.serve.engine import RequestError, ServeError
from weitiao.serve.limits import BusyError
from weitiao.serve.models import UnknownModelError

_logger = logging.getLogger(__name__)

_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


class ApiError(Exception):
    """A request that gets an error.

    Args:
        status: The HTTP status.
        message: What is wrong, and what to do.
        code: A stable name of it, for programs.
        param: The field at fault.
        headers: Of the response.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """As JSON."""
        kind = _TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> JSONResponse:
        """As a response."""
        return JSONResponse(self.body(), self.status, headers=self.headers)


def as_api_error(error: Exception) -> ApiError:
    """What a client is told of anything that may go wrong; a bug is logged, and told as nothing but that."""
    match error:
        case ApiError():
            return error
        case BusyError(seconds=seconds):
            message = f"The server is busy: ask again in {seconds} s."
            return ApiError(429, message, code="busy", headers={"Retry-After": str(seconds)})
        case UnknownModelError():
            message = f"There is no model {error.args[0]!r} here that does this: GET /v1/models lists those there are."
            return ApiError(404, message, code="model_not_found", param="model")
        case TimeoutError():
            return ApiError(504, "The answer took longer than this server allows.", code="timeout")
        case UnicodeEncodeError():  # in JSON, "\\ud800" alone
            return ApiError(400, "A text of the request holds half of a surrogate pair.", code="invalid_value")
        case RequestError():
            return ApiError(400, str(error), code="unsupported")
        case ServeError():
            return ApiError(503, str(error), code="engine_error", headers={"Retry-After": "5"})
        case WeitiaoError():
            return ApiError(400, str(error), code="invalid_value")
    _logger.error("A request failed", exc_info=error)
    return ApiError(500, "The server has a bug: its log has the traceback.", code="internal_error")


def add_handlers(app: FastAPI) -> None:
    """Let every error of an app be told in this form."""

    async def told(_: Request, error: Exception) -> JSONResponse:
        return as_api_error(error).response()

    async def invalid(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"] if part != "body")
        what = f"{place}: {first['msg']}" if place else first["msg"]
        return ApiError(400, f"{what}.", code="invalid_value", param=place or None).response()

    async def http(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        message = error.detail or HTTPStatus(error.status_code).phrase
        return ApiError(error.status_code, message, headers=error.headers).response()

    for kind in (ApiError, BusyError, UnknownModelError, TimeoutError, UnicodeEncodeError, WeitiaoError, Exception):
        app.add_exception_handler(kind, told)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
