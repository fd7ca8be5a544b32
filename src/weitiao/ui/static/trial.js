// @ts-check
// Prompts tried by hand: the model answers a few rows, one after the other, as it writes, and each answer is graded.
// The last trial is kept in this browser.

import { Problem, call, clear, say, tell, valuesOf } from "./app.js";
import { streamed } from "./asking.js";

/** @typedef {{ row_id: string, question: string, expected: string, prompt: unknown[], columns: Record<string, unknown>, text: string, tokens: number, request: Record<string, unknown> }} Row */
/** @typedef {{ text: string, state: "waiting" | "writing" | "done" | "broken", grade: number | null }} Answer */
/** @typedef {{ metric: string, value: number, low: number, high: number, n: number }} Score */
/** @typedef {{ server: string, model: string, part: string, num_rows: number, metric: string, is_quick: boolean, sampling: Record<string, number>, rows: Row[], answers: Answer[], score: Score | null }} Trial */

/** @param {string} id @returns {any} */
const part = (id) => document.getElementById(id);
/** @param {string} tag @param {string} className @param {string} text */
const element = (tag, className, text) => Object.assign(document.createElement(tag), { className, textContent: text });
const api = part("task").dataset.api;
const KEPT = `trial:${api}`;
const form = /** @type {HTMLFormElement} */ (part("trial"));
/** @type {Trial | null} */
let trial = JSON.parse(localStorage.getItem(KEPT) ?? "null");
/** @type {AbortController | null} */
let running = null;

/** @param {number} value */
const share = (value) => `${Math.round(1000 * value) / 10}%`;
const keep = () => localStorage.setItem(KEPT, JSON.stringify(trial));

/** @param {Trial} now @param {number} at */
function draw(now, at) {
  const row = now.rows[at];
  const answer = now.answers[at];
  const place = document.createElement("li");
  const head = element("p", "muted small", row.question);
  const said = element("p", "said", answer.text || say(`state.${answer.state}`));
  const foot = element("p", "small", `${say("expected")} `);
  foot.append(element("b", "", row.expected));
  if (answer.grade !== null) said.prepend(element("span", `tag tone-${answer.grade === 1 ? "good" : answer.grade ? "open" : "bad"}`, share(answer.grade)), " ");
  const whole = document.createElement("details");
  whole.append(element("summary", "small muted", say("seen", { tokens: row.tokens })), element("pre", "small", row.text));
  place.append(head, said, foot, whole);
  const there = part("answers").children[at];
  if (there) there.replaceWith(place);
  else part("answers").append(place);
}

/** @param {Trial} now */
function drawAll(now) {
  part("answers").replaceChildren();
  now.rows.forEach((_, at) => draw(now, at));
  drawScore(now);
  part("server").hidden = false;
  part("server").firstElementChild.href = `/playground?server=${now.server}`;
}

/** @param {Trial} now */
function drawScore({ score, rows, part: name, num_rows }) {
  if (!score) {
    part("score").textContent = "–";
    return;
  }
  const title = document.querySelector(`[data-metric=${CSS.escape(score.metric)}] b`)?.textContent ?? score.metric;
  const about = say(`of.${name}`, { count: score.n, all: num_rows });
  part("score").replaceChildren(
    `${share(score.value)} `,
    element("span", "muted small", rows.length > 1 ? `${share(score.low)}–${share(score.high)}` : ""),
    element("small", "", `${title} · ${about}`),
  );
}

/** Wait until a server is ready. @param {string} name */
async function ready(name) {
  for (;;) {
    const { state, said } = await call("GET", `/api/servers/${name}`);
    if (state === "ready") return;
    if (state === "ended") throw new Problem(said, "", null, 0);
    await new Promise((resolve) => setTimeout(resolve, 500));
    running?.signal.throwIfAborted();
  }
}

/** What metrics of the recipe give some of the answers. @param {Trial} now @param {number[]} places */
async function graded(now, places) {
  const items = places.map((at) => {
    const { row_id, expected, prompt, columns } = now.rows[at];
    return { row_id, expected, prompt, columns, answer: now.answers[at].text };
  });
  const [first] = await call("POST", `${api}/grades`, { items });
  if (first.problem) throw new Problem(first.problem, "", null, 400);
  places.forEach((at, index) => { now.answers[at].grade = first.grades[index]; });
  return { metric: first.metric, ...first.score };
}

/** @param {Trial} now @param {number} at @param {AbortSignal} signal */
async function write(now, at, signal) {
  const answer = now.answers[at];
  const { request } = now.rows[at];
  answer.state = "writing";
  draw(now, at);
  for await (const chunk of streamed(now.server, "chat/completions", { model: now.model, stream: true, ...now.sampling, ...request }, signal)) {
    const choice = chunk.choices[0];
    answer.text += choice?.delta?.content ?? "";
    part("answers").children[at].querySelector(".said").textContent = answer.text;
    if (choice?.finish_reason) answer.state = "done";
  }
  if (answer.state !== "done") answer.state = "broken";
  else if (now.is_quick) await graded(now, [at]);
  draw(now, at);
  keep();
}

/** @param {Trial} now @param {AbortSignal} signal */
async function answers(now, signal) {
  part("doing").textContent = say("loading");
  await ready(now.server);
  part("doing").textContent = "";
  for (const at of now.rows.keys()) await write(now, at, signal);
}

async function ask() {
  if (running) return;
  clear(form);
  running = new AbortController();
  part("halt").hidden = false;
  part("doing").textContent = say("preparing");
  try {
    const told = await call("POST", `${api}/trials`, valuesOf(form));
    const now = (trial = { ...told, answers: told.rows.map(() => ({ text: "", state: "waiting", grade: null })), score: null });
    drawAll(/** @type {Trial} */ (now));
    try {
      await answers(/** @type {Trial} */ (now), running.signal);
    } finally {
      const done = [...now.rows.keys()].filter((at) => now.answers[at].state === "done");
      if (done.length) now.score = await graded(/** @type {Trial} */ (now), done);
    }
  } catch (error) {
    const left = error instanceof Error && error.name === "AbortError";
    if (!left) tell(error instanceof TypeError ? new Problem(say("gone"), say("gone.remedy"), null, 0) : error, form);
  } finally {
    running = null;
    part("halt").hidden = true;
    part("doing").textContent = "";
    show();
  }
}

/** Show the trial that is kept; what was being written is broken off. */
function show() {
  if (!trial) return;
  for (const one of trial.answers) if (one.state === "writing" || one.state === "waiting") one.state = "broken";
  keep();
  drawAll(trial);
}

/** Fill in how rows are asked now, where nothing was typed. */
async function fill() {
  const now = await call("GET", `${api}/prompt`);
  for (const name of ["system", "prompt"]) {
    const field = /** @type {HTMLTextAreaElement} */ (form.elements.namedItem(name));
    if (!field.value) field.value = now[name];
    field.defaultValue = now[name];
  }
  part("columns").textContent = now.columns.slice(0, 20).join(", ");
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  void ask();
});
part("halt").addEventListener("click", () => running?.abort());
part("keep").addEventListener("click", async () => {
  clear(form);
  const { prompt = "", system = "" } = valuesOf(form);
  const etag = /** @type {HTMLInputElement} */ (document.querySelector("#asked [name=etag]")).value;
  try {
    await call("POST", `${api}/prompt`, { etag, prompt, system });
    location.reload();
  } catch (error) {
    tell(error, form);
  }
});
show();
fill().catch((error) => tell(error, form));
