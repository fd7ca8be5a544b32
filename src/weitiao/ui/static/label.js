// @ts-check
// Pairs judged by one key each. What is said is shown at once, kept in this browser, and sent in the background, in the
// order in which it was said, until the server has it: it may be sent twice, and counts once.

import { Problem, call, say as text, tell } from "./app.js";

/** @typedef {{ pair: string, prompt: string, first: string, second: string }} Pair */
/** @typedef {{ to: "judgements" | "corrections", body: { who: string, pair: string, time: string } & Record<string, unknown> }} Op */

/** @param {string} id @returns {any} */
const part = (id) => /** @type {HTMLElement} */ (document.getElementById(id));
const desk = part("desk");
const store = desk.dataset.store ?? "";
const who = desk.dataset.who ?? "";
const base = `/api/feedback/${store.split("/").map(encodeURIComponent).join("/")}`;
const kept = `unsent:${store}:${who}`;
const AHEAD = 30;
const RETRY_MS = 2000;
/** @type {Record<string, "first" | "second" | "tie" | "bad">} */
const SAID = { a: "first", b: "second", t: "tie", n: "bad" };

// Who gave a name once is known by it, also where an address has none.
const name = localStorage.getItem("who");
if (new URLSearchParams(location.search).has("as")) localStorage.setItem("who", who);
else if (name) {
  location.replace(`?as=${encodeURIComponent(name)}`);
  await new Promise(() => {}); // nothing is judged under no name meanwhile
}

const sitting = JSON.parse(part("sitting").textContent ?? "{}");
/** @type {Pair[]} */
let queue = [];
/** @type {{ pair: Pair, skipped: boolean, comment: string }[]} */
const past = [];
/** @type {Set<string>} Pairs that were judged or put off here. */
const gone = new Set();
let { done, total } = sitting;
let shownAt = performance.now();
let isSending = false;
let isFetching = true; // until this page knows what the server has

/** What the server has not got yet: another tab may have sent some of it. @returns {Op[]} */
const unsent = () => JSON.parse(localStorage.getItem(kept) ?? "[]");
/** @param {Op[]} ops */
const keep = (ops) => (ops.length ? localStorage.setItem(kept, JSON.stringify(ops)) : localStorage.removeItem(kept));
/** @param {string} pair */
const draft = (pair) => `draft:${location.pathname}:${pair}`;

/** Take pairs that are new here, and at the beginning what was judged before, to be undone. @param {{ pairs: Pair[], last: Pair[] }} found */
function take({ pairs, last }) {
  const known = new Set(queue.map((one) => one.pair));
  queue.push(...pairs.filter((one) => !gone.has(one.pair) && !known.has(one.pair)));
  if (!past.length) past.push(...last.map((pair) => ({ pair, skipped: false, comment: "" })));
}

function show() {
  const now = queue[0];
  part("pair").hidden = !now;
  part("finished").hidden = Boolean(now) || skipped() + done < total;
  part("done").value = done;
  part("count").textContent = `${done} / ${total}`;
  if (!now) return;
  const { comment = "", better = "" } = JSON.parse(localStorage.getItem(draft(now.pair)) ?? "{}");
  part("comment").value = comment;
  part("text").value = better;
  part("better").hidden = !better;
  for (const name of /** @type {const} */ (["prompt", "first", "second"])) {
    part(name).textContent = now[name].trim() ? now[name] : text("nothing");
    part(name).scrollTop = 0;
  }
  desk.dataset.pair = now.pair;
  shownAt = performance.now();
}

/** Keep what is to be sent, and send it when there is time. @param {Op["to"]} to @param {Record<string, unknown> & { pair: string }} body */
function send(to, body) {
  keep([...unsent(), { to, body: { who, time: new Date().toISOString(), ...body } }]);
  setTimeout(() => void flush());
}

async function flush() {
  if (isSending) {
    await ahead().catch(() => {}); // sending says what is wrong
    return;
  }
  isSending = true;
  let wait = 0;
  try {
    for (let op = unsent()[0]; op; op = unsent()[0]) {
      await call("POST", `${base}/${op.to}`, op.body);
      keep(unsent().filter((one) => one.body.time !== op.body.time || one.body.pair !== op.body.pair || one.to !== op.to));
    }
    part("unsent").textContent = "";
    document.body.dispatchEvent(new CustomEvent("judged"));
    await ahead();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    wait = error.status === 0 || error.status >= 500 ? RETRY_MS : 10 * RETRY_MS;
    part("unsent").textContent = `${text("unsent", { count: unsent().length })} ${error.message} ${error.remedy}`;
  } finally {
    isSending = false;
  }
  if (wait || unsent().length) setTimeout(() => void flush(), wait);
}

