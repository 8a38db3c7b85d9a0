// The colour of a cell that has its number written in it.
import { ramp, stepOf } from "page/colour.js";

/** A cell's colour, and black or white on it, whichever is read better.
 * @param {number} value @param {"signed"|"share"} kind @param {number} limit @param {"light"|"dark"} theme */
export function cellStyle(value, kind, limit, theme) {
  const table = ramp(kind, theme), step = 3 * stepOf(value, kind, limit), rgb = [...table.slice(step, step + 3)];
  const [r, g, b] = rgb.map((one) => (one <= 10 ? one / 3294.6 : ((one / 255 + 0.055) / 1.055) ** 2.4));
  return { background: `rgb(${rgb.join(" ")})`, color: 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000" : "#fff" };
}
