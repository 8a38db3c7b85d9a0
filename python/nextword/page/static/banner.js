// What went wrong, in place and in the language that is chosen, and the way out where there is one.
import { html } from "page/html.js";
import { call } from "page/source.js";
import { ask, prompt } from "page/state.js";
import { failure } from "page/run.js";
import { t } from "page/text.js";

/** The end of a text: its last tokens, as many as fit; cut between two characters.
 * @param {string} text @param {number} window */
async function end(text, window) {
  const { tokens } = await call("POST", "/api/tokenize", { prompt: text });
  let first = Math.max(0, tokens.length - window);
  while (first > 0 && tokens[first]?.group === tokens[first - 1].group) first++;
  return new TextDecoder().decode(new TextEncoder().encode(text).slice(tokens[first]?.start ?? 0));
}

export function Banner() {
  const told = failure.value;
  if (!told) return null;
  const known = t(`error.${told.code}`, told);
  return html`<div class="banner" role="alert"><b>${known === `error.${told.code}` ? told.message : known}</b>
    ${told.code === "too_long" && html`<button onClick=${() => end(prompt.value, told.window).then(ask)}>${t("error.last", { window: told.window })}</button>`}</div>`;
}
