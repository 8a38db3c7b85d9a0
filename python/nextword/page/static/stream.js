// Station 5: the residual stream. What it would say after each layer (logit lens), and which part adds what to a logit.
import { useState } from "preact/hooks";
import { html } from "page/html.js";
import { layer, position, themeNow } from "page/state.js";
import { run, at, useAnswer } from "page/run.js";
import { ramp, stepOf } from "page/colour.js";
import { short, signed, shown } from "page/format.js";
import { t } from "page/text.js";
import { Station, Token, Choice, Missing } from "page/parts.js";
import { Legend, largest } from "page/heat.js";

/** Layers x positions: the most probable next token after each. @param {{lens: any, watch: boolean}} props */
function Lens({ lens, watch }) {
  const { tokens } = run.value, table = ramp("share", themeNow());
  return html`<div class=${`scroll lens ${lens.current ? "" : "awaited"}`} aria-busy=${!lens.current} tabindex="0" role="region" aria-label=${t("stream.lens")}><table>
    <thead><tr><td></td>${lens.positions.map((p) => html`<th scope="col" translate="no" class=${p === at.value ? "chosen" : ""}>${shown(tokens[p])}</th>`)}</tr></thead>
    <tbody>${lens.names.map((name, row) => html`<tr key=${name}><th scope="row"><code>${name}</code></th>${lens.positions.map((p, column) => {
      const id = lens.ids[row][column][0], chance = watch ? lens.watch.p[row][column] : lens.p[row][column][0], step = 3 * stepOf(chance, "share", 1);
      const light = themeNow() === "dark" ? step < 3 * 140 : step >= 3 * 120;
      return html`<td class=${p === at.value ? "chosen" : ""}><button style=${{ background: `rgb(${table[step]} ${table[step + 1]} ${table[step + 2]})`, color: light ? "#fff" : "#111" }}
        onClick=${() => { position.value = p === tokens.length - 1 ? -1 : p; const l = /^h\.(\d+)/.exec(name); if (l) layer.value = Number(l[1]); }}>
        <${Token} text=${lens.texts[id]} id=${id} /> <small>${watch ? t("stream.rank", { rank: lens.watch.rank[row][column] }) : short(chance, 3)}</small></button></td>`;
    })}</tr>`)}</tbody></table></div>`;
}

const MARKS = 14;

/** One token's probability through the layers, as a line. */
function Path({ names, values, token }) {
  const W = 480, H = 150, x = (i) => 34 + (W - 48) * i / Math.max(1, names.length - 1), y = (p) => H - 26 - (H - 44) * p / (largest(values) || 1);
  const apart = Math.ceil(names.length / MARKS);  // of points that are named: as many as have room, the last among them
  return html`<figure class="curve"><svg viewBox=${`0 0 ${W} ${H}`} role="img" aria-label=${t("stream.path", { token, values: values.map((p) => short(p)).join(", ") })}>
    <line class="axis" x1="34" x2=${W - 14} y1=${y(0)} y2=${y(0)} /><text x="0" y=${y(largest(values)) + 4}>${short(largest(values), 3)}</text><text x="0" y=${y(0) + 4}>0</text>
    <polyline class="line" points=${values.map((p, i) => `${x(i)},${y(p)}`).join(" ")} />${values.map((p, i) => html`<g><circle cx=${x(i)} cy=${y(p)} r="3.5" />${(names.length - 1 - i) % apart === 0 && html`<text x=${x(i)} y=${y(p) - 8} text-anchor="middle">${short(p, 3)}</text><text x=${x(i)} y=${H - 8} text-anchor="middle">${i}</text>`}</g>`)}</svg>
    <figcaption>${t("stream.path.says", { token })}</figcaption></figure>`;
}

