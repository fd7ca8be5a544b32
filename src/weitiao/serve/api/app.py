"""The app: all endpoints, what stands around them, and what starts and ends with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from fastapi import FastAPI

from weitiao.feedback.traffic import TrafficStore
from weitiao.serve.answering import Answering
from weitiao.serve.api.chat import chat_router
from weitiao.serve.api.completions import completions_router
from weitiao.serve.api.context import Context
from weitiao.serve.api.errors import add_handlers
from weitiao.serve.api.feedback import feedback_router, served_answer
from weitiao.serve.api.guard import guard
from weitiao.serve.api.models import models_router
from weitiao.serve.api.responses import responses_router
from weitiao.serve.limits import Limits
from weitiao.serve.metrics import Metrics
from weitiao.serve.models import Models
from weitiao.serve.routing import Routes


def create_app(
    models: Models,
    *,
    limits: Limits,
    routes: Routes,
    keys: Collection[str] = (),
    store: TrafficStore | None = None,
    keep_days: float | None = None,
) -> FastAPI:
    """An app that serves models; their engines run already, and are closed with it.

    Args:
        models: What it has.
        limits: What it takes on.
        routes: Who answers what is asked of the route.
        keys: Of which a client has to have one; without any, only this machine may ask.
        store: Gets every answer, and what is said of it; None keeps nothing.
        keep_days: For how long it does; None is for ever.
    """
    metrics = Metrics(models)
    record = None if store is None else lambda ended: store.record(served_answer(ended))
    context = Context(Answering(models, limits, metrics, record), routes)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        forgetting = asyncio.create_task(_forget(context.answering, store, keep_days))
        yield
        forgetting.cancel()
        context.answering.close()
        if store is not None:
            store.close()
        for engine in models.engines:
            await engine.close()

    app = FastAPI(title="weitiao", lifespan=lifespan, redoc_url=None, docs_url=None)
    add_handlers(app)
    for router in (
        chat_router(context),
        completions_router(context),
        responses_router(context),
        feedback_router(context, store),
        models_router(context, metrics),
    ):
        app.include_router(router)
    guard(app, limits=limits, keys=keys, metrics=metrics)
    return app


async def _forget(answering: Answering, store: TrafficStore | None, days: float | None) -> None:
    """Remove what is older than so many days, now and every hour."""
    while store is not None and days is not None:
        await answering.recorded(store.forget, days)
        await asyncio.sleep(3600)
