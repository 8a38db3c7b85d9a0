// The tensors of models of GPT-2's kind, computed from their configuration, and the ledger of parameters.

/** The published shapes (Radford et al. 2019), the bundled model and the one that sorts letters (llm-viz). All else follows. */
const OPENAI = { vocabulary: 50257, window: 1024 };
export const FAMILY = [
  { name: "nano-sort", vocabulary: 3, window: 11, layers: 3, width: 48, tied: false },
  { name: "demo", vocabulary: 4096, window: 512, layers: 4, width: 256 },
  { name: "GPT-2 124M", ...OPENAI, layers: 12, width: 768 },
  { name: "GPT-2 355M", ...OPENAI, layers: 24, width: 1024 },
  { name: "GPT-2 774M", ...OPENAI, layers: 36, width: 1280 },
  { name: "GPT-2 1558M", ...OPENAI, layers: 48, width: 1600 },
];

/** What tensors are for, in the order of the legend. */
export const KINDS = ["embedding", "attention", "mlp", "vector"];

/** The colour of each. @type {Record<string, string>} */
export const COLOURS = Object.fromEntries(KINDS.map((kind, i) => [kind, `var(--tone-edge-${i})`]));

/** @typedef {{name: string, shape: number[], count: number, layer: number|null}} Part  a tensor, as in GET /api/model */

/** All tensors of a model of GPT-2's kind; a tied output matrix is the embedding and counts once.
 * @param {{vocabulary: number, window: number, layers: number, width: number, inner?: number, tied?: boolean}} config
 * @returns {Part[]} */
export function tensorsOf({ vocabulary, window, layers, width, inner = 4 * width, tied = true }) {
  const found = [];
  const add = (layer, name, ...shape) => found.push({ name, shape, layer, count: shape.reduce((a, b) => a * b) });
  const norm = (layer, name) => { add(layer, `${name}.weight`, width); add(layer, `${name}.bias`, width); };
  const linear = (layer, name, rows, cols) => { add(layer, `${name}.weight`, rows, cols); add(layer, `${name}.bias`, cols); };
  add(null, "wte.weight", vocabulary, width);
  add(null, "wpe.weight", window, width);
  for (let n = 0; n < layers; n++) {
    norm(n, `h.${n}.ln_1`);
    linear(n, `h.${n}.attn.c_attn`, width, 3 * width);
    linear(n, `h.${n}.attn.c_proj`, width, width);
    norm(n, `h.${n}.ln_2`);
    linear(n, `h.${n}.mlp.c_fc`, width, inner);
    linear(n, `h.${n}.mlp.c_proj`, inner, width);
  }
  norm(null, "ln_f");
  if (!tied) add(null, "lm_head.weight", vocabulary, width);
  return found;
}

/** @param {Part} part */
export const kindOf = (part) => (part.shape.length < 2 ? "vector" : part.layer === null ? "embedding" : /attn|attention/.test(part.name) ? "attention" : "mlp");

/** Sum of the counts. @param {{count: number}[]} parts */
export const total = (parts) => parts.reduce((sum, part) => sum + part.count, 0);

/** Parameters of each kind. @param {Part[]} parts @returns {Record<string, number>} */
export const byKind = (parts) => Object.fromEntries(KINDS.map((kind) => [kind, total(parts.filter((part) => kindOf(part) === kind))]));

/** The ledger: tensors that every layer has are one row, "h.N.".
 * @param {Part[]} parts @returns {{name: string, shape: number[], kind: string, each: number, times: number, count: number}[]} */
export function ledger(parts) {
  const rows = new Map();
  for (const part of parts) {
    const name = part.layer === null ? part.name : part.name.replace(/\d+/, "N"), key = `${name} ${part.shape}`, row = rows.get(key);
    if (row) { row.times += 1; row.count += part.count; } else rows.set(key, { name, shape: part.shape, kind: kindOf(part), each: part.count, times: 1, count: part.count });
  }
  return [...rows.values()];
}

/** The models that are drawn: the family, and the model at hand where it is none of them.
 * @param {any} own  GET /api/model @returns {{name: string, own: boolean, width: number, layers: number, vocabulary: number, parts: Part[]}[]} */
export function models(own) {
  const drawn = FAMILY.map((config) => ({ ...config, own: false, parts: tensorsOf(config) }));
  if (!own) return drawn;
  // The library keeps the embedding with its tokens as columns; here it lies as in files, a row a token.
  const { layers, width, vocabulary } = own, parts = own.parameters.parts.map((part) => (part.layer === null && `${part.shape}` === `${width},${vocabulary}` ? { ...part, shape: [vocabulary, width] } : part));
  const inventory = (list) => list.map((part) => `${part.name} ${part.shape}`).sort().join();
  const same = drawn.find((one) => inventory(one.parts) === inventory(parts));
  if (same) same.own = true; else drawn.push({ name: own.name, own: true, layers, width, vocabulary, parts });
  return drawn;
}
