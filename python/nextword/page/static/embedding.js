// Station 2: a token, and its position where the model looks that up, become the first vector of the residual stream.
import { useState } from "preact/hooks";
import { html } from "page/html.js";
import { model, run, at, useRow, useAnswer } from "page/run.js";
import { madeBy } from "page/made.js";
import { shown } from "page/format.js";
import { t } from "page/text.js";
import { Station, Bars, Missing } from "page/parts.js";
import { Strip, largest } from "page/heat.js";

/** The tokens of the vocabulary whose vectors point in nearly the same direction. */
function Near({ token }) {
  const near = useAnswer("/api/neighbours", { word: token.id, count: 10 });
  if (near === undefined) return html`<${Missing} />`;
  if (!near) return html`<p class="skeleton"></p>`;
  return html`<${Bars} limit=${1} label=${t("embedding.near")} rows=${near.near.map(({ id, cosine }) => ({ id, text: near.texts[id], p: cosine }))} />`;
}

export function Embedding() {
  const token = run.value.tokens[at.value], [near, setNear] = useState(false);
  const [word] = madeBy("token"), [place = null] = madeBy("place");
  const wte = useRow(word), wpe = useRow(place), sum = useRow("embed"), first = useRow("h.0.resid_pre");
  const total = sum ?? first, name = sum ? "embed" : "h.0.resid_pre", rows = place ? [wte, wpe, total] : [wte];
  const limit = rows.every(Boolean) ? Math.max(...rows.map((one) => largest(one.values))) : undefined;
  const strip = (of, id, title) => html`<${Strip} of=${of} name=${id} at=${at.value} title=${title} limit=${limit} />`;
  return html`<${Station} id="embedding" says=${place ? undefined : t("embedding.alone")} summary=${t("embedding.summary", { token: shown(token), width: model.value.width })}>
    <div class="sum">${strip(wte, word, t("embedding.token", { token: shown(token), name: word }))}
      ${place && html`<span class="sign" aria-hidden="true">+</span>${strip(wpe, place, t("embedding.place", { position: at.value, name: place }))}
      <span class="sign" aria-hidden="true">=</span>${strip(total, name, t("embedding.sum"))}`}</div>
    <h3>${t("embedding.near")}</h3>
    <p class="hint">${t("embedding.near.says", { token: shown(token) })}</p>
    ${near ? html`<${Near} token=${token} />` : html`<button onClick=${() => setNear(true)}>${t("embedding.near.show")}</button>`}
  </${Station}>`;
}
