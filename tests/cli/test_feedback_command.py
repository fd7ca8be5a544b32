"""`weitiao feedback` from prompts to rows to learn from, on a tiny model."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path

import pytest
from workbench import weitiao, write_recipe, write_rows

from weitiao.data.config import DataConfig, SourceConfig
from weitiao.data.example import Rows, asked, sides
from weitiao.data.load import load_data
from weitiao.errors import DataError
from weitiao.feedback.store import FeedbackStore, Judgement, now
from weitiao.recipe import load_recipe
from weitiao.study.feedback import prompts_of


def test_answers_are_sampled_judged_and_become_preferences(tiny_llama_dir: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", 6)
    store = tmp_path / "feedback.db"
    asked_for = (store, tiny_llama_dir, "--data", tmp_path / "rows.jsonl", "--samples", "3", "--pairs", "2")
    done = weitiao("feedback", "sample", *asked_for, "--max-new-tokens", "6", "--temperature", "1.5", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["pairs"] == 12
    pairs = FeedbackStore(store).pairs()
    assert set(Counter(item.row_id for item, _, _ in pairs).values()) == {2}
    assert pairs[0][1].model == str(tiny_llama_dir)
    assert pairs[0][1].sampling["temperature"] == 1.5
    assert all(item.a != item.b for item, _, _ in pairs)
    assert weitiao("feedback", "sample", *asked_for, "--max-new-tokens", "6", "--temperature", "1.5").returncode == 0
    assert len(FeedbackStore(store).pairs()) == 12  # drawn again with the same seed

    labelled = weitiao("feedback", "label", store, "--as", "ada", stdin="a\nc\ntoo short\nb\nn\nt\nq\n")
    assert labelled.returncode == 0, labelled.stderr
    by_ada = FeedbackStore(store).by("human:ada")
    assert [one.choice in ("a", "b") for one in by_ada] == [True, True, False, False]
    assert [one.choice for one in by_ada[2:]] == ["bad", "tie"]
    assert [one.comment for one in by_ada] == [None, "too short", None, None]
    assert all(one.seconds is not None for one in by_ada)

    for one in by_ada:  # the next judge contradicts the first one once
        choice = {"a": "b", "b": "a"}.get(one.choice, one.choice) if one == by_ada[0] else one.choice
        FeedbackStore(store).add(Judgement(one.item_id, "human:bob", "ab", choice, now()))  # type: ignore[arg-type]
    shown = weitiao("feedback", "status", store, "--json")
    assert shown.returncode == 0, shown.stderr
    raters = json.loads(shown.stdout)["raters"]
    assert raters["num_pairs"] == 4
    assert list(raters["disputed"]) == [by_ada[0].item_id]

    exported = weitiao("feedback", "export", store, tmp_path / "out.jsonl")
    assert exported.returncode == 0, exported.stderr
    (example,) = load_data(DataConfig(train=(SourceConfig(path=str(tmp_path / "out.jsonl")),)), rows=Rows("pair")).train
    better, worse = (asked(side)[1] for side in sides(example))
    (item,) = (item for item, _, _ in pairs if item.item_id == by_ada[1].item_id)
    assert (better, worse) == ((item.a, item.b) if by_ada[1].choice == "a" else (item.b, item.a))

    other = tmp_path / "other.db"
    assert weitiao("feedback", "export", store, tmp_path / "all.jsonl", "--form", "all").returncode == 0
    assert weitiao("feedback", "import", other, tmp_path / "all.jsonl").returncode == 0
    assert FeedbackStore(other).pairs() == pairs
    assert set(FeedbackStore(other).judgements()) == set(FeedbackStore(store).judgements())
    again = weitiao("feedback", "import", other, tmp_path / "all.jsonl", "--json")
    assert json.loads(again.stdout) == {"pairs": 0, "judgements": 0, "left_out": 0}

    taken = weitiao("feedback", "import", tmp_path / "third.db", tmp_path / "out.jsonl")
    assert taken.returncode == 0, taken.stderr
    assert weitiao("feedback", "export", tmp_path / "third.db", tmp_path / "back.jsonl").returncode == 0
    rows = [json.loads((tmp_path / name).read_text(encoding="utf-8")) for name in ("out.jsonl", "back.jsonl")]
    assert [{key: row[key] for key in ("messages", "chosen", "rejected")} for row in rows] == [
        {key: rows[0][key] for key in ("messages", "chosen", "rejected")}
    ] * 2


def test_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    for words in (("label",), ("status",), ("export",), ("judge",)):
        more = {"export": (tmp_path / "x.jsonl",), "judge": ("smollm2-135m",)}.get(words[0], ())
        done = weitiao("feedback", *words, tmp_path / "none.db", *more)
        assert (done.returncode, "no pairs of answers" in done.stderr) == (2, True), done.stderr
    done = weitiao("feedback", "import", tmp_path / "a.db", tmp_path / "none.json")
    assert (done.returncode, "no file" in done.stderr.replace("\n", " ")) == (2, True)


def test_sampling_that_is_killed_goes_on(tiny_llama_dir: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", 300)
    asked_for = (tiny_llama_dir, "--data", tmp_path / "rows.jsonl", "--samples", "3", "--max-new-tokens", "4")
    killed, whole = tmp_path / "killed.db", tmp_path / "whole.db"

    def num_drawn() -> int:
        if not killed.exists():
            return 0
        with closing(sqlite3.connect(killed)) as connection, suppress(sqlite3.OperationalError):
            return int(connection.execute("SELECT count(*) FROM drawn").fetchone()[0])
        return 0

    def kill(pid: int) -> None:
        deadline = time.monotonic() + 60
        while not num_drawn():
            assert time.monotonic() < deadline
            time.sleep(0.002)
        os.kill(pid, signal.SIGKILL)

    assert weitiao("feedback", "sample", killed, *asked_for, meanwhile=kill).returncode == -signal.SIGKILL
    before = num_drawn()
    assert 1 <= before < 4  # of four blocks
    assert FeedbackStore(killed).pairs() == []
    with closing(sqlite3.connect(killed)) as connection:  # what is there is not drawn again
        for key, texts in connection.execute("SELECT id, texts FROM drawn").fetchall():
            marked = json.dumps([f"kept {texts}", *json.loads(texts)[1:]])
            connection.execute("UPDATE drawn SET texts = ? WHERE id = ?", (marked, key))
        connection.commit()
    for store in (killed, whole):
        assert weitiao("feedback", "sample", store, *asked_for).returncode == 0
    pairs, expected = FeedbackStore(killed).pairs(), FeedbackStore(whole).pairs()
    kept = [one for one, _, _ in pairs if one.a.startswith("kept ") or one.b.startswith("kept ")]
    assert 1 <= len(kept) <= before
    changed = {one.row_id for one in kept}
    assert [one for one in pairs if one[0].row_id not in changed] == [
        one for one in expected if one[0].row_id not in changed
    ]
    assert num_drawn() == 0


def test_a_recipe_asks_its_test_rows_as_it_renders_them(tiny_llama_dir: Path, tmp_path: Path) -> None:
    source = {"path": "rows.jsonl", "system": "Be brief.", "prompt": "{{ input }}", "completion": "{{ output }}"}
    recipe = write_recipe(tmp_path, tiny_llama_dir, data={"train": source, "test": 0.2})
    test = load_data(load_recipe(recipe).data).test
    assert [one.messages for one in prompts_of(recipe, 3)] == [one.messages for one in test[:3]]
    with pytest.raises(DataError, match="holds no rows out"):
        prompts_of(write_recipe(tmp_path / "whole", tiny_llama_dir), None)
