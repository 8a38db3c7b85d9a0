// The curse of the vocabulary: how many texts of n tokens there are, counted exactly, beside numbers that one knows.
import { useState } from "preact/hooks";
import { html } from "page/html.js";
import { FAMILY, tensorsOf, total } from "page/sizes.js";
import { screen } from "page/state.js";
import { count as counted } from "page/format.js";
import { spoken, t } from "page/text.js";
import { Choice, Slider } from "page/parts.js";

const MARKS = { seconds: 18, atoms: 80, lecture: 90 };
const raised = (n) => [...String(n)].map((digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]).join("");

/** V^n as digits and power of ten, from the exact integer, rounded to three digits. @param {number} size @param {number} n */
export function texts(size, n) {
  const digits = String(BigInt(size) ** BigInt(n));
  if (digits.length < 8) return { few: Number(digits), power: digits.length - 1 };
  const first = Math.round(Number(digits.slice(0, 15)) / 1e12), over = first === 1000;
  return { lead: over ? "1.00" : `${String(first)[0]}.${String(first).slice(1)}`, power: digits.length - 1 + Number(over) };
}

/** The fewest tokens with more than 10^power texts. @param {number} size @param {number} power */
export function enough(size, power) {
  const limit = 10n ** BigInt(power);
  let n = 1;
  for (let many = BigInt(size); many <= limit; many *= BigInt(size)) n += 1;
  return n;
}

export function Counting() {
  const [name, setName] = useState("GPT-2 124M"), [n, setN] = useState(20), one = FAMILY.find((config) => config.name === name), size = one.vocabulary;
  const number = (x) => counted(x, spoken.value), found = texts(size, n), count = found.few === undefined ? `${found.lead} · 10${raised(found.power)}` : number(found.few);
  const most = Math.max(found.power, 100), lead = (power) => `${100 * Math.min(1, power / most)}%`, parameters = total(tensorsOf(one));
  const rows = [...Object.entries(MARKS).map(([key, power]) => [t(`bench.mark.${key}`), power, "mark"]), [t("bench.texts", { n: number(n) }), found.power, "texts"]];
  return html`<section class="card" aria-labelledby="counting-title" id="counting"><h2 id="counting-title">${t("bench.counting.title")}</h2><p class="says">${t("bench.counting.says")}</p>
    <div class="controls"><${Choice} label=${t("bench.vocabulary")} value=${name} onChoose=${setName} options=${FAMILY.slice(0, 3).map((config) => [config.name, t("bench.tokens", { name: config.name.split(" ")[0], size: number(config.vocabulary) })])} /></div>
    <${Slider} id="tokens-long" label=${t("bench.long")} value=${n} min=${1} max=${one.window} step=${1} onInput=${setN} says=${number(n)} />
    <p style=${{ fontSize: "var(--text-5)", fontWeight: 600, margin: "8px 0 16px" }} aria-live="polite" id="texts">${number(size)}<sup style=${{ fontSize: "0.6em" }}>${n}</sup> = ${count}</p>
    <ul class="powers">${rows.map(([text, power, kind]) => html`<li class=${kind}><span>${text}</span><span class="bar"><span class="fill" style=${{ width: lead(power) }}></span></span><b>10${raised(power)}</b></li>`)}</ul>
    <p class="hint">${t("bench.powers")}</p>
    <p class="told" id="enough">${t("bench.enough", { n: number(enough(size, 90)), name: one.name, count: number(parameters) })} <button class="value" onClick=${() => { screen.value = "scale"; }}>${t("bench.ledger")}</button></p></section>`;
}
