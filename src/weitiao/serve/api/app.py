"""The app: all endpoints, what stands around them, and what starts and ends with it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from fastapi import FastAPI

from weitiao.serve.answering import Answering
from weitiao.serve.api.chat import chat_router
from weitiao.serve.api.context import Context
from weitiao.serve.api.errors import add_handlers
from weitiao.serve.api.guard import guard
from weitiao.serve.api.models import models_router
from weitiao.serve.limits import Limits
from weitiao.serve.metrics import Metrics
from weitiao.serve.models import Models
from weitiao.serve.routing import Routes


def create_app(models: Models, *, limits: Limits, routes: Routes, keys: Collection[str] = ()) -> FastAPI:
    """An app that serves models; their engines run already, and are closed with it.

    Args:
        models: What it has.
        limits: What it takes on.
        routes: Who answers what is asked of the route.
        keys: Of which a client has to have one; without any, only this machine may ask.
    """
    metrics = Metrics(models)
    context = Context(Answering(models, limits, metrics), routes)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        context.answering.close()
        for engine in models.engines:
            await engine.close()

    app = FastAPI(title="weitiao", lifespan=lifespan, redoc_url=None, docs_url=None)
    add_handlers(app)
    for router in (chat_router(context), models_router(context, metrics)):
        app.include_router(router)
    guard(app, limits=limits, keys=keys, metrics=metrics)
    return app
