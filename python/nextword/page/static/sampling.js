// From logits to chances in the browser, for sliders that answer at once; the library's own step replaces them.

/** Softmax of logits at a temperature > 0. @param {ArrayLike<number>} logits @param {number} temperature @returns {number[]} */
export function softmax(logits, temperature = 1) {
  const scaled = Array.from(logits, (logit) => logit / temperature), most = Math.max(...scaled);
  const powers = scaled.map((value) => Math.exp(value - most)), sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

/** Ids in falling order of their logits, equals by id. It does not depend on the temperature, so one sort serves all.
 * @param {Float32Array} logits @returns {Uint32Array} */
export function ordered(logits) {
  return Uint32Array.from(logits.keys()).sort((a, b) => logits[b] - logits[a] || a - b);
}

/** What each rule makes of the best tokens: temperature, then top_k, top_p, min_p, each on what the one before it left.
 * @param {Float32Array} logits @param {Uint32Array} order
 * @param {{temperature: number, top_k: number, top_p: number, min_p: number}} settings @param {number} count
 * @returns {{kept: number, rows: {id: number, softmax: number, p: number, cut: string|null}[]}} */
export function chances(logits, order, settings, count) {
  const { temperature, top_k, top_p, min_p } = settings, size = order.length;
  const best = logits[order[0]], power = (rank) => Math.exp((logits[order[rank]] - best) / (temperature || 1));
  let total = 0;
  for (let rank = 0; rank < size; rank++) total += power(rank);
  const limits = [];  // [rule, how many of the best it leaves]
  let kept = size, mass = total;
  const keep = (rule, left) => {
    if (left >= kept) return;
    kept = left;
    limits.push([rule, left]);
    mass = 0;
    for (let rank = 0; rank < kept; rank++) mass += power(rank);
  };
  if (!temperature) keep("greedy", 1);
  if (temperature && top_k > 0 && top_k < size) {
    let left = top_k;
    while (left < size && logits[order[left]] === logits[order[top_k - 1]]) left++;  // the equals of the last stay
    keep("top_k", left);
  }
  if (temperature && top_p < 1) {
    const slack = 2 ** -24 * (1 + Math.log(size));  // a sum short of p by rounding alone reaches it
    let left = 0, sum = 0;
    while (left < kept && (left === 0 || sum / mass < top_p - slack)) sum += power(left++);
    keep("top_p", left);
  }
  if (temperature && min_p > 0) {
    const slack = 2 ** -24 * (2 + 2 * Math.log(size) + temperature * Math.abs(Math.log(min_p)));
    let left = 1;
    while (left < kept && logits[order[left]] >= best + temperature * Math.log(min_p) - slack) left++;
    keep("min_p", left);
  }
  const rows = Array.from({ length: Math.min(count, size) }, (_, rank) => {
    const cut = limits.find(([, left]) => rank >= left)?.[0] ?? null;
    return { id: order[rank], softmax: power(rank) / total, p: cut ? 0 : power(rank) / mass, cut };
  });
  return { kept, rows };
}
