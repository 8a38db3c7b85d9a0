// Small parts that all screens share: the inside of a station, token chips, bars of probabilities, a labelled slider.
import { useEffect, useRef, useState } from "preact/hooks";
import { html } from "page/html.js";
import { short, shown } from "page/format.js";
import { open } from "page/state.js";
import { t } from "page/text.js";
import { isFile } from "page/source.js";

/** What stands in a station of the walk: a sentence of this run, and the contents where it is open.
 * @param {{id: string, summary: any, children: any, says?: string}} props  says: what the station is, where it is another than usual */
export function Station({ id, summary, children, says }) {
  const isOpen = open.value.includes(id);
  return html`<div class="summary">${summary}</div>
    <div id=${`inside-${id}`} class="inside" hidden=${!isOpen}>
      ${isOpen && html`<p class="says">${says ?? t(`walk.${id}.says`)}</p>${children}`}
    </div>`;
}

/** Moves focus among the children of a group by arrows, Home and End; one of them is in the tab order.
 * @param {KeyboardEvent} event @param {HTMLElement} group @param {number} [across]  columns, where it is a grid */
export function rove(event, group, across = 1) {
  const items = [...group.querySelectorAll("[data-rove]")], now = items.indexOf(document.activeElement);
  const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: across, ArrowUp: -across }[event.key];
  const next = event.key === "Home" ? 0 : event.key === "End" ? items.length - 1 : step && now + step;
  if (now < 0 || next === undefined || !items[next]) return;
  event.preventDefault();
  event.stopPropagation();
  items[next].focus();
}

/** Tokens as chips, one of them chosen.
 * @param {{tokens: any[], chosen: number, onChoose: (at: number) => void, label: string, detail?: (at: number) => any,
 *   style?: (at: number) => object}} props */
export function Chips({ tokens, chosen, onChoose, label, detail, style }) {
  const group = useRef(null);
  return html`<div class="chips" role="group" aria-label=${label} ref=${group} onKeyDown=${(event) => rove(event, group.current)}>
    ${tokens.map((token, i) => html`<button key=${i} data-rove class=${`chip tone-${i % 4}`} aria-pressed=${i === chosen}
      tabindex=${i === chosen ? 0 : -1} style=${style?.(i)} onClick=${() => onChoose(i)}><span class="token">${shown(token)}</span>${detail?.(i)}</button>`)}
  </div>`;
}

/** A token as text that is not clicked. @param {{text: string|null, id?: number}} props */
export const Token = ({ text, id }) => html`<span class="token" translate="no">${shown({ text, id })}</span>`;

/** Bars of numbers 0 .. 1 with their tokens; those that a rule cut are hatched and say so.
 * @param {{rows: {id: number, text: string, p: number, cut?: string|null, note?: string}[], limit?: number,
 *   chosen?: number, onChoose?: (id: number) => void, label: string}} props */
export function Bars({ rows, limit, chosen, onChoose, label }) {
  const most = limit ?? Math.max(...rows.map((row) => row.p), 1e-30);
  return html`<ol class=${rows.some((row) => row.note) ? "bars" : "bars plain-bars"} aria-label=${label}>${rows.map((row) => {
    const inside = html`<${Token} text=${row.text} id=${row.id} /><span class="bar"><span class=${row.cut ? "fill cut" : "fill"}
      style=${{ width: `${Math.max(0, Math.min(100, 100 * row.p / most))}%` }}></span></span>
      <span class="number">${short(row.p)}</span><span class="note">${row.note ?? ""}</span>`;
    return html`<li key=${row.id} class=${row.id === chosen ? "chosen" : ""}>${onChoose
      ? html`<button onClick=${() => onChoose(row.id)} aria-pressed=${row.id === chosen}>${inside}</button>` : html`<div>${inside}</div>`}</li>`;
  })}</ol>`;
}

/** A field that tells what was typed once it is left; what arrives meanwhile and draws the page anew leaves it alone.
 * @param {{tag?: string, value: string, onChoose: (text: string) => void}} props  and attributes of the field */
export function Typed({ tag = "input", value, onChoose, ...more }) {
  const [draft, setDraft] = useState(value);
  useEffect(() => setDraft(value), [value]);
  return html`<${tag} type=${tag === "input" ? "text" : undefined} spellcheck="false" ...${more} value=${draft}
    onInput=${(event) => setDraft(event.currentTarget.value)} onChange=${(event) => onChoose(event.currentTarget.value)} />`;
}

/** A slider with its value.
 * @param {{id: string, label: string, value: number, min: number, max: number, step: number, onInput: (value: number) => void,
 *   says?: string}} props */
export function Slider({ id, label, value, min, max, step, onInput, says }) {
  return html`<label class="slider" for=${id}><span>${label}</span><output>${says ?? short(value)}</output>
    <input type="range" id=${id} min=${min} max=${max} step=${step} value=${value} aria-valuetext=${says ?? short(value)}
      onInput=${(event) => onInput(Number(event.currentTarget.value))} /></label>`;
}

/** What stands where the server refused the numbers. */
export const Missing = () => html`<p class="hint">${t(isFile ? "missing.file" : "missing")}</p>`;

/** A choice of few, as buttons beside each other.
 * @param {{label: string, options: [string, string][], value: string, onChoose: (value: string) => void}} props */
export function Choice({ label, options, value, onChoose }) {
  return html`<div class="choice" role="group" aria-label=${label}>${options.map(([name, text]) => html`<button
    aria-pressed=${name === value} onClick=${() => onChoose(name)}>${text}</button>`)}</div>`;
}

/** A number that one picks by stepping: "Layer 2 of 4". */
export function Stepper({ label, value, count, onChoose }) {
  return html`<div class="stepper" role="group" aria-label=${label}><span>${label}</span>
    <button aria-label=${t("step.less", { what: label })} disabled=${value <= 0} onClick=${() => onChoose(value - 1)}>−</button>
    <b aria-live="polite">${value}</b>
    <button aria-label=${t("step.more", { what: label })} disabled=${value >= count - 1} onClick=${() => onChoose(value + 1)}>+</button></div>`;
}
