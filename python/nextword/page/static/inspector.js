// The inspector: how one number was made, and the way to the numbers that it was made of.
import { useEffect, useRef, useState } from "preact/hooks";
import { html } from "page/html.js";
import { cell, layer, head, tour } from "page/state.js";
import { model, run, useAnswer } from "page/run.js";
import { sharedHead } from "page/made.js";
import { short, exact, signed, cellName, shown } from "page/format.js";
import { t } from "page/text.js";
import { drawn } from "page/formula.js";
import { Missing } from "page/parts.js";

/** Goes to a cell, and lets the stations follow it. */
function go(name, index) {
  const l = /^h\.(\d+)/.exec(name);
  if (l) layer.value = Number(l[1]);
  const shape = run.value.names[name];
  if (shape?.length === 3 && sharedHead(shape[0], head.value) !== index[0]) head.value = index[0] * model.value.heads / shape[0];
  cell.value = { name, index };
}

/** How the number was made, and the numbers in the formula that are no terms. */
function Formula({ formula, operands }) {
  return html`<div class="formula">${drawn(formula)}</div>${operands.length > 0 && html`<p class="hint">${operands.map(({ name, value }, i) => html`${i > 0 ? ", " : ""}${name} = ${short(value)}`)}</p>`}`;
}

/** A source: a cell that one goes to; of an axis that is taken whole, to its first. */
function Source({ name, index }) {
  const text = cellName(name, index.map((one) => one ?? ":"));
  return html`<button class="source" onClick=${() => go(name, index.map((one) => one ?? 0))}
    aria-label=${index.includes(null) ? t("inspector.first", { cell: text }) : undefined}><code>${text}</code></button>`;
}

/** The cell of a term: its number counts along the axes that are taken whole, the last of them fastest. */
function cellOf({ name, index }, at) {
  const shape = run.value.names[name], found = [...index];
  for (let axis = found.length - 1; axis >= 0; axis--) {
    if (found[axis] !== null) continue;
    const size = shape && found.indexOf(null) < axis ? shape[axis] : Infinity;  // the first of them takes what is left
    found[axis] = size === Infinity ? at : at % size;
    at = size === Infinity ? 0 : Math.floor(at / size);
  }
  return found;
}

/** One factor of a term: a number that leads to its own cell. */
function Factor({ value, source, at }) {
  if (!source?.index.includes(null)) return html`${short(value)}`;
  const index = cellOf(source, at);
  return html`<button class="value" aria-label=${t("inspector.follow", { value: short(value), cell: cellName(source.name, index) })} onClick=${() => go(source.name, index)}>${short(value)}</button>`;
}

/** The largest terms of a sum, what the rest adds, and the sum. */
function Terms({ told }) {
  const { terms, rest, terms_total: count, computed, sources } = told;
  if (count < 2) return null;
  const most = Math.max(...terms.map((term) => Math.abs(term.product)), 1e-30), paired = terms.some((term) => term.left !== null);
  return html`<table class="plain terms"><caption>${t("inspector.terms", { shown: terms.length, count })}</caption>
    <thead><tr><th scope="col">${t("inspector.index")}</th>${paired && html`<th scope="col">${t("inspector.product")}</th>`}<th scope="col">=</th><td></td></tr></thead>
    <tbody>${terms.map((term) => html`<tr key=${term.index}><th scope="row">${term.index}</th>${paired && html`<td>${term.left !== null && html`<${Factor} value=${term.left} source=${sources[0]} at=${term.index} /> × <${Factor} value=${term.right} source=${sources[1]} at=${term.index} />`}</td>`}<td class="number">${signed(term.product)}</td>
      <td class="wide"><span class="both"><span class=${term.product < 0 ? "minus" : "plus"} style=${{ width: `${50 * Math.abs(term.product) / most}%` }}></span></span></td></tr>`)}
      ${count > terms.length && html`<tr><th scope="row">${t("inspector.rest", { count: count - terms.length })}</th>${paired && html`<td></td>`}<td class="number">${signed(rest)}</td><td></td></tr>`}</tbody>
    <tfoot><tr><th scope="row">${t("stream.sum")}</th>${paired && html`<td></td>`}<td class="number">${computed === null ? "" : short(computed, 7)}</td><td></td></tr></tfoot></table>`;
}

export function Inspector() {
  const { name, index } = cell.value, told = useAnswer("cell", { name, index }), heading = useRef(null), [copied, setCopied] = useState(false);
  useEffect(() => { setCopied(false); }, [name, String(index)]);
  useEffect(() => {  // once it closes, the keyboard is where it was before
    const opener = document.activeElement, box = heading.current?.closest("aside");
    return () => { if (box?.contains(document.activeElement) || document.activeElement === document.body) opener?.focus({ preventScroll: true }); };
  }, []);
  useEffect(() => { if (!tour.peek()) heading.current?.focus({ preventScroll: true }); }, []);
  const fresh = told && told.name === name && String(told.index) === String(index);
  const known = run.value && name in run.value.names, token = known && run.value.tokens[index[index.length > 2 ? 1 : 0]];
  return html`<aside class="inspector" aria-labelledby="inspector-title">
    <div class="top"><h2 id="inspector-title" tabindex="-1" ref=${heading}>${t("inspector.title")}</h2><button class="quiet" aria-label=${t("inspector.close")} onClick=${() => { cell.value = null; }}>✕</button></div>
    <p class="name"><code>${cellName(name, index)}</code>${token && html` <span class="token" translate="no">${shown(token)}</span>`}</p>
    ${told === undefined ? html`<${Missing} />` : !fresh ? html`<p class="skeleton tall"></p>` : html`<p class="big">${told.value === null ? "−∞" : short(told.value)}</p>
      <p class="hint">${t("inspector.exact", { value: told.value === null ? "−∞" : exact(told.value), shape: told.shape.join(" × ") })}</p>
      <${Formula} ...${told} /><${Terms} told=${told} />
      ${told.sources.length > 0 && html`<h3>${t("inspector.sources")}</h3><ul class="sources">${told.sources.map((source, i) => html`<li key=${i}><${Source} ...${source} /></li>`)}</ul>`}
      <h3>Python</h3><pre tabindex="0"><code>${told.python}</code></pre>
      <button onClick=${() => navigator.clipboard?.writeText(told.python).then(() => setCopied(true))}>${t(copied ? "inspector.copied" : "inspector.copy")}</button>`}
  </aside>`;
}
