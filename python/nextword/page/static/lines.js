// Station 3: one head's weights, or weight times length of the value, as lines between tokens and as dots.
import { html } from "page/html.js";
import { position } from "page/state.js";
import { run, at, useTensor } from "page/run.js";
import { short, shown } from "page/format.js";
import { t } from "page/text.js";
import { largest } from "page/heat.js";
import { Missing } from "page/parts.js";

const LINED = 40;  // tokens that stand below each other
const FAINT = 0.02;  // of the largest weight: less is not drawn as a line

const WORD = { font: "13px var(--mono)", fill: "var(--soft)", cursor: "pointer" }, CHOSEN = { ...WORD, fill: "var(--ink)", fontWeight: 700 };
const CAPTION = { color: "var(--soft)", fontSize: "var(--text-1)", marginTop: "4px" };

const tokenText = (i) => shown(run.value.tokens[i] ?? { text: "" });
const follow = (i) => { position.value = i === run.value.tokens.length - 1 ? -1 : i; };

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
    if (value > FAINT * most) lines.push(html`<line key=${`${i} ${j}`} class=${i === q ? "looks" : "others"} stroke=${i === q ? "var(--plus)" : "var(--strong-line)"} x1=${left} x2=${right} y1=${y(i)} y2=${y(j)} stroke-width=${Math.max(0.4, 7 * value / most)} stroke-opacity=${i === q ? 0.35 + 0.65 * value / most : 0.5 * value / most} />`);
  }
  const word = (i, x, anchor) => html`<text x=${x} y=${y(i) + 4} text-anchor=${anchor} style=${i === q ? CHOSEN : WORD}>${tokenText(first + i)}</text>`;
  return html`<figure class="lines" style=${{ maxWidth: "30rem" }}><svg width="100%" viewBox=${`0 0 ${W} ${STEP * count}`} role="img" aria-label=${label}>${lines}${Array.from({ length: count }, (_, i) => html`<g key=${i} onClick=${() => follow(first + i)}>${word(i, left - 8, "end")}</g>${word(i, right + 8, "start")}`)}</svg>
    <figcaption style=${CAPTION}>${t("attention.lines.says", { least: short(FAINT * most, 2) })}${first > 0 || count < run.value.tokens.length ? ` ${t("attention.window", { first, last: first + count - 1 })}` : ""}</figcaption></figure>`;
}

/** The matrix as dots whose area is the number; what the mask hides is hatched. */
export function Dots({ name, head, label }) {
  const [found, first, count] = useSquare(name, head);
  if (found === undefined) return html`<${Missing} />`;
  if (!found?.current) return html`<p class="skeleton tall"></p>`;
  const STEP = 30, most = largest(found.values) || 1, side = STEP * count, left = 92, top = 92, x = (j) => left + STEP * (j + 0.5), y = (i) => top + STEP * (i + 0.5), q = at.value - first;
  const cells = Array.from({ length: count * count }, (_, k) => [Math.floor(k / count), k % count]);
  const hatch = cells.filter(([i, j]) => j > i).map(([i, j]) => [0.5, 1].map((part) => `M${x(j) - STEP / 2} ${y(i) + STEP * (part - 0.5)}l${STEP * part} ${-STEP * part}`).join("") + `M${x(j)} ${y(i) + STEP / 2}l${STEP / 2} ${-STEP / 2}`).join("");
  return html`<figure class="dotted" style=${{ maxWidth: `${left + side}px` }}><svg width="100%" viewBox=${`0 0 ${left + side} ${top + side}`} role="img" aria-label=${label}>
    ${q >= 0 && html`<rect class="followed" fill="var(--accent-soft)" x="0" y=${y(q) - STEP / 2} width=${left + side} height=${STEP} />`}
    ${Array.from({ length: count }, (_, i) => html`<g key=${i}><text style=${WORD} x=${left - 6} y=${y(i) + 4} text-anchor="end" onClick=${() => follow(first + i)}>${tokenText(first + i)}</text><text style=${WORD} transform=${`translate(${x(i) + 4} ${top - 6}) rotate(-90)`}>${tokenText(first + i)}</text></g>`)}<path class="hatch" stroke="var(--strong-line)" stroke-opacity="0.6" d=${hatch} />
    ${cells.filter(([i, j]) => j <= i).map(([i, j]) => html`<circle key=${`${i} ${j}`} fill="var(--accent)" cx=${x(j)} cy=${y(i)} r=${(STEP / 2 - 1) * Math.sqrt(Math.max(0, found.values[i * count + j]) / most)}><title>${`${tokenText(first + i)} → ${tokenText(first + j)}: ${short(found.values[i * count + j])}`}</title></circle>`)}</svg>
    <figcaption style=${CAPTION}>${t("attention.dots.says", { most: short(most, 3) })}${first > 0 || count < run.value.tokens.length ? ` ${t("attention.window", { first, last: first + count - 1 })}` : ""}</figcaption></figure>`;
}
