// Station 7: the word is appended and the way begins anew: play, step, back, branch.
import { html } from "page/html.js";
import { added, position } from "page/state.js";
import { run, model } from "page/run.js";
import { playing, pace, step, back, togglePlay, full } from "page/play.js";
import { short, shown } from "page/format.js";
import { t } from "page/text.js";
import { Station, Bars, Slider } from "page/parts.js";

export function NextWord() {
  const { tokens, next, texts } = run.value, from = tokens.length - run.value.grown;
  const grown = tokens.slice(Math.max(0, from));
  return html`<${Station} id="next" number=${7} summary=${run.value.grown ? t("next.summary", { count: run.value.grown, window: model.value.window ?? "∞", tokens: tokens.length }) : t("next.none")}>
    <div class="controls"><button class="primary" aria-pressed=${playing.value} onClick=${togglePlay} disabled=${full()}>${t(playing.value ? "play.pause" : "play.play")}</button>
      <button onClick=${() => step()} disabled=${full()}>${t("play.step")}</button>
      <button onClick=${back} disabled=${!added.value.length}>${t("play.back")}</button>
      <button onClick=${() => { playing.value = false; added.value = []; }} disabled=${!added.value.length}>${t("play.start")}</button>
      <${Slider} id="pace" label=${t("play.pace")} value=${pace.value} min=${0} max=${3} step=${0.1} onInput=${(value) => { pace.value = value; }} says=${t("play.seconds", { seconds: short(pace.value, 2) })} /></div>
    ${full() && html`<p class="told">${t("next.full", { window: model.value.window })}</p>`}
    <p class="text" translate="no">${tokens.slice(0, Math.max(0, from)).map((token) => token.text.startsWith("<") ? shown(token) : token.text).join("")}${grown.map((token, i) => html`<button class="grown" key=${i}
      aria-label=${t("next.look", { token: shown(token) })} onClick=${() => { position.value = from + i - 1; }}>${token.text.startsWith("<") ? shown(token) : token.text.replaceAll("\n", "⏎\n")}</button>`)}<i class="caret" aria-hidden="true"></i></p>
    <h3>${t("next.branch")}</h3><p class="hint">${t("next.branch.says")}</p>
    <${Bars} label=${t("next.branch")} rows=${next.slice(0, 8).map(({ id, p }) => ({ id, text: texts[id], p }))} onChoose=${(id) => step(id)} />
  <//>`;
}
