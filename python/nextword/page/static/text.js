// All text of the page, in the language that is chosen. `t("walk.tokens.title", {count: 3})` fills {count}.
import { signal } from "@preact/signals";

/** @type {Record<string, Record<string, string>>} */
const tables = {};
/** The language that is chosen, and the one whose texts are all there, in which the page speaks. */
export const language = signal("en"), spoken = signal("en");
/** Counts the tables that arrived, so that what is drawn follows. */
const arrived = signal(0);

/** @param {string} name  of the language @param {Record<string, string>} table  some of its texts */
export function addTexts(name, table) {
  tables[name] = { ...tables[name], ...table };
  arrived.value += 1;
}

/** The text of a key. Keys that are missing show themselves, and fail a test.
 * @param {string} key @param {Record<string, string|number>} [values]
 * @returns {string} */
export function t(key, values = {}) {
  arrived.value;
  const text = tables[spoken.value]?.[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}
