// What keys do; shown by "?".
import { useEffect, useRef } from "preact/hooks";
import { html } from "page/html.js";
import { t } from "page/text.js";

const KEYS = ["slash", "l", "h", "space", "arrows", "enter", "escape", "tour", "question"];

export function Help({ onClose }) {
  const box = useRef(null);
  useEffect(() => { box.current.showModal(); }, []);
  return html`<dialog ref=${box} aria-labelledby="help-title" onClose=${onClose}><h2 id="help-title">${t("help.title")}</h2>
    <dl>${KEYS.map((key) => html`<dt><kbd>${t(`help.${key}.key`)}</kbd></dt><dd>${t(`help.${key}.does`)}</dd>`)}</dl>
    <button onClick=${() => box.current.close()}>${t("close")}</button></dialog>`;
}
