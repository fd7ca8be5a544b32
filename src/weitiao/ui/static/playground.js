// @ts-check
// Several models answer the same message, side by side, as they write; each token with its probability. Blind, two of
// them answer as A and B, and who they are is said after the vote. The conversation is kept in this browser.

import { Problem, call, clear, say, tell, valuesOf } from "./app.js";
import { streamed } from "./asking.js";

/** @typedef {{ token: string, logprob: number, top_logprobs: { token: string, logprob: number }[] }} Odds */
/** @typedef {{ model: string, pieces: [string, Odds[]][], state: string, tokens: number, seconds: number }} Answer */
/** @typedef {"first" | "second" | "tie" | "bad"} Said */
/** @typedef {{ message: string, system: string, isBlind: boolean, said: Said | null, shownAt: number, answers: Answer[], sampling: Record<string, number> }} Turn */

/** @param {string} id @returns {any} */
const part = (id) => document.getElementById(id);
/** @param {string} tag @param {string} className @param {string} text */
const element = (tag, className, text) => Object.assign(document.createElement(tag), { className, textContent: text });
const KEPT = "playground";
const TOP = 5;
/** @type {Record<string, Said>} */
const SAID = { a: "first", b: "second", t: "tie", n: "bad" };
/** @type {Turn[]} */
let turns = JSON.parse(localStorage.getItem(KEPT) ?? "[]");
/** @type {AbortController | null} */
let running = null;
const play = part("play");
const server = play?.dataset.server ?? "";

/** @param {Answer} answer */
const textOf = (answer) => answer.pieces.map(([text]) => text).join("");
/** @param {number} logprob */
const share = (logprob) => `${(100 * Math.exp(logprob)).toPrecision(2)} %`;

/** Keep the conversation; the oldest turns go where the browser has no room for all. */
function keep() {
  for (let kept = turns; ; kept = kept.slice(1)) {
    try {
      localStorage.setItem(KEPT, JSON.stringify(kept));
      return;
    } catch (error) {
      if (!kept.length) throw error;
    }
  }
}

/** What a model is asked: the turns in which it answered, and the message; in a blind turn the message alone, so that
 * both are asked the same. @param {string} model @param {number} at */
function messagesFor(model, at) {
  const told = turns[at].isBlind ? [] : turns.slice(0, at).filter((turn) => !turn.isBlind);
  const before = told.flatMap((turn) => {
    const own = turn.answers.find((one) => one.model === model);
    return own && textOf(own) ? [{ role: "user", content: turn.message }, { role: "assistant", content: textOf(own) }] : [];
  });
  const { system, message } = turns[at];
  return [...(system ? [{ role: "system", content: system }] : []), ...before, { role: "user", content: message }];
}

/** @param {HTMLElement} place @param {[string, Odds[]]} piece */
function addPiece(place, [text, odds]) {
  const span = element("span", "", text);
  if (odds.length) {
    const least = Math.exp(Math.min(...odds.map((one) => one.logprob)));
    span.className = least < 0.1 ? "token unlikely" : least < 0.5 ? "token open" : "token";
    Object.assign(span, { odds });
  }
  place.append(span);
}

/** @param {Answer} answer */
function footOf({ state, tokens, seconds }) {
  const speed = tokens && seconds ? say("speed", { tokens, speed: (tokens / seconds).toPrecision(3) }) : "";
  return [say(`state.${state}`), speed].filter(Boolean).join(" · ");
}

