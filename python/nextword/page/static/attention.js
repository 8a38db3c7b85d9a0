// Station 3: one layer's attention. All heads at a glance; the chosen one from query and keys to what it writes.
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { html } from "page/html.js";
import { layer, head, cell, themeNow } from "page/state.js";
import { model, run, at, useTensor, useRow, useHeads } from "page/run.js";
import { madeBy, sharedHead, stepOf } from "page/made.js";
import { ramp } from "page/colour.js";
import { short, shown } from "page/format.js";
import { t } from "page/text.js";
import { Station, Choice, Missing, rove } from "page/parts.js";
import { Strip, Legend, largest } from "page/heat.js";
import { Matrix, Text } from "page/weights.js";
import { Switch } from "page/switches.js";
import { lazy } from "page/lazy.js";

const Lines = lazy(() => import("page/lines.js"), "Lines"), Dots = lazy(() => import("page/lines.js"), "Dots");

/** One head's weights as a small picture: the largest weight of each of size x size fields.
 * @param {{bytes: Uint8Array, size: number}} props  bytes: 255 * sqrt(weight) */
function Thumb({ bytes, size }) {
  const canvas = useRef(null), theme = themeNow();
  useLayoutEffect(() => {
    const table = ramp("share", theme), image = new ImageData(size, size);
    bytes.forEach((byte, i) => image.data.set([table[3 * byte], table[3 * byte + 1], table[3 * byte + 2], 255], 4 * i));
    canvas.current.getContext("2d").putImageData(image, 0, 0);
  }, [bytes, size, theme]);
  return html`<canvas ref=${canvas} width=${size} height=${size} aria-hidden="true"></canvas>`;
}

/** All heads of all layers; the chosen one is opened below. */
function Heads() {
  const all = useHeads(), grid = useRef(null);
  if (!all) return html`<p class="skeleton tall"></p>`;
  const { layers, heads, size } = all.header, area = size * size;
  return html`<div class="heads" role="group" aria-label=${t("attention.heads")} ref=${grid} onKeyDown=${(event) => rove(event, grid.current, heads)}
    style=${{ gridTemplateColumns: `auto repeat(${heads}, minmax(0, 64px))`, "--heads": heads }}>
    ${Array.from({ length: layers }, (_, l) => html`<span class="row-name">${t("layer.short", { layer: l })}</span>${Array.from({ length: heads }, (_, h) => {
      const chosen = l === layer.value && h === head.value, from = (l * heads + h) * area;
      return html`<button data-rove class="thumb" aria-pressed=${chosen} tabindex=${chosen ? 0 : -1} aria-label=${t("attention.head", { layer: l, head: h })}
        onClick=${() => { layer.value = l; head.value = h; }}><${Thumb} bytes=${all.thumbs.subarray(from, from + area)} size=${size} /></button>`;
    })}`)}</div><p class="hint">${t("attention.heads.says")} <${Legend} kind="share" limit=${1} unit=${t("unit.weight")} /></p>`;
}

