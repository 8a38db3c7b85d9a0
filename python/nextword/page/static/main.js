// Starts the page: texts, the view of the address, the model; then draws.
import { render } from "preact";
import { effect } from "@preact/signals";
import { html } from "page/html.js";
import { call, view, Refused } from "page/source.js";
import { restore, followAddress, prompt, other, theme, dark } from "page/state.js";
import { language, spoken, t } from "page/text.js";
import { LANGUAGES, learn } from "page/learn.js";
import { model, failure, followView } from "page/run.js";
import { App } from "page/app.js";

/** The theme that is seen: chosen, or the system's. */
function followTheme() {
  const system = matchMedia("(prefers-color-scheme: dark)"), paper = matchMedia("print");
  const set = () => {
    const chosen = theme.value === "dark" || (theme.value === "auto" && system.matches);
    document.documentElement.dataset.theme = chosen ? "dark" : "light";
    dark.value = chosen && !paper.matches;  // paper is white: pictures are painted anew for it
  };
  for (const media of [system, paper]) media.addEventListener("change", set);
  effect(set);
}

async function start() {
  language.value = navigator.language?.startsWith("de") ? "de" : "en";
  const own = location.hash.slice(1), address = new URLSearchParams(own).has("prompt") ? own : `${own}&${view}`;
  restore(address);
  const chosen = new URLSearchParams(address).get("lang");
  followTheme();
  learn().catch(() => {});  // the language is most often this one; where it fails, it is asked for again below
  try {
    model.value = await call("GET", "/api/model");
    const { start: begun } = model.value;
    if (!(chosen in LANGUAGES) && begun.lang in LANGUAGES) language.value = begun.lang;
    await learn();
    if (!prompt.value) prompt.value = begun.prompt || t("prompt.first");
    if (!other.value && begun.compare) other.value = begun.compare;
  } catch (fault) {
    failure.value = fault instanceof Refused ? { ...fault.failure, status: fault.status } : { code: "unknown", message: String(fault) };
  }
  await learn();
  effect(() => { learn(); });
  effect(() => { document.documentElement.lang = spoken.value; document.title = `nextword – ${t("title")}`; });
  followAddress();
  if (model.value) followView();  // the run is on its way while the frame is drawn
  const root = document.getElementById("app");
  root.textContent = "";
  render(html`<${App} languages=${LANGUAGES} />`, root);
}

start();