/** Pairs that the server has not got a judgement of; those that were put off and those not sent yet are among them. */
const fetchPairs = () => call("GET", `${base}/pairs?${new URLSearchParams({ who, num: String(Math.min(AHEAD + skipped() + unsent().length, 1000)) })}`);
const skipped = () => past.filter((one) => one.skipped).length;

/** Fetch the pairs to come before they are needed. */
async function ahead() {
  if (isFetching || queue.length >= AHEAD / 2 || queue.length + skipped() + done >= total) return;
  isFetching = true;
  try {
    const found = await fetchPairs();
    const wasEmpty = !queue.length;
    take(found);
    if (!unsent().length) ({ done, total } = found);
    if (wasEmpty) show();
  } finally {
    isFetching = false;
  }
}

/** @param {"first" | "second" | "tie" | "bad"} said */
function judge(said) {
  const pair = queue.shift();
  if (!pair) return;
  const comment = part("comment").value.trim();
  past.push({ pair, skipped: false, comment });
  gone.add(pair.pair);
  done += 1;
  localStorage.removeItem(draft(pair.pair));
  const seconds = Math.round((performance.now() - shownAt) / 100) / 10;
  show();
  send("judgements", { pair: pair.pair, said, seconds, comment: comment || null });
}

function skip() {
  const pair = queue.shift();
  if (!pair) return;
  past.push({ pair, skipped: true, comment: "" });
  gone.add(pair.pair);
  show();
  void flush();
}

function undo() {
  const last = past.pop();
  if (!last) return;
  gone.delete(last.pair.pair);
  queue = [last.pair, ...queue.filter((one) => one.pair !== last.pair.pair)];
  if (last.comment) localStorage.setItem(draft(last.pair.pair), JSON.stringify({ comment: last.comment }));
  if (!last.skipped) done -= 1;
  show();
  if (!last.skipped) send("judgements", { pair: last.pair.pair, said: null });
}

/** @param {string} key */
function press(key) {
  if (key in SAID) judge(SAID[key]);
  else if (key === "s") skip();
  else if (key === "u") undo();
  else if (key === "c" && queue.length) part("comment").focus();
  else if (key === "e" && queue.length) {
    part("better").hidden = false;
    part("text").focus();
  } else return false;
  return true;
}

document.addEventListener("keydown", (event) => {
  const field = event.target instanceof Element && event.target.closest("input, textarea, select");
  if (field) {
    if (field.closest("#desk") && (event.key === "Escape" || (event.key === "Enter" && field === part("comment") && !event.isComposing))) {
      event.preventDefault();
      /** @type {HTMLElement} */ (field).blur();
    }
    return;
  }
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  const key = event.key === "Process" ? event.code.replace("Key", "") : event.key; // an input method has the key
  if (press(key.toLowerCase())) event.preventDefault();
});
desk.addEventListener("click", (/** @type {Event} */ event) => {
  const button = event.target instanceof Element ? event.target.closest("button") : null;
  if (button?.dataset.key) press(button.dataset.key);
  else if (button?.dataset.take && queue[0]) {
    part("text").value = queue[0][/** @type {"first" | "second"} */ (button.dataset.take)];
    part("text").dispatchEvent(new Event("input", { bubbles: true }));
    part("text").focus();
  }
});
desk.addEventListener("input", () => {
  if (queue[0]) localStorage.setItem(draft(queue[0].pair), JSON.stringify({ comment: part("comment").value, better: part("text").value }));
});
part("better").addEventListener("submit", (/** @type {Event} */ event) => {
  event.preventDefault();
  const better = part("text").value;
  const now = queue[0];
  part("text").setCustomValidity(!better.trim() || [now.first.trim(), now.second.trim()].includes(better.trim()) ? text("better.same") : "");
  if (!part("better").reportValidity()) return;
  send("corrections", { pair: now.pair, text: better });
  localStorage.setItem(draft(now.pair), JSON.stringify({ comment: part("comment").value }));
  show();
  part("unsent").textContent = text("better.kept");
});
part("text").addEventListener("input", () => part("text").setCustomValidity(""));

if (unsent().length) {
  // What this page was made from does not have it; where the server is away, it is left out of the pairs to come.
  for (const { to, body } of unsent()) if (to === "judgements") body.said ? gone.add(body.pair) : gone.delete(body.pair);
  await flush();
  if (!unsent().length) {
    try {
      Object.assign(sitting, await fetchPairs());
      gone.clear();
    } catch (error) {
      tell(error, part("pair"));
    }
  }
}
({ done, total } = sitting);
isFetching = false;
take(sitting);
show();
