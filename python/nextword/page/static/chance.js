// Station 6: logits become probabilities, rules cut some, a seeded number chooses one of the rest.
import { useEffect, useMemo, useState } from "preact/hooks";
import { html } from "page/html.js";
import { temperature, topK, topP, minP, seed, cell } from "page/state.js";
import { model, run, useTensor, useAnswer } from "page/run.js";
import { SHOWN, choice, settings } from "page/choice.js";
import { ordered, chances } from "page/sampling.js";
import { short, shown } from "page/format.js";
import { t } from "page/text.js";
import { Station, Bars, Slider, Token } from "page/parts.js";

/** A value that rests: it follows its argument once that has not changed for a moment. */
function useRest(value, milliseconds) {
  const [rest, setRest] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setRest(value), milliseconds);
    return () => clearTimeout(timer);
  }, [value, milliseconds]);
  return rest;
}

/** The library's own step for the settings, once the sliders rest. */
export function useStep() {
  const rest = useRest(JSON.stringify(settings()), 120);
  return useAnswer("choose", choice(JSON.parse(rest)));
}

/** [0, 1) divided among the tokens that stayed, and the number that was drawn. */
function NumberLine({ step }) {
  if (step.drawn === null) return html`<p class="told">${t("chance.greedy")}</p>`;
  const chosen = step.spans?.find(({ id }) => id === step.token);
  return html`<figure class="line-of-numbers"><div class="axis-box" role="img" aria-label=${t("chance.line", { drawn: short(step.drawn), token: shown({ text: step.texts[step.token] }) })}>
    ${(step.spans ?? []).map(({ id, low, high }, i) => html`<span key=${id} class=${`span tone-${i % 4} ${id === step.token ? "chosen" : ""}`} style=${{ left: `${100 * low}%`, width: `${100 * (high - low)}%` }}>
      ${high - low > 0.05 && html`<${Token} text=${step.texts[id]} id=${id} />`}</span>`)}
    <i class="drawn" style=${{ left: `${100 * step.drawn}%` }}></i></div>
    <figcaption><span>0</span><span>${t("chance.drawn", { drawn: short(step.drawn, 6) })} ${chosen && t("chance.part", { low: short(chosen.low), high: short(chosen.high), token: shown({ text: step.texts[step.token] }) })}</span><span>1</span></figcaption></figure>`;
}

const CUTS = { top_k: "top-k", top_p: "top-p", min_p: "min-p", typical_p: "typical-p" };

export function Chance() {
  const last = run.value.tokens.length - 1, tensor = useTensor("logits", { rows: `${last}:${last + 1}` }), step = useStep();
  const logits = tensor?.values, order = useMemo(() => logits && ordered(logits), [logits]), now = settings().settings;
  const texts = { ...run.value.texts, ...step?.texts };
  const preview = logits && chances(logits, order, now, SHOWN);
  const word = step ? shown({ text: step.texts[step.token], id: step.token }) : "";
  const set = (signal) => (value) => { signal.value = value; };
  const least = logits ? logits[order[order.length - 1]] : 0, most = logits ? logits[order[0]] : 0;
  return html`<${Station} id="chance" summary=${step ? t("chance.summary", { token: word, p: short(step.p), kept: step.kept }) : ""}>
    <div class="sliders"><${Slider} id="temperature" label=${t("chance.temperature")} value=${temperature.value} min=${0} max=${5} step=${0.05} onInput=${set(temperature)} says=${temperature.value === 0 ? t("chance.zero") : undefined} />
      <${Slider} id="top-k" label="top-k" value=${topK.value} min=${0} max=${50} step=${1} onInput=${set(topK)} says=${topK.value === 0 ? t("chance.off") : undefined} />
      <${Slider} id="top-p" label="top-p" value=${topP.value} min=${0} max=${1} step=${0.01} onInput=${set(topP)} says=${topP.value === 1 ? t("chance.off") : undefined} />
      <${Slider} id="min-p" label="min-p" value=${minP.value} min=${0} max=${1} step=${0.01} onInput=${set(minP)} says=${minP.value === 0 ? t("chance.off") : undefined} /></div>
    ${!preview ? html`<p class="skeleton tall"></p>` : html`<p class="hint">${t("chance.range", { least: short(least), most: short(most), count: model.value.vocabulary, kept: preview.kept })}</p>
    <${Bars} label=${t("chance.bars")} limit=${Math.max(...preview.rows.map((row) => Math.max(row.softmax, row.p)))} chosen=${step?.token}
      onChoose=${(id) => { cell.value = { name: "logits", index: [last, id] }; }}
      rows=${preview.rows.map((row) => ({ id: row.id, text: texts[row.id], p: row.cut ? row.softmax : row.p, cut: row.cut,
        note: `${t("chance.logit")} ${short(logits[row.id])}${row.cut ? ` · ${t("chance.cut", { rule: CUTS[row.cut] ?? row.cut })}` : ""}` }))} />`}
    <h3>${t("chance.draw")}</h3><p class="hint">${t("chance.draw.says")}</p>
    <div class="controls"><label class="select"><span>${t("chance.seed")}</span><input type="number" min="0" max="4294967295" value=${seed.value} onChange=${(event) => { seed.value = Math.max(0, Math.floor(Number(event.currentTarget.value)) || 0); }} /></label>
      <button class="primary" onClick=${() => { seed.value += 1; }}>${t("chance.again")}</button></div>
    ${step && html`<${NumberLine} step=${step} />`}
  <//>`;
}
