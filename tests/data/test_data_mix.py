"""Mixtures: the asked number of rows of each source, evenly repeated, shuffled, the same for every order of a file."""

from __future__ import annotations

import json
import random
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from weitiao.data.parts.mix_files import Mixture, mix_files
from weitiao.data.parts.mixing import Ingredient, allocate, amounts, how_often, parse_ingredient, take_positions
from weitiao.errors import DataError


def write(path: Path, rows: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def pairs(name: str, count: int) -> list[dict[str, Any]]:
    return [{"prompt": f"{name} {i}", "completion": "x", "n": i} for i in range(count)]


def mix(output: Path, *sources: str, **settings: Any) -> Mixture:
    return mix_files([parse_ingredient(source) for source in sources], output, **settings)


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_amounts_are_read_from_the_end_of_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse_ingredient("a.jsonl") == Ingredient("a.jsonl")
    assert parse_ingredient("a.jsonl:500") == Ingredient("a.jsonl", count=500)
    assert parse_ingredient("a.jsonl:0.5") == Ingredient("a.jsonl", weight=0.5)
    assert parse_ingredient("owner/name:2x") == Ingredient("owner/name", weight=2.0)
    assert parse_ingredient("a:b.jsonl") == Ingredient("a:b.jsonl")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a:5").touch()
    assert parse_ingredient("a:5") == Ingredient("a:5")
    with pytest.raises(DataError, match="none of its rows are wanted"):
        parse_ingredient("a.jsonl:0")


def test_a_whole_is_divided_as_exactly_as_whole_numbers_can() -> None:
    assert allocate(10, [1, 1, 1]) == [4, 3, 3]
    assert allocate(100, [0.29, 0.71]) == [29, 71]
    draw = random.Random(0)
    for _ in range(500):
        total, shares = draw.randint(0, 1000), [draw.random() for _ in range(draw.randint(1, 9))]
        counts = allocate(total, shares)
        assert sum(counts) == total
        assert all(abs(count - total * share / sum(shares)) < 1 for count, share in zip(counts, shares, strict=True))


def test_positions_come_evenly_and_by_content() -> None:
    keys = [bytes([i]) for i in range(40)]
    for count in (1, 39, 40, 41, 100, 120):
        taken = take_positions(keys, count, seed=0, purpose="x")
        times = Counter(position for position, _ in taken)
        assert len(taken) == len(set(taken)) == count
        assert max(times.values()) - min(times.get(i, 0) for i in range(40)) <= 1
    part = {keys[p] for p, _ in take_positions(keys, 10, seed=0, purpose="x")}
    assert part == {keys[::-1][p] for p, _ in take_positions(keys[::-1], 10, seed=0, purpose="x")}
    assert part != {keys[p] for p, _ in take_positions(keys, 10, seed=1, purpose="x")}
    assert [how_often(n, 4) for n in (3, 4, 6, 8, 11)] == [
        "at most once",
        "once",
        "1 to 2 times",
        "2 times",
        "2 to 3 times",
    ]


def made_of(*texts: str) -> list[Ingredient]:
    return [parse_ingredient(text) for text in texts]


@pytest.mark.parametrize(
    ("sources", "settings", "expected"),
    [
        (("a", "b"), {}, [1000, 100]),
        (("a:0.5", "b:3x"), {}, [500, 300]),
        (("a:7", "b"), {}, [7, 100]),
        (("a:0.7", "b:0.3"), {"rows": 50}, [35, 15]),
        (("a", "b"), {"rows": 220}, [200, 20]),
        (("a:20", "b:0.1"), {"rows": 50}, [20, 30]),
        (("a", "b"), {"temperature": 1.0}, [1000, 100]),
        # 1000^(1/2) : 100^(1/2) = 3.1623 : 1
        (("a", "b"), {"temperature": 2.0}, [836, 264]),
        (("a", "b"), {"temperature": 1e9, "rows": 10}, [5, 5]),
    ],
)
def test_amounts(sources: tuple[str, ...], settings: dict[str, Any], expected: list[int]) -> None:
    assert amounts(made_of(*sources), [1000, 100], **settings) == expected


@pytest.mark.parametrize(
    ("sources", "settings", "message"),
    [
        (("a:20", "b"), {"rows": 20}, "shall have 20 rows, and the counts of its sources make 20"),
        (("a:20", "b:5"), {"rows": 50}, "shall have 50 rows, and the counts of its sources make 25"),
        (("a:0.5", "b"), {"rows": 50}, "Some sources have a weight"),
        (("a:0.5", "b"), {"temperature": 2.0}, "--temperature makes the weights"),
    ],
)
def test_amounts_that_contradict_each_other(sources: tuple[str, ...], settings: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        amounts(made_of(*sources), [1000, 100], **settings)


def test_a_mixture_has_what_was_asked_and_says_so(tmp_path: Path) -> None:
    one, two = write(tmp_path / "one.jsonl", pairs("one", 100)), write(tmp_path / "two.jsonl", pairs("two", 30))
    three = write(tmp_path / "three.jsonl", pairs("three", 10))
    done = mix(tmp_path / "out.jsonl", f"{one}:20", f"{two}:2x", f"{three}:25", source_column="source")
    rows = rows_of(tmp_path / "out.jsonl")
    assert done.rows == len(rows) == 105
    assert [(used.rows, used.used, used.least, used.most) for used in done.sources] == [
        (100, 20, 0, 1),
        (30, 60, 2, 2),
        (10, 25, 2, 3),
    ]
    assert [used.format for used in done.sources] == ["prompt_completion"] * 3
    assert Counter(row["source"] for row in rows) == {"one.jsonl": 20, "two.jsonl": 60, "three.jsonl": 25}
    times = Counter(row["prompt"] for row in rows)
    assert {times[f"two {i}"] for i in range(30)} == {2} and {times[f"three {i}"] for i in range(10)} == {2, 3}
    assert all(row["prompt"].startswith(row["source"].removesuffix(".jsonl")) for row in rows)
    # Shuffled: the sources change far more often than twice.
    changes = sum(a["source"] != b["source"] for a, b in pairwise(rows))
    assert changes > 30


def test_the_order_of_a_file_does_not_matter_and_the_seed_does(tmp_path: Path) -> None:
    rows = pairs("a", 200)
    files = [write(tmp_path / "1" / "a.jsonl", rows), write(tmp_path / "2" / "a.jsonl", rows[::-1])]
    outputs = []
    for number, (file, seed) in enumerate([(files[0], 0), (files[1], 0), (files[0], 1)]):
        mix(tmp_path / f"{number}.jsonl", f"{file}:50", seed=seed)
        outputs.append((tmp_path / f"{number}.jsonl").read_bytes())
    assert outputs[0] == outputs[1] != outputs[2]


def test_rows_keep_their_values_in_every_kind_of_file(tmp_path: Path) -> None:
    rows = [{**row, "nested": {"a": ["1", "x"]}, "f": 0.25} for row in pairs("a", 50)]
    source = write(tmp_path / "a.jsonl", rows)
    mix(tmp_path / "b.parquet", str(source))
    mix(tmp_path / "c.json", str(tmp_path / "b.parquet"))
    assert sorted(json.loads((tmp_path / "c.json").read_text()), key=lambda row: row["n"]) == rows


def test_sources_of_different_formats_are_refused(tmp_path: Path) -> None:
    one = write(tmp_path / "one.jsonl", pairs("one", 5))
    two = write(tmp_path / "two.jsonl", [{"instruction": "a", "output": "b"}])
    with pytest.raises(DataError, match=r"one\.jsonl is prompt_completion, .*two\.jsonl is alpaca") as caught:
        mix(tmp_path / "out.jsonl", str(one), str(two))
    assert f"weitiao data convert {two} OUTPUT --to prompt_completion" in caught.value.remedy
    table = tmp_path / "t.csv"
    table.write_text("text,label\na,b\n")
    with pytest.raises(DataError, match="of no format that is known") as caught:
        mix(tmp_path / "out.jsonl", str(table), str(one))
    assert f"convert {table} OUTPUT --to prompt_completion" in caught.value.remedy
    assert mix(tmp_path / "out.csv", str(table), str(table)).rows == 2
    assert not (tmp_path / "out.jsonl").exists()


def test_bad_rows_and_taken_names(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", [*pairs("a", 3), "text"])
    with pytest.raises(DataError, match=r"row 4 \(line 4\): the row is text") as caught:
        mix(tmp_path / "out.jsonl", str(source))
    assert "--on-bad-rows skip" in caught.value.remedy
    done = mix(tmp_path / "out.jsonl", str(source), skip_bad_rows=True)
    assert (done.rows, done.rejected) == (3, 1) and (tmp_path / "rejected.jsonl").exists()
    with pytest.raises(DataError, match="field `n`: is a column already"):
        mix(tmp_path / "out.jsonl", str(write(tmp_path / "b.jsonl", pairs("b", 3))), source_column="n")
    with pytest.raises(DataError, match="is the input"):
        mix(source, str(source), skip_bad_rows=True)
    odd = write(tmp_path / "c.jsonl", [{"prompt": "a", "completion": "b", "n": n} for n in (1, "x")])
    with pytest.raises(DataError, match=r"out\.parquet: .*c\.jsonl, row [12], field `n`: is .* in a row before"):
        mix(tmp_path / "out.parquet", str(odd))
