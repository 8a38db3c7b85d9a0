// A formula of the library as MathML: "sum over d of h.0.attn.q[1, 2, d] * h.0.attn.k[1, 0, d]" as a sum of products.
import { html } from "page/html.js";

const PARTS = /\s*(sum over (\w+)(?: <= (\d+))? of|rounded to (?:bfloat16|127 steps of its largest number)|as the cache holds it in \w+|[A-Za-z_][\w.]*|\d+(?:\.\d+)?(?:e[-+]?\d+)?|[-+*/()[\],])/y;

/** @param {string} text @returns {RegExpExecArray[]|null}  null where something is no part of a formula */
function split(text) {
  const found = [];
  PARTS.lastIndex = 0;
  while (PARTS.lastIndex < text.length) {
    const part = PARTS.exec(text);
    if (!part) return null;
    found.push(part);
  }
  return found;
}

const row = (...children) => html`<mrow>${children}</mrow>`;
const sign = (text) => html`<mo>${text}</mo>`;
/** The last part of a name: "scores" of "h.0.attn.scores"; the list of sources has it whole. */
const brief = (name) => name.split(".").slice(/\.(weight|bias)$/.test(name) ? -2 : -1).join(".");

/** Reads one formula: sums of products of names, numbers, brackets, functions and sums over an index. */
class Reader {
  constructor(parts) { this.parts = parts; this.at = 0; }
  get next() { return this.parts[this.at]?.[1]; }
  take(wanted) {
    if (wanted && this.next !== wanted) throw new SyntaxError(`${wanted} is missing`);
    return this.parts[this.at++];
  }
  /** Terms, each with the sign before it. */
  terms() {
    const all = [row(this.term())];
    while ("+-".includes(this.next ?? " ")) all.push(row(html`<mo form="infix">${this.take()[1] === "-" ? "−" : "+"}</mo>`, this.term()));
    return all;
  }
  expression() { return row(this.terms()); }
  term() {
    let made = this.factor();
    while (this.next === "*" || this.next === "/") {
      made = this.take()[1] === "*" ? row(made, sign("·"), this.factor()) : html`<mfrac>${made}${this.factor()}</mfrac>`;
    }
    return made;
  }
  factor() {
    const part = this.take();
    if (!part) throw new SyntaxError("the formula ends early");
    const [, text, index, last] = part;
    if (index) return row(html`<munder><mo>∑</mo>${row(html`<mi>${index}</mi>`, last ? [sign("≤"), html`<mn>${last}</mn>`] : "")}</munder>`, this.term());
    if (/^\d/.test(text)) return html`<mn>${text}</mn>`;
    if (text === "(") {
      const inner = this.expression();
      this.take(")");
      return this.next === "/" ? inner : row(sign("("), inner, sign(")"));
    }
    if (!/^[A-Za-z_]/.test(text)) throw new SyntaxError(`${text} is no name`);
    return this.noted(this.named(text));
  }
  named(name) {
    if (this.next === "(") {
      this.take("(");
      const inner = this.expression();
      this.take(")");
      return name === "sqrt" ? html`<msqrt>${inner}</msqrt>` : row(html`<mi>${name}</mi>`, sign("("), inner, sign(")"));
    }
    if (this.next !== "[") return html`<mi>${name}</mi>`;
    const places = [];
    this.take("[");
    while (this.next !== "]") {
      const text = this.take()[1];
      places.push(text === "," ? sign(",") : /^\d/.test(text) ? html`<mn>${text}</mn>` : html`<mi>${text}</mi>`);
    }
    this.take("]");
    return html`<msub><mi>${brief(name)}</mi>${row(places)}</msub>`;
  }
  noted(made) {
    return /^(rounded|as the) /.test(this.next ?? "") ? row(made, html`<mtext> (${this.take()[1]})</mtext>`) : made;
  }
}

/** The formula as MathML; what is no formula, as it stands. @param {string} formula */
export function drawn(formula) {
  const [made, rest] = formula.split(/, (?=(?:mean and std of|the angle|rms =) )/), parts = split(made);
  try {
    if (!parts) throw new SyntaxError(formula);
    const reader = new Reader(parts), terms = reader.terms();
    if (reader.next !== undefined) throw new SyntaxError(reader.next);
    return html`<p class="math" role="math" aria-label=${formula}>${terms.map((term) => html`<math><semantics>${term}<annotation encoding="text/plain">${formula}</annotation></semantics></math> `)}</p>
      ${rest && html`<p class="hint">${rest.replace("mean and std of ", "mean, std: ").replaceAll(" * ", " · ")}</p>`}`;
  } catch (fault) {
    if (!(fault instanceof SyntaxError)) throw fault;
    return html`<code>${formula}</code>`;
  }
}
