// Station 1: the text cut into tokens, their bytes, and the merges that made them.
import { useEffect, useState } from "preact/hooks";
import { html } from "page/html.js";
import { run, at, useAnswer } from "page/run.js";
import { position, still } from "page/state.js";
import { hex, shown } from "page/format.js";
import { t } from "page/text.js";
import { Station, Chips, Slider } from "page/parts.js";

/** All states of all pieces as one film: frame -> the pieces' parts and what merges next.
 * @param {any[]} pieces */
function frames(pieces) {
  const now = pieces.map((piece) => piece.steps[0]), film = [[...now]];
  pieces.forEach((piece, p) => piece.steps.slice(1).forEach((step) => { now[p] = step; film.push([...now]); }));
  return film;
}

/** The merges, played or stepped. */
function Merges() {
  const told = useAnswer("/api/tokenize", { prompt: run.value.prompt, merges: true });
  const [frame, setFrame] = useState(0), [playing, setPlaying] = useState(false);
  const film = told?.pieces ? frames(told.pieces) : [[]], last = film.length - 1, shownFrame = Math.min(frame, last);
  useEffect(() => {
    if (!playing) return undefined;
    if (shownFrame >= last) { setPlaying(false); return undefined; }
    const timer = setTimeout(() => setFrame(shownFrame + 1), Math.max(60, Math.min(600, 6000 / last)));
    return () => clearTimeout(timer);
  }, [playing, shownFrame, last]);
  if (!told?.pieces) return html`<p class="skeleton"></p>`;
  const play = () => {
    if (still()) { setFrame(shownFrame < last ? shownFrame + 1 : 0); return; }
    if (shownFrame >= last) setFrame(0);
    setPlaying(!playing);
  };
  const state = film[shownFrame];
  return html`<div class="merges"><div class="controls"><button class="primary" onClick=${play}>${t(playing ? "play.pause" : "tokens.assemble")}</button>
    <${Slider} id="merge-step" label=${t("tokens.step")} value=${shownFrame} min=${0} max=${last} step=${1} onInput=${setFrame} says=${`${shownFrame} / ${last}`} /></div>
    <p class="pieces" translate="no">${state.map((step, p) => html`<span class="piece" key=${p}>${step.parts.map((part, i) => html`<span key=${i}
      class=${`part ${step.at === i || step.at === i - 1 && step.at !== null ? "meets" : ""}`}>${shown({ text: part })}</span>`)}
      ${step.rank !== null && html`<small>${t("tokens.rank", { rank: step.rank })}</small>`}</span>`)}</p></div>`;
}

export function Tokens() {
  const { tokens, groups } = run.value, several = groups.filter((group) => group.last - group.first > 1);
  return html`<${Station} id="tokens" summary=${t("tokens.summary", { tokens: tokens.length, signs: [...run.value.prompt].length })}>
    <${Chips} tokens=${tokens} chosen=${at.value} label=${t("follow.token")} onChoose=${(i) => { position.value = i === tokens.length - 1 ? -1 : i; }}
      detail=${(i) => html`<small class="id">${tokens[i].id}</small>`} />
    ${several.length > 0 && html`<ul class="groups">${several.map((group) => html`<li><b translate="no">${group.text}</b> ${t("tokens.several", { count: group.last - group.first,
      bytes: tokens.slice(group.first, group.last).flatMap((token) => hex(token.bytes)).join(" ") })}</li>`)}</ul>`}
    <h3>${t("tokens.merges")}</h3><${Merges} />
    <h3>${t("tokens.bytes")}</h3>
    <div class="scroll" tabindex="0" role="region" aria-label=${t("tokens.bytes")}><table class="plain"><thead><tr><th scope="col">${t("tokens.position")}</th><th scope="col">Token</th><th scope="col">id</th><th scope="col">Bytes</th></tr></thead>
      <tbody>${tokens.map((token, i) => html`<tr key=${i} class=${i === at.value ? "chosen" : ""}><th scope="row">${i}</th><td translate="no">${shown(token)}</td><td>${token.id}</td><td><code>${hex(token.bytes).join(" ")}</code></td></tr>`)}</tbody></table></div>
  </${Station}>`;
}
