// Screen C: two runs side by side, and how probable the same continuations are after different prompts.
import { useState } from "preact/hooks";
import { html } from "page/html.js";
import { useAnswer } from "page/run.js";
import { short, signed } from "page/format.js";
import { t } from "page/text.js";
import { Typed } from "page/parts.js";
import { SideBySide } from "page/side_by_side.js";

/** The prompts of a template: "Der {Arzt|Mann} sagte" is two. @param {string} text @returns {string[]} */
export function variants(text) {
  const found = /\{([^{}|]*(?:\|[^{}|]*)+)\}/.exec(text);
  return found ? found[1].split("|").flatMap((word) => variants(text.replace(found[0], word))) : [text];
}

export function Compare() {
  const [text, setText] = useState(t("compare.template")), [list, setList] = useState(t("compare.words"));
  const prompts = text.split("\n").filter((line) => line.trim()).flatMap(variants).slice(0, 8), continuations = list.split(/[\s,]+/).filter(Boolean).slice(0, 6).map((word) => ` ${word}`);
  const told = useAnswer(prompts.length && continuations.length ? "/api/compare" : null, { prompts, continuations });
  const bar = (share) => html`<span class="bar"><span class="fill" style=${{ width: `${100 * share}%` }}></span></span>`;
  return html`<h1>${t("nav.compare")}</h1><p class="headline small">${t("compare.says")}</p><${SideBySide} />
    <section class="card" aria-labelledby="bias-title"><h2 id="bias-title">${t("compare.title")}</h2><p class="says">${t("compare.how")}</p>
      <div class="controls templates"><span class="hint">${t("compare.templates")}</span>${["1", "2", "3", "4"].map((n) => html`<button onClick=${() => { setText(t(`compare.template.${n}`)); setList(t(`compare.words.${n}`)); }}>${t(`compare.template.${n}`).split("\n")[0]}</button>`)}</div>
      <div class="two"><label class="stack"><span>${t("compare.prompts")}</span><${Typed} tag="textarea" rows="4" value=${text} onChoose=${setText} /></label>
        <label class="stack"><span>${t("compare.continuations")}</span><${Typed} value=${list} onChoose=${setList} /></label></div>
      ${told === undefined ? html`<p class="told">${t("compare.refused")}</p>` : !told ? html`<p class="skeleton tall"></p>` : html`<div class="scroll" tabindex="0" role="region" aria-label=${t("compare.table")}><table class="plain" id="compare"><thead><tr><th scope="col">${t("compare.prompt")}</th><th scope="col">${t("compare.continuation")}</th><th scope="col">${t("compare.p")}</th><th scope="col">${t("compare.share")}</th><td></td><th scope="col">${t("compare.ratio")}</th></tr></thead>
        <tbody>${told.prompts.map((one, i) => told.continuations.map((word, j) => html`<tr key=${`${i} ${j}`}><th scope="row" translate="no">${j === 0 ? one : html`<span class="unseen">${one}</span>`}</th><td translate="no">${word.trim()}</td><td>${short(told.p[i][j])}</td><td>${short(told.share[i][j])}</td><td class="wide">${bar(told.share[i][j])}</td>
          <td>${told.ratio[i][j] === null ? "" : signed(told.ratio[i][j])}</td></tr>`))}</tbody></table></div>`}
      <p class="told">${t("compare.warning")}</p></section>`;
}
