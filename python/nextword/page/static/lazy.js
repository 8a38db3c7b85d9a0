// Components whose modules are fetched when they are wanted: a screen when it is opened, a station when it is seen.
import { useEffect, useState } from "preact/hooks";
import { html } from "page/html.js";
import { t } from "page/text.js";
import { learnMore } from "page/learn.js";
import { answered, isGone, pause } from "page/run.js";

/** A component that is fetched once, and texts and style of what is opened later.
 * @param {() => Promise<Record<string, any>>} load @param {string} name  in the module
 * @param {boolean} [isFirst]  it belongs to the first screen, as do its texts */
export const later = (load, name, isFirst = false) => ({
  load: () => Promise.all([load(), isFirst || learnMore()]).then(([module]) => module), name, found: null,
});

/** The component, once it is wanted and there; null until then, undefined where it could not be fetched. Where nobody
 * answers, it is asked for until somebody does.
 * @param {ReturnType<typeof later>} one @param {boolean} wanted */
export function useLater(one, wanted) {
  const [failed, settle] = useState(null);
  useEffect(() => {
    if (!wanted || one.found) return undefined;
    let left = false, timer = 0;
    const attempt = async (tries) => {
      try {
        one.found = (await one.load())[one.name];
        if (tries) answered();
        settle(false);
      } catch {
        const gone = await isGone();
        if (left) return;
        if (gone) timer = setTimeout(attempt, pause(tries), tries + 1); else settle(true);
      }
    };
    attempt(0);
    return () => { left = true; clearTimeout(timer); };
  }, [one, wanted]);
  return failed ? undefined : one.found;
}

/** A component in whose place a grey field stands until it is there.
 * @param {() => Promise<Record<string, any>>} load @param {string} name */
export function lazy(load, name) {
  const one = later(load, name);
  return function Later(props) {
    const Found = useLater(one, true);
    if (Found) return html`<${Found} ...${props} />`;
    return Found === undefined ? html`<p class="hint" role="alert">${t("missing.part")}</p>` : html`<p class="skeleton tall" aria-busy="true"></p>`;
  };
}
