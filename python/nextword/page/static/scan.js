// Screen B: every head, part or neuron switched off, one at a time, and what each does to a word.
import { useState } from "preact/hooks";
import { html } from "page/html.js";
import { layer as shownLayer } from "page/state.js";
import { base, model } from "page/run.js";
import { shown } from "page/format.js";
import { t } from "page/text.js";
import { Choice, Stepper, Typed } from "page/parts.js";
import { GridPicture, Progress, useStream } from "page/grid.js";

const PARTS = ["attn.out", "mlp.out"];

/** The rule that a cell of the scan stands for. */
const ruleOf = (over, layer, column, how) => ({
  heads: { name: `h.${layer}.attn.z`, heads: [column], how }, layers: { name: `h.${layer}.${PARTS[column]}`, how }, neurons: { name: `h.${layer}.mlp.act`, columns: [column], how },
}[over]);

export function Scan() {
  const [over, setOver] = useState("heads"), [measure, setMeasure] = useState("logit"), [how, setHow] = useState("zero"), [target, setTarget] = useState("");
  const { layers, heads, inner } = model.value, l = Math.min(shownLayer.value, layers - 1), run = base.value.run;
  const body = { over, measure, how, ...(target.trim() ? { target: ` ${target.trim()}` } : {}), ...(over === "neurons" ? { layers: [l] } : {}) };
  const { grid, start, stop } = useStream(JSON.stringify([run, body]));
  const rows = over === "neurons" ? [l] : Array.from({ length: layers }, (_, i) => i), cols = { heads, layers: 2, neurons: inner }[over];
  const where = (layer, column) => ({ heads: t("rule.head", { layer, head: column }), layers: t(column ? "rule.mlp" : "rule.attention", { layer }), neurons: t("rule.neuron", { layer, neuron: column }) }[over]);
  const word = grid?.end ? shown({ text: grid.end.texts[grid.end.target], id: grid.end.target }) : target.trim() ? `·${target.trim()}` : shown({ text: base.value.texts[base.value.next[0]?.id], id: base.value.next[0]?.id });
  return html`<section class="card" aria-labelledby="scan-title" id="scan"><h2 id="scan-title">${t("scan.title")}</h2><p class="says">${t("scan.says")}</p>
    <div class="controls"><${Choice} label=${t("scan.over")} value=${over} onChoose=${setOver} options=${["heads", "layers", "neurons"].map((one) => [one, t(`scan.${one}`)])} />
      ${over === "neurons" && html`<${Stepper} label=${t("layer")} value=${l} count=${layers} onChoose=${(value) => { shownLayer.value = value; }} />`}
      <${Choice} label=${t("scan.measure")} value=${measure} onChoose=${setMeasure} options=${["logit", "logprob", "kl"].map((one) => [one, t(`scan.${one}`)])} />
      <${Choice} label=${t("rule.how")} value=${how} onChoose=${setHow} options=${["zero", "mean"].map((one) => [one, t(`rule.${one}`)])} />
      ${measure !== "kl" && html`<label class="select"><span>${t("scan.target")}</span><${Typed} size="22" value=${target} placeholder=${t("switches.best")} onChoose=${setTarget} /></label>`}</div>
    <div class="controls"><${Progress} grid=${grid} label=${t("scan.start")} onStart=${() => start(`/api/run/${run}/scan`, body, rows, cols)} onStop=${stop} /></div>
    ${grid && html`<${GridPicture} grid=${grid} kind=${measure === "kl" ? "share" : "signed"} unit=${t(`scan.unit.${measure}`)} label=${t(`scan.picture.${measure}`, { token: word })}
      colText=${(j) => (over === "layers" ? t(j ? "scan.mlp" : "scan.attention") : String(j))} where=${where} ruleOf=${(layer, column) => ruleOf(over, layer, column, how)} />
      <p class="hint">${t("scan.click")}</p>`}</section>`;
}
