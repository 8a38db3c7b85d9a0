// Where the numbers come from: a server (fetch), a notebook (messages to the frame's parent) or the page's own file.
// The calls are the same; no other module knows which it is.
import { given } from "page/state.js";
import { bytesOf, cut } from "page/stored.js";

/** An answer that is no result. `failure` has the server's {code, message, ...}. */
export class Refused extends Error {
  /** @param {{code: string, message: string}} failure @param {number} status  of HTTP; 0 where nobody answered */
  constructor(failure, status) {
    super(failure.message);
    this.failure = failure;
    this.status = status;
  }
}

/** Data that lies in this file. @returns {Record<string, any>|null} */
function embedded() {
  const element = document.getElementById("nextword-data");
  return element ? JSON.parse(element.textContent) : null;
}

const data = embedded();
/** "file", "frame" or "server". */
export const kind = data?.transport === "frame" ? "frame" : data ? "file" : "server";

/** What POST /api/run was sent for a run, the last ones. @type {Map<string, object>} */
const bodies = new Map();
const RUNS = 64;

/** A call; a run that the server has forgotten is computed again first, under the same name.
 * @param {string} method @param {string} path @param {object} [body] @returns {Promise<Response>} */
async function fetched(method, path, body, signal) {
  try {
    return await sent(method, path, body, signal);
  } catch (fault) {
    const first = fault.status === 410 && bodies.get(fault.failure.run);
    if (!first) throw fault;
    await sent("POST", "/api/run", first, signal);
    return sent(method, path, body, signal);
  }
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

let asked = 0;
/** @type {Map<number, {resolve: Function, reject: Function}>} */
const waiting = new Map();
if (kind === "frame") {
  addEventListener("message", ({ source, data: reply }) => {
    const call = source === parent && waiting.get(reply?.id);
    if (!call) return;
    waiting.delete(reply.id);
    if (reply.error) call.reject(new Refused(reply.error, reply.status ?? 400));
    else call.resolve(reply);
  });
}

/** One call through the frame: {id, method, path, body} out, {id, json} or {id, buffer, headers} back. */
function messaged(method, path, body) {
  const id = ++asked;
  return new Promise((resolve, reject) => {
    waiting.set(id, { resolve, reject });
    parent.postMessage({ nextword: 1, id, method, path, body: body ?? null }, "*");
  });
}

/** What the file holds under "POST /api/run" and the like; a call that it lacks is refused.
 * @param {string} method @param {string} path @param {object} [body] */
function stored(method, path, body) {
  const name = `${method} ${path}`, exact = body ? `${name} ${JSON.stringify(body)}` : name;
  const found = data.answers[exact];
  if (found === undefined) throw new Refused({ code: "not_in_file", message: "not in this file" }, 404);
  return found;
}

/** @param {string} method @param {string} path @param {object} [body] @returns {Promise<any>} JSON */
export async function call(method, path, body) {
  if (kind === "server") {
    const found = await (await fetched(method, path, body)).json();
    if (path === "/api/run") {
      bodies.set(found.run, { ...body });
      if (bodies.size > RUNS) bodies.delete(bodies.keys().next().value);
    }
    return found;
  }
  return kind === "frame" ? (await messaged(method, path, body)).json : stored(method, path, body);
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
    return { buffer, header };
  }
  const asked = new URLSearchParams(path.split("?")[1]), held = data.tensors[asked.get("name")];
  const part = held && path.startsWith(`/api/run/${data.run}/tensor?`) ? cut(held, asked) : null;
  if (part) return part;
  const found = stored("GET", path);
  return { buffer: bytesOf(found.base64), header: found.header };
}

/** Server-sent events of a POST, one after the other, until the reader stops.
 * @param {string} path @param {object} body @param {AbortSignal} [signal]
 * @returns {AsyncGenerator<{event: string, data: any}>} */
export async function* events(path, body, signal) {
  if (kind !== "server") throw new Refused({ code: "not_in_file", message: "not in this file" }, 404);
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
