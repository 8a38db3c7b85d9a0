// Station 3: the views of one head's weights, or of weight times length of the value: matrix, lines, text, dots.
import { useState } from "preact/hooks";
import { html } from "page/html.js";
import { position, themeNow } from "page/state.js";
import { run, at, useTensor } from "page/run.js";
import { cellStyle } from "page/colour.js";
import { short, shown } from "page/format.js";
import { t } from "page/text.js";
import { Heat, largest } from "page/heat.js";
import { Missing } from "page/parts.js";

const WHOLE = 256;  // tokens whose matrix is sent whole
const PART = 64;  // side of the part of a longer one that is opened
const LINED = 40;  // tokens that stand below each other
const FAINT = 0.02;  // of the largest weight: less is not drawn as a line

const tokenText = (i) => shown(run.value.tokens[i] ?? { text: "" });
const follow = (i) => { position.value = i === run.value.tokens.length - 1 ? -1 : i; };

/** A square part of the matrix, or all of it; `first`: its first query and key. */
function Square({ found, name, cellName, head, first = [0, 0], weighted, label }) {
  if (found === undefined) return html`<${Missing} />`;
  if (!found) return html`<p class="skeleton tall"></p>`;
  const [rows, cols] = found.shape, q = at.value - first[0];
  return html`<${Heat} values=${found.values} rows=${rows} cols=${cols} kind="share" limit=${weighted ? undefined : 1} unit=${t(weighted ? "unit.weighted" : "unit.weight")}
    causal shift=${first[0] - first[1]} stale=${!found.current} name=${cellName} index=${(i, j) => [head, first[0] + i, first[1] + j]} row=${q >= 0 && q < rows ? q : undefined}
    where=${weighted ? (i, j) => `|w·v|[${head}, ${first[0] + i}, ${first[1] + j}]` : undefined} rowText=${(i) => tokenText(first[0] + i)} colText=${(j) => tokenText(first[1] + j)} label=${label} />`;
}

/** The matrix: whole, or of a long prompt the largest weight of each field, and the part that was opened exactly. */
export function Matrix({ name, cellName, head, weighted, label }) {
  const count = run.value.tokens.length, long = count > WHOLE, [corner, setCorner] = useState(null);
  const last = Math.max(0, count - PART), [row, col] = corner ?? [last, last];
  const whole = useTensor(long ? null : name, { head });
  const small = useTensor(long ? name : null, { head, as: "u8", max: WHOLE });
  const part = useTensor(long ? name : null, { head, rows: `${row}:${row + PART}`, cols: `${col}:${col + PART}` });
  if (!long) return html`<${Square} found=${whole} name=${name} cellName=${cellName} head=${head} weighted=${weighted} label=${label} />`;
  if (small === undefined) return html`<${Missing} />`;
  if (!small) return html`<p class="skeleton tall"></p>`;
  const [rows, cols] = small.shape, pool = small.header.pool[0], clamp = (i) => Math.max(0, Math.min(last, i * pool - PART / 2));
  return html`<p class="hint">${t("attention.overview", { count, pool, part: PART })}</p>
    <${Heat} values=${small.values} rows=${rows} cols=${cols} kind="share" limit=${weighted ? undefined : 1} unit=${t(weighted ? "unit.weighted" : "unit.weight")} causal stale=${!small.current} name=${cellName}
      index=${(i, j) => [head, i, j]} where=${(i, j) => t("attention.field", { rows: `${i * pool}–${Math.min(count, (i + 1) * pool) - 1}`, cols: `${j * pool}–${Math.min(count, (j + 1) * pool) - 1}` })}
      rowText=${(i) => tokenText(i * pool)} colText=${(j) => tokenText(j * pool)} onChoose=${(i, j) => setCorner([clamp(i), clamp(j)])} label=${label} />
    <h4>${t("attention.part.opened", { rows: `${row}–${row + PART - 1}`, cols: `${col}–${col + PART - 1}` })}</h4>
    <${Square} found=${part} name=${name} cellName=${cellName} head=${head} first=${[row, col]} weighted=${weighted} label=${label} />`;
}

/** The text itself, each token shaded by what the followed query takes of it. */
export function Text({ row, limit }) {
  const { tokens } = run.value;
  return html`<p class="shaded" translate="no">${tokens.map((token, key) => {
    const value = key > at.value ? 0 : row[key];
    return html`<span key=${key} class=${`${key > at.value ? "future" : ""} ${key === at.value ? "query" : ""}`} style=${key > at.value ? {} : cellStyle(value, "share", limit, themeNow())}>
      <span>${shown(token)}</span><small>${key > at.value ? "" : short(value, 2)}</small></span>`;
  })}</p><p class="hint">${t("attention.text.says")}</p>`;
}

