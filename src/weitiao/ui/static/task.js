// @ts-check
// What each metric gives an answer that was typed.

import { say } from "./app.js";

const list = /** @type {HTMLElement} */ (document.getElementById("grades"));
document.getElementById("try")?.addEventListener("graded", (event) => {
  /** @type {{ metric: string, grade: number | null, problem: string, about: string }[]} */
  const grades = /** @type {CustomEvent} */ (event).detail;
  list.replaceChildren(...grades.map((one) => {
    const line = document.createElement("li");
    const share = one.grade === null ? say("none") : `${Math.round(one.grade * 100)}%`;
    line.append(Object.assign(document.createElement("b"), { textContent: `${share} `, className: one.grade === 1 ? "good" : "" }));
    const option = document.querySelector(`select[name=metric] option[value=${one.metric}]`);
    line.append(option?.textContent ?? one.metric, " ", Object.assign(document.createElement("span"), { className: "small muted", textContent: one.problem || one.about }));
    return line;
  }));
});
