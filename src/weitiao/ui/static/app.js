// @ts-check
// What every page has: calls of the API, errors beside their fields, typed text that survives a reload, light and dark.

const said = JSON.parse(document.getElementById("said")?.textContent ?? "{}");

/** A text of this page in the reader's language. @param {string} key @param {Record<string, unknown>} [values] */
export function say(key, values = {}) {
  return Object.entries(values).reduce((text, [name, value]) => text.replaceAll(`{${name}}`, String(value)), said[key] ?? key);
}

/** What the server refused, in its words. */
export class Problem extends Error {
  /** @param {string} message @param {string} remedy @param {string | null} field @param {number} status */
  constructor(message, remedy, field, status) {
    super(message);
    this.remedy = remedy;
    this.field = field;
    this.status = status;
  }
}

/** Call the API. @param {string} method @param {string} path @param {unknown} [body] @returns {Promise<any>} */
export async function call(method, path, body) {
  /** @type {RequestInit} */
  const request = { method, headers: { Accept: "application/json" } };
  if (body instanceof FormData) request.body = body;
  else if (body !== undefined) {
    request.body = JSON.stringify(body);
    request.headers = { Accept: "application/json", "Content-Type": "application/json" };
  }
  let response;
  try {
    response = await fetch(path, request);
  } catch {
    throw new Problem(say("gone"), say("gone.remedy"), null, 0);
  }
  const text = await response.text();
  const value = text ? JSON.parse(text) : null;
  if (response.ok) return value;
  const error = value?.error ?? { message: response.statusText, remedy: "", field: null };
  throw new Problem(error.message, error.remedy, error.field, response.status);
}

/** Show a problem beside what it is about. @param {unknown} error @param {HTMLElement} near */
export function tell(error, near) {
  clear(near);
  if (!(error instanceof Problem)) throw error;
  const box = document.createElement("p");
  box.className = "problem";
  box.setAttribute("role", "alert");
  box.append(error.message, " ", Object.assign(document.createElement("span"), { textContent: error.remedy }));
  const field = near instanceof HTMLFormElement && error.field ? fieldOf(near, error.field) : null;
  if (field) {
    field.setAttribute("aria-invalid", "true");
    field.closest("details")?.setAttribute("open", "");
    (field.closest("label, .field") ?? field).append(box);
    field.focus();
  } else if (near instanceof HTMLFormElement) near.append(box);
  else near.after(box);
}

/** @param {HTMLFormElement} form @param {string} name @returns {HTMLElement | null} */
function fieldOf(form, name) {
  const found = form.elements.namedItem(name) ?? form.elements.namedItem(name.split(".").at(-1) ?? "");
  return found instanceof HTMLElement ? found : null;
}

/** Take problems away. @param {HTMLElement} near */
export function clear(near) {
  for (const one of [...near.querySelectorAll(".problem")]) one.remove();
  if (near.nextElementSibling?.classList.contains("problem")) near.nextElementSibling.remove();
  for (const one of [...near.querySelectorAll("[aria-invalid]")]) one.removeAttribute("aria-invalid");
}

/** The values of a form as JSON: `a.b` is nested, numbers are numbers, what is empty is left out. @param {HTMLFormElement} form */
export function valuesOf(form) {
  /** @type {Record<string, any>} */
  const values = {};
  for (const field of form.elements) {
    if (!(field instanceof HTMLInputElement || field instanceof HTMLSelectElement || field instanceof HTMLTextAreaElement)) continue;
    if (!field.name || field.disabled || (field.type === "radio" && !(/** @type {HTMLInputElement} */ (field).checked))) continue;
    let value = /** @type {any} */ (field.value);
    const isList = field.hasAttribute("data-list");
    if (field instanceof HTMLInputElement && field.type === "checkbox") {
      if (isList && !field.checked) continue;
      if (!isList) value = field.checked;
    }
    if (value === "" && !field.hasAttribute("data-keep-empty")) continue;
    else if (field instanceof HTMLInputElement && field.type === "number") value = Number(value);
    const path = field.name.split(".");
    const last = /** @type {string} */ (path.pop());
    const inner = path.reduce((at, key) => (at[key] ??= {}), values);
    if (isList) (inner[last] ??= []).push(value);
    else inner[last] = value;
  }
  return values;
}

/** Work that buttons show as going on; its problem stands near. @param {Iterable<HTMLElement>} buttons @param {HTMLElement} near @param {() => Promise<void>} work */
export async function busily(buttons, near, work) {
  for (const one of buttons) one.setAttribute("aria-busy", "true");
  clear(near);
  try {
    await work();
  } catch (error) {
    tell(error, near);
  } finally {
    for (const one of buttons) one.removeAttribute("aria-busy");
  }
}

/** Do what `data-api="METHOD PATH"` says; then `data-then`: `reload`, an address, or an event for the page's script.
 * @param {HTMLElement} element @param {unknown} body */
