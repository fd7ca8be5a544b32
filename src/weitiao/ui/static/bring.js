// @ts-check
// Files that are brought to a project: sent one after the other, or named where they lie already.

import { call, Problem, say } from "./app.js";

const MOST_BYTES = 2 ** 30;

/** Send one file, and show how far it is. @param {string} project @param {File} file @param {HTMLProgressElement | null} bar
 * @returns {Promise<string>} */
function send(project, file, bar) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("PUT", `/api/uploads/${project}?file=${encodeURIComponent(file.name)}`);
    request.setRequestHeader("Accept", "application/json");
    request.upload.onprogress = (event) => { if (bar) bar.value = event.loaded / event.total; };
    request.onerror = () => reject(new Problem(say("gone"), say("gone.remedy"), "files", 0));
    request.onload = () => {
      const value = request.responseText ? JSON.parse(request.responseText) : {};
      if (request.status < 300) resolve(value.file);
      else reject(new Problem(value.error?.message ?? request.statusText, value.error?.remedy ?? "", "files", request.status));
    };
    request.send(file);
  });
}

/** Bring what a form names to a project, and let its recipe have it; false where the form names nothing.
 * @param {HTMLFormElement} form @param {string} name */
export async function bring(form, name) {
  const project = name.split("/").map(encodeURIComponent).join("/");
  const chosen = [.../** @type {HTMLInputElement} */ (form.elements.namedItem("files")).files ?? []];
  const there = form.elements.namedItem("there");
  const files = there instanceof HTMLSelectElement ? [...there.selectedOptions].map((one) => one.value) : [];
  if (!chosen.length && !files.length) return false;
  const large = chosen.find((one) => one.size > MOST_BYTES);
  if (large) throw new Problem(say("large", { name: large.name }), say("large.remedy"), "files", 413);
  const bar = form.querySelector("progress");
  if (bar) bar.hidden = false;
  try {
    for (const file of chosen) files.push(await send(project, file, bar));
    bar?.removeAttribute("value");
    const { etag } = await call("GET", `/api/projects/${project}/recipe`);
    const part = form.elements.namedItem("part");
    await call("POST", `/api/projects/${project}/data/files`, {
      files, etag: form.dataset.etag ?? etag, ...(part instanceof HTMLSelectElement ? { part: part.value } : {}),
    });
  } finally {
    if (bar) bar.hidden = true;
  }
  return true;
}
