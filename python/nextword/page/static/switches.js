// Interventions: switches that change the run, each removable, and what they did to the next word.
import { html } from "page/html.js";
import { interventions } from "page/state.js";
import { change, run } from "page/run.js";
import { short, signed } from "page/format.js";
import { t } from "page/text.js";
import { Token, Bars } from "page/parts.js";

/** Whether two rules change the same thing. */
const same = (a, b) => a.name === b.name && ["heads", "columns", "positions"].every((field) => JSON.stringify(a[field] ?? null) === JSON.stringify(b[field] ?? null));

/** Sets, replaces or removes a rule. @param {object} rule @param {boolean} on */
function set(rule, on) {
  const rest = interventions.value.filter((one) => !same(one, rule));
  interventions.value = on ? [...rest, rule] : rest;
}

/** A button that switches something of the model off.
 * @param {{rule: {name: string, heads?: number[], columns?: number[]}, label: string, brief?: boolean}} props */
export function Switch({ rule, label, brief }) {
  const on = interventions.value.some((one) => same(one, rule));
  return html`<button class=${`switch ${brief ? "brief" : ""}`} aria-pressed=${on} aria-label=${brief ? label : undefined}
    onClick=${() => set({ ...rule, how: "zero" }, !on)}>${brief ? t(on ? "switch.on" : "switch.off") : label}</button>`;
}

/** What a rule changes, in words. */
function words(rule) {
  const layer = /^h\.(\d+)/.exec(rule.name)?.[1];
  if (rule.heads) return t("rule.head", { layer, head: rule.heads.join(", ") });
  if (rule.columns) return t("rule.neuron", { layer, neuron: rule.columns.join(", ") });
  if (rule.name.endsWith("attn.out")) return t("rule.attention", { layer });
  return rule.name.endsWith("mlp.out") ? t("rule.mlp", { layer }) : rule.name;
}

/** One rule with its strength: off, or the activation times a factor -2 .. 2, or its mean over the prompt. */
function Rule({ rule }) {
  const how = rule.how, factor = rule.factor ?? 0;
  return html`<li><b>${words(rule)}</b>
    <label class="select"><span class="unseen">${t("rule.how")}</span><select value=${how} onChange=${(event) => {
      const { factor: _, ...rest } = rule, next = event.currentTarget.value;
      set(next === "scale" ? { ...rest, how: next, factor: 2 } : { ...rest, how: next }, true);
    }}>${["zero", "mean", "scale"].map((one) => html`<option value=${one}>${t(`rule.${one}`)}</option>`)}</select></label>
    ${how === "scale" && html`<label class="inline"><span class="unseen">${t("rule.factor")}</span><input type="range" min="-2" max="2" step="0.25" value=${factor} aria-valuetext=${signed(factor)}
      onChange=${(event) => set({ ...rule, factor: Number(event.currentTarget.value) }, true)} /><output>× ${short(factor)}</output></label>`}
    <button class="quiet" aria-label=${t("rule.remove", { what: words(rule) })} onClick=${() => set(rule, false)}>✕</button></li>`;
}

/** All switches and the panel of before and after. */
export function Switches() {
  const told = change.value, texts = told ? { ...run.value.texts, ...told.texts } : {};
  const after = told ? new Map(told.after.map((word) => [word.id, word])) : new Map();
  return html`<section class="switches" aria-labelledby="switches-title"><h2 id="switches-title">${t("switches.title")}</h2>
    <ul>${interventions.value.map((rule) => html`<${Rule} key=${JSON.stringify([rule.name, rule.heads, rule.columns])} rule=${rule} />`)}</ul>
    <button onClick=${() => { interventions.value = []; }}>${t("switches.clear")}</button>
    ${told && !told.changes && html`<p class="told">${t("switches.nothing")}</p>`}
    ${told?.changes && html`<div class="before-after"><div><h3>${t("switches.before")}</h3><${Bars} label=${t("switches.before")} rows=${told.before.map(({ id, p }) => ({ id, text: texts[id], p }))} /></div>
      <div><h3>${t("switches.after")}</h3><${Bars} label=${t("switches.after")} rows=${told.after.map(({ id, p }) => ({ id, text: texts[id], p }))} /></div></div>
      <p class="hint">${t("switches.kl", { kl: short(told.kl) })}</p>
      <table class="plain"><caption>${t("switches.movers")}</caption><thead><tr><th scope="col">Token</th><th scope="col">${t("switches.before")}</th><th scope="col">${t("switches.after")}</th><th scope="col">${t("switches.logit")}</th></tr></thead>
        <tbody>${told.movers.map(({ id, before, after: then }) => {
          const old = told.before.find((word) => word.id === id), fresh = after.get(id);
          return html`<tr key=${id}><th scope="row"><${Token} text=${texts[id]} id=${id} /></th><td>${short(before)}</td><td>${short(then)}</td><td>${old && fresh ? signed(fresh.logit - old.logit) : ""}</td></tr>`;
        })}</tbody></table>`}</section>`;
}
