// Fetches the texts of the language that is chosen: those of the first screen; the others, and their style sheet, once
// something is opened.
import { signal } from "@preact/signals";
import { file, style } from "page/source.js";
import { addTexts, language, spoken } from "page/text.js";

/** Languages of the page, with their own names. */
export const LANGUAGES = { de: "Deutsch", en: "English" };
const parts = signal(["first"]);
/** @type {Map<string, Promise<void>>} */
const asked = new Map();

function fetched(name, part) {
  const path = `text/${name}/${part}.json`;
  if (!asked.has(path)) {
    const promise = file(path).then((table) => addTexts(name, table));
    promise.catch(() => asked.delete(path));
    asked.set(path, promise);
  }
  return asked.get(path);
}

/** Resolves when all texts that are needed so far are there; then the page speaks the language. */
export async function learn() {
  if (!(language.value in LANGUAGES)) language.value = "en";
  const name = language.value;
  await Promise.all(parts.value.map((part) => fetched(name, part)));
  if (name === language.peek()) spoken.value = name;
}

/** The texts and the style sheet of what is opened later, too. */
export function learnMore() {
  if (parts.peek().length === 1) parts.value = ["first", "later"];
  return Promise.all([learn(), style("later.css")]);
}
