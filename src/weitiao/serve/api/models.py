"""Models and adapters, health and metrics."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from weitiao.serve.api.bodies import LoadAdapterBody, UnloadAdapterBody
from weitiao.serve.api.context import Context
from weitiao.serve.api.errors import ApiError
from weitiao.serve.engine import ServeError
from weitiao.serve.metrics import Metrics
from weitiao.serve.models import Judge, UnknownModelError, Writer
from weitiao.serve.routing import ROUTE


def models_router(context: Context, metrics: Metrics) -> APIRouter:
    """The endpoints."""
    router = APIRouter()
    models = context.answering.models

    @router.get("/health")
    async def health() -> dict[str, Any]:
        """Whether the server is there, and its engines."""
        return {"status": "ok", "engines": [one.served.name for one in models.engines]}

    @router.get("/metrics", response_model=None)
    async def counts() -> Response:
        """Counts for Prometheus."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @router.get("/v1/models")
    async def listed() -> dict[str, Any]:
        """All models."""
        route = [{"id": ROUTE, "object": "model", "created": 0, "owned_by": "route"}] if context.routes.weights else []
        return {"object": "list", "data": [*map(_described, models), *route]}

    @router.get("/v1/models/{name}")
    async def one(name: str) -> dict[str, Any]:
        """One model."""
        found = next((one for one in models if one.name == name), None)
        if found is None:
            raise UnknownModelError(name)
        return _described(found)

    @router.post("/v1/load_lora_adapter", response_model=None)
    async def load(body: LoadAdapterBody) -> Response:
        """Take an adapter from one of the allowed folders."""
        try:
            loaded = await models.load_adapter(body.lora_name, body.lora_path, body.base_model_name)
        except ServeError as error:
            raise ApiError(400, str(error), code="adapter", param="lora_path") from error
        return JSONResponse(_described(loaded))

    @router.post("/v1/unload_lora_adapter", response_model=None)
    async def unload(body: UnloadAdapterBody) -> Response:
        """Let go of an adapter when its last answer has ended."""
        if body.lora_name in context.routes.weights:
            raise ApiError(400, f"{body.lora_name} is part of the route.", code="adapter", param="lora_name")
        try:
            await models.unload_adapter(body.lora_name)
        except ServeError as error:
            raise ApiError(400, str(error), code="adapter", param="lora_name") from error
        return JSONResponse({"id": body.lora_name, "object": "model", "deleted": True})

    return router


def _described(one: Writer | Judge) -> dict[str, Any]:
    found = {"id": one.name, "object": "model", "created": one.created, "owned_by": "weitiao", "root": one.source}
    if isinstance(one, Writer):
        found |= {"engine": one.engine.served.name, "max_model_len": one.engine.served.context}
    return found
