// Where a sentence pulls a word: its vector after each layer, nearer to one reference word or the other.
import { useState } from "preact/hooks";
import { html } from "page/html.js";
import { model, useAnswer } from "page/run.js";
import { madeBy } from "page/made.js";
import { short, shown } from "page/format.js";
import { t } from "page/text.js";
import { isFile } from "page/source.js";
import { Missing, Typed } from "page/parts.js";

const WIDE = 480, HIGH = 260, LEFT = 44, BOTTOM = 34;
const layerName = (name) => (name.endsWith("resid_pre") ? t("words.pull.first") : t("words.pull.layer", { layer: name.split(".")[1] }));

/** Cosine with one reference word, a line a sentence, layer by layer. */
function Lines({ told, word, limits: [low, high] }) {
  const rows = told.rows.length, x = (row) => LEFT + (WIDE - LEFT - 16) * row / (rows - 1), y = (value) => 12 + (HIGH - BOTTOM - 12) * (high - value) / (high - low || 1);
  const name = shown({ text: told.texts[told.towards[word]] });
  const steps = Math.max(1, Math.ceil(rows / 9));
  return html`<figure class="curve"><figcaption class="strip-title">${t("words.pull.towards", { word: name.replace("·", "") })}</figcaption><svg viewBox=${`0 0 ${WIDE} ${HIGH}`} role="img" aria-label=${told.contexts.map((text, i) => `${text}: ${told.cosines[i].map((row) => short(row[word], 2)).join(", ")}`).join("; ")}>
    ${[low, (low + high) / 2, high].map((value) => html`<line class="grid" x1=${LEFT} x2=${WIDE - 16} y1=${y(value)} y2=${y(value)} /><text x=${LEFT - 6} y=${y(value) + 4} text-anchor="end">${short(value, 2)}</text>`)}
    ${low < 0 && high > 0 && html`<line class="axis" x1=${LEFT} x2=${WIDE - 16} y1=${y(0)} y2=${y(0)} />`}
    ${told.rows.map((row, i) => i % steps === 0 && html`<text x=${x(i)} y=${HIGH - 12} text-anchor="middle">${i ? row.split(".")[1] : t("words.pull.first")}</text>`)}
    ${told.contexts.map((_, i) => html`<g class=${`way way-${i}`}><polyline points=${told.cosines[i].map((row, j) => `${x(j)},${y(row[word])}`).join(" ")} />
      ${told.cosines[i].map((row, j) => html`<circle cx=${x(j)} cy=${y(row[word])} r="4" />`)}</g>`)}</svg></figure>`;
}

/** The way of the word through the layers: across from one reference word to the other, up where it moves most besides. */
function Path({ told }) {
  const SIDE = 360, points = [...told.path.flat(), ...told.points], most = [0, 1].map((axis) => Math.max(...points.map((at) => Math.abs(at[axis])), 1e-9)), to = (x, axis) => SIDE / 2 + 0.42 * SIDE * x / most[axis];
  return html`<figure class="curve"><figcaption class="strip-title">${t("words.pull.path")}</figcaption><svg class="plane" viewBox=${`0 0 ${SIDE} ${SIDE}`} role="img" aria-label=${told.contexts.map((text, i) => `${text}: ${told.path[i].map((at) => `(${at.map((x) => short(x, 2)).join(", ")})`).join(" → ")}`).join("; ")}>
    <line class="axis" x1="0" x2=${SIDE} y1=${SIDE / 2} y2=${SIDE / 2} /><line class="axis" y1="0" y2=${SIDE} x1=${SIDE / 2} x2=${SIDE / 2} />
    ${told.points.map(([x, y], i) => html`<g class="word still tone-2"><circle cx=${to(x, 0)} cy=${to(-y, 1)} r="6" /><text x=${to(x, 0) + (x > 0 ? -10 : 10)} y=${to(-y, 1) + (i % 2 ? 20 : -8)} text-anchor=${x > 0 ? "end" : "start"}>${shown({ text: told.texts[told.towards[i]] }).replace("·", "")}</text></g>`)}
    ${told.path.map((way, i) => html`<g class=${`way way-${i}`}><polyline points=${way.map(([x, y]) => `${to(x, 0)},${to(-y, 1)}`).join(" ")} />${way.map(([x, y], j) => html`<circle cx=${to(x, 0)} cy=${to(-y, 1)} r=${j === way.length - 1 ? 6 : 3} />`)}</g>`)}</svg>
    <figcaption>${t(told.towards.length > 1 ? "words.pull.plane" : "words.pull.plane.one", { across: short(most[0], 2), up: short(most[1], 2), words: told.plane.names[0] })}</figcaption></figure>`;
}

