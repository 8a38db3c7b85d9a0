// The model's steps, as GET /api/model tells them: stations ask how something is made, as its name differs by model.
import { model } from "page/run.js";

const ofLayer = (name, layer) => name.replace("h.N.", `h.${layer}.`);

/** The names of the steps that are made in one way. @param {string} how  as `Made` has it @param {number} [layer] */
export const madeBy = (how, layer = 0) => model.value.steps.filter((one) => one.how === how).map(({ name }) => ofLayer(name, layer));

/** How a step is made, and of which. @param {string} name  "mlp.act", of each layer @param {number} layer */
export function stepOf(name, layer) {
  const { how, of } = model.value.steps.find((one) => one.name === `h.N.${name}`);
  return { how, of: of.map((one) => ofLayer(one, layer)) };
}

/** Which head of an activation of so many belongs to a head of the queries. @param {number} heads @param {number} head */
export const sharedHead = (heads, head) => Math.floor(head * heads / model.value.heads);
