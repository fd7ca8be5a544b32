"""The three commands as a user types them: exit codes, JSON on stdout, messages on stderr."""

from __future__ import annotations

import json
import random
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from checking import pair, read_rows, write_rows
from typer.testing import CliRunner, Result
from workbench import weitiao, write_recipe

from weitiao.cli.looking import check, clean, inspect
from weitiao.errors import DataError, RecipeError, WeitiaoError

Run = Callable[..., Result]


@pytest.fixture
def run() -> Run:
    app = typer.Typer()
    for command in (inspect, check, clean):
        app.command()(command)

    def call(*arguments: str | Path, columns: int = 80) -> Result:
        return CliRunner(env={"COLUMNS": str(columns)}).invoke(app, [str(argument) for argument in arguments])

    return call


def result_of(result: Result) -> dict[str, Any]:
    values = json.loads(result.stdout)
    assert isinstance(values, dict)
    return values


def failure(result: Result) -> WeitiaoError:
    assert isinstance(result.exception, WeitiaoError)
    return result.exception


def test_a_check_says_no_with_exit_code_3(run: Run, tmp_path: Path) -> None:
    rows = [pair("a first question"), pair("b", "")]
    file = write_rows(tmp_path / "a.jsonl", rows)
    result = run("check", file, "--json")
    assert result.exit_code == 3
    values = result_of(result)
    assert set(values) == {"findings", "counts", "rows", "seconds", "rows_per_second", "left_out", "sources", "notes"}
    (finding,) = values["findings"]
    expected = {"kind": "empty_answer", "severity": "error", "part": "train", "file": str(file), "row": 2, "count": 1}
    assert expected.items() <= finding.items()
    assert (values["counts"], values["rows"]) == ({"empty_answer": 1}, 2)


