"""Answers of a model behind an OpenAI-compatible server."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from weitiao.data.example import Message
from weitiao.errors import ModelError
from weitiao.paths import read_text


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
    ) -> None:
        url, _, self._model = address.partition("#")
        if not self._model:
            raise ModelError(f"{address} names a server and no model.", f"Write {url}#MODEL, as the server calls it.")
        self._url = f"{url.rstrip('/')}/chat/completions"
        self._max_new_tokens = max_new_tokens
        self._requests_at_once = requests_at_once
        self._timeout_seconds = timeout_seconds
        self._headers = {"Content-Type": "application/json"}
        if api_key_file is not None:
            key = read_text(api_key_file, ModelError, what="The key of the server: ").strip()
            self._headers["Authorization"] = f"Bearer {key}"

    def answer(self, conversations: Sequence[Sequence[Message]]) -> list[str]:
        """The reply to each conversation.

        Raises:
            ModelError: The server cannot be reached, refuses, or does not answer as such a server does.
        """
        with ThreadPoolExecutor(self._requests_at_once) as pool:
            return list(pool.map(self._ask, conversations))

    def _ask(self, conversation: Sequence[Message]) -> str:
        body = {
            "model": self._model,
            "messages": list(conversation),
            "temperature": 0,
            "max_tokens": self._max_new_tokens,
        }
        request = urllib.request.Request(self._url, json.dumps(body).encode(), self._headers)
        remedy = "Check that the server runs, its URL (it usually ends in /v1), the model's name and the key."
        try:
            with urllib.request.urlopen(request, timeout=self._timeout_seconds) as response:
                found: Any = json.load(response)
            return str(found["choices"][0]["message"]["content"] or "")
        except urllib.error.HTTPError as error:
            said = error.read(500).decode("utf-8", "replace").strip()
            raise ModelError(f"The server {self._url} refuses ({error.code}): {said}", remedy) from error
        except OSError as error:
            reason = getattr(error, "reason", error)
            raise ModelError(f"The server {self._url} cannot be reached: {reason}.", remedy) from error
        except (ValueError, LookupError, TypeError) as error:
            raise ModelError(f"{self._url} does not answer as an OpenAI-compatible server does.", remedy) from error


def is_server(model: str) -> bool:
    """Whether a model is named by the address of a server."""
    return model.startswith(("http://", "https://"))
