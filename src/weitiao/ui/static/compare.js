// @ts-check
// The losses of several runs over one another.

import { call, say } from "./app.js";
import { Curve, thinned } from "./curve.js";

const place = document.getElementById("curve");

/** @param {HTMLElement} place */
async function draw(place) {
  /** @type {string[]} */
  const runs = JSON.parse(place.dataset.runs ?? "[]");
  const found = await Promise.all(runs.map((name) => call("GET", `/api/runs/${name.split("/").map(encodeURIComponent).join("/")}/metrics?series=loss&points=400`)));
  /** @type {import("./curve.js").Series} */
  const series = new Map();
  runs.forEach((name, i) => {
    if (found[i].train.loss) series.set(name, thinned("step", found[i].train.loss));
    if (found[i].validation.loss) series.set(say("validation", { run: name }), thinned("validation", found[i].validation.loss));
  });
  if (series.size) new Curve(place).draw(series);
  else place.textContent = say("nothing");
}

if (place) void draw(place);
