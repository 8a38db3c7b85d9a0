// Screen C: two prompts, two models, or before and after interventions, with one selection for both.
import { useState } from "preact/hooks";
import { html } from "page/html.js";
import { prompt, other, interventions, layer, head, sides, themeNow } from "page/state.js";
import { bodyOf, model, useAnswer, useTensorOf } from "page/run.js";
import { cellStyle } from "page/cell_style.js";
import { short, shown } from "page/format.js";
import { t } from "page/text.js";
import { strength, words } from "page/rules.js";
import { Bars, Choice, Missing, Stepper, Token, Typed } from "page/parts.js";

const MOST = 300;  // tokens that are aligned as a longest common subsequence; longer texts place by place

/** Tokens of two texts beside each other: equal ones in one column where that is possible.
 * @param {string[]} a @param {string[]} b @returns {[number|null, number|null][]} */
export function aligned(a, b) {
  if (Math.max(a.length, b.length) > MOST) return Array.from({ length: Math.max(a.length, b.length) }, (_, i) => [i < a.length ? i : null, i < b.length ? i : null]);
  const best = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--) for (let j = b.length - 1; j >= 0; j--) best[i][j] = a[i] === b[j] ? best[i + 1][j + 1] + 1 : Math.max(best[i + 1][j], best[i][j + 1]);
  const found = [];
  let i = 0, j = 0;
  while (i < a.length || j < b.length) {
    const stretch = [[], []];  // up to the next equal pair: what differs stands in one column, too
    while ((i < a.length || j < b.length) && !(i < a.length && j < b.length && a[i] === b[j] && best[i][j] === best[i + 1][j + 1] + 1)) {
      if (j >= b.length || (i < a.length && best[i + 1][j] >= best[i][j + 1])) stretch[0].push(i++); else stretch[1].push(j++);
    }
    const longer = Math.max(stretch[0].length, stretch[1].length);
    for (let k = 0; k < longer; k++) found.push(stretch.map((one) => one[k - longer + one.length] ?? null));
    if (i < a.length && j < b.length) found.push([i++, j++]);
  }
  return found;
}

/** What stands on either side: where its run is asked for, with what. */
function pair() {
  const first = prompt.value, second = other.value || t("side.example");
  return {
    prompts: () => [["/api", bodyOf(first), t("side.a")], ["/api", bodyOf(second), t("side.b")]],
    models: () => [["/api", bodyOf(first), model.value.name], ["/api/against", bodyOf(first), model.value.start.against]],
    change: () => [["/api", bodyOf(first), t("switches.before")], ["/api", { ...bodyOf(first), interventions: interventions.value }, t("switches.after")]],
  }[sides.value]();
}

const size = (run) => ({ layers: Object.keys(run.names).filter((name) => name.endsWith(".resid_post")).length, heads: run.names["h.0.attn.weights"]?.[0] ?? 1 });

/** The chosen query's weights in one run. */
function useWeights(root, run, q) {
  const { layers, heads } = run ? size(run) : { layers: 1, heads: 1 }, l = Math.min(layer.value, layers - 1), h = Math.min(head.value, heads - 1);
  return useTensorOf(run && q !== null ? `${root}/run/${run.run}` : null, `h.${l}.attn.weights`, { head: h, rows: `${q}:${q + 1}` });
}

/** One side's two lines: its tokens, and what the chosen one takes of each. */
function lines({ label, run, columns, at, weights, onChoose, q }) {
  return html`<tr><th scope="row">${label}</th>${columns.map(([i], c) => html`<td key=${c} class=${c === at ? "chosen" : ""}>${i === null ? html`<span class="gap" aria-hidden="true">–</span>` : html`<button aria-pressed=${c === at} onClick=${() => onChoose(c)}><span translate="no">${shown(run.tokens[i])}</span></button>`}</td>`)}</tr>
    <tr class="weights"><th scope="row">${t("side.weight")}</th>${columns.map(([i], c) => {
      const value = i === null || q === null || i > q || !weights?.current ? null : weights.values[i];
      return html`<td key=${c}>${value === null ? html`<span class=${i !== null && q !== null && i > q ? "cell hatched" : "cell"}></span>` : html`<span class="cell" style=${cellStyle(value, "share", 1, themeNow())}>${short(value, 3)}</span>`}</td>`;
    })}</tr>`;
}

