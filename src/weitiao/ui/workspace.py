"""The folder that the pages show: its projects, its runs, and the queue of jobs that works on them.

A project is a folder with a `recipe.yaml` that is not a run; its data lies in `data/`, its runs in `runs/`. Nothing
outside the folder is read or written through the pages, save what a recipe or a queue that lies there names.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from weitiao.feedback.finding import FoundStore, find_stores, look_at
from weitiao.feedback.store import FeedbackStore
from weitiao.jobs.store import OPEN, Job, JobStore
from weitiao.runs.run_dir import RunDir
from weitiao.ui.problems import NotFoundError, UiError

RECIPE = "recipe.yaml"
_NAME = re.compile(r"\w[\w .-]{0,79}")
HERE = "~"
"""The name of the workspace's own folder, where that is a project or a run: browsers take a `.` out of an address."""
_DEPTH = 5
_RUN_FILES = ("environment.json", "steps.json", "metrics.jsonl")


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
        return self._named(whole) if whole.is_relative_to(self.root) else None

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
        found = [path for path in self.folders() if (path / RECIPE).is_file() and not _is_run(path)]
        return [Project(self._named(path), path) for path in sorted(found)]

    def runs(self) -> list[str]:
        """The names of all run directories, the newest first."""
        found = [(_changed(path), self._named(path)) for path in self.folders() if _is_run(path)]
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
        folders = list(self.folders())
        return find_stores([*folders, *(inner for run in folders if _is_run(run) for inner in run.glob("*/"))])

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
        path = str(self.inside(run))
        found = [job for job in self.jobs.jobs(path) if job.run_dir and str(Path(job.run_dir).resolve()) == path]
        return max(found, key=lambda job: job.id, default=None)

    def _named(self, path: Path) -> str:
        return HERE if path == self.root else path.relative_to(self.root).as_posix()

    def folders(self) -> Iterator[Path]:
        """The workspace and what lies in it, without what is hidden, what is in a run, and what links lead to."""
        for folder, names, files in os.walk(self.root):
            path = Path(folder)
            deep = len(path.relative_to(self.root).parts) >= _DEPTH
            if deep or (RECIPE in files and any(one in files for one in _RUN_FILES)):
                names.clear()
            names[:] = sorted(name for name in names if not name.startswith(".") and name not in ("node_modules",))
            yield path


def _is_run(path: Path) -> bool:
    return (path / RECIPE).is_file() and any((path / name).is_file() for name in _RUN_FILES)


def _changed(path: Path) -> float:
    return max((path / name).stat().st_mtime for name in (RECIPE, *_RUN_FILES) if (path / name).is_file())
