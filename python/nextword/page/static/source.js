// Where the numbers come from: a server (fetch), a notebook (messages to the frame's parent) or the page's own file.
// The calls are the same; no other module knows which it is.
import { given } from "page/state.js";
import { Refused } from "page/refused.js";

export { Refused };

/** Data that lies in this file. @returns {Record<string, any>|null} */
function embedded() {
  const element = document.getElementById("nextword-data");
  return element ? JSON.parse(element.textContent) : null;
}

const data = embedded();
const frame = () => import("page/frame.js"), stored = () => import("page/stored.js");
/** "file", "frame" or "server". */
export const kind = data?.transport === "frame" ? "frame" : data ? "file" : "server";
export const isFile = kind === "file";
/** What the page shows at first, as a fragment, where its address has none. */
export const view = data?.view ?? "";

/** What POST /api/run was sent for a run, the last ones. @type {Map<string, object>} */
const bodies = new Map();
const RUNS = 64;

/** A call; a run that was forgotten is computed again first, under the same name.
 * @template T @param {() => Promise<T>} attempt @param {(method: string, path: string, body: object) => Promise<any>} send
 * @returns {Promise<T>} */
async function remembering(attempt, send) {
  try {
    return await attempt();
  } catch (fault) {
    const first = fault.status === 410 && bodies.get(fault.failure.run);
    if (!first) throw fault;
    const again = await send("POST", "/api/run", first);
    await again.text?.();  // an answer that is not read keeps its connection
    return attempt();
  }
}

/** A call of the server. @param {string} method @param {string} path @param {object} [body] @returns {Promise<Response>} */
const fetched = (method, path, body, signal) => remembering(() => sent(method, path, body, signal), sent);

/** A call of the notebook. @param {string} method @param {string} path @param {object} [body] @returns {Promise<any>} */
async function messaged(method, path, body) {
  const { messaged: send } = await frame();
  return remembering(() => send(method, path, body), send);
}

/** @param {string} method @param {string} path @param {object} [body] @returns {Promise<Response>} */
async function sent(method, path, body, signal) {
  let answer;
  try {
    answer = await fetch(path, {
      method,
      signal,
      headers: { "X-Nextword-Key": given("key") ?? "", ...(body ? { "Content-Type": "application/json" } : {}) },
      body: body && JSON.stringify(body),
    });
  } catch (fault) {
    if (fault.name === "AbortError") throw fault;
    throw new Refused({ code: "server_gone", message: "no answer" }, 0);
  }
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  throw new Refused(told.error ?? { code: "unknown", message: answer.statusText }, answer.status);
}

/** @param {string} method @param {string} path @param {object} [body] @returns {Promise<any>} JSON */
export async function call(method, path, body) {
  if (kind === "file") return (await stored()).answered(data, method, path, body);
  const found = kind === "server" ? await (await fetched(method, path, body)).json() : JSON.parse((await messaged(method, path, body)).json);
  if (path === "/api/run") {
    bodies.set(found.run, { ...body });
    if (bodies.size > RUNS) bodies.delete(bodies.keys().next().value);
  }
  return found;
}

/** Bytes of the server and what `X-Tensor` says of them.
 * @param {string} path @returns {Promise<{buffer: ArrayBuffer, header: any}>} */
export async function bytes(path) {
  if (kind === "server") {
    const answer = await fetched("GET", path);
    return { buffer: await answer.arrayBuffer(), header: JSON.parse(answer.headers.get("X-Tensor")) };
  }
  if (kind === "frame") {
    const { buffer, header } = await messaged("GET", path);
    return { buffer, header: JSON.parse(header) };
  }
  return (await stored()).binary(data, path);
}

/** Server-sent events of a POST, one after the other, until the reader stops.
 * @param {string} path @param {object} body @param {AbortSignal} [signal]
 * @returns {AsyncGenerator<{event: string, data: any}>} */
export async function* events(path, body, signal) {
  if (kind === "frame") {
    const { heard, messaged: send } = await frame();
    const [first, rest] = await remembering(async () => {
      const stream = heard(path, body, signal);
      return [await stream.next(), stream];
    }, send);
    try {
      if (!first.done) { yield first.value; yield* rest; }
    } finally {
      rest.return();
    }
    return;
  }
  if (kind === "file") { (await stored()).answered(data, "POST", path, body); return; }
  const answer = await fetched("POST", path, body, signal);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    held += value;
    const parts = held.split("\n\n");
    held = parts.pop();
    for (const part of parts) {
      const event = /^event: (.*)$/m.exec(part)?.[1] ?? "message", told = /^data: (.*)$/m.exec(part)?.[1];
      if (told) yield { event, data: JSON.parse(told) };
    }
  }
}

/** A text of the page itself: such as text/de.json. @param {string} path @returns {Promise<any>} */
export async function file(path) {
  if (data) return data.files[path];
  const answer = await fetch(`/page/${path}`);
  if (!answer.ok) throw new Refused({ code: "unknown", message: path }, answer.status);
  return answer.json();
}

/** @type {Map<string, Promise<void>>} */
const styles = new Map();
/** A style sheet that stands before those that are there, which win. @param {string} path @returns {Promise<void>} */
export function style(path) {
  if (data) return Promise.resolve();  // all of them are in the file
  if (!styles.has(path)) {
    const link = Object.assign(document.createElement("link"), { rel: "stylesheet", href: `/page/${path}` });
    styles.set(path, new Promise((resolve, reject) => {
      link.onload = () => resolve();
      link.onerror = () => { styles.delete(path); link.remove(); reject(new Refused({ code: "server_gone", message: path }, 0)); };
    }));
    document.querySelector("link[rel=stylesheet]").before(link);
  }
  return styles.get(path);
}
