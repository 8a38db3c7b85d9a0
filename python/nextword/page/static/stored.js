// What lies in the page's own file: the answers to calls, and parts of activations as GET /api/run/R/tensor gives them.
import { Refused } from "page/refused.js";

/** Bytes of base64 text. @param {string} text @returns {ArrayBuffer} */
const bytesOf = (text) => Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0)).buffer;

/** A number of 16 bits, as IEEE 754 has it. @param {number} bits */
function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return exponent ? sign * 2 ** (exponent - 15) * (1 + fraction / 1024) : sign * 2 ** -24 * fraction;
}

/** The range "a:b" within size; negative ends count from the end. @param {string|null} text @param {number} size */
function range(text, size) {
  const [low, high] = (text ?? ":").split(":").map((one) => (one === "" ? null : Number(one)));
  const at = (value) => Math.max(0, Math.min(size, value < 0 ? value + size : value));
  return [low === null ? 0 : at(low), high === null ? size : at(high)];
}

/** @type {Map<object, Float32Array>} what was decoded already */
const decoded = new Map();
function numbers(held) {
  if (!decoded.has(held)) {
    const buffer = bytesOf(held.base64);
    decoded.set(held, held.dtype === "f16" ? Float32Array.from(new Uint16Array(buffer), half) : new Float32Array(buffer));
  }
  return decoded.get(held);
}

/** A cut of an activation: rows and columns of its last two axes, one head or all.
 * @param {{shape: number[], first: number, dtype: string, base64: string}} held  first: the row that it begins with
 * @param {URLSearchParams} asked @returns {{buffer: ArrayBuffer, header: any}|null}  null: not in the file */
function cut(held, asked) {
  const all = numbers(held), [heads, rows, cols] = held.shape.length === 3 ? held.shape : [1, ...held.shape];
  const [top, bottom] = range(asked.get("rows"), rows + held.first).map((row) => row - held.first);
  const [left, right] = range(asked.get("cols"), cols);
  if (top < 0 || bottom > rows || asked.get("max")) return null;
  const head = asked.get("head") === null ? null : (Number(asked.get("head")) + heads) % heads;
  const chosen = head === null ? [...Array(heads).keys()] : [head];
  const values = new Float32Array(chosen.length * (bottom - top) * (right - left));
  let at = 0;
  for (const one of chosen) for (let row = top; row < bottom; row++) {
    const start = (one * rows + row) * cols;
    values.set(all.subarray(start + left, start + right), at);
    at += right - left;
  }
  const finite = values.filter(Number.isFinite), low = finite.reduce((a, b) => Math.min(a, b), Infinity), high = finite.reduce((a, b) => Math.max(a, b), -Infinity);
  const shape = [...(held.shape.length === 3 && head === null ? [heads] : []), bottom - top, right - left];
  return { buffer: values.buffer, header: { name: asked.get("name"), shape, of: shape, pool: [1, 1], min: low, max: high,
    bound: Math.max(Math.abs(low), Math.abs(high)), scale: "linear", step: 0, dtype: "f32" } };
}

/** A text of JSON whose fields are in one order: what a call means, however it was written. @param {any} value */
function ordered(value) {
  const sorted = (one) => Array.isArray(one) ? one.map(sorted) : one && typeof one === "object"
    ? Object.fromEntries(Object.keys(one).sort().map((name) => [name, sorted(one[name])])) : one;
  return JSON.stringify(sorted(value));
}

/** @type {Map<string, any>|null} answers by call, made at first use */
let byCall = null;
function answers(data) {
  byCall ??= new Map(Object.entries(data.answers).map(([name, answer]) => {
    const [, call, body] = /^(\S+ \S+)(?: (.*))?$/s.exec(name);
    return [body ? `${call} ${ordered(JSON.parse(body))}` : call, answer];
  }));
  return byCall;
}

/** What the file holds under "POST /api/run {...}" and the like. A call that it lacks is refused.
 * @param {any} data @param {string} method @param {string} path @param {object} [body] @returns {any} */
export function answered(data, method, path, body) {
  const found = answers(data).get(body ? `${method} ${path} ${ordered(body)}` : `${method} ${path}`);
  if (found === undefined) throw new Refused({ code: "not_in_file", message: "not in this file" }, 404);
  return found;
}

/** Bytes of the file, and what the server's `X-Tensor` would say of them.
 * @param {any} data @param {string} path @returns {{buffer: ArrayBuffer, header: any}} */
export function binary(data, path) {
  const asked = new URLSearchParams(path.split("?")[1]), held = data.tensors[asked.get("name")];
  const part = held && path.startsWith(`/api/run/${data.run}/tensor?`) ? cut(held, asked) : null;
  if (part) return part;
  const found = answered(data, "GET", path);
  return { buffer: bytesOf(found.base64), header: found.header };
}
