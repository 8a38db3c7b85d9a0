// A component whose module is fetched when it is first drawn.
import { useEffect, useState } from "preact/hooks";
import { html } from "page/html.js";

/** @param {() => Promise<Record<string, any>>} load @param {string} name  of the component in the module */
export function lazy(load, name) {
  let found = null;
  return function Later(props) {
    const [, setReady] = useState(Boolean(found));
    useEffect(() => { if (!found) load().then((module) => { found = module[name]; setReady(true); }); }, []);
    return found ? html`<${found} ...${props} />` : html`<p class="skeleton tall" aria-busy="true"></p>`;
  };
}
