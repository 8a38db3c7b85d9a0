// A station of the walk: its number, its heading that folds it open, and its module, fetched when it is seen or opened.
import { useEffect, useRef, useState } from "preact/hooks";
import { html } from "page/html.js";
import { open } from "page/state.js";
import { lazy, later, useLater } from "page/lazy.js";
import { t } from "page/text.js";

/** In the order of the walk. */
const STATIONS = {
  tokens: later(() => import("page/tokens.js"), "Tokens", true), embedding: later(() => import("page/embedding.js"), "Embedding"),
  attention: later(() => import("page/attention.js"), "Attention"), mlp: later(() => import("page/mlp.js"), "Mlp"),
  stream: later(() => import("page/stream.js"), "Stream"), chance: later(() => import("page/chance.js"), "Chance"),
  next: later(() => import("page/next_word.js"), "NextWord"),
};
export const NAMES = Object.keys(STATIONS);
export const Switches = lazy(() => import("page/switches.js"), "Switches");

/** Whether the element has been in view. @param {{current: Element|null}} element */
function useSeen(element) {
  const [seen, setSeen] = useState(false);
  useEffect(() => {
    const watch = new IntersectionObserver((entries) => { if (entries.some((one) => one.isIntersecting)) { setSeen(true); watch.disconnect(); } });
    watch.observe(element.current);
    return () => watch.disconnect();
  }, []);
  return seen;
}

/** @param {{id: string, number: number}} props */
export function Place({ id, number }) {
  const section = useRef(null), seen = useSeen(section), isOpen = open.value.includes(id), Found = useLater(STATIONS[id], seen || isOpen);
  const toggle = () => { open.value = isOpen ? open.value.filter((one) => one !== id) : [...open.value, id]; };
  return html`<section class=${`station ${isOpen ? "is-open" : ""}`} id=${`station-${id}`} ref=${section}>
    <span class="stop" aria-hidden="true">${number}</span>
    <h2><button aria-expanded=${isOpen} aria-controls=${`inside-${id}`} onClick=${toggle}>
      <span class="name">${t(`walk.${id}.title`)}</span><span class="fold" aria-hidden="true"></span></button></h2>
    ${Found ? html`<${Found} />` : html`<div id=${`inside-${id}`} class="inside" hidden=${!isOpen}>${!isOpen ? "" : Found === null ? html`<p class="skeleton tall" aria-busy="true"></p>` : t("missing.part")}</div>`}
  </section>`;
}
