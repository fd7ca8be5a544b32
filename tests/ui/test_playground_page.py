"""Models side by side in the browser: a server of the pages, streams, probabilities, and blind votes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from playwright.sync_api import Page, expect
from starlette.testclient import TestClient
from transformers import AutoModelForCausalLM
from ui.conftest import Served

from weitiao.feedback.store import FeedbackStore
from weitiao.ui.servers import Servers
from weitiao.ui.workspace import Workspace

VOTE = {
    "who": "ada",
    "messages": [{"role": "user", "content": "who?"}],
    "first": {"model": "tuned", "text": "me", "sampling": {"temperature": 0.5}},
    "second": {"model": "base", "text": "you"},
    "said": "first",
    "time": "2026-01-01T00:00:00Z",
}


def test_a_vote_is_a_pair_with_a_judgement(client: TestClient, workspace: Workspace) -> None:
    for _ in range(2):
        assert client.post("/api/playground/votes", json=VOTE).json() == {"store": "playground.db"}
    other = {**VOTE, "first": VOTE["second"], "second": {"model": "tuned", "text": "us"}, "said": "bad"}
    assert client.post("/api/playground/votes", json=other).status_code == 201
    store = FeedbackStore(workspace.root / "playground.db")
    (one, a, b), (two, *_) = store.pairs()
    assert (one.a, one.b, a.model, b.model, b.sampling) == ("you", "me", "base", "tuned", {"temperature": 0.5})
    assert [(said.item_id, said.judge, said.order, said.choice) for said in store.judgements()] == [
        (one.item_id, "human:ada", "ba", "b"), (two.item_id, "human:ada", "ab", "bad"),
    ]  # fmt: skip
    assert client.get("/api/feedback").json()[0]["name"] == "playground.db"


@pytest.mark.parametrize(
    ("address", "body", "status"),
    [
        ("/api/playground/votes", {**VOTE, "second": VOTE["first"]}, 400),
        ("/api/playground/votes", {**VOTE, "said": "a"}, 422),
        ("/api/playground", {"targets": []}, 422),
        ("/api/playground", {"targets": ["../other"]}, 403),
        ("/api/playground", {"targets": ["--host=0.0.0.0"]}, 422),
        ("/api/playground", {"targets": ["a\0"]}, 422),
    ],
)
def test_what_cannot_be_is_refused(client: TestClient, address: str, body: dict[str, object], status: int) -> None:
    assert client.post(address, json=body).status_code == status
    assert client.get("/api/servers").json() == []


@pytest.fixture
def adapter(served: Served, tiny_llama_dir: Path) -> Iterator[str]:
    """An adapter in the folder of the pages, whose base lies elsewhere; what serves it ends with the test."""
    path = served.root / "kind"
    torch.manual_seed(1)
    config = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_llama_dir), config).save_pretrained(str(path))
    yield path.name
    servers = Servers(served.queue)
    for one in servers.all():
        servers.stop(one)


def test_base_and_tuned_side_by_side_survive_a_reload_and_are_voted_on(
    page: Page, served: Served, adapter: str
) -> None:
    page.goto(served.url.replace("/?", "/playground?"))
    page.get_by_label("Another model").fill(adapter)
    page.get_by_role("button", name="Start").click()
    page.get_by_label("Your message").wait_for(timeout=60_000)
    assert page.evaluate("async () => (await (await fetch('/api/servers')).json()).length") == 1
    names = page.locator("[name=models]").evaluate_all("all => all.map((one) => one.value)")
    assert len(names) == 2
    assert adapter in names

    page.get_by_label("Tokens at most").fill("12")
    page.get_by_label("Your message").fill("a small <b>model</b>")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".turn .foot").first).to_contain_text("12 tokens", timeout=20_000)
    expect(page.locator(".turn .foot").last).to_contain_text("12 tokens", timeout=20_000)
    expect(page.locator(".mine")).to_have_text("a small <b>model</b>")
    token = page.locator(".token").first
    said = page.evaluate("() => JSON.parse(localStorage.getItem('playground'))[0].answers[0].pieces")
    token.hover()
    shown = page.locator("#odds strong").text_content() or ""
    share = 100 * math.exp(said[0][1][0]["logprob"])
    assert float(shown.split()[-2]) == pytest.approx(share, rel=0.06)  # two digits
    written = page.locator(".answers .said").all_text_contents()
    assert written[0] != written[1]
    page.get_by_label("Your message").fill("typed and not sent")
    page.reload()
    expect(page.get_by_label("Your message")).to_have_value("typed and not sent")
    assert page.locator(".answers .said").all_text_contents() == written

    page.get_by_label("Blind").check()
    page.get_by_label("Your message").fill("who?")
    page.keyboard.press("Control+Enter")
    turn = page.locator(".turn").nth(1)
    turn.locator("[data-key=a]").wait_for(timeout=20_000)
    assert turn.locator("h2").all_text_contents() == ["A", "B"]
    assert turn.locator(".token").count() == 0
    first, second = turn.locator(".answers .said").all_text_contents()
    page.keyboard.press("b")
    expect(turn.locator("h2").nth(1)).to_contain_text("B · ")
    winner = (turn.locator("h2").nth(1).text_content() or "").removeprefix("B · ")
    store = FeedbackStore(served.root / "playground.db")
    ((item, a, b), (judgement,)) = store.pairs()[0], store.judgements()
    assert {"a": (item.a, a.model), "b": (item.b, b.model)}[judgement.choice] == (second, winner)
    assert {item.a, item.b} == {first, second}

    there = page.url
    page.goto(served.url.replace("/?", "/serve?"))
    _stays_open(page)
    page.goto(there)

    page.get_by_role("button", name="End the server").click()
    page.get_by_role("heading", name="Choose models").wait_for()
    assert page.evaluate("async () => (await (await fetch('/api/servers')).json()).length") == 0


def _stays_open(page: Page) -> None:
    """What a person opened, when a page of servers gets itself anew, as it does every ten seconds."""
    page.locator("#servers summary").click()
    again = "{target: '#servers', select: '#servers', swap: 'outerMorph'}"
    page.evaluate(f"() => htmx.ajax('GET', location.href, {again})")
    expect(page.locator("#servers details")).to_have_attribute("open", "")
