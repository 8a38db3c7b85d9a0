// Five logits to play with: temperature, rules, a seeded draw. The lecture's table comes out. No model needed.
import { useState } from "preact/hooks";
import { html } from "page/html.js";
import { softmax, ordered, chances } from "page/sampling.js";
import { philox } from "page/philox.js";
import { short } from "page/format.js";
import { t } from "page/text.js";
import { Choice, Slider } from "page/parts.js";

const START = [3.23, -7.1, 5.57, 0.39, 2.4], TEMPERATURES = [0.01, 0.5, 1, 2, 5];
const RULES = ["none", "greedy", "uniform", "top_k", "top_p"];

/** Chances of each logit under a rule. @returns {number[]} */
export function ruled(values, temperature, rule, amount) {
  const logits = Float64Array.from(values), order = ordered(logits);
  const settings = { temperature: rule === "greedy" ? 0 : temperature, top_p: rule === "top_p" ? amount : 1, min_p: 0,
    top_k: rule === "top_k" || rule === "uniform" ? amount : 0 };
  const { rows, kept } = chances(logits, order, settings, values.length), p = values.map(() => 0);
  for (const row of rows) if (!row.cut) p[row.id] = rule === "uniform" ? 1 / kept : row.p;
  return p;
}

/** The index whose part of [0, 1) holds the number. */
export function drawnFrom(p, number) {
  let sum = 0;
  const at = p.findIndex((one) => (sum += one) > number);
  return at < 0 ? p.findLastIndex((one) => one > 0) : at;
}

export function FiveLogits() {
  const [values, setValues] = useState(START), [temperature, setTemperature] = useState(1), [rule, setRule] = useState("none");
  const [amounts, setAmounts] = useState({ uniform: 3, top_k: 2, top_p: 0.9 }), [seed, setSeed] = useState(1), [draws, setDraws] = useState([]);
  const p = ruled(values, temperature, rule, amounts[rule]), reset = (set) => (value) => { set(value); setDraws([]); };
  const draw = () => { const number = philox(seed, 0, draws.length); setDraws([...draws, [number, drawnFrom(p, number)]]); };
  const last = draws.at(-1), ends = p.reduce((sums, one) => [...sums, sums.at(-1) + one], [0]);
  const cell = (x) => (x === 0 || x >= 1e-3 ? short(x, 3) : short(x, 3));
  return html`<section class="card" aria-labelledby="logits-title"><h2 id="logits-title">${t("bench.logits.title")}</h2><p class="says">${t("bench.logits.says")}</p>
    <div class="scroll" tabindex="0" role="region" aria-label=${t("bench.temperatures")}><table class="plain" id="temperatures"><caption>${t("bench.temperatures")}</caption><thead><tr><th scope="col">${t("bench.index")}</th><th scope="col">Logit</th>${TEMPERATURES.map((one) => html`<th scope="col">T = ${one}</th>`)}</tr></thead>
      <tbody>${values.map((value, i) => html`<tr key=${i}><th scope="row">${i + 1}</th><td><input type="number" step="0.01" value=${value} aria-label=${t("bench.logit", { index: i + 1 })}
        onInput=${(event) => reset(setValues)(values.map((old, j) => (i === j ? Number(event.currentTarget.value) || 0 : old)))} /></td>${TEMPERATURES.map((one) => html`<td>${cell(softmax(values, one)[i])}</td>`)}</tr>`)}</tbody></table></div>
    <div class="sliders"><${Slider} id="bench-temperature" label=${t("chance.temperature")} min=${0.05} max=${5} step=${0.05} value=${temperature} onInput=${reset(setTemperature)} />
      ${rule in amounts && html`<${Slider} id="bench-amount" label=${t(`bench.rule.${rule}`)} min=${rule === "top_p" ? 0.05 : 1} max=${rule === "top_p" ? 1 : 5} step=${rule === "top_p" ? 0.05 : 1}
        value=${amounts[rule]} onInput=${reset((value) => setAmounts({ ...amounts, [rule]: value }))} />`}</div>
    <div class="controls"><${Choice} label=${t("bench.rule")} value=${rule} onChoose=${reset(setRule)} options=${RULES.map((one) => [one, t(`bench.rule.${one}`)])} /></div>
    <ol class="bars columns-5" aria-label=${t("bench.chances")} id="chances">${p.map((one, i) => html`<li key=${i} class=${last?.[1] === i ? "chosen" : ""}><div><span class="token">${i + 1}</span><span class="bar"><span class=${one ? "fill" : "fill cut"} style=${{ width: `${100 * (one || softmax(values, temperature)[i])}%` }}></span></span>
      <span class="number">${short(one, 3)}</span><span class="note">${one ? "" : t("bench.cut")}</span></div></li>`)}</ol>
    <div class="controls"><label class="select"><span>${t("chance.seed")}</span><input type="number" min="0" value=${seed} onChange=${(event) => reset(setSeed)(Math.max(0, Math.floor(Number(event.currentTarget.value)) || 0))} /></label>
      <button class="primary" onClick=${draw}>${t("bench.draw")}</button><button disabled=${!draws.length} onClick=${() => setDraws([])}>${t("bench.anew")}</button></div>
    <figure class="line-of-numbers"><div class="axis-box" role="img" aria-label=${t("bench.line")}>${p.map((one, i) => one > 0 && html`<span key=${i} class=${`span tone-${i % 4} ${last?.[1] === i ? "chosen" : ""}`} style=${{ left: `${100 * ends[i]}%`, width: `${100 * one}%` }}>${one > 0.05 ? i + 1 : ""}</span>`)}
      ${last && html`<i class="drawn" style=${{ left: `${100 * last[0]}%` }}></i>`}</div>
      <figcaption><span>0</span><span id="drawn">${last ? t("bench.drawn", { number: short(last[0], 6), index: last[1] + 1, all: draws.map((one) => one[1] + 1).join(" ") }) : t("bench.notyet")}</span><span>1</span></figcaption></figure></section>`;
}
