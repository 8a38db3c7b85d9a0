// Words as points that one can drag, and attention with them: similarity, shares, the moved point. No model needed.
import { useState } from "preact/hooks";
import { html } from "page/html.js";
import { softmax } from "page/sampling.js";
import { short } from "page/format.js";
import { t } from "page/text.js";
import { Choice } from "page/parts.js";
import { Arrow, Frame, toX, toY } from "page/axes.js";

export const START = { apple: [2, 2], orange: [0, 3], phone: [4, 0] };

export const dot = (a, b) => a[0] * b[0] + a[1] * b[1];
/** Three ways to say how alike two words are. @type {Record<string, (a: number[], b: number[]) => number>} */
const MEASURES = {
  dot,
  scaled: (a, b) => dot(a, b) / Math.SQRT2,
  cosine: (a, b) => dot(a, b) / (Math.hypot(...a) * Math.hypot(...b)),
};

/** Shares of similarities: by softmax, or each over their sum, which fails where that is 0. */
const share = (values, way) => {
  if (way === "softmax") return softmax(values);
  const sum = values.reduce((a, b) => a + b, 0);
  return values.map((value) => (Math.abs(sum) < 1e-12 ? NaN : value / sum));
};

/** Every pair, by all three measures. */
function Similarities({ words }) {
  const names = Object.keys(words), pairs = names.flatMap((a, i) => names.slice(i).map((b) => [a, b]));
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${t("bench.similar")}><table class="plain"><caption>${t("bench.similar")}</caption><thead><tr><td></td>${Object.keys(MEASURES).map((one) => html`<th scope="col">${t(`bench.${one}`)}</th>`)}</tr></thead>
    <tbody>${pairs.map(([a, b]) => html`<tr data-pair=${`${a}-${b}`}><th scope="row">${t(`word.${a}`)} · ${t(`word.${b}`)}</th>${Object.values(MEASURES).map((measure) => html`<td>${short(measure(words[a], words[b]), 3)}</td>`)}</tr>`)}</tbody></table></div>`;
}

/** The plane itself. @param {{words: Record<string, number[]>, onMove: (name: string, at: number[]) => void, moved: number[]|null}} props */
function Plane({ words, onMove, moved }) {
  return html`<${Frame} onMove=${onMove} label=${t("bench.plane", { words: Object.entries(words).map(([name, at]) => `${t(`word.${name}`)} (${at.join(", ")})`).join("; ") })}>
    ${Object.entries(words).map(([name, at], i) => html`<${Arrow} key=${name} drag=${name} at=${at} tone=${i} name=${t(`word.${name}`)} />`)}
    ${moved && moved.every(Number.isFinite) && html`<g class="moved"><line x1=${toX(words.apple[0])} y1=${toY(words.apple[1])} x2=${toX(moved[0])} y2=${toY(moved[1])} /><circle cx=${toX(moved[0])} cy=${toY(moved[1])} r="7" />
      <text x=${toX(moved[0]) + (moved[0] > 2 ? -10 : 10)} y=${toY(moved[1]) + 24} text-anchor=${moved[0] > 2 ? "end" : "start"}>${t("bench.moved")}</text></g>`}</${Frame}>`;
}

export function Words2d() {
  const [words, setWords] = useState(START), [context, setContext] = useState("orange");
  const [measure, setMeasure] = useState("cosine"), [way, setWay] = useState("softmax");
  const beside = context === "both" ? ["orange", "phone"] : [context], all = ["apple", ...beside];
  const values = all.map((name) => MEASURES[measure](words.apple, words[name])), shares = share(values, way);
  const mixed = (parts) => [0, 1].map((axis) => all.reduce((sum, name, i) => sum + parts[i] * words[name][axis], 0));
  const moved = mixed(shares), byHand = mixed(shares.map((one) => Number(one.toFixed(2)))), fails = shares.some((one) => !Number.isFinite(one));
  const set = (name, at) => setWords({ ...words, [name]: at });
  const number = (name, axis) => html`<input type="number" step="0.25" min="-4" max="4" value=${words[name][axis]} aria-label=${t("bench.coordinate", { word: t(`word.${name}`), axis: "xy"[axis] })}
    onInput=${(event) => set(name, words[name].map((old, i) => (i === axis ? Number(event.currentTarget.value) || 0 : old)))} />`;
  return html`<section class="card" aria-labelledby="plane-title"><h2 id="plane-title">${t("bench.plane.title")}</h2><p class="says">${t("bench.plane.says")}</p>
    <div class="two"><div><${Plane} words=${words} onMove=${set} moved=${moved} />
      <div class="coordinates">${Object.keys(words).map((name, i) => html`<span class=${`tone-${i}`}><b>${t(`word.${name}`)}</b> (${number(name, 0)}, ${number(name, 1)})</span>`)}</div>
      <div class="controls"><button onClick=${() => setWords(START)}>${t("bench.reset")}</button><button onClick=${() => { setWords({ ...words, orange: words.apple.map((one) => -one) }); setContext("orange"); }}>${t("bench.opposite")}</button></div></div>
    <div><${Similarities} words=${words} />
      <h3>${t("bench.attention")}</h3><p class="hint">${t("bench.attention.says")}</p>
      <div class="controls"><${Choice} label=${t("bench.context")} value=${context} onChoose=${setContext} options=${[["orange", t("word.orange")], ["phone", t("word.phone")], ["both", t("bench.both")]]} />
        <${Choice} label=${t("bench.measure")} value=${measure} onChoose=${setMeasure} options=${Object.keys(MEASURES).map((one) => [one, t(`bench.${one}`)])} />
        <${Choice} label=${t("bench.way")} value=${way} onChoose=${setWay} options=${[["softmax", "Softmax"], ["plain", t("bench.plain")]]} /></div>
      <table class="plain" id="shares"><thead><tr><th scope="col">${t("bench.word")}</th><th scope="col">${t("bench.similarity")}</th><th scope="col">${t("bench.share")}</th></tr></thead>
        <tbody>${all.map((name, i) => html`<tr data-word=${name}><th scope="row">${t(`word.${name}`)}</th><td>${short(values[i], 3)}</td><td>${Number.isFinite(shares[i]) ? shares[i].toFixed(2) : t("bench.undefined")}</td></tr>`)}</tbody></table>
      <p class="told" id="moved">${fails ? t("bench.fails") : `${shares.map((one, i) => `${one.toFixed(2)} · (${words[all[i]].join(", ")})`).join(" + ")} = (${byHand.map((one) => one.toFixed(2)).join(", ")})`}</p>
      ${!fails && html`<p class="hint">${t("bench.exactly", { point: moved.map((one) => short(one)).join(", ") })}</p>`}</div></div></section>`;
}