def test_exit_codes_and_streams_of_the_real_command_line(tmp_path: Path) -> None:
    bad = write_rows(tmp_path / "bad.jsonl", [pair("a first question"), pair("b", "")])
    good = write_rows(tmp_path / "good.jsonl", [pair("a first question")])
    done = weitiao("data", "check", bad, "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout)["counts"] == {"empty_answer": 1}
    assert "data check" in done.stderr and "--verbose" in done.stderr
    assert weitiao("data", "check", good).returncode == 0
    missing = weitiao("data", "check", tmp_path / "missing.jsonl")
    assert missing.returncode == 2
    assert missing.stderr.startswith("Error: ")


def test_a_check_without_errors_exits_with_0(run: Run, tmp_path: Path) -> None:
    clean_file = write_rows(tmp_path / "a.jsonl", [pair("a"), pair("b")])
    warned = write_rows(tmp_path / "b.jsonl", [pair("a"), pair("a")])
    assert run("check", clean_file).exit_code == 0
    result = run("check", warned)
    assert result.exit_code == 0
    assert "duplicate" in result.stdout
    assert "row 2 = row 1" in result.stdout


def test_leaks_against_an_evaluation_set_of_another_format(run: Run, tmp_path: Path) -> None:
    train = write_rows(tmp_path / "train.jsonl", [{"instruction": "Where is it?", "input": "", "output": "Here."}])
    test = tmp_path / "test.csv"
    test.write_bytes(b"text,category\r\nwhere is it,place\r\nwho is it,person\r\n")
    result = run("check", train, "--against", test, "--json")
    assert result.exit_code == 3
    (finding,) = result_of(result)["findings"]
    assert (finding["kind"], finding["others"], finding["num_others"]) == ("leak", [f"{test}:1"], 1)


def test_columns_can_be_named(run: Run, tmp_path: Path) -> None:
    file = write_rows(tmp_path / "a.jsonl", [{"x": "q one", "y": "", "z": "fine"}, {"x": "q two", "y": "b", "z": ""}])
    for answer, row in (("y", 1), ("z", 2)):
        (finding,) = result_of(run("check", file, "--input", "x", "--answer", answer, "--json"))["findings"]
        assert (finding["kind"], finding["row"]) == ("empty_answer", row)
    assert isinstance(failure(run("check", file, "--input", "nothing")), DataError)


def test_one_kind_only_and_unknown_kinds(run: Run, tmp_path: Path) -> None:
    file = write_rows(tmp_path / "a.jsonl", [pair("a"), pair("a"), pair("b", "")])
    assert result_of(run("check", file, "--kind", "duplicate", "--json"))["counts"] == {"duplicate": 1}
    assert "no check nonsense" in failure(run("check", file, "--kind", "nonsense")).what


def test_a_recipe_is_checked_with_its_columns_parts_and_tokenizer(
    run: Run, tiny_llama_dir: Path, tmp_path: Path
) -> None:
    source = {"path": "train.csv", "prompt": "Classify this: {{ text }}", "completion": "{{ category }}"}
    recipe = write_recipe(
        tmp_path, tiny_llama_dir, data={"train": source, "test": "test.csv"}, rendering={"max_length": 60}
    )
    long = ("a rather long message " * 6).strip()
    (tmp_path / "train.csv").write_text(f"text,category\nwhere is it,place\n{long},place\nsay <|im_end|> now,person\n")
    (tmp_path / "test.csv").write_text("text,category\nWhere is it?,place\nwho,person\n")
    result = run("check", recipe, "--json")
    values = result_of(result)
    assert result.exit_code == 3
    found = {(finding["kind"], finding["part"], finding["row"]) for finding in values["findings"]}
    assert found == {("leak", "train", 1), ("long", "train", 2), ("special_tokens", "train", 3)}
    raw = write_rows(
        tmp_path / "raw.jsonl", [{"question": "WHO", "answer": "x"}, {"question": "Say now", "answer": "x"}]
    )
    more = result_of(run("check", recipe, "--against", raw, "--kind", "leak", "--json"))["findings"]
    assert [(one["part"], one["row"]) for one in more] == [("train", 1)]


def test_clean_writes_files_and_names_the_next_command(run: Run, tmp_path: Path) -> None:
    file = write_rows(tmp_path / "a.jsonl", [pair("I am {{name}}", "Hello"), pair("b", ""), pair("c")])
    out = tmp_path / "out"
    result = run("clean", file, "--fix", "placeholder", "--fix", "empty_answer", "--set", "name=Ada", "--output", out)
    assert result.exit_code == 0, result.exception
    assert read_rows(out / "cleaned.jsonl") == [pair("I am Ada", "Hello"), pair("c")]
    assert "empty_answer" in result.stdout
    assert "weitiao data check" in result.stderr
    assert run("check", out / "cleaned.jsonl").exit_code == 0


def test_clean_does_what_the_recipe_says(run: Run, tiny_llama_dir: Path, tmp_path: Path) -> None:
    source = {"path": "train.jsonl", "columns": {"prompt": "question", "completion": "answer"}}
    section = {"fix": ["html", "leak"], "placeholders": {"name": "Ada"}}
    recipe = write_recipe(
        tmp_path, tiny_llama_dir, data={"train": source, "test": "test.jsonl", "clean": section}, rendering={}
    )
    rows = [{"question": f"<b>question</b> {i}", "answer": "{{name}}", "kept": i} for i in range(3)]
    write_rows(tmp_path / "train.jsonl", rows)
    write_rows(tmp_path / "test.jsonl", [{"question": "question 1", "answer": "x"}])
    assert run("clean", recipe, "--output", tmp_path / "one").exit_code == 0
    fixed = [{"question": f"question {i}", "answer": "{{name}}", "kept": i} for i in (0, 2)]
    assert read_rows(tmp_path / "one" / "cleaned.jsonl") == fixed
    assert run("clean", recipe, "--fix", "placeholder", "--output", tmp_path / "two").exit_code == 0
    assert read_rows(tmp_path / "two" / "cleaned.jsonl") == [{**row, "answer": "Ada"} for row in rows]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no fix is named"),
        (["--fix", "nonsense"], "nonsense"),
        (["--fix", "placeholder", "--set", "name"], "NAME=VALUE"),
        (["--fix", "leak"], "what must not leak"),
        (["--fix", "contradiction", "--contradictions", "maybe"], "contradictions"),
        (["--fix", "near_duplicate", "--near", "2"], "--near: "),
    ],
)
def test_options_that_cannot_be_used(run: Run, tmp_path: Path, arguments: list[str], message: str) -> None:
    file = write_rows(tmp_path / "a.jsonl", [pair("a")])
    error = failure(run("clean", file, *arguments, "--output", tmp_path / "out"))
    assert isinstance(error, DataError | RecipeError)
    assert message in error.what
    assert not (tmp_path / "out").exists()


