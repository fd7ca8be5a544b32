// @ts-check
// A new project: its folder first, then the files.

import { busily, call, forget } from "./app.js";
import { bring } from "./bring.js";

const form = /** @type {HTMLFormElement} */ (document.getElementById("new"));
let made = "";

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = (/** @type {string} */ field) => /** @type {HTMLInputElement} */ (form.elements.namedItem(field)).value.trim();
  await busily(form.querySelectorAll("button"), form, async () => {
    if (made !== text("name")) made = (await call("POST", "/api/projects", { name: text("name"), model: text("model") })).name;
    await bring(form, made);
    forget(form);
    location.assign(`/projects/${encodeURIComponent(made)}/data`);
  });
});
