// Screen B: what can be switched, put together from a kind and a place.
import { useState } from "preact/hooks";
import { html } from "page/html.js";
import { layer, head } from "page/state.js";
import { model, run } from "page/run.js";
import { madeBy } from "page/made.js";
import { shown } from "page/format.js";
import { set } from "page/rules.js";
import { t } from "page/text.js";

/** Which fields a kind of switch needs, and the rule that they make. */
const KINDS = {
  head: [["layer", "head", "where"], ({ layer, head }) => ({ name: `h.${layer}.attn.z`, heads: [head], how: "zero" })],
  attention: [["layer", "where"], ({ layer }) => ({ name: `h.${layer}.attn.out`, how: "zero" })],
  mlp: [["layer", "where"], ({ layer }) => ({ name: `h.${layer}.mlp.out`, how: "zero" })],
  neuron: [["layer", "neuron", "value", "where"], ({ layer, neuron, value }) => ({ name: `h.${layer}.mlp.act`, columns: [neuron], how: "value", value })],
  mask: [["token"], ({ token }) => ({ name: "h.*.attn.scores", columns: [token], how: "mask" })],
  token: [["token", "word"], ({ token, word }) => ({ name: madeBy("token")[0], positions: [token], how: "token", token: word })],
};

/** A number field. */
const Count = ({ label, value, most, step = 1, onChange }) => html`<label class="select"><span>${label}</span><input type="number" value=${value} min=${step === 1 ? 0 : undefined} max=${most} step=${step}
  onChange=${(event) => { const next = event.currentTarget.valueAsNumber; if (Number.isFinite(next)) onChange(step === 1 ? Math.max(0, Math.min(most, Math.round(next))) : next); }} /></label>`;

export function AddRule() {
  const { layers, heads, inner } = model.value, tokens = run.value.tokens;
  const [chosen, setChosen] = useState({ kind: "head", layer: layer.value, head: head.value, neuron: 0, value: 5, token: tokens.length - 1, where: -1, word: t("add.word") });
  const now = { ...chosen, token: Math.min(chosen.token, tokens.length - 1), where: Math.min(chosen.where, tokens.length - 1) }, change = (field) => (value) => setChosen({ ...chosen, [field]: value });
  const [needs, make] = KINDS[now.kind];
  const places = (all) => html`${all && html`<option value="-1">${t("add.everywhere")}</option>`}${tokens.map((token, i) => html`<option value=${i}>${`${i} ${shown(token)}`}</option>`)}`;
  const fields = {
    layer: () => html`<${Count} label=${t("layer")} value=${now.layer} most=${layers - 1} onChange=${change("layer")} />`,
    head: () => html`<${Count} label=${t("head")} value=${now.head} most=${heads - 1} onChange=${change("head")} />`,
    neuron: () => html`<${Count} label="Neuron" value=${now.neuron} most=${inner - 1} onChange=${change("neuron")} />`,
    value: () => html`<${Count} label=${t("add.value")} value=${now.value} step="any" onChange=${change("value")} />`,
    token: () => html`<label class="select"><span>Token</span><select value=${now.token} onChange=${(event) => change("token")(Number(event.currentTarget.value))}>${places(false)}</select></label>`,
    where: () => html`<label class="select"><span>${t("add.where")}</span><select value=${now.where} onChange=${(event) => change("where")(Number(event.currentTarget.value))}>${places(true)}</select></label>`,
    word: () => html`<label class="select"><span>${t("add.by")}</span><input type="text" size="10" spellcheck="false" value=${now.word} onInput=${(event) => change("word")(event.currentTarget.value)} /></label>`,
  };
  const add = (event) => {
    event.preventDefault();
    const spaced = tokens[now.token].text?.startsWith(" ") ? ` ${now.word.trim()}` : now.word;  // a word as it stands there
    const rule = make({ ...now, word: spaced });
    set(needs.includes("where") && now.where >= 0 ? { ...rule, positions: [now.where] } : rule, true);
  };
  return html`<form class="controls" id="add-rule" onSubmit=${add}>
    <label class="select"><span>${t("add.kind")}</span><select value=${now.kind} onChange=${(event) => change("kind")(event.currentTarget.value)}>${Object.keys(KINDS).map((kind) => html`<option value=${kind}>${t(`add.${kind}`)}</option>`)}</select></label>
    ${needs.map((field) => fields[field]())}<button class="primary" disabled=${needs.includes("word") && !now.word.trim()}>${t("add.add")}</button></form>
    <p class="hint">${t(`add.${now.kind}.says`)}</p>`;
}
