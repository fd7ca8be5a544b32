"""`weitiao compare` as a person types it: tables, JSON, exit codes, judging through a pipe and on a terminal."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from forked import server
from typer.testing import CliRunner
from workbench import weitiao

from weitiao.cli.proof import compare
from weitiao.errors import WeitiaoError
from weitiao.evaluation.answer_files import write_predictions
from weitiao.evaluation.answers import Prediction
from weitiao.feedback.store import FeedbackStore

NUM = 6
LABELS = ("refund", "delivery")


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Answers of two models to six rows: A has two right, B five, one answer is the same."""
    paths = []
    for name, right in (("a", {1, 2}), ("b", {1, 3, 4, 5, 6})):
        rows = []
        for row in range(1, NUM + 1):
            expected = LABELS[row % 2]
            answer = expected if row in right else f"{name} says nothing"
            rows.append(
                Prediction(
                    row_id=f"test.jsonl:{row}",
                    messages=({"role": "user", "content": f"第{row}个问题 [bold]?"},),
                    expected=expected,
                    answer=answer,
                    num_tokens=2,
                    stopped=True,
                    correct=row in right,
                    grades={"exact_match": float(row in right)},
                )
            )
        paths.append(tmp_path / f"predictions-{name}.jsonl")
        write_predictions(paths[-1], rows)
    return paths[0], paths[1]


def run(*arguments: str | Path) -> Any:
    app = typer.Typer()
    app.command()(compare)
    return CliRunner().invoke(app, [*map(str, arguments)], env={"COLUMNS": "150"})


def test_tables_say_what_changed(files: tuple[Path, Path], tmp_path: Path) -> None:
    shown = run(*files, "--output", tmp_path / "out")
    assert shown.exit_code == 0, shown.output
    for words in ("33.3%", "83.3%", "+50.0 points", "McNemar", "A right", "Right with B, and not with A (4)", "refund"):
        assert words in shown.stdout
    assert "第3个问题 [bold]?" in shown.stdout
    assert "b says nothing" in shown.stdout
    assert "--judge human" in shown.stderr


def test_tables_fit_a_terminal_of_80_columns(files: tuple[Path, Path], tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(compare)
    shown = CliRunner().invoke(app, [*map(str, files), "--output", str(tmp_path)], env={"COLUMNS": "80"})
    assert all(len(line) <= 80 for line in shown.stdout.splitlines())
    assert "…" not in shown.stdout
    (line,) = [line for line in shown.stdout.splitlines() if line.startswith("exact_match")]
    assert line.split() == ["exact_match", "33.3%", "83.3%", "+50.0", "points", "0.38"]


def test_json_is_one_object_with_the_documented_keys(files: tuple[Path, Path], tmp_path: Path) -> None:
    shown = run(*files, "--output", tmp_path / "out", "--json")
    result = json.loads(shown.stdout)
    assert result["metrics"]["exact_match"]["paired"]["difference"]["value"] == pytest.approx(0.5)
    assert (result["both_right"], result["only_a"], result["only_b"], result["both_wrong"]) == (1, 1, 4, 0)
    assert (result["n"], result["primary"], result["preferences"]) == (6, "exact_match", None)
    assert Path(result["path"]) == tmp_path / "out" / "comparison.json"


def test_the_same_weights_are_the_users_error(files: tuple[Path, Path]) -> None:
    shown = run(files[0], files[0])
    assert isinstance(shown.exception, WeitiaoError)
    assert shown.exception.exit_code == 2
    assert "nothing to compare" in shown.exception.what


def test_a_person_judges_through_a_pipe(files: tuple[Path, Path], tmp_path: Path) -> None:
    words = ["compare", *files, "--judge", "human:ann", "--output", tmp_path / "out"]
    done = weitiao(*words, stdin="a\nskip\ntie\nq\n")
    assert done.returncode == 0, done.stderr
    assert "1 of 5" in done.stderr  # one pair of answers is the same
    assert "2 judgements stored" in done.stderr
    assert "Judged by human:ann" in done.stdout
    done = weitiao(*words, "--json", stdin="b\n" * 9)
    (preference,) = json.loads(done.stdout)["preferences"]["judges"]
    assert (preference["judge"], preference["num_judged"], preference["num_items"]) == ("human:ann", 5, 5)
    assert (preference["num_same"], preference["num_ties"]) == (1, 1)
    test = preference["test"]
    assert test["wins"] + test["losses"] == 4
    written = json.loads((tmp_path / "out" / "comparison.json").read_text(encoding="utf-8"))
    assert written["preferences"]["judges"] == [preference]


class Terminal:
    """A terminal of its own for a command, and a person at it."""

    def __init__(self) -> None:
        self._master, self._slave = pty.openpty()
        self._unread = ""

    def run(self, *arguments: str | Path, person: Callable[[int], None]) -> int:
        """Run the command line on the terminal while a person, who is told the process id, uses it; the exit code."""
        try:
            return server().call(*arguments, terminal=os.ttyname(self._slave), meanwhile=person).returncode
        finally:
            os.close(self._slave)
            os.close(self._master)

    def wait_for(self, words: str, *, seconds: float = 30) -> None:
        """Read on, from behind what was waited for before, until the words appear."""
        end = time.monotonic() + seconds
        while words not in self._unread:
            assert time.monotonic() < end, f"{words!r} did not appear in {self._unread!r}"
            if select.select([self._master], [], [], 0.2)[0]:
                self._unread += os.read(self._master, 65536).decode("utf-8", "replace")
        self._unread = self._unread.partition(words)[2]

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())


