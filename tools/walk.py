"""The whole way through the pages, in a real browser: python -m tools.walk DATA [--model NAME] [--language zh]

From a file over task, baseline, plan and run to the report, to judgements of the tuned model's answers, an export and a
chat; on the way pages are reloaded, the browser is closed, the page server and the worker of the queue are killed.
Prints the seconds of each part and the clicks in all.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psutil
from playwright.sync_api import Browser, BrowserContext, Locator, Page, sync_playwright

from weitiao.text.wording import Language, Wording
from weitiao.ui.servers import Servers

MINUTE = 60_000
WIDTHS = (390, 1440)


@dataclass(slots=True)
class Walk:
    """One person's way.

    Attributes:
        root: The folder that the pages show.
        queue: That of the queue of jobs.
        browser: Opened by this program.
        language: In which the pages are read.
        shots: Where pictures of the pages go; None makes none.
        patience: Milliseconds that a job may take.
    """

    root: Path
    queue: Path
    browser: Browser
    language: Language
    shots: Path | None
    patience: float
    clicks: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = None
    port: int = 0
    url: str = ""
    page: Page = field(init=False)
    context: BrowserContext = field(init=False)

    def say(self, key: str) -> str:
        """A text of the pages."""
        return Wording(self.language)(key)

    def serve(self) -> None:
        """Start the page server, on the port that it had."""
        words = [sys.executable, "-m", "weitiao", "ui", str(self.root), "--port", str(self.port), "--no-open", "--json"]
        self.process = subprocess.Popen(
            [*words, "--home", str(self.queue)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            start_new_session=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.url = json.loads(self.process.stdout.readline())["url"]
        self.port = urlsplit(self.url).port or 0

    def open(self) -> None:
        """Open a browser with nothing in it but the first address."""
        locale = {"en": "en-GB", "zh": "zh-CN"}[self.language]
        self.context = self.browser.new_context(locale=locale, viewport={"width": WIDTHS[-1], "height": 900})
        self.page = self.context.new_page()
        self.page.goto(self.url)

    def address(self, path: str) -> str:
        """A page."""
        return self.url.partition("/?")[0] + path

    def click(self, what: Locator) -> None:
        """Click something, and count it."""
        what.click()
        self.clicks += 1

    def shot(self, name: str) -> None:
        """Take a picture for a desk, and one for a phone, on which nothing is wider than the window."""
        if self.shots is None:
            return
        for width in WIDTHS:
            self.page.set_viewport_size({"width": width, "height": 900})
            path = self.shots / f"{name}-{self.language}-{width}.png"
            self.page.screenshot(path=path, full_page=True, animations="disabled", timeout=MINUTE)
            assert self.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (name, width)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Take the time of a part, and a picture at its end."""
        begun = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - begun, 1)
        self.shot(name)

    def kill(self) -> None:
        """Kill the page server and the worker of the queue, and close the browser; then begin again."""
        assert self.process is not None
        address = self.page.url
        self.context.close()
        end((self.process.pid, *workers(self.queue)), signal.SIGKILL)
        self.process.wait()
        self.serve()
        self.open()
        self.page.goto(address)

    def end(self) -> None:
        """Leave nothing behind that runs."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
        end(workers(self.queue), signal.SIGTERM)
        servers = Servers(self.queue)
        for server in servers.all():
            servers.stop(server)


def workers(queue: Path) -> list[int]:
    """The processes that do the jobs of a queue."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "work" in words and str(queue) in words:
            found.append(process.pid)
    return found


def end(processes: Iterable[int], number: signal.Signals) -> None:
    """Send a signal to those that are still there."""
    for one in processes:
        with suppress(ProcessLookupError):
            os.kill(one, number)


