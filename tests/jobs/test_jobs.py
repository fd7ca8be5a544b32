"""The queue of jobs through the command line: order, stop and go on, and whatever is killed."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from forked import server
from workbench import command, environment, steps_of, weitiao, write_recipe

from weitiao.jobs.store import MOST_DEATHS, Job, JobError, JobStore
from weitiao.jobs.worker import is_working, lives


def until(true: Callable[[], Any], seconds: float = 300.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


def test_a_process_lives_from_its_first_moment_on() -> None:
    for number in range(2000):  # of hundreds that start, one has no words for a moment
        with subprocess.Popen(["/bin/sleep", "30", str(number)]) as process:
            try:
                assert lives(process.pid, ["30", str(number)])
                assert not lives(process.pid, ["30", "other"])
            finally:
                process.kill()
    assert not lives(process.pid, ["30", "1999"])


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A queue; whatever still runs of it is killed in the end."""
    home = tmp_path / "queue"
    yield home
    for process in psutil.process_iter(["cmdline"]):
        if str(home) in (process.info["cmdline"] or []):
            with suppress(psutil.NoSuchProcess):
                process.kill()
    for job in JobStore(home).jobs():
        if job.pid is not None and psutil.pid_exists(job.pid):
            os.kill(job.pid, signal.SIGKILL)


def start_worker(home: Path) -> subprocess.Popen[bytes]:
    words = command("work", "--home", home, "--linger", "1", python=server().python)
    return subprocess.Popen(words, env=environment(), start_new_session=True)


def submitted(home: Path, recipe: Path, *overrides: str) -> Job:
    return JobStore(home).submit(["train", str(recipe), *overrides], recipe.parent, recipe.parent / "run")


def steps(run: Path) -> int:
    return len(steps_of(run)) if (run / "metrics.jsonl").exists() else 0