def test_inspect_prints_and_gives_json(run: Run, tmp_path: Path) -> None:
    file = write_rows(tmp_path / "a.jsonl", [pair(f"question {i}", "yes") for i in range(20)])
    assert "20" in run("inspect", file).stdout
    values = result_of(run("inspect", file, "--json"))
    assert values["parts"][0]["rows"] == 20


def test_a_missing_file_is_an_error_of_the_user(run: Run, tmp_path: Path) -> None:
    for command in ("check", "inspect"):
        assert "no such file" in failure(run(command, tmp_path / "nothing.jsonl")).what
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("model: x\ndata: {train: a.jsonl}\n")
    assert "more is named" in failure(run("check", recipe, tmp_path / "a.jsonl")).what


def table_of(result: Result) -> dict[tuple[str, str], str]:
    """The number of rows of each severity and kind, as the table has it."""
    lines = [line.split() for line in result.stdout.splitlines()]
    return {(line[0], line[1]): line[2] for line in lines if len(line) > 2 and line[0] in ("error", "warning", "info")}


def test_a_row_counts_once_and_stands_under_one_kind(run: Run, tmp_path: Path) -> None:
    thrice = "I am {{name}} of {{company}}, call me {{nick}}."
    rows = [pair("who are you then", thrice), pair("what is it", "one"), pair("What is it?", "two"), pair("b", "same"),
            pair("b", "same"), pair("and you", "I am {{name}}.")]  # fmt: skip
    result = run("check", write_rows(tmp_path / "a.jsonl", rows))
    assert table_of(result) == {
        ("error", "placeholder"): "2", ("warning", "contradiction"): "1", ("warning", "duplicate"): "1"
    }  # fmt: skip
    assert "2 with errors, 2 with warnings" in " ".join(result.stderr.replace("│", "").split())


@pytest.mark.parametrize("columns", [80, 100, 160])
def test_the_file_is_named_once_above_and_every_remedy_is_a_whole_command(
    run: Run, tmp_path: Path, columns: int
) -> None:
    folder = tmp_path / "a folder [x]"
    rows = [pair("I am {{name}}", "and {{ home }}"), pair("b"), pair("b"), pair("c <b>bold</b>"), pair("d", "")]
    file = write_rows(folder / "rows.jsonl", rows)
    result = run("check", file, columns=columns)
    lines = result.stdout.splitlines()
    commands = [line.strip() for line in lines if line.startswith("  weitiao")]
    named = [line for line in lines if "rows.jsonl" in line and line.strip() not in commands]
    assert named == [f"train: {file}: JSON Lines, prompt_completion"]
    begin = f"weitiao data clean '{file}' --fix"
    assert commands == [
        f"{begin} empty_answer --output cleaned",
        f"{begin} placeholder --set home=VALUE --set name=VALUE --output cleaned",
        f"{begin} duplicate --output cleaned",
        f"{begin} html --output cleaned",
    ]
    for number, command in enumerate(commands):
        words = shlex.split(command.replace("cleaned", str(tmp_path / f"out{number}")))
        assert run(*words[2:]).exit_code == 0


def test_one_example_per_kind_and_all_of_them_with_verbose(run: Run, tmp_path: Path) -> None:
    rows = [pair(f"question {i}", f"I am {{{{name{i}}}}}.") for i in range(6)]
    file = write_rows(tmp_path / "a.jsonl", rows)
    short, long = run("check", file).stdout, run("check", file, "--verbose").stdout
    assert short.count("row 1") == 1 and "row 2" not in short
    assert all(f"{{{{name{i}}}}} is not filled in" in long for i in range(6))
    assert all(f"row {i}" in long for i in range(1, 7))


def test_the_next_command_loses_nothing(run: Run, tmp_path: Path) -> None:
    near = [pair("where did you put the big red kettle of mine " + end) for end in ("yesterday", "yesterday evening")]
    rows = [pair("b"), pair("b"), pair(" c", "<b>x</b>"), pair("d {{name}}"), pair("e", ""), *near * 2]
    file, test = write_rows(tmp_path / "a.jsonl", rows), write_rows(tmp_path / "test.jsonl", [pair("D {{name}}!")])
    shown = " ".join(run("check", file, "--against", test, columns=400).stderr.split())
    assert f"clean {file} --against {test} --fix leak --fix duplicate --fix whitespace --output cleaned" in shown
    lossy = write_rows(tmp_path / "b.jsonl", rows[3:6])
    shown = " ".join(run("check", lossy, columns=400).stderr.split())
    assert f"weitiao data check {lossy} --verbose" in shown and "clean" not in shown


