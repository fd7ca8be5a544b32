"""Judgements on disk: nothing that was stored is lost, whatever kills the writer and wherever its last line breaks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from weitiao.errors import DataError
from weitiao.feedback.store import Judgement, JudgementStore

TIME = "2026-01-01T00:00:00.000+00:00"
WRITER = """
import sys
from pathlib import Path
from weitiao.feedback.store import Judgement, JudgementStore, now
store = JudgementStore(Path(sys.argv[1]))
for number in range(int(sys.argv[3])):
    store.add(Judgement(f"{sys.argv[2]}-{number}", sys.argv[2], "ab", "a", now()))
    print(number, flush=True)
"""


def judgement(number: int, *, judge: str = "human", choice: str = "b") -> Judgement:
    return Judgement(f"问题.jsonl:{number}#abc", judge, "ab", choice, TIME)  # type: ignore[arg-type]


def test_each_judgement_is_a_line_with_the_documented_keys(tmp_path: Path) -> None:
    store = JudgementStore(tmp_path / "new" / "judgements.jsonl")
    for number in range(3):
        store.add(judgement(number))
    lines = store.path.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["item_id"] for line in lines] == [f"问题.jsonl:{number}#abc" for number in range(3)]
    assert list(json.loads(lines[0])) == ["item_id", "judge", "order", "choice", "time"]
    assert JudgementStore(store.path).by("human") == store.by("human") == [judgement(n) for n in range(3)]


def test_a_withdrawal_and_a_second_opinion_are_appended(tmp_path: Path) -> None:
    store = JudgementStore(tmp_path / "judgements.jsonl")
    for number in range(3):
        store.add(judgement(number))
    before = store.path.read_bytes()
    store.withdraw(judgement(2))
    store.add(judgement(0, choice="tie"))
    assert store.path.read_bytes().startswith(before)
    again = JudgementStore(store.path)
    assert again.by("human") == [judgement(1), judgement(0, choice="tie")]
    assert len(again) == 2


def test_judges_and_orders_are_kept_apart(tmp_path: Path) -> None:
    store = JudgementStore(tmp_path / "judgements.jsonl")
    store.add(Judgement("x", "model", "ab", "a", TIME))
    store.add(Judgement("x", "model", "ba", "b", TIME))
    store.add(Judgement("x", "human", "ab", "tie", TIME))
    assert store.judges == ["model", "human"]
    assert [one.order for one in store.by("model")] == ["ab", "ba"]


def test_a_last_line_cut_at_any_byte_costs_that_line_at_most(tmp_path: Path) -> None:
    path = tmp_path / "judgements.jsonl"
    store = JudgementStore(path)
    for number in range(3):
        store.add(judgement(number))
    whole = path.read_bytes()
    start = whole[:-1].rfind(b"\n") + 1
    for cut in range(start, len(whole) + 1):
        path.write_bytes(whole[:cut])
        again = JudgementStore(path)
        kept = 3 if cut >= len(whole) - 1 else 2  # only the line break was missing, or more
        assert again.by("human") == [judgement(number) for number in range(kept)]
        again.add(judgement(9))
        assert JudgementStore(path).by("human") == [*(judgement(number) for number in range(kept)), judgement(9)]


def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path) -> None:
    path = tmp_path / "judgements.jsonl"
    for damage in ('{"item_id": "x"', '{"item_id": "x", "judge": "h"}', "[]"):
        store = JudgementStore(path)
        store.add(judgement(0))
        path.write_text(path.read_text(encoding="utf-8") + damage + "\n" + path.read_text(encoding="utf-8"), "utf-8")
        with pytest.raises(DataError, match="line 2"):
            JudgementStore(path)
        path.unlink()
    path.write_text(json.dumps({"item_id": "x", "judge": "h", "order": "ab", "choice": "B", "time": TIME}) + "\n")
    with pytest.raises(DataError, match=r"line 1.*choice"):
        JudgementStore(path)


def test_kill_9_while_it_writes_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "judgements.jsonl"
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
    found = [one.item_id for one in JudgementStore(path).by("human")]
    assert len(found) > confirmed
    assert found == [f"human-{number}" for number in range(len(found))]


def test_several_judges_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "judgements.jsonl"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), name, "40"], stdout=subprocess.DEVNULL)
        for name in ("ann", "bob", "cao")
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    store = JudgementStore(path)
    assert {judge: len(store.by(judge)) for judge in store.judges} == {"ann": 40, "bob": 40, "cao": 40}
    assert len(path.read_text(encoding="utf-8").splitlines()) == 120