def test_a_person_judges_with_single_keys_and_kill_9_loses_nothing(files: tuple[Path, Path], tmp_path: Path) -> None:
    store = tmp_path / "out" / "feedback.db"
    words = ["compare", *files, "--judge", "human", "--output", tmp_path / "out"]
    terminal = Terminal()

    def judge_two(pid: int) -> None:
        for key in "ab":  # no Enter
            terminal.wait_for("q(uit) >")
            terminal.press(key)
        terminal.wait_for("q(uit) >")
        os.kill(pid, signal.SIGKILL)

    assert terminal.run(*words, person=judge_two) == -signal.SIGKILL
    first = FeedbackStore(store).by("human")
    assert len(first) == 2
    terminal = Terminal()

    def judge_the_rest(pid: int) -> None:
        terminal.wait_for("3 of 5")
        for key in ("t", "u", "a", "b", "a"):
            terminal.wait_for("q(uit) >")
            terminal.press(key)
        terminal.wait_for("all done")
        terminal.wait_for("Sign test")

    assert terminal.run(*words, person=judge_the_rest) == 0
    stored = FeedbackStore(store).by("human")
    assert stored[:2] == first
    assert len(stored) == 5
    assert [item.item_id for item, _, _ in FeedbackStore(store).pairs()].count(first[0].item_id) == 1


def test_keys_typed_ahead_count_and_arrows_are_no_answers(files: tuple[Path, Path], tmp_path: Path) -> None:
    """The arrows up and down send the letters A and B after an escape character."""
    terminal = Terminal()

    def type_ahead(pid: int) -> None:
        terminal.wait_for("q(uit) >")
        terminal.press("\x1b[A")
        terminal.wait_for("undo the last one")
        terminal.wait_for("q(uit) >")
        terminal.press("tttq")
        terminal.wait_for("3 judgements stored")

    words = ["compare", *files, "--judge", "human", "--output", tmp_path / "out"]
    assert terminal.run(*words, person=type_ahead) == 0
    stored = FeedbackStore(tmp_path / "out" / "feedback.db").by("human")
    assert [one.choice for one in stored] == ["tie"] * 3


@pytest.mark.parametrize("key", ["\x03", "\x04"], ids=["Ctrl-C", "Ctrl-D"])
def test_ctrl_c_and_ctrl_d_leave_with_a_result(files: tuple[Path, Path], tmp_path: Path, key: str) -> None:
    terminal = Terminal()

    def leave(pid: int) -> None:
        terminal.wait_for("q(uit) >")
        terminal.press("a")
        terminal.wait_for("2 of 5")
        terminal.wait_for("q(uit) >")  # Rich may swallow what comes after an interrupt in the middle of its printing
        terminal.press(key)
        terminal.wait_for("1 judgements stored")

    words = ["compare", *files, "--judge", "human", "--output", tmp_path / "out"]
    assert terminal.run(*words, person=leave) == 0
    assert len(FeedbackStore(tmp_path / "out" / "feedback.db").by("human")) == 1