export function Pull() {
  const [word, setWord] = useState(t("words.pull.word")), [contexts, setContexts] = useState([1, 2].map((n) => t(`words.pull.context.${n}`))), [towards, setTowards] = useState(t("words.pull.words"));
  const names = towards.split(/[\s,]+/).filter(Boolean).slice(0, 4), ready = word.trim() && names.length && contexts.every((one) => one.includes(word.trim()));
  const told = useAnswer(ready ? "/api/pull" : null, { word: word.trim(), contexts, towards: names.map((one) => ` ${one}`), axes: names.length > 1 && names[0] !== names[1] ? [names.slice(0, 2).map((one) => ` ${one}`)] : null });
  const current = told?.current, alone = Boolean(model.value) && !madeBy("place").length;
  const every = told ? told.cosines.flat(2) : [0], limits = [Math.min(...every), Math.max(...every)];
  const field = (label, value, onChange, size) => html`<label class="stack"><span>${label}</span><${Typed} size=${size} value=${value} onChoose=${onChange} /></label>`;
  return html`<section class="card" aria-labelledby="pull-title" id="pull"><h2 id="pull-title">${t("words.pull.title")}</h2><p class="says">${t("words.pull.says", { what: t(alone ? "words.pull.knows.alone" : "words.pull.knows.place") })}</p>
    <div class="fields">${field(t("bench.word"), word, setWord)}${[0, 1].map((i) => field(html`<span class=${`way-${i}`} aria-hidden="true" style=${{ display: "inline-block", width: "28px", borderTop: `3px ${i ? "dashed" : "solid"} var(--way)`, margin: "0 8px 4px 0" }}></span>${t("words.pull.sentence", { n: i + 1 })}`, contexts[i], (text) => setContexts(contexts.map((old, j) => (i === j ? text : old)))))}${field(t("words.pull.reference"), towards, setTowards)}</div>
    ${!ready ? html`<p class="told">${t("words.pull.missing", { word: word.trim() })}</p>` : told === undefined ? isFile ? html`<${Missing} />` : html`<p class="told">${t("words.refused")}</p>` : !current ? html`<p class="skeleton tall"></p>` : html`
      ${told.same.length > 0 && html`<p class="told">${t("words.pull.same")}</p>`}
      <div class="fields">${told.towards.map((id, i) => html`<${Lines} key=${id} told=${told} word=${i} limits=${limits} />`)}<${Path} told=${told} /></div>
      <p class="told" id="between">${t("words.pull.between", { first: short(told.between[0][0][1], 3), last: short(told.between.at(-1)[0][1], 3), word: told.word })}</p>
      <details class="as-table"><summary>${t("picture.table")}</summary><div class="scroll" tabindex="0" role="region" aria-label=${t("words.pull.table")}><table class="plain" id="pulls"><thead><tr><td></td>${told.contexts.flatMap((text) => told.towards.map((id) => html`<th scope="col"><span translate="no">${shown({ text: told.texts[id], id })}</span><br /><small>${text}</small></th>`))}</tr></thead>
        <tbody>${told.rows.map((row, j) => html`<tr data-row=${row}><th scope="row">${layerName(row)}</th>${told.contexts.flatMap((_, i) => told.towards.map((_, k) => html`<td>${short(told.cosines[i][j][k])}</td>`))}</tr>`)}</tbody></table></div></details>`}</section>`;
}
