// What the view shows, as signals, and its address: the fragment holds all of it, so that a link restores the view.
import { signal, effect, batch } from "@preact/signals";
import { language } from "page/text.js";

/** Fields of the view: name -> [signal, default, from text]. All that a link restores stands here. */
const text = (value) => value, number = Number;
const json = (value) => { try { return JSON.parse(value); } catch { return undefined; } };

export const screen = signal("walk");
export const prompt = signal("");
export const layer = signal(0);
export const head = signal(0);
/** The position whose row is followed, 0-based; -1 is the last. */
export const position = signal(-1);
export const temperature = signal(1);
export const topK = signal(0);
export const topP = signal(1);
export const minP = signal(0);
export const seed = signal(1);
/** @type {import("@preact/signals").Signal<object[]>} rule objects, as nextword.inside.rules writes them */
export const interventions = signal([]);
/** @type {import("@preact/signals").Signal<{name: string, index: number[]}|null>} the cell that the inspector shows */
export const cell = signal(null);
/** @type {import("@preact/signals").Signal<string[]>} open stations */
export const open = signal(["tokens"]);
export const theme = signal("auto");
/** The prompt that the first is compared with. */
export const other = signal("");
/** The token whose change by interventions is told; "" is the most probable one. */
export const watched = signal("");
/** What screen C sets side by side: "prompts", "models" or "change". */
export const sides = signal("prompts");
/** @type {import("@preact/signals").Signal<number[]>} ids of the words that were appended to the prompt */
export const added = signal([]);

const FIELDS = {
  screen: [screen, "walk", text], prompt: [prompt, "", text], layer: [layer, 0, number], head: [head, 0, number],
  pos: [position, -1, number], t: [temperature, 1, number], k: [topK, 0, number], p: [topP, 1, number],
  minp: [minP, 0, number], seed: [seed, 1, number], off: [interventions, [], json], cell: [cell, null, json],
  open: [open, ["tokens"], (value) => value.split(",").filter(Boolean)], theme: [theme, "auto", text],
  add: [added, [], json], lang: [language, "", text], prompt2: [other, "", text],
  watch: [watched, "", text], sides: [sides, "prompts", text],
};

/** What stands in the fragment and is not the view's: the key of the server. @type {Record<string, string>} */
const kept = {};

/** Takes the view from a fragment. Fields that are not there get their defaults.
 * @param {string} fragment */
export function restore(fragment) {
  const given = new URLSearchParams(fragment.replace(/^#/, ""));
  batch(() => {
    for (const [name, [field, usual, read]] of Object.entries(FIELDS)) {
      if (name === "lang" && !given.has(name)) continue;
      const value = given.has(name) ? read(given.get(name)) : usual;
      field.value = value === undefined || (read === number && !Number.isFinite(value)) ? usual : value;
    }
  });
  for (const [name, value] of given) if (!(name in FIELDS)) kept[name] = value;
}

/** The fragment of the view as it is now. */
export function fragment() {
  const now = new URLSearchParams(kept);
  for (const [name, [field, usual]] of Object.entries(FIELDS)) {
    const value = field.value;
    const same = JSON.stringify(value) === JSON.stringify(usual);
    if (!same) now.set(name, typeof value === "string" ? value : name === "open" ? value.join(",") : JSON.stringify(value));
  }
  return now.toString();
}

/** Something of the fragment that is not the view's. @param {string} name */
export const given = (name) => kept[name];

/** Writes the fragment whenever the view changes; the browser's own changes are taken over. */
export function followAddress() {
  effect(() => {
    const next = `#${fragment()}`;
    if (next !== location.hash) {
      try { history.replaceState(null, "", next); } catch { /* a frame without an address of its own */ }
    }
  });
  addEventListener("hashchange", () => restore(location.hash));
}

/** Asks a new prompt: what was appended to the one before is dropped. @param {string} text */
export function ask(text) {
  if (text === prompt.value && !added.value.length) return;
  batch(() => { prompt.value = text; added.value = []; position.value = -1; });
}

/** What screen readers are told. */
export const news = signal("");

/** Whether the reader asked for no motion. */
export const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** The theme that is seen now. @returns {"light"|"dark"} */
export const dark = signal(false);
export const themeNow = () => (dark.value ? "dark" : "light");
