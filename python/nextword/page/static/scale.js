// Screen F: how large GPT-2 is. Every matrix of every model as a rectangle of true proportion, and the sum of them all.
import { useMemo, useState } from "preact/hooks";
import { html } from "page/html.js";
import { model } from "page/run.js";
import { count as counted, short } from "page/format.js";
import { spoken, t } from "page/text.js";
import { COLOURS, KINDS, byKind, kindOf, ledger, models, total } from "page/sizes.js";
import { skyline } from "page/skyline.js";
import { Sheet, fitting } from "page/sheet.js";

const number = (n) => counted(n, spoken.value);
const shapeOf = (shape) => shape.map(number).join(" × ");
const share = (part) => short(part, 3);
/** Width by height of the picture: taller on small screens, as names need their room. */
const ASPECT = innerWidth < 720 ? 1.2 : 1.6;

/** The colour of a kind. */
const Swatch = ({ kind }) => html`<span aria-hidden="true" style=${{ display: "inline-block", width: "12px", height: "12px", borderRadius: "2px", marginRight: "6px", background: COLOURS[kind] }}></span>`;

/** A stacked bar of what a model consists of. */
function Shares({ parts }) {
  const kinds = byKind(parts), all = total(parts);
  return html`<span style=${{ display: "flex", gap: "1px", height: "14px", minWidth: "7rem" }} role="img" aria-label=${KINDS.map((kind) => `${t(`scale.kind.${kind}`)} ${share(kinds[kind] / all)}`).join(", ")}>
    ${KINDS.map((kind) => html`<span style=${{ flex: `${kinds[kind] / all} 0 0`, background: COLOURS[kind] }}></span>`)}</span>`;
}

