// @ts-check
// What the columns of a source are, by example: a row, what each column of it is, and at once what the model would see.

import { Problem, busily, call, clear, say, tell } from "./app.js";
import { bring } from "./bring.js";

const page = /** @type {HTMLElement} */ (document.getElementById("data"));
const api = `/api/projects/${(page.dataset.name ?? "").split("/").map(encodeURIComponent).join("/")}/data`;
const place = JSON.parse(page.dataset.place ?? "{}");
const MOST = 40;

const files = /** @type {HTMLFormElement} */ (document.getElementById("bring"));
files.addEventListener("submit", async (event) => {
  event.preventDefault();
  await busily(files.querySelectorAll("button"), files, async () => {
    if (await bring(files, page.dataset.name ?? "")) location.reload();
  });
});

const form = document.getElementById("map");
if (form instanceof HTMLFormElement) edit(form);

/** @param {HTMLFormElement} form */
function edit(form) {
  const table = /** @type {HTMLElement} */ (document.getElementById("columns"));
  const preview = /** @type {HTMLElement} */ (document.getElementById("preview"));
  const which = /** @type {HTMLElement} */ (document.getElementById("which"));
  const rest = /** @type {HTMLElement} */ (document.getElementById("rest"));
  const link = /** @type {HTMLAnchorElement} */ (document.getElementById("edit"));
  const filter = /** @type {HTMLInputElement} */ (document.getElementById("filter"));
  const texts = [...form.querySelectorAll("textarea")];
  const key = `mapping:${page.dataset.name}:${place.part}:${place.source}`;
  /** @type {{ roles: Record<string, string>, templates: Record<string, string> } | null} what was chosen here, if anything was */
  let chosen = JSON.parse(localStorage.getItem(key) ?? "null");
  /** @type {{ roles: Record<string, string>, templates: Record<string, string> }} */
  let shown = { roles: {}, templates: {} };
  /** @type {[string, string][]} */
  let row = [];
  let stamp = "", record = "answer", asked = 0;

  async function ask() {
    const number = ++asked;
    preview.setAttribute("aria-busy", "true");
    try {
      const told = await call("POST", `${api}/preview`, { ...place, ...(chosen ?? {}) });
      if (number !== asked) return;
      row = told.row;
      stamp ||= told.stamp;
      record = told.record;
      place.row = told.number;
      shown = chosen ?? { roles: told.roles, templates: told.templates };
      which.textContent = say("which", { number: told.number + 1, count: told.count });
      link.hidden = false;
      link.href = `/projects/${page.dataset.name}/data/row?part=${place.part}&source=${place.source}&row=${told.number + 1}`;
      columns();
      sequences(told);
    } catch (error) {
      preview.replaceChildren();
      tell(error, preview);
    } finally {
      if (number === asked) preview.removeAttribute("aria-busy");
    }
  }

  function columns() {
    const wanted = filter.value.toLowerCase();
    const found = row.filter(([name]) => name.toLowerCase().includes(wanted) || shown.roles[name]);
    found.sort((a, b) => Number(b[0] in shown.roles) - Number(a[0] in shown.roles));
    filter.hidden = row.length <= MOST;
    rest.hidden = found.length <= MOST;
    rest.textContent = say("rest", { count: found.length - MOST });
    const choices = /** @type {HTMLTemplateElement} */ (document.getElementById(`roles-${record}`)).content;
    table.replaceChildren(...found.slice(0, MOST).map(([name, value]) => {
      const line = document.createElement("tr");
      const head = document.createElement("th");
      head.scope = "row";
      head.append(Object.assign(document.createElement("span"), { className: "mono", textContent: name }));
      head.append(Object.assign(document.createElement("p"), { className: "value", textContent: value }));
      const select = document.createElement("select");
      select.setAttribute("aria-label", name);
      select.append(choices.cloneNode(true));
      select.value = shown.roles[name] ?? "";
      select.addEventListener("change", () => choose({ ...shown, roles: { ...shown.roles, [name]: select.value } }));
      const cell = document.createElement("td");
      cell.append(select);
      line.append(head, cell);
      return line;
    }));
    for (const text of texts) if (document.activeElement !== text) text.value = shown.templates[text.name] ?? "";
    const details = /** @type {HTMLDetailsElement} */ (document.getElementById("templates"));
    if (texts.some((one) => one.value)) details.open = true;
    details.hidden = record !== "answer" && record !== "prompt";
  }

  /** @param {any} told */
  function sequences(told) {
    preview.replaceChildren();
    clear(preview);
    for (const one of told.sequences ?? []) {
      const label = one.label ? `${one.label}: ` : "";
      preview.append(Object.assign(document.createElement("p"), { className: "small muted", textContent: label + say("facts", one) }));
      const text = document.createElement("pre");
      for (const [part, learned, special] of one.pieces) {
        text.append(Object.assign(document.createElement("span"), { className: `${learned ? "learned" : "muted"}${special ? " special" : ""}`, textContent: part }));
      }
      preview.append(text);
      text.scrollTop = Math.max(0, (/** @type {HTMLElement | null} */ (text.querySelector(".learned"))?.offsetTop ?? 0) - text.offsetTop - text.clientHeight / 2);
    }
    if (told.error) tell(new Problem(told.error, told.remedy, null, 400), preview);
  }

  /** @param {typeof shown} now */
  function choose(now) {
    const roles = Object.fromEntries(Object.entries(now.roles).filter(([, role]) => role));
    const templates = Object.fromEntries(Object.entries(now.templates).filter(([, text]) => text));
    shown = chosen = { roles, templates };
    localStorage.setItem(key, JSON.stringify(chosen));
    void ask();
  }

  let timer = 0;
  for (const text of texts) {
    text.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => choose({ ...shown, templates: Object.fromEntries(texts.map((one) => [one.name, one.value])) }), 300);
    });
  }
  filter.addEventListener("input", columns);
  for (const button of document.querySelectorAll("[data-step]")) {
    button.addEventListener("click", () => {
      place.row = Math.max(0, place.row + Number(/** @type {HTMLElement} */ (button).dataset.step));
      history.replaceState(null, "", `?part=${place.part}&source=${place.source}&row=${place.row}`);
      void ask();
    });
  }
  document.getElementById("reset")?.addEventListener("click", () => {
    localStorage.removeItem(key);
    chosen = null;
    void ask();
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    clear(form);
    try {
      await call("POST", `${api}/mapping`, { ...place, ...shown, etag: page.dataset.etag, stamp });
      localStorage.removeItem(key);
      location.reload();
    } catch (error) {
      tell(error, form);
    }
  });
  void ask();
}
