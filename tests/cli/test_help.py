"""`--help` in Chinese: every text is there, none is left over, and lines fit a terminal of 80 columns."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path
from typing import Any

import pytest
from forked import server
from rich.cells import cell_len
from typer.main import get_command
from workbench import weitiao

from weitiao.cli import main
from weitiao.cli.main import app
from weitiao.text.wording import table_of

HAN = re.compile("[一-鿿]")


def texts(command: Any, key: str = "command") -> Iterator[tuple[tuple[str, ...], str]]:
    """Every text of a command and of those below it, with the keys for its translation, the most special one first."""
    if command.hidden:
        return
    yield (key,), cleandoc(command.help).partition("\n\nExamples:")[0]
    for one in command.get_params(command.context_class(command)):
        yield (f"{key}.{one.name}", f"option.{one.name}"), one.help
    for name, below in getattr(command, "commands", {}).items():
        yield from texts(below, f"{key}.{name}")
        if panel := below.rich_help_panel:
            yield (f"panel.{panel.partition(':')[0]}",), panel


def test_every_command_and_option_is_explained_in_chinese_and_no_text_is_left_over() -> None:
    chinese, english = table_of("zh"), defaultdict(set)
    for keys, text in texts(get_command(app)):
        assert text, keys
        english[next((key for key in keys if key in chinese), keys[0])].add(text)
    assert not {key for key in english if not HAN.search(chinese.get(key, ""))}
    assert not {key: meanings for key, meanings in english.items() if len(meanings) > 1}  # one text for two meanings
    written = {key for key in chinese if key.startswith(("command", "option.", "panel."))}
    assert written == english.keys()
    for key in written:  # paragraphs and code are those of the English text
        (text,) = english[key]
        assert text.count("\n\n") == chinese[key].count("\n\n"), key
        assert set(re.findall("`[^`]+`", text)) == set(re.findall("`[^`]+`", chinese[key])), key


def test_what_closing_panels_say_in_chinese_is_what_commands_call_it() -> None:
    code = "".join(file.read_text(encoding="utf-8") for file in Path(main.__file__).parent.glob("*.py"))
    names = [key.removeprefix("closing.") for key in table_of("zh") if key.startswith("closing.")]
    assert names
    assert not [name for name in names if f'"{name}"' not in code and f"'{name}'" not in code]


def paths(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, below in getattr(command, "commands", {}).items():
        if not below.hidden:
            yield from paths(below, (*path, name))


def test_lines_fit_80_columns_and_no_mark_begins_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    command = get_command(app)
    for path in sorted(paths(command), key=len, reverse=True):  # help translates a command and those below it
        with pytest.raises(SystemExit) as ended:
            command(["--language", "zh", *path, "--help"], prog_name="weitiao")
        assert ended.value.code == 0, path
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].startswith(" ".join(("用法：weitiao", *path)))
        assert "选项：" in lines
        assert not [line for line in lines if cell_len(line) > 80], path
        assert not [line for line in lines if line.lstrip().startswith(tuple("，。；：、）”》！？"))], path
        assert not [line for line in lines if line.endswith(tuple("（“《"))], path


@pytest.mark.parametrize(
    ("variables", "words", "chinese"),
    [
        ({"LANG": "zh_CN.UTF-8"}, [], True),
        ({"LANG": "en_GB.UTF-8", "LC_MESSAGES": "zh_TW.UTF-8"}, [], True),
        ({"LANG": "zh_CN.UTF-8", "LC_MESSAGES": "zh_CN.UTF-8", "LC_ALL": "C.UTF-8"}, [], False),
        ({"LANG": "zh_CN.UTF-8"}, ["--language", "en"], False),
        ({"LANG": "C.UTF-8"}, ["--language", "zh"], True),
        ({}, [], False),
    ],
)
def test_the_language_is_chosen_or_that_of_the_locale(
    variables: dict[str, str], words: list[str], chinese: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    shown = weitiao(*words, "data", "check", "--help").stdout
    assert ("示例：" in shown, "Examples:" in shown) == (chinese, not chinese)
    assert "weitiao data check train.csv --against test.csv --input text --answer category" in shown
    if words:
        assert weitiao(*words).stdout == weitiao(*words, "--help").stdout
    shown = weitiao(*words, "report", "--help").stdout
    assert ("[默认：zh]" if chinese else "[default: en]") in shown
    done = weitiao(*words, "report", tmp_path / "none")
    assert done.returncode == 2
    assert done.stderr.startswith("错误：" if chinese else "Error: ")
    assert ("办法：" in done.stderr, "Remedy: " in done.stderr) == (chinese, not chinese)


def test_what_stdout_cannot_take_is_escaped() -> None:
    done = server().call("--language", "zh", "train", "--help", encoding="ascii")
    assert done.returncode == 0
    assert r"\u7528\u6cd5\uff1a" in done.stdout
