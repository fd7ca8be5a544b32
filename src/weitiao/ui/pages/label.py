"""Feedback: which stores there are, one of them to be judged blind and key by key, and what is made of it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import AwareDatetime, BaseModel, Field

from weitiao.data.example import conversation_text
from weitiao.errors import WeitiaoError
from weitiao.feedback.corrections import correct
from weitiao.feedback.finding import FoundStore
from weitiao.feedback.items import PreferenceItem, first_shown
from weitiao.feedback.sitting import Said, Sitting, choice_of, person
from weitiao.feedback.store import FeedbackStore, Judgement
from weitiao.machine.catalogue import CATALOGUE
from weitiao.ui.context import Ui
from weitiao.ui.pages.jobs import submit
from weitiao.ui.pages.projects import data_files
from weitiao.ui.preferences import NewProject, make_project
from weitiao.ui.problems import UiError
from weitiao.ui.templating import Spoken
from weitiao.ui.workspace import Workspace

if TYPE_CHECKING:
    from weitiao.feedback.raters import Status

SEED = 0
"""Of the order of pairs and answers: that of `weitiao feedback label`, which goes on where a page was left."""

_AHEAD, _SHOWN_AGAIN = 30, 20
Who = Annotated[str, Field(max_length=40, pattern=r"^[^\x00-\x1f]*$")]
FileName = Annotated[str, Field(min_length=1, max_length=300)]
Target = Annotated[str, Field(max_length=1000, pattern=r"^[^\x00-\x1f-][^\x00-\x1f]*$")]
"""A run, a file or a model; never an option of a command."""
PairId = Annotated[str, Field(max_length=4000)]
Moment = Annotated[AwareDatetime, Field(ge=datetime(2000, 1, 1, tzinfo=UTC), le=datetime(2200, 1, 1, tzinfo=UTC))]


class Saying(BaseModel, extra="forbid"):
    """What somebody says of a pair.

    Attributes:
        who: Their name; may be empty.
        pair: Its id.
        said: Which of the answers as they are shown is better, or that none is; None takes back what was said.
        seconds: How long it took.
        comment: What is written beside it.
        time: When. What comes twice with the same time is stored once, so that it may be sent again.
    """

    who: Who = ""
    pair: PairId
    said: Said | None
    seconds: Annotated[float, Field(ge=0, le=1e6)] | None = None
    comment: Annotated[str, Field(max_length=10_000)] | None = None
    time: Moment | None = None


class Correcting(BaseModel, extra="forbid"):
    """A better answer than both of a pair; `who`, `pair` and `time` as in `Saying`."""

    who: Who = ""
    pair: PairId
    text: Annotated[str, Field(max_length=200_000)]
    time: Moment | None = None


class NewPairs(BaseModel, extra="forbid"):
    """Answers to be drawn and paired.

    Attributes:
        store: The file they go to.
        targets: Runs of this folder, or models, that answer; `base:RUN` for the base of a run.
        data: A file with prompts, or a run or project whose test rows are asked, below this folder.
        samples: Answers of each to each prompt.
        limit: The first so many rows only.
    """

    store: FileName
    targets: Annotated[list[Target], Field(min_length=1, max_length=20)]
    data: FileName
    samples: Annotated[int, Field(ge=1, le=64)] = 2
    limit: Annotated[int, Field(ge=1)] | None = None


class NewJudge(BaseModel, extra="forbid"):
    """A model that is to judge: a run of this folder, a model, or a server as URL#MODEL."""

    model: Target
    limit: Annotated[int, Field(ge=1)] | None = None


def shown_store(found: FoundStore, workspace: Workspace) -> dict[str, Any]:
    """A store as the pages and the API show it."""
    changed = datetime.fromtimestamp(found.changed, UTC).isoformat(timespec="seconds")
    name = workspace.name_of(found.path)
    return {"name": name, "pairs": found.pairs, "judgements": found.judgements, "changed": changed}


def asked_pair(item: PreferenceItem) -> dict[str, str]:
    """A pair as a person sees it, who does not know whose the answers are."""
    first, second = item.shown(first_shown(item.item_id, seed=SEED))
    return {"pair": item.item_id, "prompt": conversation_text(item.messages), "first": first, "second": second}


def sitting_values(store: FeedbackStore, who: str, num: int) -> dict[str, Any]:
    """The next pairs of a person, and how far they are.

    Returns:
        `pairs`, `last` (those that were judged last, to be undone), `done` and `total`.
    """
    sitting = Sitting([item for item, _, _ in store.pairs()], store, judge=person(who), seed=SEED)
    return {
        "pairs": [asked_pair(item) for item in sitting.queue[:num]],
        "last": [asked_pair(item) for item in sitting.last(_SHOWN_AGAIN)],
        "done": sitting.num_judged,
        "total": sitting.total,
    }


def store_saying(store: FeedbackStore, saying: Saying) -> None:
    """Store a judgement, or take one back."""
    item, _, _ = store.pair(saying.pair)
    judge, order = person(saying.who), first_shown(item.item_id, seed=SEED)
    time = time_text(saying.time)
    if saying.said is None:
        for one in store.by(judge):
            if (one.item_id, one.order) == (item.item_id, order) and one.time <= time:  # not what was said since
                store.withdraw(one, at=time)
        return
    choice = choice_of(saying.said, order)
    comment = (saying.comment or "").strip() or None
    store.add(Judgement(item.item_id, judge, order, choice, time, saying.seconds, comment))


