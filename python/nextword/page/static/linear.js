// Linear maps that one drags: the images of the two unit vectors say where every word goes. Three of them are Q, K and V.
import { useState } from "preact/hooks";
import { html } from "page/html.js";
import { softmax } from "page/sampling.js";
import { short } from "page/format.js";
import { t } from "page/text.js";
import { Choice } from "page/parts.js";
import { Arrow, Frame, outline } from "page/axes.js";
import { START, dot } from "page/plane.js";

/** A map is the images of (1, 0) and (0, 1), the columns of its matrix. @typedef {[number[], number[]]} Map2 */
const SAME = [[1, 0], [0, 1]];
const KNOWN = { same: SAME, turn: [[0, 1], [-1, 0]], shear: [[1, 0], [1, 1]], stretch: [[0.5, 0], [0, 1.5]], flat: [[1, 0], [0, 0]] };

/** @param {Map2} map @param {number[]} point */
export const apply = ([e, f], [x, y]) => [x * e[0] + y * f[0], x * e[1] + y * f[1]];
/** The area of the unit square's image; negative where it is turned over. @param {Map2} map */
export const determinant = ([e, f]) => e[0] * f[1] - f[0] * e[1];

const point = (at) => `(${at.map((x) => short(x, 3)).join(", ")})`;

/** The words and the unit square, before the map or after it. */
function Side({ map, title, label, onMove }) {
  const corners = [[0, 0], [1, 0], [1, 1], [0, 1]].map((corner) => apply(map, corner));
  return html`<figure class="curve"><${Frame} label=${label} onMove=${onMove}>${[-4, -3, -2, -1, 0, 1, 2, 3, 4].map((i) => html`<polyline class="woven" stroke="var(--accent)" stroke-opacity="0.3" points=${outline([[i, -4], [i, 4]].map((at) => apply(map, at)))} /><polyline class="woven" stroke="var(--accent)" stroke-opacity="0.3" points=${outline([[-4, i], [4, i]].map((at) => apply(map, at)))} />`)}<polygon class="square" stroke="var(--accent)" points=${outline(corners)} />
    ${Object.entries(START).map(([name, at], i) => html`<${Arrow} key=${name} at=${apply(map, at)} tone=${i} name=${t(`word.${name}`)} />`)}
    ${map.map((at, i) => html`<g class="unit"><${Arrow} at=${at} tone=${3} name=${"e₁e₂".slice(2 * i, 2 * i + 2)} drag=${onMove && String(i)} /></g>`)}</${Frame}><figcaption>${title}</figcaption></figure>`;
}

export function LinearMap() {
  const [maps, setMaps] = useState({ q: SAME, k: SAME, v: SAME }), [which, setWhich] = useState("q");
  const map = maps[which], size = determinant(map), set = (next) => setMaps({ ...maps, [which]: next });
  const names = Object.keys(START), pairs = names.flatMap((a, i) => names.slice(i + 1).map((b) => [a, b]));
  const word = (name) => t(`word.${name}`), image = (of, name) => apply(maps[of], START[name]);
  const scores = names.map((name) => dot(image("q", "apple"), image("k", name))), shares = softmax(scores.map((one) => one / Math.SQRT2));
  const mixed = [0, 1].map((axis) => names.reduce((sum, name, i) => sum + shares[i] * image("v", name)[axis], 0));
  const entry = (col, row) => html`<input type="number" step="0.25" min="-4" max="4" value=${map[col][row]} aria-label=${t("bench.entry", { row: row + 1, col: col + 1 })}
    onInput=${(event) => set(map.map((at, i) => (i === col ? at.map((old, j) => (j === row ? Math.max(-4, Math.min(4, Number(event.currentTarget.value) || 0)) : old)) : at)))} />`;
  const kind = Math.abs(size) < 1e-9 ? "flat" : size < 0 ? "turned" : "kept";
  return html`<section class="card" aria-labelledby="linear-title" id="linear"><h2 id="linear-title">${t("bench.linear.title")}</h2><p class="says">${t("bench.linear.says")}</p>
    <div class="controls"><${Choice} label=${t("bench.matrix")} value=${which} onChoose=${setWhich} options=${["q", "k", "v"].map((one) => [one, t(`bench.matrix.${one}`)])} />
      <div class="choice" role="group" aria-label=${t("bench.known")}>${Object.entries(KNOWN).map(([name, one]) => html`<button onClick=${() => set(one)}>${t(`bench.known.${name}`)}</button>`)}</div></div>
    <div class="two"><${Side} map=${SAME} title=${t("bench.before")} label=${t("bench.plane", { words: names.map((name) => `${word(name)} ${point(START[name])}`).join("; ") })} />
      <${Side} map=${map} title=${t("bench.after", { which: t(`bench.matrix.${which}`) })} onMove=${(name, at) => set(map.map((old, i) => (i === Number(name) ? at : old)))}
        label=${t("bench.plane", { words: names.map((name) => `${word(name)} ${point(image(which, name))}`).join("; ") })} /></div>
    <div class="two"><div><div class="controls"><b>W<sub>${which.toUpperCase()}</sub> =</b><div class="matrix-entries" style=${{ display: "grid", grid: "auto / auto auto", gap: "4px", padding: "4px 8px", border: "solid", borderWidth: "0 2px", borderRadius: "8px" }}>${entry(0, 0)}${entry(1, 0)}${entry(0, 1)}${entry(1, 1)}</div></div>
      <p class="told" id="determinant">${t(`bench.determinant.${kind}`, { size: short(size, 4) })}</p>
      <table class="plain" id="before-after"><caption>${t("bench.products")}</caption><thead><tr><td></td><th scope="col">${t("bench.before")}</th><th scope="col">${t("bench.after", { which: t(`bench.matrix.${which}`) })}</th></tr></thead>
        <tbody>${pairs.map(([a, b]) => html`<tr data-pair=${`${a}-${b}`}><th scope="row">${word(a)} · ${word(b)}</th><td>${short(dot(START[a], START[b]))}</td><td>${short(dot(image(which, a), image(which, b)))}</td></tr>`)}</tbody></table></div>
    <div><h3>${t("bench.asks")}</h3><p class="hint">${t("bench.asks.says")}</p>
      <div class="scroll" tabindex="0" role="region" aria-label=${t("bench.asks")}><table class="plain" id="asks"><thead><tr><th scope="col">${t("bench.word")}</th><th scope="col">q · k</th><th scope="col">/ √2</th><th scope="col">${t("bench.share")}</th><th scope="col">v</th></tr></thead>
        <tbody>${names.map((name, i) => html`<tr data-word=${name}><th scope="row">${word(name)}</th><td>${short(scores[i])}</td><td>${short(scores[i] / Math.SQRT2)}</td><td>${shares[i].toFixed(2)}</td><td>${point(image("v", name))}</td></tr>`)}</tbody></table></div>
      <p class="told" id="mixed">${names.map((name, i) => `${shares[i].toFixed(2)} · ${point(image("v", name))}`).join(" + ")} = (${mixed.map((one) => one.toFixed(2)).join(", ")})</p></div></div></section>`;
}