/** All models in a table: how they differ, and what they consist of. */
function Models({ list, chosen, onChoose }) {
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${t("scale.models")}><table class="plain sizes" id="models"><thead><tr><th scope="col">${t("scale.model")}</th><th scope="col" class="number broad">${t("scale.layers")}</th><th scope="col" class="number broad">${t("scale.width")}</th>
    <th scope="col" class="number broad">${t("scale.vocabulary")}</th><th scope="col" class="number">${t("scale.parameters")}</th><th scope="col">${t("scale.shares")}</th></tr></thead>
    <tbody>${list.map((one, i) => html`<tr key=${i} class=${i === chosen ? "chosen" : ""}><th scope="row"><button class="brief" aria-pressed=${i === chosen} onClick=${() => onChoose(i)}>${one.name}</button>${one.own && html` <small>${t("scale.own")}</small>`}<small class="narrow">${t("scale.brief", { layers: number(one.layers), width: number(one.width), vocabulary: number(one.vocabulary) })}</small></th>
      <td class="number broad">${number(one.layers)}</td><td class="number broad">${number(one.width)}</td><td class="number broad">${number(one.vocabulary)}</td><td class="number"><b data-total=${one.name}>${number(total(one.parts))}</b></td><td class="wide"><${Shares} parts=${one.parts} /></td></tr>`)}</tbody></table></div>`;
}

/** The ledger of one model; a row that is pointed at lights up in the picture. */
function Ledger({ one, onLight }) {
  const rows = ledger(one.parts), all = total(one.parts);
  return html`<section class="card" aria-labelledby="ledger-title"><h2 id="ledger-title">${t("scale.ledger.title", { name: one.name })}</h2><p class="says">${t("scale.ledger.says")}</p>
    <div class="scroll" style=${{ maxHeight: "none" }} tabindex="0" role="region" aria-label=${t("scale.ledger")}><table class="plain sizes" id="ledger" onPointerLeave=${() => onLight(null)}><thead><tr><th scope="col">${t("scale.tensor")}</th><th scope="col" class="number broad">${t("scale.shape")}</th><th scope="col" class="number broad">${t("scale.each")}</th>
      <th scope="col" class="number">${t("scale.times")}</th><th scope="col" class="number">${t("scale.together")}</th><th scope="col" class="number">${t("scale.share")}</th></tr></thead>
    <tbody>${rows.map((row) => html`<tr key=${`${row.name} ${row.shape}`} onPointerEnter=${() => onLight(row)}><th scope="row"><${Swatch} kind=${row.kind} /><code>${row.name}</code><small class="narrow">${shapeOf(row.shape)} = ${number(row.each)}</small></th><td class="number broad">${shapeOf(row.shape)}</td><td class="number broad">${number(row.each)}</td>
      <td class="number">${row.times > 1 ? `× ${row.times}` : ""}</td><td class="number" data-count>${number(row.count)}</td><td class="number">${share(row.count / all)}</td></tr>`)}</tbody>
    <tfoot><tr><th scope="row">${t("scale.sum")}</th><td class="broad"></td><td class="broad"></td><td></td><td class="number" id="sum">${number(all)}</td><td class="number">1</td></tr></tfoot></table></div>
    <details class="as-table"><summary>${t("scale.every", { n: number(one.parts.length) })}</summary><div class="scroll" tabindex="0" role="region" aria-label=${t("scale.every", { n: number(one.parts.length) })}><table class="plain" id="every"><tbody>
      ${one.parts.map((part) => html`<tr key=${part.name}><th scope="row"><code>${part.name}</code></th><td class="number">${shapeOf(part.shape)}</td><td class="number">${number(part.count)}</td></tr>`)}</tbody></table></div></details></section>`;
}

export function Scale() {
  const list = useMemo(() => models(model.value), [model.value]), drawn = useMemo(() => skyline(list), [list]);
  const [chosen, setChosen] = useState(() => drawn.boxes.findIndex((box) => box.model === 2)), [hovered, setHovered] = useState(null), [light, setLight] = useState(null);
  const everything = useMemo(() => fitting(drawn.all, ASPECT), [drawn]), [view, setView] = useState(everything);
  const box = drawn.boxes[hovered ?? chosen], at = drawn.boxes[chosen].model, one = list[at], mine = list[box.model], count = total(one.parts);
  const show = (index) => { setChosen(drawn.boxes.findIndex((found) => found.model === index)); setView(fitting(drawn.plots[index], ASPECT)); };
  const zoom = (factor) => setView(([x, y, w]) => { const next = Math.min(2 * everything[2], Math.max(8, w / factor)); return [x + (w - next) / 2, y + (w - next) / ASPECT / 2, next]; });
  const toChosen = () => setView(fitting(drawn.boxes[chosen], ASPECT));
  const press = (event) => {
    const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key], models = { PageDown: 1, PageUp: -1 }[event.key];
    const own = drawn.boxes.flatMap((found, i) => (found.model === at ? [i] : []));
    const act = step ? () => setChosen(Math.max(0, Math.min(drawn.boxes.length - 1, chosen + step))) : models ? () => show(Math.max(0, Math.min(list.length - 1, at + models)))
      : { Home: () => setChosen(own[0]), End: () => setChosen(own.at(-1)), "+": () => zoom(2), "-": () => zoom(0.5), 0: () => setView(everything), Enter: toChosen }[event.key];
    if (act && !event.ctrlKey && !event.metaKey) { event.preventDefault(); event.stopPropagation(); setHovered(null); act(); }
  };
  const millions = list.map((each) => [each.name, number(total(each.parts))]);
  const lit = light ? (found) => found.model === at && found.part.name.replace(/\d+/, found.part.layer === null ? "$&" : "N") === light.name : () => false;
  return html`<h1>${t("nav.scale")}</h1><p class="headline small">${t("scale.says")}</p>
    <figure class="skyline"><div class="controls"><div class="choice" role="group" aria-label=${t("scale.fly")}>${list.map((each, i) => html`<button key=${i} aria-pressed=${i === at} onClick=${() => show(i)}>${each.name}</button>`)}</div>
      <div class="choice" role="group" aria-label=${t("scale.zoom")}><button aria-label=${t("scale.out")} onClick=${() => zoom(0.5)}>−</button><button aria-label=${t("scale.in")} onClick=${() => zoom(2)}>+</button><button onClick=${toChosen}>${t("scale.to")}</button><button onClick=${() => setView(everything)}>${t("scale.all")}</button></div></div>
    <${Sheet} boxes=${drawn.boxes} plots=${drawn.plots} names=${millions} view=${view} aspect=${ASPECT} onView=${setView} chosen=${chosen} lit=${lit} onChoose=${setChosen} onHover=${setHovered} onKey=${press} number=${number}
      says=${t("scale.picture", { models: millions.map((each) => each.join(" ")).join(", ") })} />
    <figcaption><p class="told" id="tensor" aria-live="polite"><b>${mine.name}</b> <code>${box.part.name}</code> ${shapeOf(box.part.shape)} = <b>${number(box.part.count)}</b> ${t("scale.of", { share: share(box.part.count / total(mine.parts)), kind: t(`scale.kind.${kindOf(box.part)}`) })}</p>
      <p style=${{ display: "flex", flexWrap: "wrap", gap: "4px 20px", margin: "8px 0" }}>${KINDS.map((kind) => html`<span><${Swatch} kind=${kind} />${t(`scale.kind.${kind}`)}</span>`)}</p>
      <p class="hint" id="scale-keys">${t("scale.keys")}</p></figcaption></figure>
    <${Models} list=${list} chosen=${at} onChoose=${show} />
    <p class="told">${t("scale.paper", { name: one.name, count: number(count), side: short(Math.sqrt(count) / 1000, 3), mega: number(Math.round(4 * count / 1e6)), times: number(Math.round(count / total(list[0].parts))) })}</p>
    <${Ledger} one=${one} onLight=${setLight} />`;
}
