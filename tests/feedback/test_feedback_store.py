"""The store of feedback: nothing that was stored is lost, whoever writes and whatever kills the writer."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from weitiao.errors import DataError
from weitiao.feedback.items import PreferenceItem, item_of
from weitiao.feedback.store import FeedbackStore, Judgement, Made

TIME = "2026-01-01T00:00:00.000+00:00"
WRITER = """
import sys
from pathlib import Path
from weitiao.feedback.store import FeedbackStore, Judgement, now
store = FeedbackStore(Path(sys.argv[1]))
for number in range(int(sys.argv[3])):
    store.add(Judgement(f"{sys.argv[2]}-{number}", sys.argv[2], "ab", "a", now()))
    print(number, flush=True)
"""


def judgement(number: int, *, judge: str = "human", choice: str = "b") -> Judgement:
    return Judgement(f"问题.jsonl:{number}#abc", judge, "ab", choice, TIME, 1.5, "短")  # type: ignore[arg-type]


def pair(number: int) -> PreferenceItem:
    return item_of(f"问题.jsonl:{number}", ({"role": "user", "content": "谁?"},), f"answer {number}", "no\n")


def test_what_is_stored_is_there_for_whoever_opens_the_file(tmp_path: Path) -> None:
    store = FeedbackStore(tmp_path / "new" / "feedback.db")
    assert len(store) == 0
    assert not store.path.exists()
    for number in range(3):
        store.add(judgement(number))
    assert FeedbackStore(store.path).by("human") == store.by("human") == [judgement(n) for n in range(3)]


def test_pairs_come_back_with_what_made_their_answers(tmp_path: Path) -> None:
    store, made = FeedbackStore(tmp_path / "feedback.db"), (Made("a", {"temperature": 0.8}), Made("b", {}))
    assert store.keep((pair(number), *made) for number in range(3)) == 3
    assert store.keep((pair(number), *made) for number in range(1, 5)) == 2
    assert FeedbackStore(store.path).pairs() == [(pair(number), *made) for number in range(5)]


def test_a_withdrawal_and_a_second_opinion_leave_what_was_there(tmp_path: Path) -> None:
    store = FeedbackStore(tmp_path / "feedback.db")
    for number in range(3):
        store.add(judgement(number))
    store.withdraw(judgement(2))
    store.add(judgement(0, choice="tie"))
    assert FeedbackStore(store.path).by("human") == [judgement(1), judgement(0, choice="tie")]
    with sqlite3.connect(store.path) as connection:
        assert connection.execute("SELECT count(*) FROM judgements").fetchone() == (5,)
    store.add(judgement(2, choice="bad"))
    assert store.by("human")[-1] == judgement(2, choice="bad")


def test_judges_and_orders_are_kept_apart(tmp_path: Path) -> None:
    store = FeedbackStore(tmp_path / "feedback.db")
    store.add(Judgement("x", "model", "ab", "a", TIME))
    store.add(Judgement("x", "model", "ba", "b", TIME))
    store.add(Judgement("x", "human", "ab", "tie", TIME))
    assert store.judges == ["model", "human"]
    assert [one.order for one in store.by("model")] == ["ab", "ba"]


def test_lines_of_earlier_comparisons_are_taken_over(tmp_path: Path) -> None:
    lines = tmp_path / "judgements.jsonl"
    keys = {"item_id": "x", "judge": "h", "order": "ab", "choice": "a", "time": TIME}
    whole = [json.dumps(keys), json.dumps(keys | {"item_id": "y"}), json.dumps(keys | {"withdrawn": True})]
    lines.write_text("\n".join(whole) + '\n{"item_id": "z", "ju', encoding="utf-8")
    assert FeedbackStore(tmp_path / "feedback.db").judgements() == [Judgement("y", "h", "ab", "a", TIME)]
    (tmp_path / "feedback.db").unlink()
    lines.write_text("[]\n" + whole[0] + "\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 1"):
        FeedbackStore(tmp_path / "feedback.db")


def test_a_file_that_is_no_store_is_named_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "feedback.db"
    path.write_text("prompt,answer\n" * 100, encoding="utf-8")
    with pytest.raises(DataError, match="no store of feedback"):
        FeedbackStore(path)
    assert path.read_text(encoding="utf-8").startswith("prompt,answer\n")


def test_kill_9_while_it_writes_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "feedback.db"
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), "human", "100000"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    confirmed = -1
    while confirmed < 20:
        confirmed = int(process.stdout.readline())
    time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    confirmed = max(confirmed, *map(int, process.stdout.read().split()))
    process.wait()
    found = [one.item_id for one in FeedbackStore(path).by("human")]
    assert len(found) > confirmed
    assert found == [f"human-{number}" for number in range(len(found))]


def test_eight_processes_write_at_once(tmp_path: Path) -> None:
    path, names = tmp_path / "feedback.db", [f"judge{number}" for number in range(8)]
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), name, "25"], stdout=subprocess.DEVNULL)
        for name in names
    ]
    assert [writer.wait(120) for writer in writers] == [0] * 8
    store = FeedbackStore(path)
    assert {judge: len(store.by(judge)) for judge in sorted(store.judges)} == dict.fromkeys(names, 25)