/** @param {number} at */
function drawTurn(at) {
  const turn = turns[at];
  const isHidden = turn.isBlind && !turn.said;
  const place = element("article", "turn", "");
  const columns = element("div", "answers", "");
  for (const [index, answer] of turn.answers.entries()) {
    const letter = turn.isBlind ? "AB"[index] : "";
    const column = document.createElement("div");
    const written = element("pre", "said", "");
    written.tabIndex = 0;
    for (const piece of answer.pieces) addPiece(written, isHidden ? [piece[0], []] : piece);
    column.append(element("h2", "", isHidden ? letter : [letter, answer.model].filter(Boolean).join(" · ")), written);
    column.append(element("p", "muted small foot", isHidden ? (answer.state === "writing" ? say("state.writing") : "") : footOf(answer)));
    columns.append(column);
  }
  place.append(element("pre", "said mine", turn.message), columns);
  if (isHidden && turn.answers.every((one) => one.state !== "writing")) {
    if (textOf(turn.answers[0]).trim() === textOf(turn.answers[1]).trim()) place.append(element("p", "muted", say("same")));
    else place.append(part("vote").content.cloneNode(true));
  } else if (turn.said) place.append(element("p", "muted", say(`said.${turn.said}`)));
  part("turns").children[at] ? part("turns").children[at].replaceWith(place) : part("turns").append(place);
}

/** Let a model write its answer. @param {number} at @param {number} index @param {boolean} withOdds @param {AbortSignal} signal */
async function write(at, index, withOdds, signal) {
  const turn = turns[at];
  const answer = turn.answers[index];
  const body = { model: answer.model, messages: messagesFor(answer.model, at), stream: true, stream_options: { include_usage: true }, ...turn.sampling };
  const asked = withOdds ? { ...body, logprobs: true, top_logprobs: TOP } : body;
  const begun = performance.now();
  try {
    for await (const chunk of streamed(server, "chat/completions", asked, signal)) {
      take(at, index, chunk);
      answer.seconds = (performance.now() - begun) / 1000;
    }
    if (answer.state === "writing") answer.state = "broken";
  } catch (error) {
    answer.state = "broken";
    if (!(error instanceof Error) || error.name !== "AbortError") tell(error instanceof Problem ? error : new Problem(say("gone"), say("gone.remedy"), null, 0), part("ask"));
  }
  keep();
  drawTurn(at);
}

/** A piece of an answer. @param {number} at @param {number} index @param {any} chunk */
function take(at, index, chunk) {
  const answer = turns[at].answers[index];
  if (chunk.usage) answer.tokens = chunk.usage.completion_tokens;
  const choice = chunk.choices[0];
  if (!choice) return;
  if (choice.finish_reason) answer.state = choice.finish_reason;
  const text = (choice.delta.reasoning_content ?? "") + (choice.delta.content ?? "");
  if (!text) return;
  /** @type {[string, Odds[]]} */
  const piece = [text, choice.logprobs?.content ?? []];
  answer.pieces.push(piece);
  const written = part("turns").children[at].querySelectorAll(".answers .said")[index];
  addPiece(written, turns[at].isBlind ? [text, []] : piece);
  written.scrollTop = written.scrollHeight;
}

/** Two of them, in an order that a coin decides. @param {string[]} models */
function drawn(models) {
  const left = [...models];
  return [1, 2].flatMap(() => left.splice(crypto.getRandomValues(new Uint32Array(1))[0] % left.length, 1));
}

/** @param {Event} event */
async function ask(event) {
  event.preventDefault();
  if (running) return;
  clear(part("ask"));
  const { models: _models, system = "", odds, blind, who: _, ...sampling } = valuesOf(part("settings"));
  const chosen = [...part("settings").querySelectorAll("[name=models]:checked")].map((one) => one.value);
  if (chosen.length < (blind ? 2 : 1)) {
    tell(new Problem(say(blind ? "choose.two" : "choose.one"), "", null, 0), part("ask"));
    return;
  }
  const words = blind ? drawn(chosen) : chosen;
  const field = part("ask").elements.namedItem("message");
  const answers = words.map((model) => ({ model, pieces: [], state: "writing", tokens: 0, seconds: 0 }));
  const at = turns.push({ message: field.value, system, isBlind: blind, said: null, shownAt: 0, answers, sampling }) - 1;
  field.value = "";
  field.dispatchEvent(new Event("input", { bubbles: true }));
  drawTurn(at);
  part("turns").lastElementChild?.scrollIntoView({ block: "nearest" });
  running = new AbortController();
  part("halt").hidden = false;
  const saving = setInterval(keep, 1000);
  await Promise.all(answers.map((_, index) => write(at, index, odds, /** @type {AbortController} */ (running).signal)));
  clearInterval(saving);
  running = null;
  part("halt").hidden = true;
  turns[at].shownAt = Date.now();
  keep();
  if (blind) /** @type {HTMLElement} */ (document.activeElement)?.blur();
}

