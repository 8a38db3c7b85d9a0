// Numbers and tokens as text. Numbers read as the library prints them: Python's format(value, ".4g"), in every language,
// and so do probabilities, weights and shares: 0.1239, never percent. Counts have their thousands apart.

const UNSEEN = { " ": "·", "\n": "⏎", "\t": "⇥", "\r": "␍" };

/** Digits and exponent of |x|, rounded to `places` significant digits, ties to even as Python does.
 * @param {number} x  finite, not 0
 * @param {number} places
 * @returns {{digits: string, exponent: number}} */
function rounded(x, places) {
  // A tie has `places + 1` digits and then zeros; 60 digits are enough to tell one.
  const long = x.toExponential(60);
  const [mantissa] = long.split("e");
  const all = mantissa.replace(".", "");
  const rest = all.slice(places);
  let text = x.toExponential(places - 1);
  if (/^50*$/.test(rest) && "02468".includes(all[places - 1])) {  // exactly half: to even, which is down here
    text = `${all[0]}.${all.slice(1, places)}e${long.split("e")[1]}`;
  }
  const [m, e] = text.split("e");
  return { digits: m.replace(".", ""), exponent: Number(e) };
}

/** A number as Python's format(x, f".{places}g").
 * @param {number} x
 * @param {number} [places]
 * @returns {string} */
export function short(x, places = 4) {
  if (x === null || x === undefined || Number.isNaN(x)) return "nan";
  if (!Number.isFinite(x)) return x > 0 ? "inf" : "-inf";
  if (x === 0) return Object.is(x, -0) ? "-0" : "0";
  const { digits, exponent } = rounded(Math.abs(x), places);
  const sign = x < 0 ? "-" : "";
  if (exponent < -4 || exponent >= places) {
    const mantissa = digits.replace(/0+$/, "");
    const two = String(Math.abs(exponent)).padStart(2, "0");
    const head = mantissa.length > 1 ? `${mantissa[0]}.${mantissa.slice(1)}` : mantissa[0];
    return `${sign}${head}e${exponent < 0 ? "-" : "+"}${two}`;
  }
  if (exponent < 0) return sign + `0.${"0".repeat(-exponent - 1)}${digits}`.replace(/0+$/, "");
  const whole = digits.slice(0, exponent + 1), part = digits.slice(exponent + 1).replace(/0+$/, "");
  return sign + (part ? `${whole}.${part}` : whole);
}

/** All digits that tell a float32 from its neighbours.
 * @param {number} x
 * @returns {string} */
export const exact = (x) => short(x, 9);

/** A number whose sign is always seen: "+1.97", "−0.3" keeps Python's hyphen.
 * @param {number} x */
export const signed = (x) => (x > 0 ? "+" : "") + short(x);

/** A count. German sets thousands apart by a point, which here ends the whole part of a number: it gets a narrow space.
 * @param {number} n @param {string} language @returns {string} */
export const count = (n, language) => n.toLocaleString("en").replaceAll(",", language === "de" ? "\u202f" : ",");

/** A token's text with its white space made visible; its bytes where they are no whole character.
 * @param {{text?: string|null, id?: number}} token
 * @returns {string} */
export function shown(token) {
  const { text } = token;
  if (text === null || text === undefined) return `#${token.id}`;
  if (/^(<[0-9A-F]{2}>)+$/.test(text)) return text.slice(1, -1).replaceAll("><", " ");  // bytes that are no character
  return text === "" ? "∅" : text.replace(/[ \n\t\r]/g, (sign) => UNSEEN[sign]);
}

/** Bytes given as hex text, as a list of two signs each.
 * @param {string} bytes @returns {string[]} */
export const hex = (bytes) => (bytes.match(/../g) || []).map((pair) => pair.toUpperCase());

/** The name of a cell as Python writes it: h.3.attn.scores[2, 5, 4].
 * @param {string} name @param {number[]} index */
export const cellName = (name, index) => `${name}[${index.join(", ")}]`;
