// Screen B: values of a second prompt put into the first (activation patching): where does its answer come back?
import { useState } from "preact/hooks";
import { html } from "page/html.js";
import { other, prompt } from "page/state.js";
import { base, bodyOf, model, useAnswer } from "page/run.js";
import { shown, signed } from "page/format.js";
import { t } from "page/text.js";
import { Choice, Missing, Typed } from "page/parts.js";
import { isFile } from "page/source.js";
import { GridPicture, Progress, useStream } from "page/grid.js";

const AT = { position: ["resid_post", "resid_mid", "attn.out", "mlp.out", "attn.v", "attn.z"], head: ["attn.z", "attn.q", "attn.k", "attn.v"], layer: ["attn.out", "mlp.out"] };

const isWord = (text) => /^ \p{L}+$/u.test(text ?? "");

/** A second prompt of as many tokens as the first: its last whole word gives way to one that is like it. The first
 * example has one of its own; where no word fits, that one; null while words are looked for. @returns {string|null} */
function useLike() {
  const tokens = base.value.tokens.slice(model.value.beginning), own = prompt.value === t("prompt.first");
  const at = own || tokens.some(({ text }) => !text || text.startsWith("<")) ? -1 : tokens.findLastIndex((token, i) => isWord(token.text) && (tokens[i + 1]?.text ?? " ").startsWith(" "));
  const told = useAnswer(at < 0 ? null : "/api/neighbours", { word: tokens[at]?.id, count: 10 });
  if (at >= 0 && (told === null || told?.current === false)) return null;
  const like = at >= 0 && told?.near.map(({ id }) => told.texts[id]).find((text) => isWord(text) && text.toLowerCase() !== tokens[at].text.toLowerCase());
  const text = like && tokens.map((token, i) => (i === at ? like : token.text)).join("");
  return text ? (prompt.value.startsWith(" ") ? text : text.trimStart()) : t("patch.example");  // some tokenizers set a blank before a text
}

export function Patching() {
  const [over, setOver] = useState("position"), [kind, setKind] = useState("resid_post"), [words, setWords] = useState("");
  const at = AT[over].includes(kind) ? kind : AT[over][0], like = useLike(), second = other.value || like;
  const told = useAnswer(second && "/api/run", bodyOf(second)), fits = told && told.tokens.length === base.value.tokens.length;
  const list = words.split(/[\s,]+/).filter(Boolean).slice(0, 2).map((word) => ` ${word}`);
  const body = { other: base.value.run, at, over, ...(list.length ? { measure: list } : {}) };
  const { grid, start, stop } = useStream(JSON.stringify([base.value.run, told?.run, body]));
  const { layers } = model.value, tokens = base.value.tokens, cols = { position: tokens.length, head: base.value.names[`h.0.${at}`][0], layer: 1 }[over];
  const place = (layer, column) => ({ position: t("patch.place", { layer, token: shown(tokens[column]), position: column }), head: t("rule.head", { layer, head: column }), layer: t("patch.layer.place", { layer }) }[over]);
  const ruleOf = (layer, column) => ({ name: `h.${layer}.${at}`, how: "prompt", prompt: second, ...(over === "position" ? { positions: [column] } : over === "head" ? { heads: [column] } : {}) });
  const end = grid?.end, texts = end && end.measure.map((id) => shown({ text: end.texts[id], id }));
  return html`<section class="card" aria-labelledby="patch-title" id="patch"><h2 id="patch-title">${t("patch.title")}</h2><p class="says">${t("patch.says")}</p>
    <div class="two"><p class="stack"><span>${t("patch.a")}</span><b translate="no">${prompt.value}</b></p>
      <label class="stack"><span>${t("patch.b")}</span><${Typed} value=${second ?? ""} onChoose=${(text) => { other.value = text; }} /></label></div>
    ${told === undefined ? (isFile ? html`<${Missing} />` : html`<p class="told">${t("patch.refused")}</p>`) : told && !fits && html`<p class="told">${t("patch.unequal", { a: tokens.length, b: told.tokens.length })}</p>`}
    <div class="controls"><${Choice} label=${t("patch.over")} value=${over} onChoose=${setOver} options=${Object.keys(AT).map((one) => [one, t(`patch.${one}`)])} />
      <label class="select"><span>${t("patch.at")}</span><select value=${at} onChange=${(event) => setKind(event.currentTarget.value)}>${AT[over].map((one) => html`<option value=${one}>${one}</option>`)}</select></label>
      <label class="select"><span>${t("patch.measure")}</span><${Typed} size="22" value=${words} placeholder=${t("patch.best")} onChoose=${setWords} /></label></div>
    <div class="controls"><${Progress} grid=${grid} label=${t("patch.start")} disabled=${!fits} onStart=${() => start(`/api/run/${told.run}/patch`, body, Array.from({ length: layers }, (_, i) => i), cols)} onStop=${stop} /></div>
    ${grid && html`<${GridPicture} grid=${grid} kind="signed" unit=${t("patch.unit")} label=${t("patch.picture")} colText=${(j) => (over === "position" ? shown(tokens[j]) : over === "head" ? String(j) : t("patch.layer.column"))} where=${place} ruleOf=${ruleOf} />
      ${end && html`<p class="hint">${t(texts.length > 1 ? "patch.measured" : "patch.measured.one", { first: texts[0], second: texts[1] ?? "", clean: signed(end.clean), corrupted: signed(end.corrupted) })}</p>`}<p class="hint">${t("patch.click")}</p>`}</section>`;
}