/** The rows and columns that lines and dots draw: all, or of a long prompt the last up to the followed token. */
function useSquare(name, head) {
  const end = Math.max(at.value + 1, Math.min(run.value.tokens.length, LINED)), first = Math.max(0, end - LINED);
  const found = useTensor(name, { head, rows: `${first}:${end}`, cols: `${first}:${end}` });
  return [found, first, end - first];
}

/** Each token twice, joined by lines: as thick as what the left one takes of the right one. */
export function Lines({ name, head, label }) {
  const [found, first, count] = useSquare(name, head);
  if (found === undefined) return html`<${Missing} />`;
  if (!found?.current) return html`<p class="skeleton tall"></p>`;
  const STEP = 26, W = 420, left = 130, right = W - 130, y = (i) => STEP * (i + 0.5), most = largest(found.values) || 1, q = at.value - first;
  const lines = [];
  for (let i = 0; i < count; i++) for (let j = 0; j <= i; j++) {
    const value = found.values[i * count + j];
    if (value > FAINT * most) lines.push(html`<line key=${`${i} ${j}`} class=${i === q ? "looks" : "others"} x1=${left} x2=${right} y1=${y(i)} y2=${y(j)} stroke-width=${Math.max(0.4, 7 * value / most)} stroke-opacity=${i === q ? 0.35 + 0.65 * value / most : 0.5 * value / most} />`);
  }
  const word = (i, x, anchor) => html`<text x=${x} y=${y(i) + 4} text-anchor=${anchor} class=${i === q ? "chosen" : ""}>${tokenText(first + i)}</text>`;
  return html`<figure class="lines"><svg viewBox=${`0 0 ${W} ${STEP * count}`} role="img" aria-label=${label}>${lines}${Array.from({ length: count }, (_, i) => html`<g key=${i} onClick=${() => follow(first + i)}>${word(i, left - 8, "end")}</g>${word(i, right + 8, "start")}`)}</svg>
    <figcaption>${t("attention.lines.says", { least: short(FAINT * most, 2) })}${first > 0 || count < run.value.tokens.length ? ` ${t("attention.window", { first, last: first + count - 1 })}` : ""}</figcaption></figure>`;
}

/** The matrix as dots whose area is the number; what the mask hides is hatched. */
export function Dots({ name, head, label }) {
  const [found, first, count] = useSquare(name, head);
  if (found === undefined) return html`<${Missing} />`;
  if (!found?.current) return html`<p class="skeleton tall"></p>`;
  const STEP = 30, most = largest(found.values) || 1, side = STEP * count, left = 92, top = 92, x = (j) => left + STEP * (j + 0.5), y = (i) => top + STEP * (i + 0.5), q = at.value - first;
  const cells = Array.from({ length: count * count }, (_, k) => [Math.floor(k / count), k % count]);
  const hatch = cells.filter(([i, j]) => j > i).map(([i, j]) => [0.5, 1].map((part) => `M${x(j) - STEP / 2} ${y(i) + STEP * (part - 0.5)}l${STEP * part} ${-STEP * part}`).join("") + `M${x(j)} ${y(i) + STEP / 2}l${STEP / 2} ${-STEP / 2}`).join("");
  return html`<figure class="dotted" style=${{ maxWidth: `${left + side}px` }}><svg viewBox=${`0 0 ${left + side} ${top + side}`} role="img" aria-label=${label}>
    ${q >= 0 && html`<rect class="followed" x="0" y=${y(q) - STEP / 2} width=${left + side} height=${STEP} />`}
    ${Array.from({ length: count }, (_, i) => html`<g key=${i}><text x=${left - 6} y=${y(i) + 4} text-anchor="end" onClick=${() => follow(first + i)}>${tokenText(first + i)}</text><text transform=${`translate(${x(i) + 4} ${top - 6}) rotate(-90)`}>${tokenText(first + i)}</text></g>`)}<path class="hatch" d=${hatch} />
    ${cells.filter(([i, j]) => j <= i).map(([i, j]) => html`<circle key=${`${i} ${j}`} cx=${x(j)} cy=${y(i)} r=${(STEP / 2 - 1) * Math.sqrt(Math.max(0, found.values[i * count + j]) / most)}><title>${`${tokenText(first + i)} → ${tokenText(first + j)}: ${short(found.values[i * count + j])}`}</title></circle>`)}</svg>
    <figcaption>${t("attention.dots.says", { most: short(most, 3) })}${first > 0 || count < run.value.tokens.length ? ` ${t("attention.window", { first, last: first + count - 1 })}` : ""}</figcaption></figure>`;
}
