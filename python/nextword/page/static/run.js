// The run that is shown: the prompt's (or, with interventions, the changed one), and what was fetched of it.
import { signal, computed, effect, untracked } from "@preact/signals";
import { useState, useEffect } from "preact/hooks";
import { call, bytes, Refused } from "page/source.js";
import { prompt, added, interventions, layer, head, position, news } from "page/state.js";
import { short } from "page/format.js";
import { t } from "page/text.js";

/** GET /api/model. @type {import("@preact/signals").Signal<any>} */
export const model = signal(null);
/** The run without interventions, as POST /api/run gave it. @type {import("@preact/signals").Signal<any>} */
export const base = signal(null);
/** The run that the stations show, and how many of its tokens were appended to the prompt. @type {import("@preact/signals").Signal<any>} */
export const run = signal(null);
/** POST /api/run/R/ablate where there are interventions. @type {import("@preact/signals").Signal<any>} */
export const change = signal(null);
export const busy = signal(false);
/** The last failure, for the banner. @type {import("@preact/signals").Signal<any>} */
export const failure = signal(null);

/** Position 0 .. tokens - 1 that is followed. */
export const at = computed(() => {
  const count = run.value?.tokens.length ?? 0;
  const wanted = position.value < 0 ? count + position.value : position.value;
  return Math.max(0, Math.min(count - 1, wanted));
});

/** Number of the newest request: older answers are dropped. */
let newest = 0, retry = 0;

/** What POST /api/run is sent for a prompt. @param {string} text */
export const bodyOf = (text) => ({ prompt: text, interventions: [], lens: { at: "resid_post", positions: null, top: 5 }, next: 20 });

/** What the banner says of a fault. */
const told = (fault) => (fault instanceof Refused ? { ...fault.failure, status: fault.status } : { code: "unknown", message: String(fault) });
/** Whether the same call may be answered later: nobody was there, or too many asked. */
const passes = (fault) => fault.status === 0 || fault.status === 429;
/** Somebody answers: what the banner said of silence goes. */
export const answered = () => { if (failure.peek() && passes(failure.peek())) failure.value = null; };
/** Whether nobody answers; the banner says so. */
export async function isGone() {
  try {
    await call("GET", "/api/model");
  } catch (fault) {
    if (passes(fault)) failure.value = told(fault);
    return passes(fault);
  }
  return false;
}
/** Milliseconds until it is tried again. @param {number} tries */
export const pause = (tries) => Math.min(8000, 500 * 2 ** tries);

/** Runs the model on what the view says: the prompt, words appended to it, rules that change the run. */
async function look(text, more, rules) {
  const mine = ++newest;
  if (!text) return;
  busy.value = true;
  try {
    const body = bodyOf(text);
    let plain = await once(`run ${text}`, () => call("POST", "/api/run", body));
    if (more.length) {  // by their ids: the text of both, cut anew, might be other tokens
      delete body.prompt;
      body.ids = [...plain.tokens.map((token) => token.id), ...more];
      plain = await once(`run ${body.ids}`, () => call("POST", "/api/run", body));
    }
    let shown = plain, changed = null;
    if (rules.length) {
      shown = await call("POST", "/api/run", { ...body, interventions: rules });
      changed = await call("POST", `/api/run/${plain.run}/ablate`, { interventions: rules, top: 8 });
    }
    if (mine !== newest) return;
    base.value = plain; change.value = changed; run.value = { ...shown, grown: more.length }; failure.value = null;
    layer.value = Math.min(layer.peek(), model.peek().layers - 1);
    head.value = Math.min(head.peek(), model.peek().heads - 1);
    const [first] = shown.next;
    if (first) news.value = t("live.next", { word: shown.texts[first.id] ?? first.id, p: short(first.p) });
    retry = 0;
  } catch (fault) {
    if (mine !== newest) return;
    failure.value = told(fault);
    if (passes(fault)) setTimeout(() => mine === newest && look(text, more, rules), pause(retry++));
  } finally {
    if (mine === newest) busy.value = false;
  }
}

/** Runs anew whenever prompt or interventions change. */
export function followView() {
  effect(() => {
    const text = prompt.value, more = added.value, rules = interventions.value;
    untracked(() => look(text, more, rules));
  });
}