def begin(walk: Walk, data: Path, model: str) -> None:
    """From the first page to a project with data, of which a third is held out."""
    page, say = walk.page, walk.say
    with walk.part("new"):
        walk.click(page.get_by_role("link", name=say("ui.home.new")))
        page.get_by_label(say("ui.new.name")).fill("tickets")
        page.reload()  # what was typed is still there
        assert page.get_by_label(say("ui.new.name")).input_value() == "tickets"
        page.get_by_label(say("ui.new.model")).fill(model)
        page.locator("input[type=file]").set_input_files(str(data))
        walk.click(page.get_by_role("button", name=say("ui.new.begin")))
        page.wait_for_url("**/projects/tickets/data")
    with walk.part("data"):
        page.locator("#preview .learned").first.wait_for(timeout=MINUTE)
        page.locator("input[name=test]").fill("0.34")
        with page.expect_navigation():
            walk.click(page.locator("form[data-draft=split] button"))


def task(walk: Walk) -> None:
    """What a right answer is, and what is asked of the tuned model."""
    page, say = walk.page, walk.say
    with walk.part("task"):
        walk.click(page.get_by_role("link", name=say("ui.data.next")))
        page.locator("[name=expected]").fill("red")
        page.locator("[name=answer]").fill("Red.")
        page.reload()
        assert page.locator("[name=expected]").input_value() == "red"
        walk.click(page.locator("#grade"))
        page.locator("[data-metric=exact_match] [data-grade]", has_text="0%").wait_for(timeout=MINUTE)
        page.locator("[name=target]").fill("0.8")
        page.locator("select[name=suite]").select_option("small")
        with page.expect_navigation():
            walk.click(page.get_by_role("button", name=say("ui.task.save")))


def prompt(walk: Walk) -> None:
    """A prompt by hand."""
    page, say = walk.page, walk.say
    with walk.part("prompt"):
        page.locator("#trial [name=num]").fill("2")
        walk.click(page.get_by_role("button", name=say("ui.task.ask")))
        page.locator("#score small").wait_for(timeout=walk.patience)


def baseline(walk: Walk) -> None:
    """How far prompting goes."""
    page, say = walk.page, walk.say
    with walk.part("baseline"):
        walk.click(page.get_by_role("button", name=say("ui.task.baseline.run")))
        page.locator("#baseline .verdict .word").wait_for(timeout=walk.patience)


def go(walk: Walk) -> None:
    """From the plan to a verdict, whatever is killed."""
    page, say = walk.page, walk.say
    with walk.part("plan"):
        page.goto(page.url.replace("/data", "/plan").replace("/task", "/plan"))
        page.locator("#ways table").first.wait_for(timeout=walk.patience)
        walk.shot("ways")
        walk.click(page.get_by_role("button", name=say("ui.plan.start")))
        page.wait_for_url("**/runs/**")
    with walk.part("run"):
        page.locator(".step-running").first.wait_for(timeout=walk.patience)
        walk.kill()
        page = walk.page
        page.locator("#state .tag.tone-good, #state .tag.tone-bad, #state .tag.tone-open").nth(1).wait_for(
            timeout=walk.patience
        )
    with walk.part("report"):
        walk.click(page.get_by_role("link", name=say("ui.run.report"), exact=True).first)
        page.locator(".verdict .word").wait_for()
        page.go_back()


def pairs(walk: Walk) -> None:
    """From the run to pairs of answers, of it and of its base."""
    page, say = walk.page, walk.say
    run = page.locator("#run").get_attribute("data-name")
    with walk.part("pairs"):
        page.goto(walk.address("/label"))
        for name in (run, f"base:{run}"):
            walk.click(page.locator(f"[type=checkbox][value='{name}']"))
        page.locator("form[data-draft=sample] [name=samples]").fill("1")
        page.locator("form[data-draft=sample] [name=limit]").fill("4")
        with page.expect_navigation():
            walk.click(page.get_by_role("button", name=say("ui.label.sample.do")))
        link, end = page.get_by_role("link", name="feedback.db"), time.monotonic() + walk.patience / 1000
        page.goto(walk.address("/label"))
        while not link.count():
            assert time.monotonic() < end, "no pairs came"
            time.sleep(0.5)
            page.reload()