/** @param {Said} said */
async function vote(said) {
  const at = turns.length - 1;
  const turn = turns[at];
  if (!turn?.isBlind || turn.said || running) return;
  const [first, second] = turn.answers.map((one) => ({ model: one.model, text: textOf(one), sampling: turn.sampling }));
  if (first.text.trim() === second.text.trim()) return;
  const who = part("settings").elements.namedItem("who").value;
  const time = new Date();
  try {
    const seconds = Math.max(0, Math.round((time.getTime() - turn.shownAt) / 100) / 10);
    const kept = await call("POST", "/api/playground/votes", { who, messages: messagesFor(first.model, at), first, second, said, seconds, time: time.toISOString() });
    turn.said = said;
    const link = Object.assign(element("a", "", say("kept")), { href: `/label/${encodeURIComponent(kept.store)}` });
    part("kept").replaceChildren(link);
  } catch (error) {
    tell(error, part("ask"));
  }
  keep();
  drawTurn(at);
}

/** @param {Event} event */
function showOdds(event) {
  const found = event.target instanceof Element ? /** @type {Element & { odds?: Odds[] }} */ (event.target).odds : undefined;
  if (!found) return;
  part("odds").hidden = false;
  part("odds").replaceChildren(
    ...found.flatMap((one) => [
      element("strong", "", `${JSON.stringify(one.token)} ${share(one.logprob)}`),
      ` ${say("instead")} ${one.top_logprobs.filter((other) => other.token !== one.token).map((other) => `${JSON.stringify(other.token)} ${share(other.logprob)}`).join("  ")} `,
    ]),
  );
}

/** Wait until the server is ready, or ended. @param {string} name */
async function wait(name) {
  const { state } = await call("GET", `/api/servers/${name}`);
  if (state === "loading") setTimeout(() => wait(name).catch((error) => tell(error, play)), 1000);
  else location.reload();
}

if (play?.dataset.loading) void wait(play.dataset.loading).catch((error) => tell(error, play));
if (server) {
  for (const turn of turns) for (const answer of turn.answers) if (answer.state === "writing") answer.state = "broken";
  part("settings").elements.namedItem("who").value ||= localStorage.getItem("who") ?? "";
  turns.forEach((_, at) => drawTurn(at));
  part("ask").addEventListener("submit", ask);
  part("ask").addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) part("ask").requestSubmit();
  });
  part("settings").addEventListener("submit", (/** @type {Event} */ event) => event.preventDefault());
  part("halt").addEventListener("click", () => running?.abort());
  part("fresh").addEventListener("click", () => {
    running?.abort();
    turns = [];
    keep();
    part("turns").replaceChildren();
    part("odds").hidden = true;
  });
  for (const kind of ["mouseover", "click"]) part("turns").addEventListener(kind, showOdds);
  part("turns").addEventListener("click", (/** @type {Event} */ event) => {
    const button = event.target instanceof Element ? event.target.closest("[data-key]") : null;
    if (button instanceof HTMLElement) void vote(SAID[button.dataset.key ?? ""]);
  });
  document.addEventListener("keydown", (event) => {
    if (event.target instanceof Element && event.target.closest("input, textarea, select")) return;
    if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    const key = (event.key === "Process" ? event.code.replace("Key", "") : event.key).toLowerCase();
    if (key in SAID) void vote(SAID[key]);
  });
}
