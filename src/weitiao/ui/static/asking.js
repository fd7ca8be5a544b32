// @ts-check
// Asking a server of models: what it writes comes in pieces.

import { Problem, say } from "./app.js";

/** The pieces of an answer, as OpenAI's interface has them. @param {string} server @param {string} path @param {unknown} body @param {AbortSignal} signal
 * @returns {AsyncGenerator<any>} */
export async function* streamed(server, path, body, signal) {
  let reply;
  try {
    reply = await fetch(`/api/servers/${server}/v1/${path}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal });
  } catch (error) {
    throw error instanceof Error && error.name === "AbortError" ? error : new Problem(say("gone"), say("gone.remedy"), null, 0);
  }
  if (!reply.ok || !reply.body) {
    const { message = reply.statusText, remedy = "", param = null } = (await reply.json()).error ?? {};
    throw new Problem(message, remedy, param, reply.status);
  }
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (let { value, done } = await reader.read(); !done; { value, done } = await reader.read()) {
    const events = (rest + value).split("\n\n");
    rest = events.pop() ?? "";
    for (const event of events) {
      if (!event.startsWith("data: {")) continue;
      const chunk = JSON.parse(event.slice(6));
      if (chunk.error) throw new Problem(chunk.error.message, "", null, 500);
      yield chunk;
    }
  }
}
