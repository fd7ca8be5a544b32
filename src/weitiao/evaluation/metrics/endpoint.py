"""The metric `endpoint`: grades from a server of one's own, many answers at a time."""

from __future__ import annotations

import json
import math
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, PrivateAttr

from weitiao.errors import ModelError
from weitiao.evaluation.metrics.base import Item, Metric, find_or_keep
from weitiao.paths import read_text

_WAIT_SECONDS = 1.0
"""Before the first try after a failure; twice as long before each further one."""


class Endpoint(Metric):
    """A server that grades answers.

    It gets `{"items": [{"row_id", "prompt", "answer", "expected", "columns"}, ...]}` by POST, the prompt as messages,
    and replies with `{"grades": [...]}`: a number for each item in their order, or null where it knows none.
    """

    remote: ClassVar[bool] = True

    type: Literal["endpoint"]
    """The metric."""

    url: str = Field(pattern="^https?://")
    """Where the server listens."""

    batch_size: int = Field(default=32, ge=1)
    """Answers in a request."""

    timeout_seconds: float = Field(default=60.0, gt=0)
    """How long to wait for a reply."""

    retries: int = Field(default=2, ge=0)
    """How often a request that failed is sent again."""

    api_key_file: Path | None = None
    """A file with a key, which is sent as a bearer token. Without it none is sent."""

    _of_any_size: bool = PrivateAttr(False)

    def as_reward(self) -> Endpoint:
        metric = self.model_copy()
        metric._of_any_size = True
        return metric

    def located(self, folders: Sequence[Path]) -> Self:
        if self.api_key_file is None:
            return self
        return self.model_copy(update={"api_key_file": find_or_keep(self.api_key_file, folders)})

    def grade(self, item: Item) -> float:
        return self.grade_all([item])[0]

    def grade_all(self, items: Sequence[Item]) -> list[float]:
        batches = (items[start : start + self.batch_size] for start in range(0, len(items), self.batch_size))
        return [grade for batch in batches for grade in self._asked(batch)]

    def _asked(self, items: Sequence[Item]) -> list[float]:
        fields = ("row_id", "prompt", "answer", "expected", "columns")
        sent = {"items": [{name: getattr(one, name) for name in fields} for one in items]}
        found = self._post(json.dumps(sent, default=str).encode())
        grades = found.get("grades") if isinstance(found, dict) else None
        if not isinstance(grades, list) or len(grades) != len(items):
            raise self._error(f"replied without `grades` for {len(items)} items")
        return [self._number(one) for one in grades]

    def _number(self, value: Any) -> float:
        if self._of_any_size and value is None:
            return math.nan
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._error(f"replied with the grade {value!r}, which is no number")
        if not self._of_any_size and not 0 <= value <= 1:
            raise self._error(f"replied with the grade {value}, which is not from 0 to 1")
        return float(value)

    def _post(self, body: bytes) -> Any:
        headers = {"Content-Type": "application/json"}
        if self.api_key_file is not None:
            key = read_text(self.api_key_file, ModelError, what="The key of the server: ").strip()
            headers["Authorization"] = f"Bearer {key}"
        for attempt in range(self.retries + 1):
            try:
                request = urllib.request.Request(self.url, body, headers)
                with urllib.request.urlopen(request, timeout=self.timeout_seconds) as response:
                    return json.load(response)
            except urllib.error.HTTPError as error:
                failed = self._error(f"refuses ({error.code}): {error.read(300).decode('utf-8', 'replace').strip()}")
            except OSError as error:
                failed = self._error(f"cannot be reached: {getattr(error, 'reason', error)}")
            except ValueError:
                failed = self._error("does not reply with JSON")
            if attempt < self.retries:
                time.sleep(_WAIT_SECONDS * 2**attempt)
        raise failed

    def _error(self, what: str) -> ModelError:
        return ModelError(f"The server {self.url} {what}.", "Check that it runs, and what it replies.")
