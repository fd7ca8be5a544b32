"""Who may use the pages: the holder of a token, in a browser that was not sent here by another site.

The token comes in the first address, moves into a cookie that scripts cannot read, and out of the address. Programs
bring it as a bearer token. Where other machines can reach the pages, a password leads to the same cookie.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from weitiao.ui.problems import UiError, response_of, wants_page

COOKIE = "weitiao"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
_OPEN = ("/static/", "/login", "/health")
_SAFE = ("GET", "HEAD", "OPTIONS")
_YEAR = 365 * 24 * 3600
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; script-src 'self'; "
        "frame-ancestors 'self'; form-action 'self'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def token_in(home: Path, *, new: bool = False) -> str:
    """The token that is kept in a folder, so that a page that is open survives a restart; made where there is none.

    Args:
        home: The folder.
        new: Make another one: addresses and cookies of before are worth nothing then.
    """
    path = home / "ui-token"
    if not new and path.is_file() and (kept := path.read_text(encoding="ascii").strip()):
        return kept
    token = secrets.token_urlsafe(24)
    home.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(token, encoding="ascii")
    return token


@dataclass(slots=True)
class Token:
    """What a client has to bring.

    Attributes:
        value: It.
        home: The folder that it is kept in.
    """

    value: str
    home: Path

    def renew(self) -> str:
        """Make another one, at once: addresses and cookies of before are worth nothing from now on."""
        self.value = token_in(self.home, new=True)
        return self.value


class Access:
    """Middleware around the app.

    Args:
        app: The app.
        token: What a client has to bring.
        is_local: Whether only this machine can reach it; it then answers to names of this machine alone, so that no
            site can reach it under a name of its own.
        most_bytes: Of a body, for a path.
    """

    def __init__(self, app: ASGIApp, *, token: Token, is_local: bool, most_bytes: Callable[[str], int]) -> None:
        self._app, self._token, self._is_local, self._most_bytes = app, token, is_local, most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        try:
            moved = self._welcome(request)
            if moved is not None:
                await moved(scope, receive, send)
                return
            body = self._limited(request, receive)
        except UiError as problem:
            await response_of(problem, request)(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if scope["path"].startswith("/static/"):
                    headers.setdefault("Cache-Control", "no-cache")  # another version may have another file
            await send(message)

        await self._app(scope, body, with_headers)

    def _welcome(self, request: Request) -> Response | None:
        """None for who may pass; a response that moves the token into a cookie; or an error."""
        host = request.headers.get("host", "")
        if self._is_local and _name_of(host) not in LOOPBACK:
            raise UiError("These pages answer at 127.0.0.1 and localhost alone.", "Use that address.", status=403)
        if request.url.path.startswith(_OPEN):
            return None
        given = request.query_params.get("token", "")
        if given and self._is_token(given) and request.method in _SAFE:
            query = urlencode([(key, value) for key, value in parse_qsl(request.url.query) if key != "token"])
            response = RedirectResponse(request.url.path + (f"?{query}" if query else ""), 303)
            set_cookie(response, self._token.value)
            return response
        kind, _, bearer = request.headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and self._is_token(bearer.strip()):
            return None
        if not self._is_token(request.cookies.get(COOKIE, "")):
            if not self._is_local and wants_page(request.headers.get("accept", ""), request.url.path):
                return RedirectResponse("/login", 303)
            raise UiError(
                "The access token is missing, wrong or no longer valid.",
                "Open the address that `weitiao ui` prints; programs send it as `Authorization: Bearer TOKEN`.",
                status=401,
            )
        if request.method not in _SAFE and not _is_own(request.headers, host):
            raise UiError("This request comes from another site.", "Use the pages themselves.", status=403)
        return None

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode("utf-8", "replace"), self._token.value.encode())

    def _limited(self, request: Request, receive: Receive) -> Receive:
        """The body, up to the size that its path takes."""
        most, size = self._most_bytes(request.url.path), 0
        too_large = UiError(
            f"That is larger than {most / 2**20:,.0f} MiB, the most that is taken here.",
            "Put large files into the folder of the project, and choose them there.",
            status=413,
        )
        length = request.headers.get("content-length", "0")
        if length.isdecimal() and int(length) > most:
            raise too_large

        async def limited() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > most:
                raise too_large
            return message

        return limited


def set_cookie(response: Response, token: str) -> None:
    """Let a browser keep the token where no script and no other site gets at it."""
    response.set_cookie(COOKIE, token, max_age=_YEAR, httponly=True, samesite="strict")


def _is_own(headers: Headers, host: str) -> bool:
    """Whether a browser says that the request comes from these very pages."""
    origin = headers.get("origin")
    if origin is None:
        return headers.get("sec-fetch-site") == "same-origin"
    return urlsplit(origin).netloc == host


def _name_of(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:  # brackets that hold no address
        return None
