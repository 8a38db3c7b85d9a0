// What the cards of a tour tell in numbers and words: read from the run and the view that are shown, never written in a card.
import { layer, head, temperature, topK, topP, seed } from "page/state.js";
import { model, run, at } from "page/run.js";
import { short, shown, percent } from "page/format.js";
import { language } from "page/text.js";

/** A value of a card's view that differs between languages. @param {any} value */
export const ofLanguage = (value) => (value && typeof value === "object" && "de" in value ? value[language.value] : value);

/** A cell of which parts depend on the run: "last" position, "word": the most probable next token.
 * @param {{name: string, index: (number|"last"|"word")[]}} cell */
export function placed({ name, index }) {
  const places = { last: run.value.tokens.length - 1, word: run.value.next[0].id };
  return { name, index: index.map((one) => places[one] ?? one) };
}

/** Names and values for the texts of cards. @returns {Record<string, string|number>} */
export function facts() {
  const { value: m } = model, { value: now } = run;
  if (!m || !now) return {};
  const [first, second] = now.next, word = (one) => (one ? shown({ text: now.texts[one.id], id: one.id }) : "");
  return {
    layers: m.layers, heads: m.heads, width: m.width, head_width: m.head_width, inner: m.inner, vocabulary: m.vocabulary, window: m.window ?? "∞",
    tokens: now.tokens.length, signs: [...now.prompt].length, word: word(first), p: percent(first?.p ?? 0), second: word(second), p_second: percent(second?.p ?? 0),
    layer: layer.value, head: head.value, token: shown(now.tokens[at.value]), last: shown(now.tokens.at(-1)), first: shown(now.tokens[0]), position: at.value,
    temperature: short(temperature.value), k: topK.value, top_p: short(topP.value), seed: seed.value,
  };
}

/** A text with its values; "…" in the place of one that is still on its way.
 * @param {string} text @param {Record<string, string|number>} values */
export const filled = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "…");
