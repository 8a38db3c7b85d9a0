// The element that a card points at: where it is now, what the card reads in it, and where the card lies beside it.
import { useEffect, useState } from "preact/hooks";
import { still } from "page/state.js";

const WAIT = 4000;  // ms after which a target that is not there is given up

/** The first of the elements that is drawn. @param {string} selector */
const drawn = (selector) => [...document.querySelectorAll(selector)].find((one) => one.getClientRects().length);

/** Follows a card's target while the page moves; brings it into view once, until the reader moves the page.
 * @param {{target: string, reads?: Record<string, string>}|undefined} card @param {string} key  of the card */
export function useTarget(card, key) {
  const [told, tell] = useState({ key: "", rect: null, read: {}, missing: false });
  useEffect(() => {
    if (!card) return undefined;
    let frame = 0, before = "", free = false, late = false;
    const measure = () => {
      frame = 0;
      const element = drawn(card.target), box = element?.getBoundingClientRect();
      const lens = element?.closest(".inspector")?.getBoundingClientRect();
      const rect = box ? { top: box.top, left: box.left, width: box.width, height: box.height, inLens: Boolean(lens) } : null;
      const read = Object.fromEntries(Object.entries(card.reads ?? {}).map(([name, where]) => [name, drawn(where)?.textContent.trim()]).filter(([, text]) => text));
      const next = { key, rect, read, missing: late && !rect };
      if (lens && !free && (box.top < lens.top || box.bottom > Math.min(lens.bottom, innerHeight))) element.scrollIntoView({ block: "nearest", behavior: "instant" });
      if (rect && !lens && !free && (rect.top < 0 || rect.top > innerHeight / 2 || rect.top + rect.height > innerHeight)) {
        const fits = rect.height < innerHeight / 3;
        element.scrollIntoView({ block: innerWidth >= 1060 && fits ? "center" : "start", behavior: still() ? "instant" : "smooth" });
      }
      if (JSON.stringify(next) !== before) tell(next);
      before = JSON.stringify(next);
    };
    const soon = () => { frame ||= requestAnimationFrame(measure); }, release = (event) => { if (!event.target.closest?.(".tour")) free = true; };
    const changes = new MutationObserver(soon), sizes = new ResizeObserver(soon);
    changes.observe(document.body, { childList: true, subtree: true, characterData: true });
    sizes.observe(document.body);
    addEventListener("scroll", soon, { capture: true, passive: true });
    addEventListener("resize", soon);
    const moves = ["wheel", "touchmove", "pointerdown", "keydown"];
    for (const move of moves) addEventListener(move, release, { passive: true });
    const timer = setTimeout(() => { late = true; soon(); }, WAIT);
    soon();
    return () => {
      cancelAnimationFrame(frame);
      clearTimeout(timer);
      changes.disconnect();
      sizes.disconnect();
      removeEventListener("scroll", soon, { capture: true });
      removeEventListener("resize", soon);
      for (const move of moves) removeEventListener(move, release);
    };
  }, [key]);
  return told.key === key ? told : { rect: null, read: {}, missing: false };
}

/** Class and place of a card: level with its target in a column of its own; on narrow pages below or above it.
 * @param {{top: number, height: number, inLens: boolean}|null} rect @param {HTMLElement|null} box */
export function lies(rect, box) {
  const tall = box?.offsetHeight ?? 320;
  if (innerWidth >= 1060) return { style: { top: `${Math.max(12, Math.min(rect?.top ?? 12, innerHeight - tall - 12))}px` } };
  const above = rect && (rect.inLens || (rect.top + rect.height > innerHeight - tall && rect.top > tall));
  return { class: above ? "tour is-above" : "tour", style: {} };
}
