// A grid of numbers, layers x something, that fills as a stream of the server brings them, and the picture of it.
import { useEffect, useRef, useState } from "preact/hooks";
import { html } from "page/html.js";
import { events, Refused } from "page/source.js";
import { interventions, news, themeNow } from "page/state.js";
import { cellStyle } from "page/colour.js";
import { change } from "page/run.js";
import { short, shown, signed } from "page/format.js";
import { t } from "page/text.js";
import { same, set } from "page/rules.js";
import { rove } from "page/parts.js";
import { Heat, Legend, largest } from "page/heat.js";

const WIDEST = 40;  // columns of a table; of more, a picture
const WRAPPED = 64;  // numbers of a line, where one layer's are wrapped

/** @typedef {{layers: number[], cols: number, values: Float64Array, done: number, state: "running"|"done"|"stopped"|"failed", end: any, failure: any}} Filled */

/** A grid that fills. `key` tells what it is of: once another is asked for, it stops and goes.
 * @param {string} key @returns {{grid: Filled|null, start: (path: string, body: object, layers: number[], cols: number) => void, stop: () => void}} */
export function useStream(key) {
  const [grid, setGrid] = useState(null), running = useRef(null);
  const stop = () => { running.current?.abort(); running.current = null; };
  useEffect(() => { setGrid(null); return stop; }, [key]);
  const start = async (path, body, layers, cols) => {
    stop();
    const mine = running.current = new AbortController(), values = new Float64Array(layers.length * cols).fill(NaN);
    let done = 0;
    const show = (more) => { if (running.current === mine) setGrid({ layers, cols, values: values.slice(), done, end: null, failure: null, ...more }); };
    show({ state: "running" });
    try {
      for await (const { event, data } of events(path, body, mine.signal)) {
        if (event === "row") {
          values.set(data.values.map((value) => value ?? Infinity), layers.indexOf(data.layer) * cols + data.first);
          done += data.values.length;
          show({ state: "running" });
        } else if (event === "end") { show({ state: "done", end: data }); news.value = t("grid.done"); } else show({ state: "failed", failure: data });
      }
    } catch (fault) {
      if (fault.name !== "AbortError") show({ state: "failed", failure: fault instanceof Refused ? fault.failure : { code: "unknown", message: String(fault) } });
    }
  };
  return { grid, start, stop: () => { stop(); setGrid(grid && { ...grid, state: "stopped" }); } };
}

/** The button that starts or stops, and how far it is. */
export function Progress({ grid, onStart, onStop, label, disabled }) {
  const running = grid?.state === "running", known = grid?.failure && t(`error.${grid.failure.code}`, grid.failure);
  return html`<button class="primary" disabled=${disabled && !running} onClick=${running ? onStop : onStart}>${running ? t("grid.stop") : label}</button>
    ${grid && html`<label class="inline progress"><span class="unseen">${t("grid.progress")}</span><progress value=${grid.done} max=${grid.values.length}></progress><output>${t("grid.count", { done: grid.done, count: grid.values.length })}${grid.state === "stopped" ? ` · ${t("grid.stopped")}` : ""}</output></label>`}
    ${grid?.failure && html`<p class="told" role="alert">${known.startsWith("error.") ? grid.failure.message : known}</p>`}`;
}

/** What the switches that are set make of the next word. */
function Now() {
  const told = change.value, best = told?.after[0];
  return best && html`<p class="told">${t("grid.now", { word: shown({ text: told.texts[best.id], id: best.id }), p: short(best.p), kl: short(told.kl) })}</p>`;
}

/** The picture of a grid; the largest changes stand below.
 * @param {{grid: Filled, kind: "signed"|"share", unit: string, label: string, colText: (column: number) => string,
 *   where: (layer: number, column: number) => string, ruleOf: (layer: number, column: number) => object}} props
 *   ruleOf: the rule that a cell stands for; a click sets it, or removes it again. */
export function GridPicture({ grid, kind, unit, label, colText, where, ruleOf }) {
  const { layers, cols, values } = grid, table = useRef(null), limit = largest(values.filter(Number.isFinite)) || 1, theme = themeNow();
  const told = kind === "signed" ? signed : short, isOn = (layer, column) => interventions.value.some((one) => same(one, ruleOf(layer, column)));
  const onChoose = (layer, column) => { const on = !isOn(layer, column); set(ruleOf(layer, column), on); news.value = t(on ? "grid.added" : "grid.removed", { place: where(layer, column) }); };
  const top = [...values].map((value, i) => [value, i]).filter(([value]) => !Number.isNaN(value) && value !== 0).sort((a, b) => Math.abs(b[0]) - Math.abs(a[0])).slice(0, 5);
  const place = (i) => [layers[Math.floor(i / cols)], i % cols], wrapped = layers.length === 1 && cols > WIDEST;
  const rows = wrapped ? Math.ceil(cols / WRAPPED) : layers.length, across = wrapped ? WRAPPED : cols;
  const at = (i, j) => (wrapped ? [layers[0], i * WRAPPED + j] : [layers[i], j]);
  const spread = Float64Array.from({ length: rows * across }, (_, i) => values[i] ?? NaN);
  return html`${cols > WIDEST ? html`<${Heat} values=${spread} rows=${rows} cols=${across} kind=${kind} limit=${limit} unit=${unit} label=${label} name=${label} index=${(i, j) => [i, j]}
      where=${(i, j) => where(...at(i, j))} onChoose=${(i, j) => at(i, j)[1] < cols && onChoose(...at(i, j))} rowText=${(i) => (wrapped ? String(i * WRAPPED) : t("layer.short", { layer: layers[i] }))} colText=${(j) => (wrapped ? `+${j}` : colText(j))} />`
    : html`<div class="scroll lens cells" tabindex="0" role="region" aria-label=${label} ref=${table} onKeyDown=${(event) => rove(event, table.current, cols)}><table>
      <thead><tr><td></td>${Array.from({ length: cols }, (_, j) => html`<th scope="col" translate="no">${colText(j)}</th>`)}</tr></thead>
      <tbody>${layers.map((layer, i) => html`<tr key=${layer}><th scope="row">${t("layer.short", { layer })}</th>${Array.from({ length: cols }, (_, j) => {
        const value = values[i * cols + j], there = !Number.isNaN(value);
        return html`<td><button data-rove tabindex=${i + j === 0 ? 0 : -1} class=${there ? "" : "hatched"} style=${there ? cellStyle(value, kind, limit, theme) : {}} aria-pressed=${isOn(layer, j)} onClick=${() => onChoose(layer, j)}
          aria-label=${t("grid.cell", { place: where(layer, j), value: there ? told(value) : "…" })}>${there ? short(value, 3) : "…"}</button></td>`;
      })}</tr>`)}</tbody></table></div><p class="hint"><${Legend} kind=${kind} limit=${limit} unit=${unit} /></p>`}
    ${grid.state !== "running" && top.length > 0 && html`<h3>${t("grid.top")}</h3><ol class="top">${top.map(([value, i]) => html`<li key=${i}><button aria-pressed=${isOn(...place(i))} onClick=${() => onChoose(...place(i))}>${where(...place(i))} <b>${told(value)}</b></button></li>`)}</ol>`}
    <${Now} />`;
}
