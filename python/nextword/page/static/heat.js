// A picture of numbers: one cell a number, with its domain, unit and ramp beside it, a cursor that keys move, the
// number under the cursor as text, and the same numbers as a table on demand.
import { useRef, useLayoutEffect, useState } from "preact/hooks";
import { html } from "page/html.js";
import { HATCH, ramp, stepOf, gradient } from "page/colour.js";
import { short, cellName } from "page/format.js";
import { cell, themeNow, news } from "page/state.js";
import { t } from "page/text.js";

const MOST_OF_TABLE = 4096;

/** Largest absolute value of finite numbers. @param {ArrayLike<number>} values */
export function largest(values) {
  let most = 0;
  for (let i = 0; i < values.length; i++) {
    const size = Math.abs(values[i]);
    if (size > most && size < Infinity) most = size;
  }
  return most;
}

/** The pixels of an image, one a cell; what is hidden stays clear. A pixel is written as one word: table[step] holds its
 * four bytes. */
function pixels(image, { values, rows, cols, kind, limit, causal, shift }) {
  const bytes = ramp(kind, themeNow()), colours = new Uint8Array(4 * 256), words = new Uint32Array(image.data.buffer);
  for (let step = 0; step < 256; step++) colours.set([...bytes.subarray(3 * step, 3 * step + 3), 255], 4 * step);
  const table = new Uint32Array(colours.buffer);
  for (let row = 0; row < rows; row++) {
    const first = row * cols, seen = causal ? Math.max(0, Math.min(cols, row + shift + 1)) : cols;
    for (let at = first; at < first + seen; at++) {
      const value = values[at];
      if (!Number.isNaN(value)) words[at] = table[stepOf(value, kind, limit)];
    }
  }
}

/** The outline of what is right of the diagonal, as steps. */
function future(context, { rows, shift }, scale) {
  const { width, height } = context.canvas;
  context.beginPath();
  context.moveTo(width, 0);
  for (let row = 0; row < rows; row++) {
    const x = Math.max(0, Math.min(width, (row + shift + 1) * scale));
    context.lineTo(x, row * scale);
    context.lineTo(x, (row + 1) * scale);
  }
  context.lineTo(width, height);
}

