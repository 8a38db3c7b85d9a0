// Screen D: words as the model's vectors. Similarity by three measures, a map, and a - b + c.
import { useState } from "preact/hooks";
import { html } from "page/html.js";
import { useAnswer } from "page/run.js";
import { short, shown } from "page/format.js";
import { t } from "page/text.js";
import { Bars, Choice, Missing, Typed } from "page/parts.js";
import { isFile } from "page/source.js";
import { Pull } from "page/pull.js";
import { placed } from "page/labels.js";

/** A word as it stands in a sentence: with the space before it. @param {string} word */
const spaced = (word) => ` ${word.trim()}`;

/** Nearest tokens to a - b + c. */
function Analogy() {
  const [words, setWords] = useState(t("words.analogy").split(" ")), [exclude, setExclude] = useState("yes");
  const without = exclude === "yes", [a, b, c] = words.map(spaced), ready = words.every((word) => word.trim());
  const told = useAnswer(ready ? "/api/analogy" : null, { a, b, c, exclude: without, count: 10 });
  const field = (i, label) => html`<label class="select"><span>${label}</span><${Typed} size="10" value=${words[i]}
    onChoose=${(word) => setWords(words.map((old, j) => (i === j ? word : old)))} /></label>`;
  return html`<section class="card" aria-labelledby="analogy-title"><h2 id="analogy-title">${t("words.analogy.title")}</h2><p class="says">${t("words.analogy.says")}</p>
    <div class="controls" id="analogy">${field(0, "a")} <span aria-hidden="true">−</span> ${field(1, "b")} <span aria-hidden="true">+</span> ${field(2, "c")}
      <${Choice} label=${t("words.inputs")} value=${exclude} onChoose=${setExclude} options=${[["yes", t("words.without")], ["no", t("words.with")]]} /></div>
    ${told === undefined ? isFile ? html`<${Missing} />` : html`<p class="told">${t("words.refused")}</p>` : !told ? html`<p class="skeleton tall"></p>` : html`<${Bars} limit=${1} label=${t("words.analogy.title")} rows=${told.near.map(({ id, cosine }) => ({ id, text: told.texts[id], p: cosine }))} />
      <p class="hint">${t(without ? "words.why.without" : "words.why.with")}</p>`}</section>`;
}

/** Chosen words' difference as the name of an axis; none of one that is at right angles to it. */
const axisName = (plane, i) => (plane.names[i].includes(" -") ? `${plane.names[i].trim().replace("-", "−")} →` : "");

/** The words on two directions: those in which they differ most, or differences of two words. */
function WordMap({ told, chosen }) {
  const SIDE = 360, points = told.points, most = Math.max(...points.flat().map(Math.abs), 1e-9), to = (x) => SIDE / 2 + 0.38 * SIDE * x / most;
  const names = told.words.map((id) => shown({ text: told.texts[id], id }).replace("·", "")), spots = points.map(([x, y]) => [to(x), to(-y)]), labels = placed(spots, names, SIDE);
  return html`<figure class="curve"><svg class="plane" viewBox=${`0 0 ${SIDE} ${SIDE}`} role="img" aria-label=${t("words.map", { words: told.words.map((id, i) => `${shown({ text: told.texts[id], id })} (${points[i].map((x) => short(x, 2)).join(", ")})`).join("; ") })}>
    <line class="axis" x1="0" x2=${SIDE} y1=${SIDE / 2} y2=${SIDE / 2} /><line class="axis" y1="0" y2=${SIDE} x1=${SIDE / 2} x2=${SIDE / 2} />
    ${told.words.map((id, i) => { const [x, y] = spots[i], label = labels[i];
      return html`<g class=${`word tone-${i % 4}`} key=${id}>${label.far && html`<line class="grid" x1=${x} y1=${y} x2=${Math.max(label.x, Math.min(x, label.x + label.wide))} y2=${label.y - 5} />`}
        <circle cx=${x} cy=${y} r="6" /><text x=${label.x} y=${label.y}>${names[i]}</text></g>`; })}
    <text x=${SIDE - 6} y=${SIDE / 2 - 6} text-anchor="end">${axisName(told.plane, 0)}</text><text transform=${`translate(${SIDE / 2 + 14} 8) rotate(-90)`} text-anchor="end">${axisName(told.plane, 1)}</text></svg>
    <figcaption>${t(chosen ? "words.map.chosen" : "words.map.says", { most: short(most), first: short(told.plane.shares[0]), second: short(told.plane.shares[1]), cosine: short(told.plane.cosine, 2) })}</figcaption></figure>`;
}

/** All pairs of a list of words. */
function Similar() {
  const [list, setList] = useState(t("words.list")), [measure, setMeasure] = useState("cosine"), [axes, setAxes] = useState(["", ""]);
  const pairs = axes.map((text) => text.split(/[\s,−-]+/).filter(Boolean)).filter((pair) => pair.length === 2 && pair[0] !== pair[1]).map((pair) => pair.map(spaced));
  const words = list.split(/[\s,]+/).filter(Boolean).slice(0, 12).map(spaced);
  const told = useAnswer(words.length > 1 ? "/api/similarity" : null, pairs.length ? { words, axes: pairs } : { words }), name = (id) => shown({ text: told.texts[id], id });
  return html`<section class="card" aria-labelledby="similar-title"><h2 id="similar-title">${t("words.similar.title")}</h2><p class="says">${t("words.similar.says")}</p>
    <div class="controls"><label class="select grow"><span>${t("words.list.label")}</span><${Typed} size="40" value=${list} onChoose=${setList} /></label>
      <${Choice} label=${t("bench.measure")} value=${measure} onChoose=${setMeasure} options=${[["dot", t("bench.dot")], ["scaled_dot", t("words.scaled")], ["cosine", t("bench.cosine")]]} /></div>
    <div class="controls" id="axes">${[0, 1].map((i) => html`<label class="select"><span>${t(`words.axes.${i}`)}</span><${Typed} size="16" value=${axes[i]} placeholder=${t("words.axes.most")} onChoose=${(text) => setAxes(axes.map((old, j) => (i === j ? text : old)))} /></label>`)}
      <button onClick=${() => setAxes([t("words.axes.example.0"), t("words.axes.example.1")])}>${t("words.axes.example.0")}, ${t("words.axes.example.1")}</button><button disabled=${!pairs.length} onClick=${() => setAxes(["", ""])}>${t("words.axes.most")}</button></div>
    ${told === undefined ? isFile ? html`<${Missing} />` : html`<p class="told">${t("words.refused")}</p>` : !told ? html`<p class="skeleton tall"></p>` : html`<div class="two"><${WordMap} told=${told} chosen=${pairs.length} />
      <div class="scroll" tabindex="0" role="region" aria-label=${t("words.table")}><table class="plain" id="similarity"><thead><tr><td></td>${told.words.map((id) => html`<th scope="col" translate="no">${name(id)}</th>`)}</tr></thead>
      <tbody>${told.words.map((id, i) => html`<tr key=${id}><th scope="row" translate="no">${name(id)}</th>${told[measure][i].map((value) => html`<td>${short(value)}</td>`)}</tr>`)}</tbody></table></div></div>`}</section>`;
}

export function Words() {
  return html`<h1>${t("nav.words")}</h1><p class="headline small">${t("words.says")}</p><${Analogy} /><${Similar} /><${Pull} />`;
}