def test_rows_of_two_files_are_told_apart(run: Run, tmp_path: Path) -> None:
    one, other = (write_rows(tmp_path / name / "rows.jsonl", [pair("the same question")]) for name in ("one", "two"))
    shown = run("check", one, "--against", other).stdout
    assert "one/rows.jsonl:1 = two/rows.jsonl:1" in shown


@pytest.mark.parametrize("keep", ["same", "near"])
def test_leaks_between_the_fractions_of_a_recipe_are_leaks(
    run: Run, tiny_llama_dir: Path, tmp_path: Path, keep: str
) -> None:
    recipe = write_recipe(tmp_path, tiny_llama_dir, data={"test": 0.2, "keep_together": keep, "on_bad_rows": "skip"})
    draw, words = random.Random(0), ["amber", "birch", "cedar", "delta", "ember", "flint", "grove", "heath", "inlet"]
    asked = [" ".join(draw.choices(words, k=14)) for _ in range(100)]
    rows = [{"instruction": q, "output": f"{n}"} for n, q in enumerate([*asked, *(f"{q}, please" for q in asked)])]
    write_rows(tmp_path / "rows.jsonl", [*rows, {"instruction": "no answer"}])
    report = result_of(run("check", recipe, "--json", "--kind", "near_leak", "--kind", "leak"))
    leaks = sum(finding["count"] for finding in report["findings"])
    assert report["rows"] == 201 and (leaks == 0 if keep == "near" else 20 < leaks < 40)
    assert all(finding["reason"].endswith("rows.jsonl (test)") for finding in report["findings"])
    shown = run("check", recipe, "--kind", "near_leak")
    assert ("data.keep_together: near" in shown.stdout) == (keep == "same")
    assert "data clean" not in shown.stdout + shown.stderr


def test_fractions_that_cannot_be_held_out_are_told(run: Run, tiny_llama_dir: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, tiny_llama_dir, data={"test": 0.5})
    write_rows(tmp_path / "rows.jsonl", [{"instruction": "q", "output": f"{i}"} for i in range(4)])
    left_out = result_of(run("check", recipe, "--json"))["left_out"]
    assert "no row is left" in left_out["leak"]


def test_filling_one_placeholder_drops_no_row_and_names_the_others(run: Run, tmp_path: Path) -> None:
    rows = [pair("a", "{{name}} by {{author}}"), pair("b", "{{name}}"), pair("c", "{{author}}"), pair("d", "none")]
    file = write_rows(tmp_path / "a.jsonl", rows)
    result = run("clean", file, "--set", "name=Ada", "--output", tmp_path / "one")
    assert [row["completion"] for row in read_rows(tmp_path / "one" / "cleaned.jsonl")] == [
        "Ada by {{author}}", "Ada", "{{author}}", "none"
    ]  # fmt: skip
    assert "{{author}} has no value: --set author=VALUE" in result.stdout and "4 of 4 rows" in result.stderr
    summary = result_of(run("clean", file, "--set", "name=Ada", "--output", tmp_path / "two", "--json"))
    assert (summary["unfilled"], summary["changed"]) == ({"author": 2}, {"placeholder": 2})
    assert run("clean", file, "--fix", "placeholder", "--output", tmp_path / "three").exit_code == 0
    assert read_rows(tmp_path / "three" / "cleaned.jsonl") == rows[3:]


@pytest.mark.parametrize("columns", [80, 100])
def test_an_inspection_keeps_its_columns(run: Run, tmp_path: Path, columns: int) -> None:
    labels = ["a_label_of_more_than_thirty_characters", "other"]
    rows = [pair(f"question {i} " + "and so on " * i, labels[i % 2]) for i in range(40)]
    long = tmp_path / "a-folder-with-a-rather-long-name" / "and-a-file-with-a-long-name-as-well.jsonl"
    shown = run("inspect", write_rows(long, rows), columns=columns).stdout
    at = shown.index("Longest and shortest rows")
    body = [line.split() for line in shown[at:].splitlines()[2:12]]
    assert [int(line[0]) for line in body] == [40, 39, 38, 37, 36, 1, 2, 3, 4, 5] or len(body) == 10
    assert all(line[1].isdigit() and line[2] == "question" for line in body)
    bars = shown[shown.index("2 labels") : at]
    assert ("…" not in bars and max(map(len, shown.splitlines())) <= columns) or str(long) in shown
