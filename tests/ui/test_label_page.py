"""Pairs in the browser: blind, one key a judgement, nothing lost and nothing doubled; what comes of them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect
from starlette.testclient import TestClient
from ui.conftest import Served, fill

from weitiao.data.example import Rows
from weitiao.data.load import load_data
from weitiao.evaluation.statistics import judgements_needed
from weitiao.feedback.items import first_shown
from weitiao.feedback.store import FeedbackStore, Judgement
from weitiao.recipe import load_recipe
from weitiao.ui.workspace import Workspace

API = "/api/feedback/tickets/feedback.db"


@pytest.fixture
def store(workspace: Workspace) -> FeedbackStore:
    return fill(workspace.root / "tickets" / "feedback.db")


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def say(client: TestClient, pair: dict[str, str], said: str | None, **more: object) -> None:
    got = client.post(f"{API}/judgements", json={"pair": pair["pair"], "said": said, **more})
    assert got.status_code == 204, got.text


def test_the_store_has_the_model_and_the_page_only_the_place(client: TestClient, store: FeedbackStore) -> None:
    found = client.get(f"{API}/pairs", params={"who": "ada", "num": 24}).json()
    assert (found["done"], found["total"], len(found["pairs"])) == (0, 24, 24)
    assert all(pair.keys() == {"pair", "prompt", "first", "second"} for pair in found["pairs"])
    assert {pair["first"].split()[0] for pair in found["pairs"]} == {"base", "tuned"}
    for pair in found["pairs"]:
        say(client, pair, "first" if pair["first"].startswith("tuned") else "second", who="ada")
    assert [one.choice for one in store.by("human:ada")] == ["b"] * 24
    assert all(one.order == first_shown(one.item_id, seed=0) for one in store.judgements())
    again = client.get(f"{API}/pairs", params={"who": "ada"}).json()
    assert (again["pairs"], again["done"]) == ([], 24)
    assert client.get(f"{API}/pairs").json()["done"] == 0


def test_what_is_sent_twice_counts_once_and_can_be_taken_back(client: TestClient, store: FeedbackStore) -> None:
    pair = client.get(f"{API}/pairs").json()["pairs"][0]
    for _ in range(2):
        say(client, pair, "tie", time="2026-01-01T00:00:00.123Z", comment=" close ")
    assert [(one.choice, one.comment) for one in store.judgements()] == [("tie", "close")]
    assert client.get("/api/feedback").json()[0]["judgements"] == {"human": 1}
    say(client, pair, None)
    assert store.judgements() == []
    say(client, pair, "tie", time="2026-01-01T00:00:00.123Z")  # late, from before it was taken back
    assert store.judgements() == []


def test_pairs_that_nobody_judged_come_first(client: TestClient, store: FeedbackStore) -> None:
    first, second = client.get(f"{API}/pairs").json()["pairs"][:2]
    say(client, first, "tie", who="ada")
    found = client.get(f"{API}/pairs", params={"num": 24}).json()["pairs"]
    assert (found[0], found[-1]) == (second, first)


def test_status_says_how_many_more_would_decide(client: TestClient, store: FeedbackStore) -> None:
    for number, pair in enumerate(client.get(f"{API}/pairs", params={"num": 20}).json()["pairs"]):
        place = "first" if pair["first"].startswith("tuned") else "second"
        other = {"first": "second", "second": "first"}[place]
        say(client, pair, place if number < 13 else other)
    found = client.get(f"{API}/status").json()
    (contest,) = found["contests"]
    assert (contest["models"], contest["wins"]) == (["base", "tuned"], [7, 13])
    needed = judgements_needed(13 / 20)
    assert needed is not None
    assert contest["more_needed"] == needed - 20
    page = client.get("/label/tickets/feedback.db/standing").text
    assert f"about {needed - 20} more judgements" in page


def test_a_correction_is_preferred_to_both_answers(client: TestClient, store: FeedbackStore) -> None:
    pair = client.get(f"{API}/pairs").json()["pairs"][0]
    body = {"who": "ada", "pair": pair["pair"], "text": "what should be said", "time": "2026-01-01T00:00:00Z"}
    for _ in range(2):
        assert client.post(f"{API}/corrections", json=body).status_code == 204
    new = store.pairs()[24:]
    assert [(item.a, item.b, made.model) for item, _, made in new] == [
        (pair[place], "what should be said", "human:ada")
        for place in ("first", "second")[:: 1 if pair["first"].startswith("base") else -1]
    ]
    assert [(one.item_id, one.choice) for one in store.judgements()] == [(item.item_id, "b") for item, _, _ in new]
    assert client.get(f"{API}/status").json()["contests"] == []  # nobody's model won or lost
    refused = client.post(f"{API}/corrections", json={**body, "text": pair["first"]})
    assert (refused.status_code, refused.json()["error"]["field"]) == (400, "text")


def test_preferences_become_a_project(client: TestClient, store: FeedbackStore, workspace: Workspace) -> None:
    new = {"name": "kinder", "model": "smollm2-135m", "objective": "reward"}
    assert client.post(f"{API}/project", json=new).status_code == 400  # nobody won
    assert not (workspace.root / "kinder").exists()
    for pair in client.get(f"{API}/pairs", params={"num": 12}).json()["pairs"]:
        say(client, pair, "first")
    assert client.post(f"{API}/project", json=new).json() == {"project": "kinder"}
    recipe = load_recipe(workspace.root / "kinder" / "recipe.yaml")
    assert (recipe.objective.type, recipe.model.name) == ("reward", "smollm2-135m")
    rows = [json.loads(line) for line in (workspace.root / "kinder/data/preferences.jsonl").open(encoding="utf-8")]
    said = {one.item_id: one.choice for one in store.judgements()}
    chosen = [getattr(item, said[item.item_id]) for item, _, _ in store.pairs() if item.item_id in said]
    assert [row["chosen"]["content"] for row in rows] == chosen
    parts = load_data(recipe.data, rows=Rows("pair"))
    assert len(parts.train) + len(parts.validation) + len(parts.test) == 12
    assert client.post(f"{API}/project", json=new).json()["error"]["field"] == "name"


def test_dpo_goes_on_with_the_adapter_of_a_run(client: TestClient, store: FeedbackStore, workspace: Workspace) -> None:
    run = workspace.root / "tuned"
    (run / "final").mkdir(parents=True)
    (run / "final" / "adapter_config.json").write_text("{}", encoding="utf-8")
    (run / "recipe.yaml").write_text(
        "model: smollm2-135m\nmethod: {type: lora, r: 4}\ndata: {train: x.jsonl}\n", "utf-8"
    )
    say(client, client.get(f"{API}/pairs").json()["pairs"][0], "first")
    new = {"name": "on", "model": "tuned", "objective": "dpo"}
    made = client.post(f"{API}/project", json=new)
    assert made.status_code == 201, made.text
    written = load_recipe(workspace.root / "on" / "recipe.yaml")
    method = written.method.model_dump()
    assert (written.model.name, method["type"], method["r"], method["start"]) == ("smollm2-135m", "lora", 4, str(run))


def test_pairs_and_judges_are_made_by_jobs(client: TestClient, store: FeedbackStore, workspace: Workspace) -> None:
    (workspace.root / "ask.jsonl").write_text('{"prompt": "who?"}\n', encoding="utf-8")
    new = {"store": "other.db", "targets": ["base:tickets/runs/1", "smollm2-135m"], "data": "ask.jsonl"}
    job = client.post("/api/feedback", json=new).json()
    words = [str(workspace.root / "other.db"), f"base:{workspace.root}/tickets/runs/1", "smollm2-135m", "--data"]
    assert workspace.jobs.get(job["id"]).command[:6] == ("feedback", "sample", *words)
    chinese = {"accept-language": "zh-CN,zh;q=0.9"}
    judge = client.post(f"{API}/judge", json={"model": "http://127.0.0.1:9/v1#m"}, headers=chinese).json()
    assert [workspace.jobs.get(one["id"]).language for one in (job, judge)] == ["en", "zh"]
    assert workspace.jobs.get(judge["id"]).command[-1] == "http://127.0.0.1:9/v1#m"
    for one in (job, judge):
        client.post(f"/api/jobs/{one['id']}/stop", json={"kill": True})


@pytest.mark.parametrize(
    ("address", "body", "status"),
    [
        ("/api/feedback", {"store": "../x.db", "targets": ["m"], "data": "a.jsonl"}, 403),
        ("/api/feedback", {"store": "recipe.yaml", "targets": ["m"], "data": "tickets/runs/1/recipe.yaml"}, 400),
        ("/api/feedback", {"store": "x.db", "targets": ["m"], "data": "none.jsonl"}, 404),
        (f"{API}/judgements", {"pair": "none", "said": "first"}, 400),
        (f"{API}/judgements", {"pair": "none", "said": "a"}, 422),
        (f"{API}/judgements", {"pair": "none", "said": "tie", "time": "0001-01-01T00:00:00+23:00"}, 422),
        (f"{API}/corrections", {"pair": "none", "text": "x"}, 400),
        (f"{API}/judge", {"model": "--help"}, 422),
        ("/api/feedback/tickets/runs/1/recipe.yaml/judgements", {"pair": "none", "said": "tie"}, 404),
    ],
)
def test_what_cannot_be_is_said(
    client: TestClient, store: FeedbackStore, address: str, body: dict[str, object], status: int
) -> None:
    assert client.post(address, json=body).status_code == status


def test_files_of_others_are_not_touched(client: TestClient, workspace: Workspace) -> None:
    path = workspace.root / "notes.db"
    path.write_bytes(b"SQLite format 3\0 and nothing more")
    assert client.get("/api/feedback").json() == []
    assert path.read_bytes() == b"SQLite format 3\0 and nothing more"


SPENT = """async (key) => {
  const before = document.querySelector("#desk").dataset.pair;
  const begun = performance.now();
  document.body.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
  await new Promise(requestAnimationFrame);
  if (document.querySelector("#desk").dataset.pair === before) throw new Error("the next pair is not shown");
  return performance.now() - begun;
}"""


def test_a_key_is_answered_at_once_and_nothing_is_lost_or_doubled(page: Page, served: Served) -> None:
    store = fill(served.root / "keys.db", 60)
    page.goto(served.url.replace("/?", "/label/keys.db?as=ada&"))
    count = page.locator("#count")
    expect(count).to_have_text("0 / 60")
    expect(page.locator("#prompt")).to_contain_text("<b>")

    # The server is away: what is said is shown, kept over a reload, and sent when the server is there again.
    page.evaluate("() => { window.fetch = () => Promise.reject(new TypeError('away')); }")
    shown = []
    for _ in range(3):
        shown.append([page.locator("#desk").get_attribute("data-pair"), page.locator("#first").text_content()])
        page.keyboard.press("a")
    expect(page.locator("#unsent")).to_contain_text("3 not sent yet")
    assert store.judgements() == []
    page.reload()
    until(lambda: len(store.judgements()) == 3)
    expect(count).to_have_text("3 / 60")
    for (pair, first), one in zip(shown, store.judgements(), strict=True):
        assert (one.item_id, one.judge) == (pair, "human:ada")
        assert first is not None
        assert first.startswith("base" if one.choice == "a" else "tuned")

    spent = sorted(page.evaluate(SPENT, key) for key in "abtnabtna")
    assert spent[len(spent) // 2] < 30
    page.keyboard.press("u")
    page.keyboard.press("c")
    page.keyboard.type("as good, but shorter")
    page.reload()
    page.locator("#pair").wait_for()
    expect(page.locator("#comment")).to_have_value("as good, but shorter")
    page.keyboard.press("t")
    until(lambda: [one.comment for one in store.judgements()][11:] == ["as good, but shorter"])
    expect(count).to_have_text("12 / 60")
    while not page.locator("#finished").is_visible():
        page.keyboard.press("b")
    until(lambda: len(store.judgements()) == 60)
    expect(page.locator("#finished")).to_be_visible()
    expect(page.locator("#standing")).to_contain_text("60 of 60", timeout=15_000)


def test_the_next_annotator_writes_a_better_one(page: Page, served: Served) -> None:
    store = fill(served.root / "better.db", 3)
    page.goto(served.url.replace("/?", "/label/better.db?"))
    page.get_by_label("Your name").fill("lin")
    page.get_by_role("button", name="That is me").click()
    page.locator("#desk[data-who=lin][data-pair]").wait_for()
    page.goto(served.url.replace("/?", "/label/better.db?"))
    page.locator("#desk[data-who=lin][data-pair]").wait_for()
    page.keyboard.press("e")
    page.get_by_role("button", name="Begin with A").click()
    page.get_by_role("textbox", name="A better answer than both").press("End")
    page.keyboard.type(", and politely")
    page.get_by_role("button", name="Keep it").click()
    until(lambda: len(store.judgements()) == 2)
    assert {one.judge for one in store.judgements()} == {"human:lin"}
    assert {item.b for item, _, made in store.pairs() if made.model == "human:lin"} == {
        f"{page.locator('#first').text_content()}, and politely"
    }


def test_stores_of_runs_are_found(client: TestClient, workspace: Workspace) -> None:
    store = fill(workspace.root / "tickets/runs/1/compare-a-b/feedback.db", 1)
    store.add(Judgement(store.pairs()[0][0].item_id, "m", "ab", "a", "2026-01-01T00:00:00.000+00:00"))
    (found,) = client.get("/api/feedback").json()
    assert (found["name"], found["judgements"]) == ("tickets/runs/1/compare-a-b/feedback.db", {"m": 1})
    page = client.get("/label", headers={"accept": "text/html"}).text
    assert 'href="/label/tickets/runs/1/compare-a-b/feedback.db"' in page