def test_a_submitted_recipe_is_done_and_its_output_kept(home: Path, tiny_llama_dir: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, tiny_llama_dir, train={"max_steps": 2})
    done = weitiao("--language", "zh", "submit", recipe, "--verb", "train", "--home", home, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["id"] == 1
    store = JobStore(home)
    until(lambda: store.get(1).state == "done")
    assert (store.get(1).exit_code, store.get(1).attempt) == (0, 1)
    assert "训练完成" in weitiao("job", "log", "1", "--home", home).stdout  # as whoever asked for it speaks
    table = weitiao("--language", "zh", "jobs", "--home", home).stdout.splitlines()
    assert table[0].split() == ["作业", "状态", "用时", "命令", "运行"]
    assert table[1].split()[:2] == ["1", "完成"]
    (shown,) = json.loads(weitiao("jobs", "--home", home, "--json").stdout)["jobs"]
    assert (shown["state"], shown["run_dir"]) == ("done", str(tmp_path / "run"))
    assert json.loads(weitiao("jobs", "elsewhere", "--home", home, "--json").stdout) == {"jobs": []}


def test_a_queue_of_before_jobs_had_a_language_goes_on(home: Path, tmp_path: Path) -> None:
    store = JobStore(home)
    store.submit(["train", "a"], tmp_path, None)
    with closing(sqlite3.connect(store.path)) as before:
        before.execute("ALTER TABLE jobs DROP COLUMN language")
    store.submit(["train", "b"], tmp_path, None, "zh")
    assert [job.language for job in store.jobs()] == [None, "zh"]


def test_bad_input_is_told_at_once(home: Path, tiny_llama_dir: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, tiny_llama_dir)
    assert "epoks" in weitiao("submit", recipe, "train.epoks=3", "--home", home).stderr
    assert not home.exists()
    assert "There is no job 7" in weitiao("job", "stop", "7", "--home", home).stderr
    (tmp_path / "text").write_text("")
    assert "cannot be made" in weitiao("submit", recipe, "--home", tmp_path / "text" / "queue").stderr


def test_kill_9_of_worker_and_job_loses_nothing_and_starts_nothing_twice(
    home: Path, tiny_llama_dir: Path, tmp_path: Path
) -> None:
    train = {"max_steps": 150, "save_every": 5}
    one = write_recipe(tmp_path / "one", tiny_llama_dir, train=train)
    other = write_recipe(tmp_path / "other", tiny_llama_dir, train={"max_steps": 2})
    store = JobStore(home)
    first, second = submitted(home, one), submitted(home, other)
    worker = start_worker(home)
    until(lambda: steps(tmp_path / "one/run") >= 3)
    sleepers = [worker.pid, store.get(first.id).pid or 0]
    for one in sleepers:
        os.kill(one, signal.SIGSTOP)  # a laptop is closed
    time.sleep(1.0)
    for one in sleepers:
        os.kill(one, signal.SIGCONT)
    until(lambda: steps(tmp_path / "one/run") >= 6)
    worker.kill()  # the job goes on without it
    worker.wait()
    until(lambda: not is_working(home))
    pid = store.get(first.id).pid
    assert pid is not None
    before = steps(tmp_path / "one/run")
    until(lambda: steps(tmp_path / "one/run") > before)
    worker = start_worker(home)
    time.sleep(1.0)
    assert (store.get(first.id).attempt, store.get(first.id).pid) == (1, pid)
    assert store.get(second.id).state == "waiting"  # one at a time
    os.kill(pid, signal.SIGKILL)
    until(lambda: store.get(second.id).state == "done")
    worker.wait(300)
    assert (store.get(first.id).state, store.get(first.id).attempt, store.get(first.id).deaths) == ("done", 2, 1)
    assert [line["step"] for line in steps_of(tmp_path / "one/run")] == list(range(1, 151))


def test_a_job_stops_with_what_it_has_and_goes_on(home: Path, tiny_llama_dir: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, tiny_llama_dir, train={"max_steps": 5000})
    store = JobStore(home)
    job = submitted(home, recipe)
    worker = start_worker(home)
    until(lambda: steps(tmp_path / "run") >= 3)
    assert weitiao("job", "stop", str(job.id), "--home", home).returncode == 0
    until(lambda: store.get(job.id).state == "stopped")
    reached = steps(tmp_path / "run")
    assert (tmp_path / f"run/checkpoints/step-{reached:08d}").is_dir()
    assert weitiao("job", "retry", str(job.id), "--home", home).returncode == 0
    until(lambda: steps(tmp_path / "run") > reached)
    assert weitiao("job", "stop", str(job.id), "--kill", "--home", home).returncode == 0
    worker.wait(300)
    assert (store.get(job.id).state, store.get(job.id).exit_code) == ("stopped", -signal.SIGKILL)
    written = [line["step"] for line in steps_of(tmp_path / "run")]
    assert written == list(range(1, len(written) + 1))


def test_what_fails_is_not_tried_again_and_what_is_always_killed_is_given_up(
    home: Path, tiny_llama_dir: Path, tmp_path: Path
) -> None:
    store = JobStore(home)
    fails = submitted(home, write_recipe(tmp_path / "a", tiny_llama_dir))
    (tmp_path / "a/rows.jsonl").unlink()
    dies = submitted(home, write_recipe(tmp_path / "b", tiny_llama_dir, method={"type": "dies.py:Any"}))
    (tmp_path / "b/dies.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    start_worker(home).wait(300)
    found = store.get(fails.id)
    assert (found.state, found.exit_code, found.attempt) == ("failed", 2, 1)
    assert "rows.jsonl" in store.log(fails.id).read_text()
    found = store.get(dies.id)
    assert (found.state, found.exit_code, found.deaths) == ("failed", -signal.SIGKILL, MOST_DEATHS)


def test_a_number_that_is_another_process_now_is_no_job(home: Path, tiny_llama_dir: Path, tmp_path: Path) -> None:
    store = JobStore(home)
    job = submitted(home, write_recipe(tmp_path, tiny_llama_dir, train={"max_steps": 2}))
    store.start_next("")
    store.claim(job.id, 1, os.getpid())  # the machine was switched off, and its numbers were given anew
    start_worker(home).wait(300)
    found = store.get(job.id)
    assert (found.state, found.attempt, found.deaths) == ("done", 2, 1)


def test_order_and_claims(home: Path, tmp_path: Path) -> None:
    store = JobStore(home)
    numbers = [store.submit(["train", name], tmp_path, None).id for name in "abcd"]
    store.move(numbers[3], before=numbers[1])
    store.move(numbers[2], before=None)
    assert [job.command[1] for job in store.jobs()] == ["c", "a", "d", "b"]
    store.stop(numbers[0])
    assert store.get(numbers[0]).state == "stopped"
    with pytest.raises(JobError, match="Only jobs that wait"):
        store.move(numbers[0], before=None)
    started = store.start_next("")
    assert started is not None
    assert started.command == ("train", "c")
    with ThreadPoolExecutor(8) as pool:  # eight processes for one job
        claims = list(pool.map(lambda pid: store.claim(started.id, 1, pid), range(1, 9)))
    assert sum(claim is not None for claim in claims) == 1
    store.again(started)  # it was read before the claim, so it has a process
    assert store.get(started.id).state == "running"
    store.again(store.get(started.id))
    again = store.start_next("")
    assert again is not None
    assert (again.id, again.attempt) == (started.id, 2)
    assert store.claim(again.id, 1, 9) is None  # a process of the attempt before comes late
    store.end(started, "done", 0)
    assert store.get(again.id).state == "starting"