/** Paints the cells; what the causal mask hides is hatched, so that it differs from 0 by more than colour. */
function paint(canvas, cells) {
  const { rows, cols, causal } = cells, scale = Math.max(1, Math.min(24, Math.floor(960 / Math.max(rows, cols))));
  canvas.width = cols * scale;
  canvas.height = rows * scale;
  const context = canvas.getContext("2d"), image = new ImageData(cols, rows);
  pixels(image, cells);
  if (scale === 1) context.putImageData(image, 0, 0);
  else {
    const small = new OffscreenCanvas(cols, rows);
    small.getContext("2d").putImageData(image, 0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(small, 0, 0, canvas.width, canvas.height);
  }
  if (!causal) return;
  future(context, cells, scale);
  context.clip();
  context.strokeStyle = HATCH[themeNow()];
  context.lineWidth = 1;
  context.beginPath();
  for (let x = -canvas.height; x < canvas.width; x += 6) {
    context.moveTo(x, canvas.height);
    context.lineTo(x + canvas.height, 0);
  }
  context.stroke();
}

/** The scale of a picture: ramp, both ends, unit. @param {{kind: "signed"|"share", limit: number, unit: string}} props */
export function Legend({ kind, limit, unit }) {
  const low = kind === "signed" ? short(-limit) : "0";
  return html`<span class="legend"><span>${low}</span>
    <span class="ramp" style=${{ background: gradient(kind, themeNow()) }}></span><span>${short(limit)}</span>
    <span class="unit">${unit}${kind === "share" ? ` · √` : ""}</span></span>`;
}

/** The numbers as a real table. */
function Table({ values, rows, cols, rowText, colText, label, stale }) {
  const [open, setOpen] = useState(false);
  const fits = Math.min(rows, Math.max(1, Math.floor(MOST_OF_TABLE / cols)));
  return html`<details class="as-table" onToggle=${(event) => setOpen(event.currentTarget.open)}>
    <summary>${t("picture.table")}</summary>
    ${open && !stale && html`<div class="scroll" tabindex="0" role="region" aria-label=${label}><table>
      <caption>${label}${fits < rows ? ` ${t("picture.first", { count: fits })}` : ""}</caption>
      <thead><tr><td></td>${Array.from({ length: cols }, (_, j) => html`<th scope="col">${colText(j)}</th>`)}</tr></thead>
      <tbody>${Array.from({ length: fits }, (_, i) => html`<tr><th scope="row">${rowText(i)}</th>
        ${Array.from({ length: cols }, (_, j) => html`<td>${short(values[i * cols + j])}</td>`)}</tr>`)}</tbody>
    </table></div>`}
  </details>`;
}

/** A picture of a matrix, or of a vector as one row.
 * @param {{values: ArrayLike<number>, rows: number, cols: number, kind?: "signed"|"share", limit?: number, unit: string,
 *   label: string, name: string, index: (row: number, col: number) => number[], rowText?: (row: number) => string,
 *   colText?: (col: number) => string, causal?: boolean, onRow?: (row: number) => void, row?: number, stale?: boolean,
 *   where?: (row: number, col: number) => string, onChoose?: (row: number, col: number) => void}} props
 *   shift: of a causal picture, how many columns row 0 sees beside the first. stale: whether other numbers are on their way, and these are not shown. where, onChoose: what a cell is called and
 *   what a click does; without, an activation's cell, which the inspector opens. */
export function Heat(props) {
  const { values, rows, cols, kind = "signed", unit, label, name, index, causal = false, onRow, row, stale = false, shift = cols - rows } = props;
  const rowText = props.rowText ?? String, colText = props.colText ?? String;
  const limit = props.limit ?? (largest(values) || 1);
  const canvas = useRef(null), [[r, c], setCursor] = useState([row ?? 0, 0]);
  const theme = themeNow();
  useLayoutEffect(() => { if (canvas.current) paint(canvas.current, { values, rows, cols, kind, limit, causal, shift }); },
    [values, rows, cols, kind, limit, causal, shift, theme]);
  const i = Math.min(r, rows - 1), j = Math.min(c, cols - 1), value = values[i * cols + j];
  const hidden = causal && j > i + shift;
  const named = rows > 1 && rows <= 24 && cols <= 24 && Boolean(props.rowText && props.colText);
  const where = props.where?.(i, j) ?? cellName(name, index(i, j)), told = stale ? "…" : hidden ? t("picture.masked") : Number.isNaN(value) ? "" : short(value);
  const words = [rows > 1 && rowText(i), cols > 1 && (props.colText ? colText(j) : t("picture.column", { column: j }))].filter(Boolean).join(" → ");
  const of = (event) => {
    const box = canvas.current.getBoundingClientRect();
    return [Math.min(rows - 1, Math.max(0, Math.floor((event.clientY - box.top) / box.height * rows))),
      Math.min(cols - 1, Math.max(0, Math.floor((event.clientX - box.left) / box.width * cols)))];
  };
  const choose = (a, b) => { if (props.onChoose) props.onChoose(a, b); else { cell.value = { name, index: index(a, b) }; onRow?.(a); } };
  const move = (event) => {
    const next = { ArrowRight: [i, j + 1], ArrowLeft: [i, j - 1], ArrowDown: [i + 1, j], ArrowUp: [i - 1, j],
      Home: [i, 0], End: [i, cols - 1], PageUp: [0, j], PageDown: [rows - 1, j] }[event.key];
    if (!next) return;
    event.preventDefault();
    event.stopPropagation();
    const [a, b] = [Math.max(0, Math.min(rows - 1, next[0])), Math.max(0, Math.min(cols - 1, next[1]))];
    setCursor([a, b]);
    news.value = `${[rows > 1 && rowText(a), colText(b)].filter(Boolean).join(", ")}: ${short(values[a * cols + b])}`;
  };
  return html`<figure class=${`heat ${rows === 1 ? "strip" : "matrix"} ${named ? "named" : ""} ${stale ? "stale" : ""}`} data-name=${name} aria-busy=${stale}>
    ${named && html`<div class="col-names" aria-hidden="true" translate="no">${Array.from({ length: cols }, (_, b) => html`<span>${colText(b)}</span>`)}</div>
    <div class="row-names" aria-hidden="true" translate="no">${Array.from({ length: rows }, (_, a) => html`<span class=${a === row ? "chosen" : ""}>${rowText(a)}</span>`)}</div>`}
    <div class="canvas" onPointerMove=${(event) => setCursor(of(event))} onClick=${(event) => choose(...of(event))}>
      <canvas ref=${canvas} role="img" aria-label=${stale ? name : label} style=${rows > 1 ? { aspectRatio: `${cols} / ${rows}` } : {}}></canvas>
      ${row !== undefined && html`<span class="row-mark" style=${{ top: `${100 * row / rows}%`, height: `${100 / rows}%` }}></span>`}
      <button class="cursor" aria-label=${t(props.onChoose ? "picture.choose" : "picture.cell", { cell: where, value: told })} onKeyDown=${move}
        onClick=${(event) => { event.stopPropagation(); choose(i, j); }}
        style=${{ left: `${100 * j / cols}%`, top: `${100 * i / rows}%`, width: `${100 / cols}%`, height: `${100 / rows}%` }}></button>
    </div>
    <figcaption><output class="readout"><code>${where}</code> <b>${told}</b> <span>${words}</span></output>
      <${Legend} kind=${kind} limit=${limit} unit=${unit} /></figcaption>
    <${Table} stale=${stale} values=${values} rows=${rows} cols=${cols} rowText=${rowText} colText=${colText} label=${label} />
  </figure>`;
}

/** One row of an activation [tokens, columns] as a strip, with its norm.
 * @param {{of: {values: Float32Array, shape: number[]}|null, name: string, at: number, title: string, note?: string}} props */
export function Strip({ of, name, at, title, note, lead = [], limit, kind, unit }) {
  if (!of) return html`<div class="strip-row waiting"><p class="strip-title">${title}</p><p class="skeleton"></p></div>`;
  let sum = 0;
  for (const value of of.values) sum += value * value;
  const cols = of.values.length, stale = of.current === false;
  return html`<div class="strip-row"><p class="strip-title">${title} <small>${stale ? "…" : note ?? t("picture.norm", { norm: short(Math.sqrt(sum)) })}</small></p>
    <${Heat} values=${of.values} rows=${1} cols=${cols} name=${name} stale=${stale} index=${(_, j) => [...lead, at, j]} unit=${unit ?? t("unit.activation")}
      limit=${limit} kind=${kind} label=${t("picture.strip", { name: title, count: cols, least: short(Math.min(...of.values)), most: short(Math.max(...of.values)) })} />
  </div>`;
}