def target_of(workspace: Workspace, target: str) -> str:
    """A run or a file of this folder as a whole path, with `base:` in front where it was; other names as they are.

    Raises:
        UiError: It leads out of the folder.
    """
    if "://" in target:
        return target
    prefix = "base:" if target.startswith("base:") else ""
    path = workspace.inside(target.removeprefix(prefix))
    return f"{prefix}{path}" if path.exists() else target


def label_router(ui: Ui) -> APIRouter:
    """The pages and their part of the API."""
    router = APIRouter(tags=["feedback"])
    workspace = ui.workspace

    @router.get("/label", include_in_schema=False)
    def list_page(request: Request) -> Response:
        found = [shown_store(one, workspace) for one in workspace.stores()]
        return ui.pages.page(
            request, "feedback", area="label", stores=found, runs=_tuned(workspace), models=list(CATALOGUE),
            files=data_files(workspace),
        )  # fmt: skip

    @router.get("/label/{name:path}/standing", include_in_schema=False)
    async def standing_part(request: Request, name: str) -> Response:
        path, told, problem = str(workspace.store(name).path), None, None
        try:
            told = await ui.aside.call(_status, path)
        except WeitiaoError as error:
            problem = error
        return ui.pages.page(request, "standing", told=told, problem=problem)

    @router.get("/label/{name:path}", include_in_schema=False)
    def desk_page(request: Request, name: str, who: Annotated[str, Query(alias="as", max_length=40)] = "") -> Response:
        store = workspace.store(name)
        values = sitting_values(store, who, _AHEAD)
        names = [*_tuned(workspace), *CATALOGUE]
        return ui.pages.page(request, "label", area="label", store=name, who=who, sitting=values, names=names)

    @router.get("/api/feedback")
    def stores() -> list[dict[str, Any]]:
        """The stores of feedback with pairs, those that were written last first."""
        return [shown_store(one, workspace) for one in workspace.stores()]

    @router.post("/api/feedback", status_code=201)
    def sample(new: NewPairs, language: Spoken = "en") -> dict[str, Any]:
        """Let models answer prompts and keep pairs of their answers, as a job."""
        store, data = workspace.inside(new.store), workspace.inside(new.data)
        if store.suffix != ".db":
            raise UiError("The store is a file that ends in .db.", "Name one, feedback.db for instance.", field="store")
        if not data.is_file() and not (data / "recipe.yaml").is_file():
            raise UiError(f"There is no file {new.data}.", "Name one below this folder.", status=404, field="data")
        targets = [target_of(workspace, one) for one in new.targets]
        words = ["feedback", "sample", str(store), *targets, "--data", str(data), "--samples", str(new.samples)]
        words += [] if new.limit is None else ["--limit", str(new.limit)]
        return submit(workspace, words, workspace.root, None, language)

    @router.get("/api/feedback/{name:path}/pairs")
    def pairs(name: str, who: Who = "", num: Annotated[int, Query(ge=1, le=1000)] = _AHEAD) -> dict[str, Any]:
        """The next pairs that somebody has not judged, blind, and those judged last."""
        return sitting_values(workspace.store(name), who, num)

    @router.post("/api/feedback/{name:path}/judgements", status_code=204)
    def say(name: str, saying: Saying) -> None:
        """Judge a pair, or take a judgement back; it is on the disk when this answers."""
        store_saying(workspace.store(name), saying)

    @router.post("/api/feedback/{name:path}/corrections", status_code=204)
    def better(name: str, new: Correcting) -> None:
        """Write a better answer than both of a pair."""
        correct(workspace.store(name), new.pair, new.text, judge=person(new.who), at=time_text(new.time))

    @router.get("/api/feedback/{name:path}/status")
    async def status(name: str) -> dict[str, Any]:
        """Judges, how far they agree, and about how many more judgements would decide."""
        return await ui.aside.call(_status_values, str(workspace.store(name).path))

    @router.post("/api/feedback/{name:path}/judge", status_code=201)
    def judge(name: str, new: NewJudge, language: Spoken = "en") -> dict[str, Any]:
        """Let a model judge the pairs, as a job."""
        words = ["feedback", "judge", str(workspace.store(name).path), target_of(workspace, new.model)]
        words += [] if new.limit is None else ["--limit", str(new.limit)]
        return submit(workspace, words, workspace.root, None, language)

    @router.post("/api/feedback/{name:path}/project", status_code=201)
    def project(name: str, new: NewProject) -> dict[str, str]:
        """Make a project that learns from the preferences: by DPO, or a reward model."""
        return {"project": make_project(workspace, workspace.store(name), new)}

    return router


def _tuned(workspace: Workspace) -> list[str]:
    """Runs that may answer or judge."""
    return [name for name in workspace.runs() if workspace.run(name).is_finished]


def time_text(given: datetime | None) -> str:
    """A moment as judgements have it; now, where none is given."""
    return (given or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="milliseconds")


def _status(path: str) -> Status:
    from weitiao.study.feedback import status

    return status(FeedbackStore(Path(path)))


def _status_values(path: str) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(_status(path))
