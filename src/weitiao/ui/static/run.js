// @ts-check
// The loss as it falls, and what the job prints: what is there is asked for once, what is new comes as a stream.

import { Problem, call, say } from "./app.js";
import { Curve, short, thinned } from "./curve.js";

const page = /** @type {HTMLElement} */ (document.getElementById("run"));
const name = page.dataset.name ?? "";
const base = `/api/runs/${name.split("/").map(encodeURIComponent).join("/")}`;
const place = /** @type {HTMLElement} */ (document.getElementById("curve"));
const log = document.getElementById("log");
const MOST = 4000;

const curve = new Curve(place);
/** @type {import("./curve.js").Series} */
let series = new Map();

/** @param {string} kind @param {any} line */
function add(kind, line) {
  const value = kind === "validation" ? line.validation_loss : line.loss;
  const label = kind === "validation" ? say("validation") : say("loss");
  if (typeof value !== "number") return;
  const known = series.get(label);
  if (!known) series.set(label, { kind, points: [[line.step, value]] });
  else known.points.push([line.step, value]);
  for (const [source, one] of Object.entries(line.sources ?? {})) {
    const at = series.get(source) ?? { kind: "source", points: [] };
    at.points.push([line.step, one.loss]);
    series.set(source, at);
  }
  if (kind === "step") now(line);
}

/** The figures of the last step. @param {any} line */
function now(line) {
  for (const one of document.querySelectorAll("[data-figure]")) {
    const value = line[/** @type {HTMLElement} */ (one).dataset.figure ?? ""];
    if (typeof value === "number") one.textContent = short(value);
  }
}

let due = false;
/** Draw what came in, once for many events. */
function later() {
  if (due) return;
  due = true;
  setTimeout(() => {
    due = false;
    if ([...series.values()].some((one) => one.points.length > MOST)) again();
    else curve.show(series);
    page.dataset.steps = String(series.get(say("loss"))?.points.at(-1)?.[0] ?? 0);
  }, 250);
}

/** @type {EventSource | null} */
let stream = null;
async function begin() {
  stream?.close();
  const found = await call("GET", `${base}/metrics?points=600&series=loss&series=loss:`);
  series = new Map();
  for (const [key, one] of Object.entries(found.train)) {
    if (key !== "loss" && !key.startsWith("loss:")) continue;
    const label = key === "loss" ? say("loss") : key.slice(5);
    series.set(label, thinned("step", one));
  }
  const held = found.validation.loss;
  if (held) series.set(say("validation"), thinned("validation", held));
  now(found.last);
  if (series.size) later();
  stream = new EventSource(`${base}/events?offset=${found.offset}&log_offset=${log?.dataset.next ?? 0}`);
  for (const kind of ["step", "validation"]) stream.addEventListener(kind, (event) => { add(kind, JSON.parse(event.data)); later(); });
  stream.addEventListener("restart", again);
  stream.addEventListener("error", () => { if (stream?.readyState === EventSource.CLOSED) setTimeout(again, 2000); });
  stream.addEventListener("log", (event) => {
    if (!log) return;
    const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
    log.append(JSON.parse(event.data).text);
    if (atEnd) log.scrollTop = log.scrollHeight;
  });
}

/** Begin anew, as soon as the server answers. */
function again() {
  begin().catch((error) => {
    if (!(error instanceof Problem)) throw error;
    if (!error.status || error.status >= 500) setTimeout(again, 2000);
  });
}

/** Why a step is as it is: the rows behind it. */
document.getElementById("why")?.addEventListener("rows", (event) => {
  const list = /** @type {HTMLElement} */ (document.getElementById("rows"));
  list.replaceChildren(
    ...(/** @type {CustomEvent} */ (event)).detail.map((/** @type {any} */ row) => {
      const item = document.createElement("li");
      const texts = [`${row.row_id} · ${row.loss.toPrecision(3)}`, row.prompt, row.answer];
      item.append(...texts.map((text, i) => Object.assign(document.createElement(i ? "p" : "strong"), { textContent: text })));
      return item;
    }),
  );
});

if (log) log.scrollTop = log.scrollHeight;
again();