def label(walk: Walk) -> None:
    """From pairs to judgements, and a project that learns from them."""
    page, say = walk.page, walk.say
    with walk.part("label"):
        page.goto(walk.address("/label"))
        run = page.locator("form[data-draft=sample] [name=data]").input_value()
        walk.click(page.locator("tbody a").first)
        page.locator("form.who input").fill("ada")  # whoever voted in the playground had no name
        walk.click(page.locator("form.who button"))
        page.locator("#pair").wait_for()
        page.keyboard.press("a")
        page.reload()  # what was said is stored, or sent now
        page.locator("#count", has_text="1 /").wait_for()
        while not page.locator("#finished").is_visible():
            page.keyboard.press("b")
        walk.shot("judged")
        page.locator("form[data-draft=project] [name=model]").fill(run)
        page.locator("form[data-draft=project] [name=name]").fill("preferred")
        walk.click(page.get_by_role("button", name=say("ui.label.project.do")))
        page.wait_for_url("**/projects/preferred/data")
    page.goto(walk.address(f"/runs/{run}"))


def export(walk: Walk) -> None:
    """A format that others read."""
    page, say = walk.page, walk.say
    with walk.part("export"):
        walk.click(page.get_by_role("link", name=say("ui.run.export")))
        page.locator("input[value='gguf-q8_0']").uncheck()
        walk.click(page.locator("input[value='adapter']"))
        walk.click(page.get_by_role("button", name=say("ui.export.go")))
        page.locator("#formats table").first.wait_for(timeout=walk.patience)


def chat(walk: Walk) -> None:
    """An answer of the tuned model beside one of its base, and a blind vote on two others."""
    page, say = walk.page, walk.say
    with walk.part("chat"):
        page.goto(walk.address("/playground"))
        walk.click(page.locator("form[data-draft=open] input[type=checkbox]").first)
        walk.click(page.get_by_role("button", name=say("ui.playground.start")))
        page.locator("#ask textarea").wait_for(timeout=2 * MINUTE)
        page.locator("[name=max_tokens]").fill("32")
        for message, is_blind in (("My parcel is late.", False), ("And my card is lost.", True)):
            page.locator("[name=blind]").set_checked(is_blind)
            page.locator("#ask textarea").fill(message)
            walk.click(page.get_by_role("button", name=say("ui.playground.send")))
            page.locator("#halt").wait_for(state="hidden", timeout=2 * MINUTE)
        walk.click(page.locator("[data-key=t]"))
        page.locator("#kept a").wait_for()
    walk.click(page.get_by_role("button", name=say("ui.playground.end")))
    page.locator("form[data-draft=open]").wait_for()


@contextmanager
def walking(
    root: Path, queue: Path, browser: Browser, language: Language, shots: Path | None, patience: float
) -> Iterator[Walk]:
    """A page server and a browser at its first page; both end with it."""
    walk = Walk(root, queue, browser, language, shots, patience)
    walk.serve()
    try:
        walk.open()
        yield walk
    finally:
        walk.end()


PARTS: tuple[Callable[[Walk], None], ...] = (task, prompt, baseline, go, pairs, label, export, chat)
SHORT: tuple[Callable[[Walk], None], ...] = (task, go, export, chat, label)
"""The same without what starts one more process: a prompt by hand, the baseline alone, pairs that a job draws. What is
judged is the vote of the chat."""


def main() -> None:
    """Go the way, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--language", choices=("en", "zh"), default="en")
    parser.add_argument("--shots", type=Path)
    args = parser.parse_args()
    if args.shots is not None:
        args.shots.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        root = Path(folder) / "work"
        root.mkdir()
        with walking(root, Path(folder) / "queue", browser, args.language, args.shots, 60 * MINUTE) as walk:
            begin(walk, args.data, args.model)
            for part in PARTS:
                part(walk)
            print(json.dumps({"clicks": walk.clicks, "seconds": walk.seconds}, indent=1))


if __name__ == "__main__":
    main()
