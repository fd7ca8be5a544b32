// @ts-check
// What each metric gives an answer that was typed, and what general rows cost; prompts by hand are in trial.js.

import { busily, call, say, valuesOf } from "./app.js";
import "./trial.js";

const api = document.getElementById("task")?.dataset.api ?? "";
const form = /** @type {HTMLFormElement} */ (document.getElementById("asked"));
const example = /** @type {HTMLFormElement} */ (document.getElementById("example"));
const grade = /** @type {HTMLButtonElement} */ (document.getElementById("grade"));
const cost = /** @type {HTMLButtonElement} */ (document.getElementById("cost"));
const costs = /** @type {HTMLElement} */ (document.getElementById("costs"));

/** Do something that a button asks for. @param {HTMLButtonElement} button @param {() => Promise<void>} work */
function by(button, work) {
  button.addEventListener("click", (event) => {
    event.preventDefault();
    void busily([button], /** @type {HTMLFormElement} */ (button.form), work);
  });
}

by(grade, async () => {
  const { expected = "", answer = "" } = valuesOf(example);
  const { settings = {} } = valuesOf(form);
  const told = await call("POST", `${api}/grades`, { items: [{ expected, answer }], settings });
  for (const { metric, grades, problem, needs } of told) {
    const row = document.querySelector(`[data-metric=${metric}]`);
    const share = /** @type {HTMLElement} */ (row?.querySelector("[data-grade]"));
    const why = /** @type {HTMLElement} */ (row?.querySelector("[data-why]"));
    share.textContent = grades ? `${Math.round(grades[0] * 100)}%` : say("none");
    share.classList.toggle("good", grades?.[0] === 1);
    why.textContent = problem || (needs.length ? say("needs", { names: needs.join(" / ") }) : "");
    why.hidden = !why.textContent;
  }
});

by(cost, async () => {
  const { path, share } = valuesOf(form).replay;
  costs.textContent = "";
  if (!path) {
    costs.textContent = say("cost.nothing");
    return;
  }
  const told = await call("GET", `${api}/replay?${new URLSearchParams({ path, share })}`);
  const longer = (100 * told.share_longer).toPrecision(2);
  costs.textContent = say(told.num_different < told.num_rows ? "cost.again" : "cost", { ...told, longer });
});

form.addEventListener("values", (event) => {
  const body = /** @type {CustomEvent} */ (event).detail;
  body.settings = body.settings?.[body.metric] ?? {};
});
