"""The time left of a long piece of work, on a clock that the test turns."""

from __future__ import annotations

import io
import pickle

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from weitiao.cli.console import closing_panel
from weitiao.terminal.console import TextConsole
from weitiao.terminal.progress import TimeLeft, TrainingLine, answer_progress, left_in_words
from weitiao.text.wording import told


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_first_finished_answer_of_a_batch_tells_nothing() -> None:
    """Ten batches of 32 answers, 50 s each; within a batch the first answer ends after 40 s, the rest by and by."""
    clock = Clock()
    left = TimeLeft(32, clock=clock)
    for batch in range(10):
        for ended in range(1, 33):
            clock.now = 50 * batch + 40 + 10 * (ended - 1) / 31
            found = left(32 * batch + ended, 320)
            truth = 500 - clock.now
            if batch == 0 and ended < 32:
                assert found is None  # 40 s for one answer would have been 12,760 s left
            elif truth:
                assert found == pytest.approx(truth, rel=0.01)
    assert left(320, 320) is None


def test_a_second_batch_that_is_slower_is_not_called_done() -> None:
    clock = Clock()
    left = TimeLeft(10, clock=clock)
    clock.now = 10.0
    assert left(10, 20) == pytest.approx(10)
    clock.now = 21.0
    assert left(15, 20) is None
    fewer = TimeLeft(10, clock=clock)
    clock.now = 30.0
    assert fewer(4, 8) is None  # fewer than a batch: nothing tells


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, ""), (4.4, "about 4 s left"), (2655.0, "about 44 min left"), (7500.0, "about 2 h 5 min left")],
)
def test_time_in_words(seconds: float | None, words: str) -> None:
    assert left_in_words(seconds) == words


def test_a_line_names_no_time_before_a_batch_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, stream = Clock(), io.StringIO()
    monkeypatch.setattr("time.monotonic", clock)
    with answer_progress(Console(file=stream, width=80), batch_size=4) as show:
        for done in (1, 4, 5):
            clock.now += 20.0
            show(done, 12)
    lines = [line.rstrip() for line in stream.getvalue().splitlines()]
    assert lines == ["answered 1/12", "answered 4/12  about 80 s left", "answered 5/12  about 60 s left"]


def test_a_terminal_has_the_line_of_a_log_behind_a_bar() -> None:
    stream = io.StringIO()
    shown = TrainingLine(Console(file=stream, width=200, force_terminal=True))
    shown.start(2, 5)
    for step in (3, 4, 5):
        shown.step(step, 0.5, 100.0, {"a [/b]": 0.25})
        shown.message("[red]")
    shown.stop()
    last = [line for line in stream.getvalue().splitlines() if "step 5/5" in line][-1]
    assert last.index("━") < last.index("step 5/5  loss 0.5000 (a [/b] 0.2500)  100 tokens/s")
    assert stream.getvalue().count("[red]") == 3


def test_a_console_says_it_in_its_language(monkeypatch: pytest.MonkeyPatch) -> None:
    console = TextConsole(stderr=True, language="zh")
    with console.capture() as captured:
        shown = TrainingLine(console)
        shown.start(0, 1)
        shown.step(1, 0.5, 100.0, {"a": 0.25, "b": 0.75})
        line = told(lambda words: words("progress.learned", learned=1, all=2))
        shown.message(pickle.loads(pickle.dumps(line)))  # as from another process
        shown.message("as it is")
        shown.stop()
        closing_panel(console, "Trained", [("run", "runs/a"), ("untuned, zero-shot", "1")], ["weitiao chat runs/a"])
    first, *rest = captured.get().splitlines()
    assert first.startswith("第 1/1 步  损失 0.5000（a 0.2500、b 0.7500）  每秒 100 个词元  ")
    assert rest[:2] == ["2 个参数中学习 1 个", "as it is"]
    panel = rest[2:]
    assert "训练完成" in panel[0] and "  运行            runs/a " in panel[1] and "  微调前，零样本  1 " in panel[2]
    assert not [line for line in panel if "│" in line]  # a file does not say how wide a Han character is shown
    monkeypatch.setenv("FORCE_COLOR", "1")
    with (terminal := TextConsole(stderr=True, language="zh")).capture() as captured:
        closing_panel(terminal, "Trained", [("untuned, zero-shot", "1")], ["weitiao chat runs/a"])
    edged = [Text.from_ansi(line).plain for line in captured.get().splitlines()]
    assert edged[1].startswith("│ 微调前，零样本  1 ")
    assert len({cell_len(line) for line in edged}) == 1  # its right border is straight
    assert any("下一步" in line for line in panel)
