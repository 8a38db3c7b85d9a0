// Calls of a page that stands in a frame: messages to its parent, a notebook, whose kernel answers.
import { Refused } from "page/refused.js";

let asked = 0;
/** Who hears the answers to a call of the frame. @type {Map<number, (reply: any) => void>} */
const hearing = new Map();
addEventListener("message", ({ source, data: reply }) => { if (source === parent) hearing.get(reply?.id)?.(reply); });

/** One call through the frame: {id, method, path, body} out; {id, json}, {id, header, buffer}, events or an error back.
 * @param {(reply: any) => void} hear @returns {number} its id */
function send(method, path, body, hear) {
  hearing.set(++asked, hear);
  parent.postMessage({ nextword: 1, id: asked, method, path, body: body ? JSON.stringify(body) : "" }, "*");
  return asked;
}

/** One answer. @param {string} method @param {string} path @param {object} [body] @returns {Promise<any>} */
export function messaged(method, path, body) {
  return new Promise((resolve, reject) => {
    const id = send(method, path, body, (reply) => {
      hearing.delete(id);
      if (reply.error) reject(new Refused(reply.error, reply.status));
      else resolve(reply);
    });
  });
}

/** Events, one after the other. The kernel is told where the reader stops before the end.
 * @param {string} path @param {object} body @param {AbortSignal} [signal]
 * @returns {AsyncGenerator<{event: string, data: any}>} */
export async function* heard(path, body, signal) {
  const replies = [];
  let wake = () => {}, begun = false, ended = false;
  const id = send("POST", path, body, (reply) => { replies.push(reply); wake(); });
  const abort = () => wake();
  signal?.addEventListener("abort", abort);
  try {
    for (;;) {
      while (!replies.length && !signal?.aborted) await new Promise((resolve) => { wake = resolve; });
      if (signal?.aborted) throw new DOMException("stopped", "AbortError");
      const reply = replies.shift();
      ended = Boolean(reply.done || reply.error);
      if (reply.error && !begun) throw new Refused(reply.error, reply.status);
      if (reply.done) return;
      begun = true;
      if (reply.error) { yield { event: "error", data: reply.error }; return; }
      yield { event: reply.event, data: JSON.parse(reply.data) };
    }
  } finally {
    hearing.delete(id);
    signal?.removeEventListener("abort", abort);
    if (!ended) parent.postMessage({ nextword: 1, id, stop: true }, "*");
  }
}