/** Next words, attention and lens of two runs. */
function Both({ left, right }) {
  const [rootA, bodyA, labelA] = left, [rootB, bodyB, labelB] = right, [chosen, setChosen] = useState(-1);
  const a = useAnswer(`${rootA}/run`, bodyA), b = useAnswer(`${rootB}/run`, bodyB), ready = a && b;
  const columns = ready ? aligned(a.tokens.map((one) => one.text), b.tokens.map((one) => one.text)) : [], at = chosen < 0 || chosen >= columns.length ? columns.length - 1 : chosen;
  const [qa, qb] = columns[at] ?? [null, null], ask = (p) => ({ at: "resid_post", positions: [p ?? 0], top: 5 });
  const wa = useWeights(rootA, ready && a, qa), wb = useWeights(rootB, ready && b, qb);
  const lensA = useAnswer(ready && qa !== null ? `${rootA}/run/${a.run}/lens` : null, ask(qa)), lensB = useAnswer(ready && qb !== null ? `${rootB}/run/${b.run}/lens` : null, ask(qb));
  if (a === undefined || b === undefined) return html`<${Missing} />`;
  if (!ready) return html`<p class="skeleton tall" aria-busy="true"></p>`;
  const most = Math.max(a.next[0]?.p ?? 0, b.next[0]?.p ?? 0), { layers, heads } = [size(a), size(b)].reduce((x, y) => ({ layers: Math.max(x.layers, y.layers), heads: Math.max(x.heads, y.heads) }));
  const bars = (run, label) => html`<div><h4>${label}</h4><${Bars} limit=${most} label=${t("side.next.of", { label })} rows=${run.next.slice(0, 8).map(({ id, p }) => ({ id, text: run.texts[id], p }))} /></div>`;
  const read = (lens, q, row) => (q !== null && lens && lens.positions[0] === q && lens.names[row] !== undefined ? html`<td><code>${lens.names[row]}</code></td><td><${Token} text=${lens.texts[lens.ids[row][0][0]]} id=${lens.ids[row][0][0]} /></td><td class="number">${short(lens.p[row][0][0])}</td>` : html`<td></td><td></td><td></td>`);
  const told = [[a, wa, qa, labelA], [b, wb, qb, labelB]].map(([run, w, q, label]) => (q === null || !w?.current ? "" : t("side.sentence", { label, token: shown(run.tokens[q]), p: short(Math.max(...w.values.slice(0, q + 1))), most: shown(run.tokens[w.values.indexOf(Math.max(...w.values.slice(0, q + 1)))]) })));
  return html`<h3>${t("side.next")}</h3><div class="before-after" id="side-next">${bars(a, labelA)}${bars(b, labelB)}</div>
    <h3>${t("side.attention")}</h3><div class="controls"><${Stepper} label=${t("layer")} value=${layer.value} count=${layers} onChoose=${(value) => { layer.value = value; }} /><${Stepper} label=${t("head")} value=${head.value} count=${heads} onChoose=${(value) => { head.value = value; }} /></div>
    <div class="scroll lens cells sides" tabindex="0" role="region" aria-label=${t("side.attention")}><table id="side-attention"><tbody>${lines({ label: labelA, run: a, columns, at, weights: wa, onChoose: setChosen, q: qa })}${lines({ label: labelB, run: b, columns: columns.map(([x, y]) => [y, x]), at, weights: wb, onChoose: setChosen, q: qb })}</tbody></table></div>
    <p class="hint">${t("side.attention.says")}</p><p class="told" role="status">${told.filter(Boolean).join(" ") || t("side.gap")}</p>
    <h3>${t("stream.lens")}</h3><div class="scroll" tabindex="0" role="region" aria-label=${t("stream.lens")}><table class="plain" id="side-lens"><thead><tr><th scope="colgroup" colspan="3">${labelA}</th><th scope="colgroup" colspan="3">${labelB}</th></tr></thead>
      <tbody>${Array.from({ length: Math.max(lensA?.names.length ?? 0, lensB?.names.length ?? 0) }, (_, row) => html`<tr key=${row}>${read(lensA, qa, row)}${read(lensB, qb, row)}</tr>`)}</tbody></table></div>`;
}

export function SideBySide() {
  const two = Boolean(model.value?.start.against), kinds = ["prompts", ...(two ? ["models"] : []), "change"], kind = kinds.includes(sides.value) ? sides.value : "prompts";
  if (kind !== sides.value) sides.value = kind;
  if (!model.value) return html`<p class="skeleton tall"></p>`;
  const field = (label, signal, shownValue) => html`<label class="stack"><span>${label}</span><${Typed} value=${shownValue} onChoose=${(text) => { if (text) signal.value = text; }} /></label>`;
  const nothing = kind === "change" && !interventions.value.length;
  return html`<section class="card" aria-labelledby="side-title" id="sides"><h2 id="side-title">${t("side.title")}</h2><p class="says">${t("side.says")}</p>
    <div class="controls"><${Choice} label=${t("side.what")} value=${kind} onChoose=${(next) => { sides.value = next; }} options=${kinds.map((one) => [one, t(`side.${one}`)])} /></div>
    <div class="two">${field(kind === "prompts" ? t("side.a") : t("side.prompt"), prompt, prompt.value)}${kind === "prompts" && field(t("side.b"), other, other.value || t("side.example"))}</div>
    ${!two && html`<p class="hint">${t("side.against")}</p>`}
    ${kind === "change" && !nothing && html`<p class="told">${interventions.value.map((rule) => `${words(rule)}: ${strength(rule)}`).join("; ")}</p>`}
    ${nothing ? html`<p class="told">${t("side.nothing")}</p>` : prompt.value && html`<${Both} key=${kind} left=${pair()[0]} right=${pair()[1]} />`}</section>`;
}
