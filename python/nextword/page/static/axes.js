// A plane of two axes from -4 to 4, on which things can be dragged: whatever lies in an element with data-drag.
import { useRef } from "preact/hooks";
import { html } from "page/html.js";

export const LOW = -4.5, HIGH = 4.5, SIDE = 360;
export const toX = (x) => SIDE * (x - LOW) / (HIGH - LOW), toY = (y) => SIDE * (HIGH - y) / (HIGH - LOW);
/** Points as the `points` of a polygon. @param {number[][]} points */
export const outline = (points) => points.map(([x, y]) => `${toX(x)},${toY(y)}`).join(" ");

/** @param {{label: string, onMove?: (name: string, at: number[]) => void, children: any}} props */
export function Frame({ label, onMove, children }) {
  const svg = useRef(null), held = useRef(null);
  const point = (event) => {
    const box = svg.current.getBoundingClientRect(), snap = (value) => Math.max(-4, Math.min(4, Math.round(4 * value) / 4));
    return [snap(LOW + (HIGH - LOW) * (event.clientX - box.left) / box.width), snap(HIGH - (HIGH - LOW) * (event.clientY - box.top) / box.height)];
  };
  const take = (event) => {
    held.current = event.target.closest("[data-drag]")?.dataset.drag ?? null;
    if (held.current) svg.current.setPointerCapture(event.pointerId);
  };
  const grid = Array.from({ length: 9 }, (_, i) => i - 4), drop = () => { held.current = null; };
  return html`<svg class="plane" ref=${svg} viewBox=${`0 0 ${SIDE} ${SIDE}`} role="img" aria-label=${label} onPointerDown=${onMove && take} onPointerMove=${(event) => held.current && onMove(held.current, point(event))} onPointerUp=${drop} onPointerCancel=${drop}>
    ${grid.map((i) => html`<line class=${i ? "grid" : "axis"} x1=${toX(i)} x2=${toX(i)} y1="0" y2=${SIDE} /><line class=${i ? "grid" : "axis"} y1=${toY(i)} y2=${toY(i)} x1="0" x2=${SIDE} />
      ${i !== 0 && html`<text class="tick" x=${toX(i)} y=${toY(0) + 14} text-anchor="middle">${i}</text>`}`)}${children}</svg>`;
}

/** An arrow from the origin to a point, with a name; in it, it can be taken. @param {{at: number[], name: string, tone: number, drag?: string}} props */
export const Arrow = ({ at: [x, y], name, tone, drag }) => html`<g class=${drag ? `word tone-${tone}` : `word still tone-${tone}`} data-drag=${drag}>
  <line class="arrow" x1=${toX(0)} y1=${toY(0)} x2=${toX(x)} y2=${toY(y)} /><circle cx=${toX(x)} cy=${toY(y)} r=${drag ? 9 : 6} />${drag && html`<circle class="reach" cx=${toX(x)} cy=${toY(y)} r="22" />`}
  <text x=${toX(x) + (x > 2 ? -12 : 13)} y=${toY(y) + (y > 3.5 ? 22 : -11)} text-anchor=${x > 2 ? "end" : "start"}>${name}</text></g>`;
