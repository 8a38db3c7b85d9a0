// Components whose modules are fetched when they are wanted: a screen when it is opened, a station when it is seen.
import { useEffect, useState } from "preact/hooks";
import { html } from "page/html.js";
import { t } from "page/text.js";
import { learnMore } from "page/learn.js";

/** A component that is fetched once, and the texts of what is opened later.
 * @param {() => Promise<Record<string, any>>} load @param {string} name  in the module
 * @param {boolean} [isFirst]  it belongs to the first screen, as do its texts */
export const later = (load, name, isFirst = false) => ({
  load: () => Promise.all([load(), isFirst || learnMore()]).then(([module]) => module), name, found: null,
});

/** The component, once it is wanted and there; null until then, undefined where it could not be fetched.
 * @param {ReturnType<typeof later>} one @param {boolean} wanted */
export function useLater(one, wanted) {
  const [failed, settle] = useState(null);
  useEffect(() => {
    if (wanted && !one.found) one.load().then((module) => { one.found = module[one.name]; settle(false); }, () => settle(true));
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
