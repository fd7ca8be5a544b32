// @ts-check
// The loss as it falls, and what the job prints: what is there is asked for once, what is new comes as a stream.

import { call, say } from "./app.js";
import uPlot from "./vendor/uPlot.js";

const page = /** @type {HTMLElement} */ (document.getElementById("run"));
const name = page.dataset.name ?? "";
const base = `/api/runs/${name.split("/").map(encodeURIComponent).join("/")}`;
const place = /** @type {HTMLElement} */ (document.getElementById("curve"));
const log = document.getElementById("log");
const MOST = 4000;

/** @type {uPlot | null} */
let plot = null;
/** @type {Map<string, { kind: string, points: [number, number][] }>} */
let series = new Map();

/** What a colour of the style is now, light or dark: a canvas knows no names. @param {string} property */
function colour(property) {
  place.style.color = `var(${property})`;
  const value = getComputedStyle(place).color;
  place.style.color = "";
  return value;
}

/** The series as columns over their common steps. */
function columns() {
  const steps = [...new Set([...series.values()].flatMap((one) => one.points.map(([x]) => x)))].sort((a, b) => a - b);
  const rows = [...series.values()].map((one) => {
    const known = new Map(one.points);
    return steps.map((x) => known.get(x) ?? null);
  });
  return /** @type {any} */ ([steps, ...rows]);
}

/** Whether the losses lie so far apart that most of them would be a line at zero. */
function falls() {
  const values = [...series.values()].flatMap((one) => one.points.map(([, y]) => y));
  const least = values.reduce((a, b) => Math.min(a, b), Infinity);
  return least > 0 && values.reduce((a, b) => Math.max(a, b), 0) / least > 12;
}

function draw() {
  const strokes = [colour("--base"), colour("--tuned"), colour("--open"), colour("--good"), colour("--bad")];
  const axis = { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line") } };
  plot?.destroy();
  place.replaceChildren();
  plot = new uPlot(
    {
      width: place.clientWidth,
      height: 300,
      scales: { x: { time: false }, y: { distr: falls() ? 3 : 1 } },
      axes: [{ ...axis, label: say("step") }, { ...axis, size: 60 }],
      series: [
        { label: say("step") },
        ...[...series].map(([label, one], i) => ({
          label, stroke: strokes[i % strokes.length], width: one.kind === "validation" ? 2 : 1.5, spanGaps: true,
          points: { show: one.kind === "validation", size: 6 },
          value: (/** @type {unknown} */ _, /** @type {number | null} */ value) => (value == null ? "–" : short(value)),
        })),
      ],
    },
    columns(),
    place,
  );
}

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

/** A number in few digits. @param {number} value */
function short(value) {
  if (Number.isInteger(value)) return value.toLocaleString();
  return value < 1e-3 ? value.toExponential(2) : value.toPrecision(4);
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
    if ([...series.values()].some((one) => one.points.length > MOST)) void begin();
    else if (plot && plot.series.length === series.size + 1) plot.setData(columns());
    else draw();
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
    series.set(label, { kind: "step", points: one.x.map((/** @type {number} */ x, /** @type {number} */ i) => [x, one.middle[i]]) });
  }
  const held = found.validation.loss;
  if (held) series.set(say("validation"), { kind: "validation", points: held.x.map((/** @type {number} */ x, /** @type {number} */ i) => [x, held.middle[i]]) });
  now(found.last);
  if (series.size) later();
  stream = new EventSource(`${base}/events?offset=${found.offset}&log_offset=${log?.dataset.next ?? 0}`);
  for (const kind of ["step", "validation"]) stream.addEventListener(kind, (event) => { add(kind, JSON.parse(event.data)); later(); });
  stream.addEventListener("restart", () => void begin());
  stream.addEventListener("log", (event) => {
    if (!log) return;
    const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
    log.append(JSON.parse(event.data).text);
    if (atEnd) log.scrollTop = log.scrollHeight;
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
addEventListener("resize", () => plot?.setSize({ width: place.clientWidth, height: 300 }));
void begin();
