// Interventions: switches that change the run, each removable, and what they did to the next word.
import { html } from "page/html.js";
import { interventions, watched } from "page/state.js";
import { base, change, run, useAnswer } from "page/run.js";
import { short, signed, shown } from "page/format.js";
import { t } from "page/text.js";
import { placeOf, same, set, strength, words } from "page/rules.js";
import { Bars, Token, Typed } from "page/parts.js";

/** A button that switches something of the model off.
 * @param {{rule: {name: string, heads?: number[], columns?: number[]}, label: string, brief?: boolean}} props */
export function Switch({ rule, label, brief }) {
  const on = interventions.value.some((one) => same(one, rule));
  return html`<button class=${`switch ${brief ? "brief" : ""}`} aria-pressed=${on} aria-label=${brief ? label : undefined}
    onClick=${() => set({ ...rule, how: "zero" }, !on)}>${brief ? t(on ? "switch.on" : "switch.off") : label}</button>`;
}

/** One rule with its strength: off, its mean over the prompt, times a factor -2 .. 2; a neuron also set to a number. */
function Rule({ rule }) {
  const { how, factor: _, value: __, ...rest } = rule, fixed = ["mask", "token", "prompt"].includes(how);
  const choose = (next) => set({ ...rest, how: next, ...(next === "scale" ? { factor: 2 } : next === "value" ? { value: 0 } : {}) }, true);
  return html`<li><b>${words(rule)}</b>
    ${fixed ? how === "prompt" && html`<span class="hint">${strength(rule)}</span>` : html`<label class="select"><span class="unseen">${t("rule.how")}</span><select value=${how} onChange=${(event) => choose(event.currentTarget.value)}>
      ${["zero", "mean", "scale", ...(rule.columns ? ["value"] : [])].map((one) => html`<option value=${one}>${t(`rule.${one}`)}</option>`)}</select></label>`}
    ${how === "scale" && html`<label class="inline"><span class="unseen">${t("rule.factor")}</span><input type="range" min="-2" max="2" step="0.25" value=${rule.factor} aria-valuetext=${signed(rule.factor)}
      onChange=${(event) => set({ ...rule, factor: Number(event.currentTarget.value) }, true)} /><output>× ${short(rule.factor)}</output></label>`}
    ${how === "value" && html`<label class="inline"><span class="unseen">${t("rule.value")}</span><input type="number" step="any" value=${rule.value}
      onChange=${(event) => Number.isFinite(event.currentTarget.valueAsNumber) && set({ ...rule, value: event.currentTarget.valueAsNumber }, true)} /></label>`}
    <button class="quiet" aria-label=${t("rule.remove", { what: words(rule) })} onClick=${() => set(rule, false)}>✕</button></li>`;
}

/** All switches that are set. */
export function Rules() {
  return html`<ul class="rules">${interventions.value.map((rule) => html`<${Rule} key=${placeOf(rule)} rule=${rule} />`)}</ul>
    <button onClick=${() => { interventions.value = []; }}>${t("switches.clear")}</button>`;
}

/** What became of one token that is watched: its logit, its log-probability. */
function Watched() {
  const rules = interventions.value, word = watched.value;
  const told = useAnswer(base.value && rules.length ? `/api/run/${base.value.run}/ablate` : null, { interventions: rules, top: 8, ...(word ? { target: word } : {}) });
  const says = told === undefined ? t("switches.refused", { word: shown({ text: word }) }) : !told ? "…"
    : t("switches.watched", { token: shown({ text: told.texts[told.target.id], id: told.target.id }), logit: signed(told.target.logit), logprob: signed(told.target.logprob) });
  return html`<p class="watched"><label class="select"><span>${t("switches.watch")}</span><${Typed} size="18" value=${word.trim()} placeholder=${t("switches.best")}
    onChoose=${(next) => { watched.value = next.trim() && ` ${next.trim()}`; }} /></label> <output>${says}</output></p>`;
}

/** The next word before and after, and how far the distribution moved. */
export function Result() {
  const told = change.value;
  if (!told) return null;
  if (!told.changes) return html`<p class="told" role="status">${t("switches.nothing")}</p>`;
  const texts = { ...run.value.texts, ...told.texts };
  const side = (name) => html`<div><h3>${t(`switches.${name}`)}</h3><${Bars} limit=${Math.max(told.before[0].p, told.after[0].p)} label=${t(`switches.${name}`)} rows=${told[name].map(({ id, p }) => ({ id, text: texts[id], p }))} /></div>`;
  return html`<div class="before-after">${side("before")}${side("after")}</div>
    <${Watched} /><p class="hint">${t("switches.kl", { kl: short(told.kl) })}</p>
    <div class="scroll" tabindex="0" role="region" aria-label=${t("switches.movers")}><table class="plain movers"><caption>${t("switches.movers")}</caption><thead><tr><th scope="col">Token</th><th scope="col">${t("switches.before")}</th><th scope="col">${t("switches.after")}</th><th scope="col">${t("switches.logit")}</th></tr></thead>
      <tbody>${told.movers.map(({ id, before, after, logit }) => html`<tr key=${id}><th scope="row"><${Token} text=${texts[id]} id=${id} /></th><td>${short(before)}</td><td>${short(after)}</td><td>${signed(logit)}</td></tr>`)}</tbody></table></div>`;
}

/** All switches and the panel of before and after, where another screen shows the changed run. */
export function Switches() {
  return html`<section class="switches" aria-labelledby="switches-title"><h2 id="switches-title">${t("switches.title")}</h2><${Rules} /><${Result} /></section>`;
}
