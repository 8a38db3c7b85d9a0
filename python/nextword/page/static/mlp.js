// Station 4: one layer's feed-forward network, its neurons and what they promote.
import { html } from "page/html.js";
import { layer, cell } from "page/state.js";
import { model, run, at, useRow, useAnswer } from "page/run.js";
import { stepOf } from "page/made.js";
import { short, shown } from "page/format.js";
import { t } from "page/text.js";
import { Station, Token, Missing } from "page/parts.js";
import { Strip } from "page/heat.js";
import { Switch } from "page/switches.js";

/** GPT-2's activation function. @param {number} x */
export const gelu = (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));

/** Activation functions that are drawn, by the names of the operations, with what they are called. */
const FORMS = { gelu_tanh: ["GELU", gelu], silu: ["SiLU", (x) => x / (1 + Math.exp(-x))], quick_gelu: ["Quick GELU", (x) => x / (1 + Math.exp(-1.702 * x))], relu: ["ReLU", (x) => Math.max(0, x)] };

/** The activation's curve with this token's neurons on it.
 * @param {{before: Float32Array, after: Float32Array, form: [string, (x: number) => number]}} props */
function Curve({ before, after, form: [title, form] }) {
  const low = Math.min(-4, ...before), high = Math.max(4, ...before), top = Math.max(4, ...after), W = 480, H = 200;
  const x = (value) => 8 + (W - 16) * (value - low) / (high - low), y = (value) => H - 24 - (H - 36) * (value + 0.3) / (top + 0.3);
  const line = Array.from({ length: 121 }, (_, i) => { const value = low + (high - low) * i / 120; return `${x(value)},${y(form(value))}`; }).join(" ");
  const above = before.filter((value) => value > 0).length;
  return html`<figure class="curve"><svg viewBox=${`0 0 ${W} ${H}`} role="img" aria-label=${t("mlp.curve", { above, count: before.length })}>
    <line class="axis" x1=${x(low)} x2=${x(high)} y1=${y(0)} y2=${y(0)} /><line class="axis" x1=${x(0)} x2=${x(0)} y1=${y(0)} y2="8" />
    <polyline class="line" points=${line} />${[...before].map((value, i) => html`<circle cx=${x(value)} cy=${y(after[i])} r="2.2" />`)}
    <text x=${x(low)} y=${H - 6}>${short(low, 3)}</text><text x=${x(0)} y=${H - 6}>0</text><text x=${x(high)} y=${H - 6} text-anchor="end">${short(high, 3)}</text>
    <text x=${x(0) + 6} y="16">${short(top, 3)}</text></svg><figcaption>${t("mlp.curve", { above, count: before.length })} ${t("mlp.axes", { form: title })}</figcaption></figure>`;
}

/** The neurons that write most, each with tokens that it raises and lowers. */
function Neurons() {
  const told = useAnswer("neurons", { layer: layer.value, position: at.value, top: 20 });
  if (told === undefined) return html`<${Missing} />`;
  if (!told) return html`<p class="skeleton tall"></p>`;
  const words = (ids) => ids.slice(0, 5).map((id) => html`<${Token} text=${told.texts[id]} id=${id} /> `);
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${t("mlp.neurons")}><table class="plain"><thead><tr>${["neuron", stepOf("mlp.act", 0).how === "gated" ? "gate" : "before", "activation", "promoted", "suppressed"].map((column) => html`<th scope="col">${t(`mlp.${column}`)}</th>`)}<td></td></tr></thead>
    <tbody>${told.neurons.map((one) => html`<tr key=${one.neuron}><th scope="row">${one.neuron}</th><td>${short(one.before)}</td>
      <td><button class="value" onClick=${() => { cell.value = { name: `h.${told.layer}.mlp.act`, index: [at.value, one.neuron] }; }}>${short(one.activation)}</button></td>
      <td>${words(one.promoted)}</td><td>${words(one.suppressed)}</td>
      <td><${Switch} rule=${{ name: `h.${told.layer}.mlp.act`, columns: [one.neuron] }} label=${t("switch.neuron", { layer: told.layer, neuron: one.neuron })} brief /></td></tr>`)}</tbody></table></div>`;
}

export function Mlp() {
  const l = layer.value, name = (what) => `h.${l}.${what}`, q = at.value;
  const [ln, act, out, post] = ["ln_2", "mlp.act", "mlp.out", "resid_post"].map((what) => useRow(name(what)));
  const { how, of } = stepOf("mlp.act", l), gated = how === "gated", before = of.map((name) => ({ name, of: useRow(name) })), fc = before[0].of;
  const active = act ? act.values.filter((value) => value > 0).length : 0;
  const form = FORMS[model.value.form], ready = form && fc?.current && act?.current && fc.values.length === act.values.length;
  return html`<${Station} id="mlp" summary=${act?.current ? t("mlp.summary", { layer: l, active, count: act.values.length, token: shown(run.value.tokens[q]) }) : ""}>
    <div class="controls"><${Switch} rule=${{ name: name("mlp.out") }} label=${t("switch.mlp", { layer: l })} /></div>
    <ol class="steps"><li><p>${t(`mlp.step.${stepOf("ln_2", l).how}`)}</p><${Strip} of=${ln} name=${name("ln_2")} at=${q} title="ln_2" /></li>
      <li><p>${t(gated ? "mlp.step.gate" : "mlp.step.fc", { width: model.value.width, inner: model.value.inner })}</p>${before.map((one) => html`<${Strip} ...${one} at=${q} title=${one.name.replace(name(""), "")} />`)}</li>
      <li><p>${t(gated ? "mlp.step.gated" : "mlp.step.act")}</p>${ready && html`<${Curve} before=${fc.values} after=${gated ? fc.values.map(form[1]) : act.values} form=${form} />`}<${Strip} of=${act} name=${name("mlp.act")} at=${q} title="mlp.act" /></li>
      <li><p>${t("mlp.step.out")}</p><${Strip} of=${out} name=${name("mlp.out")} at=${q} title="mlp.out" /><${Strip} of=${post} name=${name("resid_post")} at=${q} title="resid_post" /></li></ol>
    <h3>${t("mlp.neurons")}</h3><p class="hint">${t("mlp.neurons.says")}</p><${Neurons} />
  <//>`;
}
