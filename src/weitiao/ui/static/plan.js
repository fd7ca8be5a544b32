// @ts-check
// The settings of a recipe: found by words, sent only where they changed; the device, chosen and shown at once.

import { say } from "./app.js";

const where = /** @type {HTMLFormElement} */ (document.getElementById("where"));
where.addEventListener("change", () => where.requestSubmit());

const form = /** @type {HTMLFormElement} */ (document.getElementById("settings"));
const search = /** @type {HTMLInputElement} */ (document.getElementById("search"));
const rows = /** @type {HTMLElement[]} */ ([...form.querySelectorAll("[data-setting]")]);

/** What a field means: JSON where it is that, a text where it is not, the default where it is empty.
 * @param {HTMLInputElement | HTMLSelectElement} field @returns {unknown} */
function valueOf(field) {
  if (field.value === "") return defaultOf(field);
  if ("text" in field.dataset) return field.value;
  try {
    return JSON.parse(field.value);
  } catch {
    return field.value;
  }
}

/** @param {HTMLElement} field @returns {unknown} */
const defaultOf = (field) => JSON.parse(field.dataset.default ?? "null");
/** @param {unknown} one @param {unknown} other */
const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);

/** The fields that say something else than the recipe. */
function changed() {
  const fields = rows.map((row) => /** @type {HTMLInputElement | HTMLSelectElement} */ (row.querySelector("input, select")));
  return fields.filter((field) => {
    const is = !same(valueOf(field), JSON.parse(field.dataset.was ?? "null"));
    field.closest(".setting")?.classList.toggle("changed", is);
    return is;
  });
}

function show() {
  const num = changed().length;
  /** @type {HTMLElement} */ (document.getElementById("save")).hidden = !num;
  /** @type {HTMLElement} */ (document.getElementById("changed")).textContent = say("changed", { count: num });
}

form.addEventListener("input", show);
form.addEventListener("reset", () => setTimeout(() => form.dispatchEvent(new Event("input"))));
form.addEventListener("values", (event) => {
  const fields = changed();
  const body = /** @type {CustomEvent} */ (event).detail;
  for (const key of Object.keys(body)) delete body[key];
  body.etag = form.dataset.etag;
  body.changes = {};
  body.none = [];
  for (const field of fields) {
    const value = valueOf(field);
    if (same(value, defaultOf(field))) body.changes[field.name] = null;
    else if (value === null) body.none.push(field.name);
    else body.changes[field.name] = value;
  }
});

/** Show what has all the words that are searched for, and open the groups that have some of it. */
search.addEventListener("input", () => {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const row of rows) row.hidden = !words.every((word) => (row.textContent ?? "").toLowerCase().includes(word));
  let found = 0;
  for (const group of /** @type {NodeListOf<HTMLDetailsElement>} */ (form.querySelectorAll("[data-group]"))) {
    const some = group.querySelectorAll("[data-setting]:not([hidden])").length;
    found += some;
    group.hidden = !some;
    group.open = words.length ? some > 0 : group.dataset.group === "open";
  }
  /** @type {HTMLElement} */ (document.getElementById("nothing")).hidden = found > 0;
});
show();
