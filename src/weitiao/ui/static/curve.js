// @ts-check
// Curves over steps, drawn by uPlot in the colours of the style.

import { say } from "./app.js";
import uPlot from "./vendor/uPlot.js";

/** @typedef {Map<string, { kind: string, points: [number, number][] }>} Series */

/** A number as a person reads it. @param {number} value */
export function short(value) {
  if (Number.isInteger(value)) return value.toLocaleString();
  return value < 1e-3 ? value.toExponential(2) : value.toPrecision(4);
}

/** A series as the API thins it out. @param {string} kind @param {{ x: number[], middle: number[] }} one */
export function thinned(kind, one) {
  return { kind, points: /** @type {[number, number][]} */ (one.x.map((x, i) => [x, one.middle[i]])) };
}

/** Whether values lie so far apart that most of them would be a line at zero. @param {Series} series */
function falls(series) {
  const values = [...series.values()].flatMap((one) => one.points.map(([, y]) => y));
  const least = values.reduce((a, b) => Math.min(a, b), Infinity);
  return least > 0 && values.reduce((a, b) => Math.max(a, b), 0) / least > 12;
}

/** The series as columns over their common steps. @param {Series} series */
function columns(series) {
  const steps = [...new Set([...series.values()].flatMap((one) => one.points.map(([x]) => x)))].sort((a, b) => a - b);
  const rows = [...series.values()].map((one) => {
    const known = new Map(one.points);
    return steps.map((x) => known.get(x) ?? null);
  });
  return /** @type {any} */ ([steps, ...rows]);
}

export class Curve {
  /** @param {HTMLElement} place */
  constructor(place) {
    this.place = place;
    /** @type {uPlot | null} */
    this.plot = null;
    addEventListener("resize", () => this.plot?.setSize({ width: place.clientWidth, height: 300 }));
  }

  /** What a colour of the style is now, light or dark: a canvas knows no names. @param {string} property */
  colour(property) {
    this.place.style.color = `var(${property})`;
    const value = getComputedStyle(this.place).color;
    this.place.style.color = "";
    return value;
  }

  /** Show series; where they are as many as before, only their points change. @param {Series} series */
  show(series) {
    if (this.plot && this.plot.series.length === series.size + 1) this.plot.setData(columns(series));
    else this.draw(series);
  }

  /** @param {Series} series */
  draw(series) {
    const strokes = ["--base", "--tuned", "--open", "--good", "--bad"].map((one) => this.colour(one));
    const line = this.colour("--line");
    const axis = { stroke: this.colour("--muted"), grid: { stroke: line, width: 1 }, ticks: { stroke: line } };
    this.plot?.destroy();
    this.place.replaceChildren();
    this.plot = new uPlot(
      {
        width: this.place.clientWidth,
        height: 300,
        scales: { x: { time: false }, y: { distr: falls(series) ? 3 : 1 } },
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
      columns(series),
      this.place,
    );
  }
}
