"""Playground: models side by side, what each token was worth, and blind votes that are kept as feedback."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from weitiao.feedback.items import Order, digest_of, item_of
from weitiao.feedback.sitting import Said, choice_of, person
from weitiao.feedback.store import FeedbackStore, Judgement, Made
from weitiao.machine.catalogue import CATALOGUE
from weitiao.methods.open import find_final
from weitiao.models.config import ModelConfig
from weitiao.ui.context import Ui
from weitiao.ui.pages.label import Moment, Target, Who, time_text
from weitiao.ui.pages.serve import checked_targets, exported
from weitiao.ui.problems import UiError

VOTES = "playground.db"
"""The store of votes, in the folder that the pages show."""

_NO_NAME = re.compile(r"[^\w.:/-]+")


Name = Annotated[str, Field(min_length=1, max_length=200)]


class Opening(BaseModel, extra="forbid"):
    """What is to be tried.

    Attributes:
        targets: Runs, adapters and GGUF files of this folder, and models by name.
        with_base: Whether the base models of runs and adapters stand beside them.
    """

    targets: Annotated[list[Target], Field(min_length=1, max_length=8)]
    with_base: bool = True


class Answer(BaseModel, extra="forbid"):
    """An answer, with what wrote it and how it was drawn."""

    model: Name
    text: Annotated[str, Field(max_length=200_000)]
    sampling: dict[Name, Annotated[float, Field(allow_inf_nan=False)] | int | None] = {}


class Turn(BaseModel, extra="forbid"):
    """A turn of a conversation."""

    role: Annotated[str, Field(pattern="^(system|user|assistant)$")]
    content: Annotated[str, Field(max_length=200_000)]


class Vote(BaseModel, extra="forbid"):
    """Which of two answers is better, said by somebody who did not know whose they are.

    Attributes:
        who: Their name; may be empty.
        messages: What was answered.
        first, second: The answers in the order in which they were shown.
        said: What is said of them.
        seconds: How long it took.
        time: When. A vote that comes twice with the same time is stored once.
    """

    who: Who = ""
    messages: Annotated[list[Turn], Field(min_length=1, max_length=200)]
    first: Answer
    second: Answer
    said: Said
    seconds: Annotated[float, Field(ge=0, le=1e6)] | None = None
    time: Moment | None = None


def store_vote(store: FeedbackStore, vote: Vote) -> None:
    """Store a vote with its pair. A is the model whose name comes first, so that one contest holds all its pairs."""
    a, b = sorted((vote.first, vote.second), key=lambda one: one.model)
    messages = tuple(turn.model_dump() for turn in vote.messages)
    item = item_of(f"playground:{digest_of(messages)}", messages, a.text, b.text)
    store.keep([(item, Made(a.model, a.sampling), Made(b.model, b.sampling))])
    order: Order = "ab" if vote.first is a else "ba"
    choice = choice_of(vote.said, order)
    store.add(Judgement(item.item_id, person(vote.who), order, choice, time_text(vote.time), vote.seconds))


def named(target: str) -> str:
    """A target with the name that it has in the playground: its whole path, so that two runs called `1` differ."""
    return target if target in CATALOGUE or "=" in target else f"{_NO_NAME.sub('-', target)[-100:]}={target}"


def playground_router(ui: Ui) -> APIRouter:
    """The page and its part of the API."""
    router = APIRouter(tags=["playground"])
    workspace, servers = ui.workspace, ui.servers

    @router.get("/playground", include_in_schema=False)
    def page(request: Request, server: str = "") -> Response:
        running = [servers.facts(one) for one in servers.all()]
        here = next((one for one in running if one["id"] == server), None)
        return ui.pages.page(
            request, "playground", area="playground", server=here, asked=server, running=running,
            there=exported(workspace), models=list(CATALOGUE),
        )  # fmt: skip

    @router.post("/api/playground", status_code=201)
    async def start(new: Opening) -> dict[str, Any]:
        """Start a server with some models, and with the base models of those that were tuned."""
        found = list(dict.fromkeys(map(named, checked_targets(new.targets, workspace))))
        places = [workspace.root / one.partition("=")[2] for one in found if "=" in one]
        if new.with_base and (tuned := [str(path) for path in places if path.is_dir() and find_final(path)]):
            found += [one for one in await ui.aside.call(_bases, tuned) if one not in found]
        return servers.facts(servers.start(found, workspace.root))

    @router.post("/api/playground/votes", status_code=201)
    def vote(new: Vote) -> dict[str, str]:
        """Keep a blind vote; its pair can be judged by others in Label."""
        if new.first.model == new.second.model:
            raise UiError("Both answers are of the same model.", "Let two models answer.", field="second")
        store_vote(FeedbackStore(workspace.root / VOTES), new)
        return {"store": VOTES}

    return router


def base_target(config: ModelConfig) -> str:
    """A base model as a server takes it: as a folder, so that all that were tuned from it share one engine."""
    from weitiao.models.names import resolve_model

    name = config.name if config.name in CATALOGUE else f"base:{Path(config.name).name}"
    return f"{_NO_NAME.sub('-', name)}={resolve_model(config)}"


def _bases(runs: list[str]) -> list[str]:
    """The base models of tuned ones, each once."""
    from weitiao.methods.base import base_model

    finals = [find_final(Path(run)) for run in runs]
    targets = [base_target(base_model(one)) for one in finals if one is not None]
    return list({one.partition("=")[2]: one for one in targets}.values())
