"""The whole way through the pages in a real browser, over kills and reloads: that of `python -m tools.walk`."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tools.walk import MINUTE, PARTS, begin, walking
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
        for part in PARTS:
            part(walk)
        assert set(walk.seconds) == {"new", "data", "plan", "run", "report", "export", "chat"}
        assert walk.clicks <= 14
