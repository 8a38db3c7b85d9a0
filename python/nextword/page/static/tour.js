// A guided tour: cards that set a view of the page, point at an element of it and ask to try something there.
import { useEffect, useRef, useState } from "preact/hooks";
import { html } from "page/html.js";
import { file, kind } from "page/source.js";
import { tour, show, cell, prompt, screen, news } from "page/state.js";
import { run, busy } from "page/run.js";
import { language, t } from "page/text.js";
import { facts, filled, ofLanguage, placed, said } from "page/tour_facts.js";
import { useTarget, lies } from "page/tour_target.js";

/** The tour and the card that the address names: "attention.3" is the third. */
function chosen() {
  const [name, number] = tour.value.split(".");
  return { name, number: Math.max(1, Number(number) || 1) };
}

/** The cards, as tours/NAME.json has them. @param {string} name */
function useCards(name) {
  const [held, setHeld] = useState({ name: null, cards: [] });
  useEffect(() => {
    let wanted = true;
    file(`tours/${name}.json`).then(({ view, cards }) => wanted && setHeld({ name, cards: cards.map((card) => ({ ...card, view: { ...view, ...card.view }, own: card.view ?? {} })) }),
      () => { if (wanted) tour.value = ""; });
    return () => { wanted = false; };
  }, [name]);
  return held.name === name ? held.cards : [];
}

/** Whether a card asks for a run that a file of one prompt does not hold. */
const inFile = kind === "file";
const isBeyondFile = (card) => inFile && Boolean(card.own.off?.length || (card.own.prompt && ofLanguage(card.own.prompt) !== prompt.peek()));

/** Sets the card's view; the cell once the run that it is of is there. */
function useView(card, key) {
  const wanted = card && !isBeyondFile(card), done = useRef("");
  useEffect(() => {
    if (!wanted) return;
    const { cell: _, prompt: text, ...view } = card.view;
    show(inFile || !text ? view : { ...view, prompt: ofLanguage(text) });
    done.current = "";
  }, [key]);
  const ready = wanted && run.value && !busy.value && (inFile || !card.view.prompt || run.value.prompt === ofLanguage(card.view.prompt));
  useEffect(() => {
    if (ready && done.current !== key && card.view.cell) cell.value = placed(card.view.cell);
    if (ready) done.current = key;
  }, [key, ready]);
}

export function Tour() {
  const { name, number } = chosen(), cards = useCards(name), count = cards.length, at = Math.min(number, count), card = cards[at - 1];
  const key = card ? `${name}.${at} ${language.value}` : "", heading = useRef(null), box = useRef(null), came = useRef(document.activeElement);
  useView(card, key);
  const { rect, read, missing } = useTarget(card, key), text = card?.[language.value], values = { ...facts(), ...read };
  const go = (next) => { if (next >= 1 && next <= count) tour.value = `${name}.${next}`; };
  const end = () => {
    tour.value = "";
    const back = came.current?.isConnected && came.current !== document.body ? came.current : document.getElementById("main");
    back.focus({ preventScroll: true });
  };
  useEffect(() => {
    if (!key) return;
    heading.current.focus({ preventScroll: true });
    news.value = `${t("tour.progress", { at, count })}: ${said(text.title, values)}`;
  }, [key]);
  useEffect(() => {
    const press = (event) => {
      const { target, key: pressed } = event, free = target === document.body || box.current?.contains(target);
      if (event.ctrlKey || event.metaKey || event.altKey || target.closest?.("dialog")) return;
      const step = free && { ArrowRight: 1, ArrowLeft: -1 }[pressed];
      if (pressed !== "Escape" && !step) return;
      event.preventDefault();
      event.stopPropagation();
      if (step) go(at + step); else end();
    };
    addEventListener("keydown", press, true);
    return () => removeEventListener("keydown", press, true);
  }, [at, count]);
  if (!card) return null;
  const absent = isBeyondFile(card) || missing, part = (what) => text[what] && html`<p class=${what === "text" ? undefined : what}>${what === "text" ? "" : html`<b>${t(`tour.${what}`)}</b> `}${filled(text[what], values)}</p>`;
  return html`${rect && html`<div class="tour-ring" aria-hidden="true" style=${{ top: `${rect.top}px`, left: `${rect.left}px`, width: `${rect.width}px`, height: `${rect.height}px` }}></div>`}
    <section class="tour" role="dialog" aria-labelledby="tour-title" aria-describedby="tour-text" ref=${box} ...${lies(rect, box.current)} data-card=${`${name}.${at}`} data-screen=${screen.value}>
    <div class="top"><span class="hint">${t(`tour.${name}`)} · ${t("tour.progress", { at, count })}</span><button class="quiet" aria-label=${t("tour.end")} onClick=${end}>✕</button></div>
    <div class="bar" aria-hidden="true"><span class="fill" style=${{ width: `${100 * at / count}%` }}></span></div>
    <h2 id="tour-title" tabindex="-1" ref=${heading}>${filled(text.title, values)}</h2>
    <div id="tour-text" class="tour-text">${absent ? html`<p class="told">${t(inFile ? "tour.file" : "tour.absent")}</p>` : ""}${part("text")}${part("do")}${part("look")}</div>
    <div class="tour-go"><button disabled=${at === 1} onClick=${() => go(at - 1)}>${t("tour.back")}</button>${at < count
      ? html`<button class="primary" onClick=${() => go(at + 1)}>${t("tour.next")}</button>` : html`<button class="primary" onClick=${end}>${t("tour.done")}</button>`}</div></section>`;
}