/** What was fetched, by call; the oldest go first. @type {Map<string, Promise<any>>} */
const fetchedOnce = new Map();
function once(name, get) {
  if (!fetchedOnce.has(name)) {
    const promise = get();
    promise.then(answered, () => fetchedOnce.delete(name));
    fetchedOnce.set(name, promise);
    if (fetchedOnce.size > 400) fetchedOnce.delete(fetchedOnce.keys().next().value);
  }
  return fetchedOnce.get(name);
}

/** What arrived since the last frame, shown in the next all at once: what is made of ten answers is not drawn ten times.
 * @type {(() => void)[]} */
let arrivals = [];
const HIDDEN = 100;  // ms: a page that is not seen has no frames
function arrive(show) {
  if (arrivals.push(show) > 1) return;
  const flush = () => {
    cancelAnimationFrame(frame);
    clearTimeout(timer);
    const all = arrivals;
    arrivals = [];
    for (const one of all) one();
  };
  const frame = requestAnimationFrame(flush), timer = setTimeout(flush, HIDDEN);
}

/** A value that arrives, and whether it is what is asked for now: the last one stays until the next is there; null at
 * first, undefined where it was refused.
 * @param {string|null} name  of what is asked for; null asks for nothing
 * @param {() => Promise<any>} get */
function useArrival(name, get) {
  const [state, setState] = useState({ name: null, value: null }), [tries, setTries] = useState(0);
  useEffect(() => {
    if (name === null) return undefined;
    let wanted = true, timer = 0;
    once(name, get).then((value) => arrive(() => wanted && setState({ name, value })),
      (fault) => {
        if (!wanted) return;
        if (passes(fault)) {  // what was there stays
          failure.value = told(fault);
          timer = setTimeout(() => setTries(tries + 1), pause(tries));
          return;
        }
        setState({ name, value: undefined });
      });
    return () => { wanted = false; clearTimeout(timer); };
  }, [name, tries]);
  return [state.value, state.name === name];
}

/** JSON of a POST, asked for once. @param {string} path @param {object} body @returns {Promise<any>} */
export const answer = (path, body) => once(`${path} ${JSON.stringify(body)}`, () => call("POST", path, body));

/** JSON of a POST about the run that is shown, or about the model where path starts with "/api"; `current` is false
 * while it is still the answer to what was asked before. @param {string|null} path @param {object} body @returns {any} */
export function useAnswer(path, body) {
  const id = run.value?.run;
  const whole = path === null || (!id && !path.startsWith("/api")) ? null : path.startsWith("/api") ? path : `/api/run/${id}/${path}`;
  const [found, current] = useArrival(whole && `${whole} ${JSON.stringify(body)}`, () => call("POST", whole, body));
  return found && { ...found, current };
}

/** Numbers of one activation of a run. `rows`, `cols` are ranges "a:b" of its last two axes, `head` of those that have
 * heads. `current` is false while the numbers are still those that were asked for before.
 * @param {string|null} root  of the run: "/api/run/R" @param {string|null} name
 * @param {{head?: number, rows?: string, cols?: string, max?: number, as?: string}} [part]
 * @returns {{values: Float32Array|Uint8Array, shape: number[], header: any, current: boolean}|null} */
export function useTensorOf(root, name, part = {}) {
  const path = root && name !== null ? `${root}/tensor?${new URLSearchParams({ name, as: "f32", ...part })}` : null;
  const [found, current] = useArrival(path, async () => {
    const { buffer, header } = await bytes(path);
    return { values: new (part.as === "u8" ? Uint8Array : Float32Array)(buffer), shape: header.shape, header };
  });
  return found && { ...found, current };
}

/** The same of the run that is shown. @param {string|null} name @param {object} [part] */
export function useTensor(name, part = {}) {
  const known = name !== null && run.value && (name in run.value.names || name.endsWith(".attn.value_weighted"));
  return useTensorOf(known ? `/api/run/${run.value.run}` : null, name, part);
}

/** All heads at a glance: thumbnails and each head's last row.
 * @returns {{header: any, thumbs: Uint8Array, last: Float32Array}|null} */
export function useHeads() {
  const path = run.value ? `/api/run/${run.value.run}/heads?size=32` : null;
  const [found] = useArrival(path, async () => {
    const { buffer, header } = await bytes(path);
    return { header, thumbs: new Uint8Array(buffer, 0, header.last), last: new Float32Array(buffer, header.last) };
  });
  return found;
}

/** One row of an activation [tokens, columns] for the position that is followed. @param {string} name */
export const useRow = (name) => useTensor(name, { rows: `${at.value}:${at.value + 1}` });