async function act(element, body) {
  const [method, path] = (element.dataset.api ?? "").split(" ");
  const question = element.dataset.confirm;
  if (question && !confirm(question)) return;
  const buttons = element instanceof HTMLFormElement ? [...element.querySelectorAll("button")] : [element];
  await busily(buttons, element, async () => {
    const result = method === "GET" ? await call(method, `${path}?${new URLSearchParams(/** @type {any} */ (body))}`) : await call(method, path, body);
    forget(element);
    const then = element.dataset.then ?? "reload";
    if (then === "reload") location.reload();
    else if (then.startsWith("/")) location.assign(then.replaceAll(/\{(\w+)\}/g, (_, key) => encodeURI(result[key] ?? "")));
    else element.dispatchEvent(new CustomEvent(then, { detail: result, bubbles: true }));
  });
}

/** @param {HTMLElement} form */
const draftKey = (form) => `draft:${location.pathname}:${form.dataset.draft}`;

const UNKEPT = new Set(["file", "password", "hidden"]);

/** @param {HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement} field */
function nameOf(field) {
  if (!field.hasAttribute("data-list")) return field.name;
  return field.type === "checkbox" ? `${field.name}=${field.value}` : `${field.name}#${[...(field.form?.elements ?? [])].indexOf(field)}`;
}

/** What was typed has arrived. @param {HTMLElement} form */
export function forget(form) {
  if (form.dataset.draft) localStorage.removeItem(draftKey(form));
}

/** Whether a field holds what the page came with. @param {HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement} field */
function isAsServed(field) {
  if (field instanceof HTMLSelectElement) return [...field.options].every((one) => one.selected === one.defaultSelected);
  if (field.type === "checkbox" || field.type === "radio") return /** @type {HTMLInputElement} */ (field).checked === /** @type {HTMLInputElement} */ (field).defaultChecked;
  return field.value === field.defaultValue;
}

/** Keep what is typed until it is sent. @param {HTMLFormElement} form */
function keepDraft(form) {
  const kept = JSON.parse(localStorage.getItem(draftKey(form)) ?? "{}");
  const fields = () => [...form.elements].filter((one) => one instanceof HTMLInputElement || one instanceof HTMLTextAreaElement || one instanceof HTMLSelectElement);
  const early = fields().filter((one) => !UNKEPT.has(one.type) && !isAsServed(one)); // typed before this script was there
  for (const field of fields()) {
    if (!(nameOf(field) in kept) || UNKEPT.has(field.type) || early.includes(field)) continue;
    if (field instanceof HTMLInputElement && field.type === "checkbox") field.checked = kept[nameOf(field)];
    else if (field instanceof HTMLInputElement && field.type === "radio") field.checked = kept[nameOf(field)] === field.value;
    else field.value = kept[nameOf(field)];
  }
  const keep = () => {
    /** @type {Record<string, string | boolean>} */
    const now = {};
    for (const field of fields()) {
      if (UNKEPT.has(field.type) || isAsServed(field)) continue;
      if (field instanceof HTMLInputElement && field.type === "checkbox") now[nameOf(field)] = field.checked;
      else if (field instanceof HTMLInputElement && field.type === "radio") { if (field.checked) now[nameOf(field)] = field.value; }
      else now[nameOf(field)] = field.value;
    }
    localStorage.setItem(draftKey(form), JSON.stringify(now));
  };
  form.addEventListener("input", keep);
  if (early.length) keep();
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!(form instanceof HTMLFormElement) || !form.dataset.api) return;
  event.preventDefault();
  const body = form.enctype === "multipart/form-data" ? new FormData(form) : valuesOf(form);
  form.dispatchEvent(new CustomEvent("values", { detail: body })); // a page's script may change them
  void act(form, body);
});
document.addEventListener("click", (event) => {
  const button = event.target instanceof Element ? event.target.closest("button[data-api]") : null;
  if (button instanceof HTMLElement) void act(button, button.dataset.body ? JSON.parse(button.dataset.body) : {});
});
for (const form of document.querySelectorAll("form[data-draft]")) if (form instanceof HTMLFormElement) keepDraft(form);

const root = document.documentElement;
const theme = localStorage.getItem("theme");
if (theme) root.dataset.theme = theme;
document.getElementById("theme")?.addEventListener("click", () => {
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("theme", root.dataset.theme);
});
for (const one of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-language]"))) {
  one.addEventListener("click", () => {
    document.cookie = `language=${one.dataset.language};path=/;max-age=31536000;samesite=strict`;
    location.reload();
  });
}

/** Times as this place writes them. */
for (const time of document.querySelectorAll("time[datetime]")) {
  const at = new Date(time.getAttribute("datetime") ?? "");
  if (!Number.isNaN(at.getTime())) time.textContent = at.toLocaleString(root.lang, { dateStyle: "medium", timeStyle: "short" });
}
