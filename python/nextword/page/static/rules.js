// Interventions as the view holds them: rule objects, in words, set and removed. What they do is `switches.js`'s.
import { interventions } from "page/state.js";
import { run } from "page/run.js";
import { short, shown } from "page/format.js";
import { t } from "page/text.js";

const PLACE = ["name", "heads", "columns", "positions"];

/** Whether two rules change the same thing. @param {object} a @param {object} b */
export const same = (a, b) => PLACE.every((field) => JSON.stringify(a[field] ?? null) === JSON.stringify(b[field] ?? null));

/** What tells a rule's place from others. @param {object} rule */
export const placeOf = (rule) => JSON.stringify(PLACE.map((field) => rule[field] ?? null));

/** Sets, replaces or removes a rule. @param {object} rule @param {boolean} on */
export function set(rule, on) {
  const at = interventions.value.findIndex((one) => same(one, rule)), rest = interventions.value.filter((one) => !same(one, rule));
  interventions.value = on ? (at < 0 ? [...rest, rule] : interventions.value.map((one, i) => (i === at ? rule : one))) : rest;
}

/** A token of the prompt that is shown. @param {number} position */
const tokenAt = (position) => `${shown(run.value?.tokens[position] ?? { text: null, id: position })} (${position})`;

/** What a rule changes, in words. @param {any} rule */
export function words(rule) {
  const layer = /^h\.(\d+)/.exec(rule.name)?.[1], tokens = (rule.positions ?? []).map(tokenAt).join(", ");
  if (rule.how === "mask") return t("rule.masked", { tokens: rule.columns.map(tokenAt).join(", ") });
  if (rule.how === "token") return t("rule.replaced", { tokens, word: shown({ text: rule.token }) });
  const part = rule.heads ? t("rule.head", { layer, head: rule.heads.join(", ") })
    : rule.columns ? t("rule.neuron", { layer, neuron: rule.columns.join(", ") })
      : rule.name.endsWith("attn.out") ? t("rule.attention", { layer }) : rule.name.endsWith("mlp.out") ? t("rule.mlp", { layer }) : rule.name;
  const fine = rule.how === "prompt" && rule.heads ? ` ${rule.name.split(".").at(-1)}` : "";
  return `${part}${fine}${tokens ? t("rule.at", { tokens }) : ""}`;
}

/** What becomes of it, in words. @param {any} rule */
export const strength = (rule) => (rule.how === "prompt" ? t("rule.prompt", { prompt: rule.prompt }) : rule.how === "value" ? short(rule.value) : t(`rule.${rule.how}`));
