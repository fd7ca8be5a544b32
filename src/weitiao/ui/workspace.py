"""The folder that the pages show: its projects, its runs, and the queue of jobs that works on them.

A project is a folder with a `recipe.yaml` that is not a run; its data lies in `data/`, its runs in `runs/`. Nothing
outside the folder is read or written through the pages, save what a recipe or a queue that lies there names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from weitiao.feedback.finding import FoundStore, find_stores, look_at
from weitiao.feedback.store import FeedbackStore
from weitiao.jobs.store import OPEN, Job, JobStore
from weitiao.runs.run_dir import RunDir
from weitiao.ui.folders import HERE, RECIPE, RUN_FILES, Folders
from weitiao.ui.problems import NotFoundError, UiError

_NAME = re.compile(r"\w[\w .-]{0,79}")


@dataclass(frozen=True, slots=True)
class Project:
    """A recipe and what belongs to it.

    Attributes:
        name: Its path below the workspace, with slashes.
        path: Its folder.
    """

    name: str
    path: Path

    @property
    def recipe(self) -> Path:
        return self.path / RECIPE

    @property
    def data(self) -> Path:
        return self.path / "data"

    @property
    def runs(self) -> Path:
        return self.path / "runs"


class Workspace:
    """A folder with projects and runs.

    Args:
        root: The folder.
        queue: That of the queue of jobs.
    """

    def __init__(self, root: Path, queue: Path) -> None:
        self.root = root.resolve()
        self.jobs = JobStore(queue)
        self.folders = Folders(self.root)

    def inside(self, name: str) -> Path:
        """A path below the workspace.

        Raises:
            UiError: It leads out of it, also by a link, or it is none.
        """
        if "\0" in name or len(name) > 4096:
            raise UiError("That is no path.", "Name one below the folder that these pages show.")
        path = self.root if name == HERE else (self.root / name).resolve()
        if not path.is_relative_to(self.root):
            raise UiError(
                f"{name} lies outside the folder that these pages show.",
                "Copy it there, or start `weitiao ui` with another folder.",
                status=403,
            )
        return path

    def name_of(self, path: Path) -> str | None:
        """A path as it is called here; None for what lies elsewhere."""
        whole = path.resolve()
        return self.folders.name_of(whole) if whole.is_relative_to(self.root) else None

    def project(self, name: str) -> Project:
        """A project by name.

        Raises:
            UiError: There is none.
        """
        path = self.inside(name)
        if not (path / RECIPE).is_file() or _is_run(path):
            raise NotFoundError(f"There is no project {name}.")
        return Project(name, path)

    def new_project(self, name: str) -> Project:
        """Make the folder of a project.

        Raises:
            UiError: The name cannot be used, or is taken.
        """
        if not _NAME.fullmatch(name):
            raise UiError(
                f"{name!r} cannot be the name of a project.", "Use letters, digits, spaces, - and _.", field="name"
            )
        project = Project(name, self.inside(name))
        try:
            project.data.mkdir(parents=True)
        except FileExistsError as error:
            raise UiError(f"{name} is there already.", "Choose another name.", status=409, field="name") from error
        except OSError as error:
            what = f"{name} cannot be made: {error.strerror or error}."
            raise UiError(what, "Make room there, or fix the permissions.", status=507) from error
        return project

    def projects(self) -> list[Project]:
        """All of them, by name."""
        found = [Project(one.name, one.path) for one in self.folders if one.kind == "project"]
        return sorted(found, key=lambda one: one.path)

    def runs(self) -> list[str]:
        """The names of all run directories, the newest first."""
        found = [(one.written, one.name) for one in self.folders if one.kind == "run"]
        return [name for _, name in sorted(found, reverse=True)]

    def run(self, name: str) -> RunDir:
        """A run by name; one that is going to be there when its job has begun is one, too.

        Raises:
            UiError: There is none, or it was deleted.
        """
        path = self.inside(name)
        if not _is_run(path) and ((job := self.job_of(name)) is None or job.state not in OPEN):
            raise NotFoundError(f"There is no run {name}.")
        return RunDir(path)

    def stores(self) -> list[FoundStore]:
        """The stores of feedback with pairs, beside projects and in runs; those that were written last first."""
        folders = list(self.folders)
        inner = [path for one in folders if one.kind == "run" for path in one.path.glob("*/")]
        return find_stores([*(one.path for one in folders), *inner])

    def store(self, name: str) -> FeedbackStore:
        """A store of feedback by name.

        Raises:
            UiError: There is none.
        """
        path = self.inside(name)
        if not path.is_file() or look_at(path) is None:
            raise NotFoundError(f"There is no store of feedback {name}.")
        return FeedbackStore(path)

    def job_of(self, run: str) -> Job | None:
        """The last job that works or worked on a run."""
        return self.jobs.last_of(self.inside(run))


def _is_run(path: Path) -> bool:
    return (path / RECIPE).is_file() and any((path / name).is_file() for name in RUN_FILES)
