// What the cards of a tour tell in numbers and words: read from the run and the view that are shown, never written in a card.
import { layer, head, temperature, topK, topP, seed } from "page/state.js";
import { model, run, at } from "page/run.js";
import { madeBy, stepOf } from "page/made.js";
import { html } from "page/html.js";
import { short, shown } from "page/format.js";
import { language, t } from "page/text.js";

/** A value of a card's view that differs between languages. @param {any} value */
export const ofLanguage = (value) => (value && typeof value === "object" && "de" in value ? value[language.value] : value);

/** A cell of which parts depend on the run: "last" position, "word": the most probable next token.
 * @param {{name: string, index: (number|"last"|"word")[]}} cell */
export function placed({ name, index }) {
  const places = { last: run.value.tokens.length - 1, word: run.value.next[0].id };
  // The tokens' vectors have another name in models of other kinds.
  return { name: name === "wte" ? madeBy("token")[0] : name, index: index.map((one) => places[one] ?? one) };
}

/** Names and values for the texts of cards; tokens are told from numbers, as they stand in quotation marks.
 * @returns {Record<string, string|number|{token: string}>} */
export function facts() {
  const { value: m } = model, { value: now } = run;
  if (!m || !now) return {};
  const [first, second] = now.next, token = (one) => ({ token: shown(one) }), norm = stepOf("ln_1", 0).how, alone = !madeBy("place").length, word = (one) => (one ? token({ text: now.texts[one.id], id: one.id }) : "");
  return {
    layers: m.layers, heads: m.heads, width: m.width, head_width: m.head_width, inner: m.inner, vocabulary: m.vocabulary, window: m.window ?? "∞",
    tokens: now.tokens.length, signs: [...now.prompt].length, word: word(first), p: short(first?.p ?? 0), second: word(second), p_second: short(second?.p ?? 0),
    layer: layer.value, head: head.value, token: token(now.tokens[at.value]), last: token(now.tokens.at(-1)), first: token(now.tokens[0]), position: at.value,
    normed: t(`tour.normed.${norm}`), fraction: t(`tour.fraction.${norm}`), start: t(alone ? "tour.start.alone" : "tour.start.place"), origin: t(alone ? "tour.origin.alone" : "tour.origin.place"),
    temperature: short(temperature.value), k: topK.value, top_p: short(topP.value), seed: seed.value,
  };
}

/** A text with its values, "…" in the place of one that is still on its way: as one string, and to be drawn.
 * @param {string} text @param {ReturnType<typeof facts>} values */
export const said = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]?.token ?? values[name] ?? "…");
export const filled = (text, values) => text.split(/(\{\w+\})/).map((part) => {
  const value = values[/^\{(\w+)\}$/.exec(part)?.[1]];
  return value?.token === undefined ? said(part, values) : html`<q class="token" translate="no">${value.token}</q>`;
});