/** What every part added to the logit of a token: bars left and right of 0, and their sum. */
function Parts({ target, by }) {
  const told = useAnswer("attribute", { target, against: null, position: at.value, by });
  if (told === undefined) return html`<${Missing} />`;
  if (!told) return html`<p class="skeleton tall"></p>`;
  const most = largest(told.parts.map((part) => part.value)) || 1;
  const parts = by === "part" ? told.parts : [...told.parts].sort((a, b) => Math.abs(b.value) - Math.abs(a.value)).slice(0, 24);
  const rest = told.parts.reduce((sum, part) => sum + part.value, 0) - parts.reduce((sum, part) => sum + part.value, 0);
  const bar = (name, value) => html`<tr key=${name}><th scope="row"><code>${name}</code></th><td class="number">${signed(value)}</td>
    <td class="wide"><span class="both"><span class=${value < 0 ? "minus" : "plus"} style=${{ width: `${50 * Math.min(1, Math.abs(value) / most)}%` }}></span></span></td></tr>`;
  return html`<table class=${`plain parts-table ${told.current ? "" : "awaited"}`} aria-busy=${!told.current}><caption>${t("stream.parts.says", { token: shown({ text: told.texts[told.target], id: told.target }), logit: short(told.logit, 7) })}</caption>
    <tbody>${parts.map((part) => bar(part.name, part.value))}${parts.length < told.parts.length && bar(t("stream.rest", { count: told.parts.length - parts.length }), rest)}</tbody>
    <tfoot><tr><th scope="row">${t("stream.sum")}</th><td class="number">${short(told.parts.reduce((sum, part) => sum + part.value, 0), 7)}</td><td>${t("stream.bound", { bound: short(told.bound, 2) })}</td></tr></tfoot></table>`;
}

export function Stream() {
  const [where, setWhere] = useState("resid_post"), [by, setBy] = useState("part"), [watched, setWatched] = useState(null), [colour, setColour] = useState("p");
  const { tokens, next, texts } = run.value, target = watched ?? next[0].id;
  const positions = tokens.map((_, i) => i).slice(-24);
  const lens = useAnswer("lens", { at: where, positions, top: 5, watch: target }), here = lens ? lens.positions.indexOf(at.value) : -1;
  const choices = next.slice(0, 8);
  const name = shown({ text: texts[target], id: target });
  return html`<${Station} id="stream" summary=${lens?.current && here >= 0 ? t("stream.summary", { words: lens.ids.map((row) => shown({ text: lens.texts[row[here][0]] })).join(" → ") }) : "\u00a0"}>
    <div class="controls"><${Choice} label=${t("stream.where")} value=${where} onChoose=${setWhere} options=${[["resid_mid", t("stream.mid")], ["resid_post", t("stream.post")]]} />
      <${Choice} label=${t("stream.colour")} value=${colour} onChoose=${setColour} options=${[["p", t("stream.colour.p")], ["watch", t("stream.colour.watch", { token: name })]]} />
      <label class="select"><span>${t("stream.watch")}</span><select value=${String(target)} onChange=${(event) => setWatched(Number(event.currentTarget.value))}>
        ${choices.map(({ id }) => html`<option value=${String(id)}>${shown({ text: texts[id], id })}</option>`)}</select></label></div>
    ${lens ? html`<${Lens} lens=${lens} watch=${colour === "watch" && lens.watch} /><p class="hint"><${Legend} kind="share" limit=${1} unit=${t("unit.probability")} /> ${t("stream.lens.says")}</p>` : html`<p class="skeleton tall"></p>`}
    ${lens?.current && lens.watch && here >= 0 && html`<${Path} names=${lens.names} values=${lens.watch.p.map((row) => row[here])} token=${name} />`}
    <h3>${t("stream.parts")}</h3><p class="hint">${t("stream.parts.why")}</p>
    <div class="controls"><${Choice} label=${t("stream.by")} value=${by} onChoose=${setBy} options=${[["part", t("stream.by.part")], ["head", t("stream.by.head")]]} /></div>
    <${Parts} target=${target} by=${by} />
  <//>`;
}
