"""The process beside the pages: it ends with them, however they end."""

from __future__ import annotations

import subprocess
import sys

import psutil

_PAGES = """
import asyncio, os, time
from weitiao.ui.aside import Aside
if __name__ == "__main__":
    print(asyncio.run(Aside().call(os.getpid)), flush=True)
    time.sleep(60)
"""


def test_it_ends_when_the_pages_are_killed(tmp_path) -> None:  # type: ignore[no-untyped-def]
    script = tmp_path / "pages.py"
    script.write_text(_PAGES)
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as pages:
        assert pages.stdout is not None
        beside = psutil.Process(int(pages.stdout.readline()))
        assert beside.is_running()
        pages.kill()
    gone, _ = psutil.wait_procs([beside], timeout=10)
    assert gone
