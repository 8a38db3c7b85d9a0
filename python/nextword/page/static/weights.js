// Station 3: one head's weights, or weight times length of the value, as a matrix and as shaded text.
import { useMemo, useState } from "preact/hooks";
import { html } from "page/html.js";
import { themeNow } from "page/state.js";
import { run, at, useTensor } from "page/run.js";
import { cellStyle } from "page/cell_style.js";
import { short, shown } from "page/format.js";
import { t } from "page/text.js";
import { Heat } from "page/heat.js";
import { Missing } from "page/parts.js";

const WHOLE = 256;  // tokens whose matrix is sent whole
const PART = 64;  // side of the part of a longer one that is opened

const tokenText = (i) => shown(run.value.tokens[i] ?? { text: "" });

/** A square part of the matrix, or all of it; `first`: its first query and key. */
function Square({ found, name, cellName, head, first = [0, 0], weighted, label }) {
  if (found === undefined) return html`<${Missing} />`;
  if (!found) return html`<p class="skeleton tall"></p>`;
  const [rows, cols] = found.shape, q = at.value - first[0];
  return html`<${Heat} values=${found.values} rows=${rows} cols=${cols} kind="share" limit=${weighted ? undefined : 1} unit=${t(weighted ? "unit.weighted" : "unit.weight")}
    causal shift=${first[0] - first[1]} stale=${!found.current} name=${cellName} index=${(i, j) => [head, first[0] + i, first[1] + j]} row=${q >= 0 && q < rows ? q : undefined}
    where=${weighted ? (i, j) => `|w·v|[${head}, ${first[0] + i}, ${first[1] + j}]` : undefined} rowText=${(i) => tokenText(first[0] + i)} colText=${(j) => tokenText(first[1] + j)} label=${label} />`;
}

/** Numbers from bytes on the scale "sqrt", as the header of a tensor says. */
const unpacked = ({ values, header }) => Float32Array.from(values, (byte) => (byte / 255) ** 2 * header.max);

/** The matrix: whole, or of a long prompt the largest weight of each field, and the part that was opened exactly. */
export function Matrix({ name, cellName, head, weighted, label }) {
  const count = run.value.tokens.length, long = count > WHOLE, [corner, setCorner] = useState(null);
  const last = Math.max(0, count - PART), [row, col] = corner ?? [last, last];
  const whole = useTensor(long ? null : name, { head });
  const small = useTensor(long ? name : null, { head, as: "u8", max: WHOLE });
  const part = useTensor(long ? name : null, { head, rows: `${row}:${row + PART}`, cols: `${col}:${col + PART}` });
  const spread = useMemo(() => small && unpacked(small), [small?.values]);
  if (!long) return html`<${Square} found=${whole} name=${name} cellName=${cellName} head=${head} weighted=${weighted} label=${label} />`;
  if (small === undefined) return html`<${Missing} />`;
  if (!small) return html`<p class="skeleton tall"></p>`;
  const [rows, cols] = small.shape, pool = small.header.pool[0], clamp = (i) => Math.max(0, Math.min(last, i * pool - PART / 2));
  return html`<p class="hint">${t("attention.overview", { count, pool, part: PART })}</p>
    <${Heat} values=${spread} rows=${rows} cols=${cols} kind="share" limit=${weighted ? undefined : 1} unit=${t(weighted ? "unit.weighted" : "unit.weight")} causal stale=${!small.current} name=${cellName}
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
