// Where each tensor stands, in units of one number a side: models as buildings on one ground, layers as their floors.
import { kindOf } from "page/sizes.js";

/** Between two models. */
const STREET = 2500;

/** @typedef {{x: number, y: number, w: number, h: number}} Box  y grows downwards, the ground is 0 */
/** @typedef {Box & {part: any, kind: string, model: number}} Drawn */

/** A tensor's sides: that of the model's width lies across, the other stands.
 * @param {number[]} shape @param {number} width @returns {[number, number]} */
export function sides(shape, width) {
  if (shape.length < 2) return shape[0] === width ? [width, 1] : [1, shape[0] ?? 1];
  const rows = shape.slice(0, -1).reduce((a, b) => a * b), cols = shape.at(-1);
  return rows === width ? [width, cols] : cols === width ? [width, rows] : [Math.min(rows, cols), Math.max(rows, cols)];
}

/** One upon the other, from the ground up. A vector that is longer than the width stands beside the matrix before it.
 * @param {any[]} parts @param {number} width @returns {{boxes: Box[], w: number, h: number}} */
function pile(parts, width) {
  const gap = 0.02 * width, boxes = [];
  let top = 0, across = 0;
  for (const part of parts) {
    const [w, h] = sides(part.shape, width), last = boxes.at(-1);
    if (part.shape.length < 2 && w === 1 && last) boxes.push({ x: last.x + last.w + gap / 2, y: last.y, w, h, part });
    else { boxes.push({ x: 0, y: -top - h, w, h, part }); top += h + gap; }
    across = Math.max(across, boxes.at(-1).x + w);
  }
  return { boxes, w: across, h: top - gap };
}

/** A model as columns of piles: what is of no layer, then its layers, as many above each other as the first is high.
 * @param {any} model @returns {{boxes: Box[], w: number, h: number}} */
function building({ parts, width }) {
  const matrices = parts.filter((part) => part.layer === null && part.shape.length > 1), rest = parts.filter((part) => part.layer === null && part.shape.length < 2);
  const head = matrices.filter((part) => /head/.test(part.name));
  const floors = [...new Set(parts.map((part) => part.layer))].filter((layer) => layer !== null).map((layer) => pile(parts.filter((part) => part.layer === layer), width));
  const tower = pile(matrices.filter((part) => !head.includes(part)), width), street = 0.12 * width, gap = 0.08 * width;
  const columns = [[tower]];
  let high = 0;
  for (const floor of [...floors, pile([...rest, ...head], width)]) {
    if (columns.length === 1 || high + floor.h > Math.max(tower.h, floors[0]?.h ?? 0)) { columns.push([]); high = 0; }
    columns.at(-1).push(floor);
    high += floor.h + gap;
  }
  const boxes = [];
  let x = 0, h = 0;
  for (const column of columns) {
    let y = 0;
    for (const floor of column) {
      boxes.push(...floor.boxes.map((box) => ({ ...box, x: x + box.x, y: box.y - y })));
      y += floor.h + gap;
    }
    x += Math.max(...column.map((floor) => floor.w)) + street;
    h = Math.max(h, y - gap);
  }
  return { boxes, w: x - street, h };
}

/** All models side by side, the smallest first.
 * @param {any[]} models @returns {{boxes: Drawn[], plots: (Box & {model: number})[], all: Box}} */
export function skyline(models) {
  const boxes = [], plots = [];
  let x = 0;
  models.forEach((model, i) => {
    const { boxes: own, w, h } = building(model);
    for (const box of own) boxes.push({ ...box, x: x + box.x, model: i, kind: kindOf(box.part) });
    plots.push({ x, y: -h, w, h, model: i });
    x += w + STREET;
  });
  const high = Math.max(...plots.map((plot) => plot.h));
  return { boxes, plots, all: { x: 0, y: -high, w: x - STREET, h: high } };
}
