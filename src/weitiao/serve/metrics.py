"""What a server counts, for Prometheus (`prometheus-client`)."""

from __future__ import annotations

from typing import Any

from weitiao.serve.models import Models

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class Metrics:
    """Counters of one server.

    Args:
        models: Whose slots are looked at when somebody asks.
    """

    def __init__(self, models: Models) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self._models = models
        self._registry = CollectorRegistry()
        have: dict[str, Any] = {"registry": self._registry}
        self.requests = Counter("weitiao_requests", "Requests by path and status.", ["path", "status"], **have)
        self.tokens = Counter("weitiao_tokens", "Tokens read, known before, and written.", ["model", "kind"], **have)
        self.answers = Counter("weitiao_answers", "Answers by how they ended.", ["model", "finish"], **have)
        self.first = Histogram(
            "weitiao_first_token_seconds", "From the request to the first token.", ["model"], buckets=_SECONDS, **have
        )
        self.whole = Histogram(
            "weitiao_answer_seconds", "From the request to the last token.", ["model"], buckets=_SECONDS, **have
        )
        self.judgements = Counter("weitiao_judgements", "Judgements by model.", ["model", "rating"], **have)
        self._running = Gauge("weitiao_running", "Answers that are being written.", ["model"], **have)
        self._waiting = Gauge("weitiao_waiting", "Answers that wait for a slot.", ["model"], **have)

    def text(self) -> bytes:
        """All of it in Prometheus' text form."""
        from prometheus_client import generate_latest

        for one in self._models.writers:
            self._running.labels(one.name).set(one.slots.running)
            self._waiting.labels(one.name).set(one.slots.waiting)
        return generate_latest(self._registry)
