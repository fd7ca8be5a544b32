"""The whole way through the pages in a real browser, over kills and reloads: a short form of `python -m tools.walk`."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tools.walk import MINUTE, SHORT, begin, walking
from weitiao.text.wording import Language


@pytest.mark.parametrize("language", ["en"])
def test_from_a_file_to_an_answer(browser: Browser, tmp_path: Path, tiny_llama_dir: Path, language: Language) -> None:
    data = tmp_path / "tickets.csv"
    teams = ("red", "green", "blue")
    rows = [f"what colour has thing {i} of {i % 3}?,{teams[i % 3]}\n" for i in range(60)]
    data.write_text("text,team\n" + "".join(rows), encoding="utf-8")
    root = tmp_path / "work"
    root.mkdir()
    shots = tmp_path / "shots"
    shots.mkdir()
    with walking(root, tmp_path / "queue", browser, language, shots, 3 * MINUTE) as walk:
        begin(walk, data, str(tiny_llama_dir))
        for part in SHORT:
            part(walk)
        assert set(walk.seconds) == {"new", "data", "task", "plan", "run", "report", "export", "chat", "label"}
        assert walk.clicks <= 20
