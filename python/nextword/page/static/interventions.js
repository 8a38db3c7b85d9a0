// Screen B: what if? Switches that change the model for this prompt, what they do, and scans that find where to look.
import { html } from "page/html.js";
import { interventions } from "page/state.js";
import { base, failure, model, run } from "page/run.js";
import { t } from "page/text.js";
import { AddRule } from "page/add_rule.js";
import { Result, Rules } from "page/switches.js";
import { Scan } from "page/scan.js";
import { Patching } from "page/patching.js";

export function Interventions() {
  if (!run.value && failure.value) return null;  // the banner says why
  if (!run.value || !base.value || !model.value) return html`<p class="skeleton tall" aria-busy="true">${t("prompt.busy")}</p>`;
  return html`<h1>${t("nav.interventions")}</h1><p class="headline small">${t("switches.says")}</p>
    <section class="card switches-card" aria-labelledby="switches-title"><h2 id="switches-title">${t("switches.title")}</h2><${AddRule} />
      ${interventions.value.length > 0 ? html`<${Rules} /><${Result} />` : html`<p class="told">${t("switches.none")}</p>`}</section>
    <${Scan} /><${Patching} />`;
}
