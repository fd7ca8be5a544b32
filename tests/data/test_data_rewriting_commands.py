"""`weitiao data split`, `mix` and `convert` as a person types them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from weitiao.cli.rewriting import convert, mix, split
from weitiao.errors import DataError

app = typer.Typer()
for command in (convert, mix, split):
    app.command()(command)


def run(*arguments: str | Path) -> Result:
    return CliRunner(env={"COLUMNS": "300", "NO_COLOR": "1"}).invoke(app, [str(argument) for argument in arguments])


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def alpaca(tmp_path: Path) -> Path:
    return write(
        tmp_path / "a.jsonl", [{"instruction": f"q {i}", "input": "", "output": str(i % 3)} for i in range(100)]
    )


def test_convert_tells_what_it_did(tmp_path: Path, alpaca: Path) -> None:
    output = tmp_path / "b.parquet"
    done = run("convert", alpaca, output, "--to", "messages")
    assert done.exit_code == 0, done.output
    assert done.stdout == "" and output.exists()
    assert "JSON Lines, alpaca, 100 rows" in done.stderr and "messages, 100 rows" in done.stderr
    assert f"weitiao data check {output}" in done.stderr
    back = run("convert", output, tmp_path / "c.jsonl", "--to", "prompt_completion", "--limit", "5", "--json")
    result = json.loads(back.stdout)
    assert (result["source_format"], result["format"], result["rows_read"], result["rows_written"]) == (
        "messages", "prompt_completion", 5, 5
    )  # fmt: skip
    assert json.loads((tmp_path / "c.jsonl").read_text().splitlines()[4]) == {"prompt": "q 4", "completion": "1"}


def test_convert_takes_columns_and_templates(tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    table.write_text("text,label\nhello,greeting\n")
    columns = ["--column", "prompt=text", "--column", "completion=label"]
    assert run("convert", table, tmp_path / "b.jsonl", "--to", "alpaca", *columns).exit_code == 0
    assert json.loads((tmp_path / "b.jsonl").read_text()) == {"instruction": "hello", "input": "", "output": "greeting"}
    made = ["--prompt", "Say {{ text }}", "--completion", "{{ label }}", "--system", "Be kind."]
    assert run("convert", table, tmp_path / "c.jsonl", "--to", "sharegpt", *made).exit_code == 0
    turns = json.loads((tmp_path / "c.jsonl").read_text())["conversations"]
    assert [turn["value"] for turn in turns] == ["Be kind.", "Say hello", "greeting"]
    wrong = run("convert", table, tmp_path / "d.jsonl", "--column", "prompt")
    assert isinstance(wrong.exception, DataError) and "`prompt` names no column" in wrong.exception.what


def test_split_prints_a_table_and_the_files(tmp_path: Path, alpaca: Path) -> None:
    folder = tmp_path / "parts"
    done = run("split", alpaca, "--test", "0.2", "--validation", "10", "--stratify", "output", "--output", folder)
    assert done.exit_code == 0, done.output
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["test", "20", "20.0%", "20", "3"] in lines and ["validation", "10", "10.0%", "10", "3"] in lines
    assert f"--against {folder / 'test.jsonl'}" in done.stderr.replace("\n", "")
    assert "nor does almost the same" in " ".join(done.stderr.replace("│", "").split())
    again = run("split", alpaca, "--test", "0.2", "--output", tmp_path / "other", "--seed", "3", "--json",
                "--keep-together", "same")  # fmt: skip
    assert json.loads(again.stdout)["keep_together"] == "same"
    assert json.loads(again.stdout)["rows"] == {"test": 20, "train": 80}


def test_mix_prints_what_it_took_of_each_source(tmp_path: Path, alpaca: Path) -> None:
    other = write(tmp_path / "b.jsonl", [{"instruction": f"other {i}", "output": "x"} for i in range(10)])
    done = run("mix", f"{alpaca}:50", f"{other}:2.5", "--output", tmp_path / "out.jsonl", "--source-column", "from")
    assert done.exit_code == 0, done.output
    lines = [line.split()[1:] for line in done.stdout.splitlines()]
    assert ["100", "50", "66.7%", "at", "most", "once"] in lines
    assert ["10", "25", "33.3%", "2", "to", "3", "times"] in lines
    assert "75" in done.stderr
    result = json.loads(run("mix", alpaca, other, "--rows", "40", "--output", tmp_path / "c.csv", "--json").stdout)
    assert [source["used"] for source in result["sources"]] == [36, 4]


def test_bad_rows_are_skipped_when_asked(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", [{"prompt": "q", "completion": ""}, {"prompt": "q", "completion": "a"}])
    stopped = run("convert", source, tmp_path / "b.jsonl", "--to", "messages")
    assert isinstance(stopped.exception, DataError) and "--on-bad-rows skip" in stopped.exception.remedy
    done = run("convert", source, tmp_path / "b.jsonl", "--to", "messages", "--on-bad-rows", "skip")
    assert done.exit_code == 0 and "1 rows, listed in" in done.stderr
    assert run("convert", source, tmp_path / "b.jsonl", "--on-bad-rows", "drop").exit_code == 2


def test_judged_answers_without_partner_are_told_once_with_what_can_be_done(tmp_path: Path) -> None:
    rows = [{"prompt": f"q {i}", "completion": "a", "label": i % 2 == 0} for i in range(50)]
    source = write(tmp_path / "kto.jsonl", rows)
    stopped = run("convert", source, tmp_path / "pairs.jsonl", "--to", "preference").exception
    assert isinstance(stopped, DataError)
    assert "50 of its 50 rows have no partner" in stopped.what and "row 1" not in stopped.what
    assert "--to messages" in stopped.remedy and "skip" not in stopped.remedy and "Correct" not in stopped.remedy
    write(source, [*rows, {"prompt": "q 0", "completion": "b", "label": False}])
    stopped = run("convert", source, tmp_path / "pairs.jsonl", "--to", "preference").exception
    assert isinstance(stopped, DataError) and "49 of its 51 rows" in stopped.what
    assert "--on-bad-rows skip" in stopped.remedy
    done = run("convert", source, tmp_path / "pairs.jsonl", "--to", "preference", "--on-bad-rows", "skip")
    assert done.exit_code == 0 and len((tmp_path / "pairs.jsonl").read_text().splitlines()) == 1
    assert not (tmp_path / "examples.jsonl").exists()
    assert run("convert", source, tmp_path / "examples.jsonl", "--to", "messages").exit_code == 0
