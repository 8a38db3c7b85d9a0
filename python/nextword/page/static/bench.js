// Screen E: the lectures' bench. Small numbers that one sets by hand; nothing here asks the model.
import { html } from "page/html.js";
import { t } from "page/text.js";
import { Words2d } from "page/plane.js";
import { LinearMap } from "page/linear.js";
import { FiveLogits } from "page/logits.js";
import { Counting } from "page/counting.js";
import { Halving } from "page/halving.js";

export function Bench() {
  return html`<h1>${t("nav.bench")}</h1><p class="headline small">${t("bench.says")}</p><${Words2d} /><${LinearMap} /><${FiveLogits} /><${Counting} /><${Halving} />`;
}
