"""The plan of a project: ways with what they need, one of them taken, settings changed, and the start."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from starlette.testclient import TestClient
from ui.conftest import Served
from workbench import weitiao, write_recipe

from weitiao.recipe import load_recipe
from weitiao.ui.workspace import Workspace

DEVICE = "rtx-4090"  # its times are computed; those of this machine would be measured


@pytest.mark.parametrize(("path", "status"), [("plan?device=rtx-9999", 400), ("settings", 200), ("plan", 400)])
def test_what_cannot_be_planned_is_said(client: TestClient, workspace: Workspace, path: str, status: int) -> None:
    (workspace.new_project("new").recipe).write_text("model: smollm2-135m\n", encoding="utf-8")
    answer = client.get(f"/api/projects/new/{path}")
    assert answer.status_code == status
    if status == 400:
        assert answer.json()["error"]["remedy"]
        part = client.get(f"/projects/new/{path.replace('plan', 'plan/ways')}", headers={"accept": "text/html"})
        assert (part.status_code, 'class="problem"' in part.text) == (200, True)
    assert client.get("/projects/none/plan").status_code == 404


@pytest.mark.parametrize("path", ["/api/projects/new/plan", "/projects/new/plan/ways"])
def test_errors_are_in_the_language_of_who_asks(client: TestClient, workspace: Workspace, path: str) -> None:
    (workspace.new_project("new").recipe).write_text("model: smollm2-135m\n", encoding="utf-8")
    chinese, english = (client.get(path, headers={"accept-language": one}).text for one in ("zh-CN,zh;q=0.9", "en"))
    assert "缺少 `data`。" in chinese and "请加到配方里。" in chinese
    assert "`data` is missing." in english and "Add it to the recipe." in english


def test_a_way_is_taken_and_settings_are_found_changed_and_kept_until_they_are_saved(
    page: Page, served: Served, tiny_llama_dir: Path
) -> None:
    recipe = write_recipe(served.root / "planned", tiny_llama_dir)
    sent: list[str] = []
    page.on("request", lambda asked: sent.append(asked.method))
    page.goto(served.url.replace("/?", f"/projects/planned/plan?device={DEVICE}&"))
    expect(page.locator("#ways .busy")).to_be_visible()
    page.wait_for_function("() => window.htmx")
    assert page.evaluate("() => htmx.config.defaultTimeout") == 0  # a plan may take minutes
    take = page.locator("#ways button", has_text="Take it").last
    take.wait_for(timeout=90_000)  # a forecast imports PyTorch
    plan = page.request.get(served.url.replace("/?", f"/api/projects/planned/plan?device={DEVICE}&")).json()
    told = json.loads(weitiao("plan", recipe, "--device", DEVICE, "--json").stdout)
    assert [way["num_bytes"] for way in plan["ways"]] == [
        sum(line["bytes"] for line in one["forecast"]["memory"]) for one in told["options"]
    ]
    assert [way["is_recommended"] for way in plan["ways"]].index(True) == told["recommended"]
    take.click()
    page.locator("[id='method.type'] option[selected]", has_text="full").wait_for(state="attached")
    taken = load_recipe(recipe)
    assert (taken.method.type, taken.train.learning_rate) == ("full", 2e-5)  # the usual one of the method
    again = {"changes": plan["ways"][-1]["settings"], "etag": plan["etag"]}
    late = page.request.patch(served.url.replace("/?", "/api/projects/planned/recipe?"), data=again)
    assert late.status in (403, 409)  # made for another recipe
    assert page.locator(".setting input:visible, .setting select:visible").count() < 10
    page.locator("#search").fill("neftune")
    expect(page.locator("[data-setting='train.neftune']")).to_be_visible()
    expect(page.locator("[data-setting='train.learning_rate']")).to_be_hidden()
    page.locator("#search").fill("")
    page.locator("[id='train.batch_size']").fill("none of it")
    page.reload()
    page.locator(".setting.changed").wait_for()
    page.locator("#save button").first.click()
    expect(page.locator("[data-setting='train.batch_size'] .problem")).to_contain_text("train.batch_size")
    assert sent.count("PATCH") == 2  # a click, a request
    page.locator("[id='train.batch_size']").fill("4")
    page.locator("#search").fill("max_grad_norm")
    page.locator("[id='train.max_grad_norm']").fill("null")  # 1.0 by default
    page.locator("#save button").first.click()
    expect(page.locator("#save")).to_be_hidden()
    train = load_recipe(recipe).train
    assert (train.batch_size, train.max_grad_norm) == (4, None)
    expect(page.locator("[id='train.max_grad_norm']")).to_have_value("null")