/** The chosen query's row: score, mask, weight of every key. */
function Row({ scores, weights }) {
  const { tokens } = run.value, q = at.value, rows = tokens.slice(0, q + 1), hiddenCount = tokens.length - q - 1;
  const name = (what) => `h.${layer.value}.attn.${what}`;
  const pick = (what, key) => { cell.value = { name: name(what), index: [head.value, q, key] }; };
  const sum = weights.values.slice(0, q + 1).reduce((a, b) => a + b, 0);
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${t("attention.row", { token: shown(tokens[q]) })}><table class="plain row-table">
    <thead><tr><th scope="col">Key</th><th scope="col">${t("attention.score")}</th><th scope="col">${t("attention.weight")}</th><td></td></tr></thead>
    <tbody>${rows.map((token, key) => html`<tr key=${key}><th scope="row" translate="no">${shown(token)}</th>
      <td><button class="value" onClick=${() => pick("scores", key)}>${scores.values[key] === -Infinity ? "−∞" : short(scores.values[key])}</button></td>
      <td><button class="value" onClick=${() => pick("weights", key)}>${short(weights.values[key])}</button></td>
      <td class="wide"><span class="bar"><span class="fill" style=${{ width: `${100 * weights.values[key]}%` }}></span></span></td></tr>`)}
      ${hiddenCount > 0 && html`<tr class="masked"><th scope="row">${t("attention.future", { count: hiddenCount })}</th><td>−∞</td><td>0</td><td class="wide"><span class="bar hatched"></span></td></tr>`}</tbody>
    <tfoot><tr><th scope="row">${t("attention.sum")}</th><td></td><td>${sum.toFixed(3)}</td><td></td></tr></tfoot></table></div>`;
}

/** Which tokens the query looks at most, as a sentence. */
function sentence(weights) {
  const { tokens } = run.value, row = [...weights.values.slice(0, at.value + 1)].map((weight, key) => [weight, key]).sort((a, b) => b[0] - a[0]);
  const part = ([weight, key]) => t("attention.part", { p: short(weight), token: shown(tokens[key]) });
  return t("attention.sentence", { head: head.value, layer: layer.value, token: shown(tokens[at.value]), parts: row.slice(0, 2).map(part).join(t("and")) });
}

export function Attention() {
  const [view, setView] = useState("matrix"), [of, setOf] = useState("weights");
  const l = layer.value, h = head.value, q = at.value, name = (what) => `h.${l}.attn.${what}`, weighted = of !== "weights";
  const row = { head: h, rows: `${q}:${q + 1}` };
  const scores = useTensor(name("scores"), row), weights = useTensor(name("weights"), row), taken = useTensor(view === "text" ? name(of) : null, row);
  const part = (name) => { const lead = sharedHead(run.value.names[name]?.[0] ?? 1, h); return { name, lead: [lead], of: useTensor(name, { ...row, head: lead }) }; };
  const [query, key, value, z] = ["q", "k", "v", "z"].map((what) => part(name(what)));
  const more = ["rms_norm", "rotated"].map((how) => [how, madeBy(how, l).filter((one) => one.includes("attn")).map(part)]);
  const { heads, kv_heads: keys, head_width: width } = model.value, group = heads / keys, [own] = key.lead;
  const strip = (one, title = one.name.split(".").at(-1)) => html`<${Strip} ...${one} at=${q} title=${title} />`;
  const ln = useRow(`h.${l}.ln_1`), out = useRow(name("out")), mid = useRow(`h.${l}.resid_mid`);
  const text = (i) => shown(run.value.tokens[i] ?? { text: "" }), ready = scores?.current && weights?.current;
  const label = ready ? sentence(weights) : t("attention.head", { layer: l, head: h }), shownOf = { name: name(of), head: h, label };
  return html`<${Station} id="attention" summary=${ready ? sentence(weights) : ""}>
    <div class="beside"><div><h3>${t("attention.heads")}</h3><${Heads} /></div><div><h3>${t("attention.open", { layer: l, head: h })}</h3>
    <div class="controls"><${Choice} label=${t("attention.view")} value=${view} onChoose=${setView}
      options=${["matrix", "lines", "text", "dots"].map((one) => [one, t(`attention.view.${one}`)])} />
      <${Choice} label=${t("attention.of")} value=${of} onChoose=${setOf} options=${["weights", "value_weighted"].map((one) => [one, t(`attention.of.${one}`)])} /></div>
    <div class="controls"><${Switch} rule=${{ name: name("z"), heads: [h] }} label=${t("switch.head", { layer: l, head: h })} /><${Switch} rule=${{ name: name("out") }} label=${t("switch.attention", { layer: l })} /></div>
    ${ready && html`<p class="told" role="note">${sentence(weights)}</p>`}${weighted && html`<p class="hint">${t("attention.of.says")}</p>`}
    ${view === "matrix" && html`<${Matrix} ...${shownOf} cellName=${name("weights")} weighted=${weighted} />`}
    ${view === "lines" && html`<${Lines} ...${shownOf} />`}${view === "dots" && html`<${Dots} ...${shownOf} />`}
    ${view === "text" && (taken === undefined ? html`<${Missing} />` : taken?.current && html`<${Text} row=${taken.values} limit=${weighted ? largest(taken.values) || 1 : 1} />`)}
    </div></div><h3>${t("attention.steps")}</h3>
    <ol class="steps"><li><p>${t(`attention.step.${stepOf("ln_1", l).how}`)}</p><${Strip} of=${ln} name=${`h.${l}.ln_1`} at=${q} title="ln_1" /></li>
      <li><p>${t("attention.step.qkv", { width })}${group > 1 && ` ${t("attention.shared", { first: own * group, last: own * group + group - 1, own, keys })}`}</p>${[["q", query], ["k", key], ["v", value]].map(([what, one]) => strip(one, t(`attention.${what}`)))}
        ${more.map(([how, all]) => all.length > 0 && html`<p>${t(`attention.each.${how}`)}</p>${all.map((one) => strip(one))}`)}</li>
      <li><p>${t("attention.step.scores", { token: text(q) })}</p>${ready && html`<${Row} scores=${scores} weights=${weights} />`}</li>
      <li><p>${t("attention.step.z")}</p>${strip(z)}</li>
      <li><p>${t("attention.step.out")}</p><${Strip} of=${out} name=${name("out")} at=${q} title="attn.out" /><${Strip} of=${mid} name=${`h.${l}.resid_mid`} at=${q} title="resid_mid" /></li></ol>
  <//>`;
}
