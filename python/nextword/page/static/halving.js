// Akinator: yes and no halve what is possible, until one is left. So many questions are the bits of a choice.
import { useState } from "preact/hooks";
import { html } from "page/html.js";
import { count as counted } from "page/format.js";
import { spoken, t } from "page/text.js";
import { Choice } from "page/parts.js";

const SIZES = [16, 4096, 50257];

/** Questions that find one of `size` at most. @param {number} size */
export const questions = (size) => Math.ceil(Math.log2(size));

export function Halving() {
  const [size, setSize] = useState(50257), [told, setTold] = useState([]), number = (x) => counted(x, spoken.value);
  let low = 0, high = size;  // what is possible: low .. high - 1
  for (const yes of told) { const middle = (low + high) >> 1; if (yes) high = middle; else low = middle; }
  const middle = (low + high) >> 1, found = high - low === 1, answer = (yes) => setTold([...told, yes]);
  return html`<section class="card" aria-labelledby="halving-title" id="halving"><h2 id="halving-title">${t("bench.halving.title")}</h2><p class="says">${t("bench.halving.says", { size: number(size), most: questions(size) })}</p>
    <div class="controls"><${Choice} label=${t("bench.vocabulary")} value=${String(size)} onChoose=${(one) => { setSize(Number(one)); setTold([]); }} options=${SIZES.map((one) => [String(one), number(one)])} /></div>
    <div class="bar" aria-hidden="true"><span class="fill" style=${{ marginLeft: `${100 * low / size}%`, width: `max(2px, ${100 * (high - low) / size}%)` }}></span></div>
    <p class="told" aria-live="polite" id="asked">${found ? t("bench.halving.found", { token: number(low), n: told.length }) : t("bench.halving.asks", { n: told.length + 1, middle: number(middle), left: number(high - low) })}</p>
    <div class="controls">${!found && html`<button class="primary" onClick=${() => answer(true)}>${t("bench.yes")}</button><button onClick=${() => answer(false)}>${t("bench.no")}</button>`}<button disabled=${!told.length} onClick=${() => setTold([])}>${t("bench.anew")}</button></div>
    <p class="hint">${t("bench.halving.bits")}</p></section>`;
}
