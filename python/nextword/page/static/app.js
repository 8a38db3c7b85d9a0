// The frame around the screens: header, prompt, banner, inspector, live region, keys.
import { useEffect, useRef, useState } from "preact/hooks";
import { html } from "page/html.js";
import { screen, prompt, ask, theme, news, layer, head, cell, tour } from "page/state.js";
import { language, spoken, t } from "page/text.js";
import { isFile } from "page/source.js";
import { model, run, busy } from "page/run.js";
import { Banner } from "page/banner.js";
import { Walk } from "page/walk.js";
import { lazy } from "page/lazy.js";
import { Choice } from "page/parts.js";

/** Screens by name, in the order of the navigation: what draws them, whether they need a model. */
const SCREENS = {
  walk: Walk,
  interventions: lazy(() => import("page/interventions.js"), "Interventions"),
  words: lazy(() => import("page/words.js"), "Words"),
  compare: lazy(() => import("page/compare.js"), "Compare"),
  bench: lazy(() => import("page/bench.js"), "Bench"),
  scale: lazy(() => import("page/scale.js"), "Scale"),
};
const Inspector = lazy(() => import("page/inspector.js"), "Inspector");
const Help = lazy(() => import("page/help.js"), "Help");
const Tour = lazy(() => import("page/tour.js"), "Tour");
const printed = async () => (await import("page/handout.js")).print();

/** The prompt: what is typed becomes the view's prompt a moment later. */
function Prompt() {
  const [text, setText] = useState(prompt.value), waiting = useRef(0), seen = prompt.value;
  useEffect(() => setText(seen), [seen]);
  const type = (value) => {
    setText(value);
    clearTimeout(waiting.current);
    waiting.current = setTimeout(() => { if (value) ask(value); }, 250);
  };
  const tokens = run.value?.tokens.length ?? 0, window = model.value?.window;
  return html`<form class="prompt" aria-label=${t("prompt.title")} onSubmit=${(event) => { event.preventDefault(); if (text) ask(text); }}>
    <label for="prompt">${t("prompt.label")}</label>
    <textarea id="prompt" rows="2" spellcheck="false" value=${text} onInput=${(event) => type(event.currentTarget.value)}
      onKeyDown=${(event) => { if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); if (text) ask(text); } }}></textarea>
    <div class="under"><span class="count" aria-live="off">${text ? t("prompt.count", { tokens, signs: [...text].length, window: window ?? "∞" }) : t("prompt.empty")}
      ${busy.value && html` <span class="busy">${t("prompt.busy")}</span>`}</span>
    <span class="examples"><span>${t("prompt.examples")}</span>${["1", "2", "3"].map((n) => html`<button type="button"
      onClick=${() => { ask(t(`prompt.example.${n}`)); }}>${t(`prompt.example.${n}`)}</button>`)}</span></div>
  </form>`;
}

/** The guided tours, each opened at its first card. */
const TOURS = ["tokens", "attention", "logits", "whatif", "bias", "roots"];
function Tours() {
  return html`<nav class="tours" aria-label=${t("tour.label")}><span>${t("tour.label")}</span><ul>${TOURS.map((name) => html`<li key=${name}><button
    onClick=${() => { tour.value = `${name}.1`; }}>${t(`tour.${name}`)}</button></li>`)}</ul></nav>`;
}

/** @param {{languages: Record<string, string>}} props */
export function App({ languages }) {
  const [help, setHelp] = useState(false);
  useEffect(() => {
    const press = (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "Escape" && cell.value) { cell.value = null; return; }
      if (event.target.closest("input, textarea, select, dialog")) return;
      const act = {
        "/": () => document.getElementById("prompt")?.focus(),
        "?": () => setHelp(true),
        l: () => { layer.value = (layer.value + 1) % (model.value?.layers ?? 1); },
        h: () => { head.value = (head.value + 1) % (model.value?.heads ?? 1); },
        " ": () => !event.target.closest("button, summary, a") && screen.value === "walk" && (import("page/play.js").then((play) => play.togglePlay()), true),
      }[event.key];
      if (act && act() !== false) event.preventDefault();
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, []);
  const Screen = SCREENS[screen.value] ?? Walk, isWalk = Screen === Walk, asks = isWalk || screen.value === "interventions";
  return html`<a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); document.getElementById("main").focus(); }}>${t("skip")}</a>
  <header>
    <div class="brand"><b>nextword</b><span>${model.value ? t("model.line", { name: model.value.name, layers: model.value.layers, heads: model.value.heads, millions: (model.value.parameters.total / 1e6).toFixed(1) }) : ""}</span></div>
    <nav aria-label=${t("nav.label")}>${Object.keys(SCREENS).map((name) => html`<button aria-current=${name === screen.value ? "page" : undefined}
      onClick=${() => { screen.value = name; cell.value = null; }}>${t(`nav.${name}`)}</button>`)}</nav>
    <div class="settings">
      <${Choice} label=${t("language")} options=${Object.keys(languages).map((name) => [name, name.toUpperCase()])} value=${language.value} onChoose=${(name) => { language.value = name; }} />
      <${Choice} label=${t("theme")} options=${["auto", "light", "dark"].map((name) => [name, t(`theme.${name}`)])} value=${theme.value} onChoose=${(name) => { theme.value = name; }} />
      <button class="quiet" aria-label=${t("help.title")} onClick=${() => setHelp(true)}>?</button>
    </div>
  </header>
  <${Banner} />
  ${asks && html`<${Prompt} />`}${isWalk && html`<${Tours} />`}
  <div class=${cell.value && isWalk ? "columns with-inspector" : "columns"}>
    <main id="main" tabindex="-1">${isFile && html`<p class="hint of-file">${t("file.says")}</p>`}<${Screen} key=${`${screen.value} ${isWalk ? "" : spoken.value}`} /></main>
    ${isWalk && cell.value && html`<${Inspector} />`}
  </div>
  <footer><span>${t("footer")}</span>${isWalk && html`<button onClick=${printed}>${t("print")}</button>`}</footer>
  <p class="unseen" role="status" aria-live="polite">${news.value}</p>
  ${tour.value && html`<${Tour} />`}
  ${help && html`<${Help} onClose=${() => setHelp(false)} />`}`;
}
