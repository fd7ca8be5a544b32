"""What is said of answers, the route that they are compared on, and scores of reward models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from weitiao.data.formats.conversations import to_messages
from weitiao.data.reading.rows import BadRow
from weitiao.feedback.traffic import ServedAnswer, TrafficStore, UnknownAnswerError
from weitiao.serve.answering import Ended
from weitiao.serve.api.bodies import FeedbackBody, RouteBody, ScoreBody
from weitiao.serve.api.context import Context
from weitiao.serve.api.errors import ApiError
from weitiao.serve.api.streams import LEFT, until_left
from weitiao.serve.engine import ServeError
from weitiao.serve.models import Judge
from weitiao.serve.routing import ROUTE, Routes


def feedback_router(context: Context, store: TrafficStore | None) -> APIRouter:
    """The endpoints.

    Args:
        context: As everywhere.
        store: Where it goes; None where nothing is kept.
    """
    router = APIRouter()
    answering = context.answering

    @router.post("/v1/feedback", response_model=None)
    async def feedback(body: FeedbackBody) -> Response:
        """Keep a judgement of an answer: a rating, a better text, or the answer that it is better than."""
        if store is None:
            raise ApiError(404, "This server keeps no feedback: start it with --feedback FILE.", code="no_feedback")
        if sum(one is not None for one in (body.rating, body.better, body.better_than)) != 1:
            raise ApiError(400, "Give one of rating, better and better_than.", param="rating")
        try:
            if body.rating is not None:
                model = await answering.recorded(store.rate, body.id, body.rating, body.comment)
            else:
                model = await answering.recorded(_prefer, store, body)
        except UnknownAnswerError as error:
            message = f"There is no answer {error.args[0]}, or its text is not kept."
            raise ApiError(404, message, code="unknown_answer", param="id") from error
        answering.metrics.judgements.labels(model, body.rating or "compared").inc()
        return JSONResponse({"id": body.id, "object": "feedback", "model": model})

    @router.get("/v1/route")
    async def route() -> dict[str, Any]:
        """Who answers what is asked of the route, and how they compare so far."""
        outcomes = {} if store is None else await answering.recorded(store.outcomes)
        counts = {} if store is None else await answering.recorded(store.counts)
        return {
            "model": ROUTE,
            "weights": context.routes.weights,
            "previous": context.routes.previous,
            "answers": {name: counts.get(name, 0) for name in context.routes.weights},
            "comparisons": comparisons(context.routes, outcomes),
        }

    @router.post("/v1/route", response_model=None)
    async def set_route(body: RouteBody) -> Response:
        """Give other shares from now on: promote a model, or roll back."""
        for name in body.weights:
            answering.models.writer(name)
        try:
            context.routes.set(body.weights)
        except ServeError as error:
            raise ApiError(400, str(error), param="weights") from error
        if store is not None:
            await answering.recorded(store.note_route, context.routes.weights)
        return JSONResponse({"weights": context.routes.weights, "previous": context.routes.previous})

    @router.post("/v1/score", response_model=None)
    async def score(body: ScoreBody, request: Request) -> Response:
        """Score conversations with a reward model."""
        judge = answering.models.judge(body.model)
        found = await until_left(request, answering.aside(_scores, judge, body))
        if found is None:
            return Response(status_code=LEFT)
        data = [{"index": index, "object": "score", "score": one} for index, one in enumerate(found)]
        return JSONResponse({"object": "list", "model": judge.name, "data": data})

    return router


def comparisons(routes: Routes, outcomes: dict[str, tuple[int, int]]) -> list[dict[str, Any]]:
    """Every model of a route against its last one, by a test that may be looked at at any time."""
    from weitiao.evaluation.sequential import compare_rates  # half a second of scipy

    names = list(routes.weights)
    found = []
    for name in names[:-1]:
        # As many comparisons, so much more careful each (Bonferroni).
        one = compare_rates(
            outcomes.get(name, (0, 0)), outcomes.get(names[-1], (0, 0)), alpha=0.05 / max(1, len(names) - 1)
        )
        value, low, high = one.win_rate
        better = {"a": name, "b": names[-1], None: None}[one.better]
        found.append(
            {
                "model": name, "against": names[-1], "judged": [one.num_a, one.num_b],
                "good": [one.rate_a, one.rate_b], "win_rate": value, "win_rate_interval": [low, high],
                "confidence": one.confidence, "p_value": one.p_value, "better": better,
            }
        )  # fmt: skip
    return found


def served_answer(ended: Ended) -> ServedAnswer:
    """An answer for the store; the second and further ones of a request have its number behind its id."""
    asked, request = ended.asked, ended.asked.request
    sampling = {"temperature": request.temperature, "top_k": request.top_k, "top_p": request.top_p}
    return ServedAnswer(
        id=asked.id if ended.choice == 0 else f"{asked.id}-{ended.choice}",
        model=asked.writer.name,
        routed=asked.routed,
        user=asked.user,
        messages=asked.messages,
        answer=ended.text,
        sampling={**sampling, "max_tokens": request.max_tokens, "seed": request.seed + ended.choice},
        prompt_tokens=len(asked.prompt.ids),
        tokens=ended.num_tokens,
        finish=ended.finish,
        seconds=ended.seconds,
    )


def _prefer(store: TrafficStore, body: FeedbackBody) -> str:
    return store.prefer(body.id, over=body.better_than, better=body.better, comment=body.comment)


def _scores(judge: Judge, body: ScoreBody) -> Sequence[float]:
    several = body.messages if isinstance(body.messages[0], list) else [body.messages]
    try:
        turns = [to_messages(one, f"messages[{index}]") for index, one in enumerate(several)]
    except BadRow as error:
        raise ApiError(400, f"{error.field}: {error.reason}.", param="messages") from error
    if any(one[-1]["role"] != "assistant" for one in turns):
        raise ApiError(400, "messages: an answer has to be the last turn of what is scored.", param="messages")
    return judge.score(turns)
