"""Answers of a model behind an OpenAI-compatible server."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from threading import Lock
from typing import Any

from weitiao.data.example import Message
from weitiao.errors import ModelError
from weitiao.paths import read_text

_RETRIES = 5
"""How often a request is sent again that a server put off; it says how long to wait, or twice as long each time."""

_PUT_OFF = (429, 502, 503, 504)
_LONGEST_WAIT_SECONDS = 300.0
_REMEDY = "Check that the server runs, its URL (it usually ends in /v1), the model's name and the key."


class NoReplyError(ModelError):
    """A server replied to nothing in time: to ask it for each again would be to wait for each again."""


@dataclass(slots=True)
class Usage:
    """What a server was asked.

    Attributes:
        requests: Replies that it gave.
        timeouts: Requests that it did not answer in time.
        prompt_tokens, completion_tokens: Tokens that it read and wrote, as it says itself.
    """

    requests: int = 0
    timeouts: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class ChatServer:
    """Asks a server, greedily, several conversations at a time.

    The standard library is enough for one POST. `huggingface_hub.InferenceClient` would send the user's Hugging Face
    token to any server that is given no key.

    Args:
        address: Server and model as `URL#MODEL`: `http://127.0.0.1:8000/v1#qwen3-8b`.
        max_new_tokens: Tokens that a reply may have.
        requests_at_once: Conversations that are asked at the same time.
        timeout_seconds: How long to wait for a reply.
        api_key_file: A file with the key of the server; without it no key is sent.
        requests_per_minute: So many requests are sent at most.

    Attributes:
        usage: What was asked so far.

    Raises:
        ModelError: The address names no model, or the file with the key cannot be read.
    """

    def __init__(
        self,
        address: str,
        *,
        max_new_tokens: int,
        requests_at_once: int = 8,
        timeout_seconds: float = 120.0,
        api_key_file: Path | None = None,
        requests_per_minute: float | None = None,
    ) -> None:
        url, _, self._model = address.partition("#")
        if not self._model:
            raise ModelError(f"{address} names a server and no model.", f"Write {url}#MODEL, as the server calls it.")
        self.usage = Usage()
        self._url = f"{url.rstrip('/')}/chat/completions"
        self._max_new_tokens = max_new_tokens
        self._requests_at_once = requests_at_once
        self._timeout_seconds = timeout_seconds
        self._between_seconds = 60 / requests_per_minute if requests_per_minute else 0.0
        self._free_at = 0.0
        self._lock = Lock()
        self._headers = {"Content-Type": "application/json"}
        if api_key_file is not None:
            key = read_text(api_key_file, ModelError, what="The key of the server: ").strip()
            self._headers["Authorization"] = f"Bearer {key}"

    def answer(self, conversations: Sequence[Sequence[Message]]) -> list[str | None]:
        """The reply to each conversation; None where there was none in time.

        Raises:
            NoReplyError: The server gives no reply in time to any conversation.
            ModelError: It cannot be reached, refuses, or does not answer as such a server does.
        """
        with ThreadPoolExecutor(self._requests_at_once) as pool:
            replies = list(pool.map(self._ask, conversations))
        if replies and all(one is None for one in replies):
            waited = f"{self._timeout_seconds:g} s"
            what = f"The server {self._url} gave no reply within {waited}."
            raise NoReplyError(what, f"{_REMEDY} Or wait for longer.")
        return replies

    def _ask(self, conversation: Sequence[Message]) -> str | None:
        body = {
            "model": self._model,
            "messages": list(conversation),
            "temperature": 0,
            "max_tokens": self._max_new_tokens,
        }
        try:
            found = self._sent(json.dumps(body).encode())
            reply = str(found["choices"][0]["message"]["content"] or "")
            used = found.get("usage") or {}
            counts = [int(used.get(name) or 0) for name in ("prompt_tokens", "completion_tokens")]
        except TimeoutError:
            with self._lock:
                self.usage.timeouts += 1
            return None
        except OSError as error:
            reason = getattr(error, "reason", error)
            raise ModelError(f"The server {self._url} cannot be reached: {reason}.", _REMEDY) from error
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise ModelError(f"{self._url} does not answer as an OpenAI-compatible server does.", _REMEDY) from error
        with self._lock:
            self.usage.requests += 1
            self.usage.prompt_tokens += counts[0]
            self.usage.completion_tokens += counts[1]
        return reply

    def _sent(self, body: bytes) -> Any:
        """What a request gives; where the server puts it off, it is sent again."""
        for retry in range(_RETRIES + 1):
            self._wait()
            request = urllib.request.Request(self._url, body, self._headers)
            try:
                with urllib.request.urlopen(request, timeout=self._timeout_seconds) as response:
                    return json.load(response)
            except urllib.error.HTTPError as error:
                if error.code not in _PUT_OFF or retry == _RETRIES:
                    said = error.read(500).decode("utf-8", "replace").strip()
                    what = f"The server {self._url} refuses ({error.code}): {said}"
                    raise ModelError(what, _REMEDY) from error
                self._wait_for(error.headers.get("Retry-After"), otherwise=2.0**retry)
            except urllib.error.URLError as error:
                if isinstance(error.reason, TimeoutError):
                    raise error.reason from error
                raise
        raise AssertionError("the last try returns or raises")

    def _wait(self) -> None:
        """Until the next request may be sent."""
        with self._lock:
            at = max(time.monotonic(), self._free_at)
            self._free_at = at + self._between_seconds
        time.sleep(max(0.0, at - time.monotonic()))

    def _wait_for(self, asked: str | None, *, otherwise: float) -> None:
        """Let all requests wait as long as a server asks: seconds, or a date (RFC 9110, section 10.2.3)."""
        seconds = otherwise
        if asked is not None:
            with suppress(ValueError):
                seconds = (parsedate_to_datetime(asked) - datetime.now(UTC)).total_seconds()
            with suppress(ValueError):
                seconds = float(asked)
        with self._lock:
            self._free_at = max(self._free_at, time.monotonic() + min(max(seconds, 0.0), _LONGEST_WAIT_SECONDS))


def is_server(model: str) -> bool:
    """Whether a model is named by the address of a server."""
    return model.startswith(("http://", "https://"))
