// Screen A: the way from prompt to next word in seven stations, the residual stream beside them.
import { html } from "page/html.js";
import { layer, head, position, open, interventions, temperature } from "page/state.js";
import { model, run, at, failure } from "page/run.js";
import { short, shown } from "page/format.js";
import { t } from "page/text.js";
import { Chips, Stepper, Token } from "page/parts.js";
import { NAMES, Place, Switches } from "page/station.js";

/** Opens a station and brings it into view. @param {string} id */
function visit(id) {
  if (!open.value.includes(id)) open.value = [...open.value, id];
  requestAnimationFrame(() => document.getElementById(`station-${id}`)?.scrollIntoView({ block: "start" }));
}

/** What each stop of the river tells of this run in a few signs. */
function stops() {
  const { tokens, next, texts } = run.value, { layers, heads, inner } = model.value, first = next[0];
  return [["tokens", t("stop.tokens", { count: tokens.length })], ["embedding", t("stop.embedding", { width: model.value.width })],
    ["attention", t("stop.attention", { layers, heads })], ["mlp", t("stop.mlp", { inner })],
    ["stream", t("stop.stream", { layers })], ["chance", t("stop.chance")],
    ["next", first ? shown({ text: texts[first.id], id: first.id }) : ""]];
}

/** The whole way at a glance: seven stops on the residual stream. */
function River() {
  return html`<nav class="river" aria-label=${t("river.label")}><ol>${stops().map(([id, told], i) => html`<li key=${id}>
    <button onClick=${() => visit(id)}><span class="stop" aria-hidden="true">${i + 1}</span>
      <span class="name">${t(`walk.${id}.title`)}</span><span class="told" translate="no">${told}</span></button></li>`)}</ol></nav>`;
}

/** What is followed: one position, one layer, one head. It stays in view. */
function Follow() {
  const { tokens } = run.value;
  return html`<div class="follow"><div class="follow-tokens"><${Chips} tokens=${tokens} chosen=${at.value} label=${t("follow.token")}
      onChoose=${(i) => { position.value = i === tokens.length - 1 ? -1 : i; }} /></div>
    <div class="follow-where"><${Stepper} label=${t("layer")} value=${layer.value} count=${model.value.layers} onChoose=${(value) => { layer.value = value; }} />
    <${Stepper} label=${t("head")} value=${head.value} count=${model.value.heads} onChoose=${(value) => { head.value = value; }} />
    <button class="brief" onClick=${() => visit("chance")}>${t("follow.temperature", { value: short(temperature.value) })}</button></div></div>`;
}

export function Walk() {
  if (!run.value && failure.value) return null;  // the banner says why
  if (!run.value || !model.value) return html`<p class="skeleton tall" aria-busy="true">${t("prompt.busy")}</p>`;
  const { texts, next } = run.value;
  return html`<h1 class="unseen">${t("title")}</h1>
    <p class="headline">${next[0] && html`${t("headline.before")} <mark><${Token} text=${texts[next[0].id]} id=${next[0].id} /></mark> ${t("headline.after", { p: short(next[0].p) })}`}</p>
    <${River} /><${Follow} />
    ${interventions.value.length > 0 && html`<${Switches} />`}
    <div class="stations">${NAMES.map((id, i) => html`<${Place} key=${id} id=${id} number=${i + 1} />`)}</div>`;
}
