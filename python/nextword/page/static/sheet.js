// A drawing that one can zoom and move: rectangles in units of one number a side, labels of constant size, a scale bar.
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { html } from "page/html.js";
import { still } from "page/state.js";
import { t } from "page/text.js";
import { COLOURS } from "page/sizes.js";

/** Pixels a number at which each of them is a cell. */
const CELLS = 5;

/** The view [x, y, units across] that shows a box, in a picture `aspect` times as wide as high; room below for names. */
export const fitting = ({ x, y, w, h }, aspect) => {
  const across = 1.06 * Math.max(w, 1.1 * h * aspect);
  return [x + w / 2 - across / 2, y + h / 2 - across / aspect / 2 + 0.02 * across / aspect, across];
};

/** A view that follows the one that is wanted, smoothly unless the reader asked for no motion. */
function useFlight(wanted) {
  const [now, setNow] = useState(wanted), frame = useRef(0), from = useRef(wanted);
  useEffect(() => {
    const [a, b] = [from.current, wanted], start = performance.now(), quick = still() || a.every((one, i) => one === b[i]);
    const set = (view) => { from.current = view; setNow(view); };
    const step = (time) => {
      const s = Math.min(1, Math.max(0, (time - start) / 600)), part = s * s * (3 - 2 * s), across = a[2] * (b[2] / a[2]) ** part;
      const share = Math.abs(a[2] - b[2]) < 1e-9 * b[2] ? part : (across - a[2]) / (b[2] - a[2]);  // keeps one point in place
      set(s === 1 ? b : [a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share, across]);
      if (s < 1) frame.current = requestAnimationFrame(step);
    };
    if (quick) set(b); else frame.current = requestAnimationFrame(step);
    return () => cancelAnimationFrame(frame.current);
  }, wanted);
  return now;
}

/** The largest of 1, 2, 5, 10, ... that is at most x. */
const round = (x) => { const ten = 10 ** Math.floor(Math.log10(x)); return ten * [5, 2, 1].find((one) => one * ten <= x); };

/** The lines between the numbers of a matrix, as far as they are seen. */
function lattice(box, x, y, w, h) {
  const left = Math.max(box.x, x), right = Math.min(box.x + box.w, x + w), top = Math.max(box.y, y), bottom = Math.min(box.y + box.h, y + h), lines = [];
  for (let at = box.x + Math.ceil(left - box.x); at < right; at++) lines.push(`M${at} ${top}V${bottom}`);
  for (let at = box.y + Math.ceil(top - box.y); at < bottom; at++) lines.push(`M${left} ${at}H${right}`);
  return lines.join("");
}

/** Names below the models, or above small ones, where there is room. */
function Names({ plots, names, unit, chosen, ceiling }) {
  return plots.map(({ x, y, w, model }) => {
    const [name, count] = names[model], long = 7 * Math.max(name.length, count.length) * unit, whole = 7 * (name.length + count.length) * unit, rise = -9 * unit;
    const look = { style: { fontSize: `${12 * unit}px`, ...(model === chosen && { fill: "var(--ink)", fontWeight: 700 }) } };
    if (w > long) return html`<text key=${model} x=${x + w / 2} y=${17 * unit} text-anchor="middle" ...${look}>${name}<tspan x=${x + w / 2} dy=${15 * unit}>${count}</tspan></text>`;
    const [, last = name] = name.split("-2 ");
    if (w > 8 * last.length * unit) return html`<text key=${model} x=${x + w / 2} y=${17 * unit} text-anchor="middle" ...${look}>${last}</text>`;
    if (y - ceiling > whole + 10 * unit) return html`<text key=${model} transform=${`translate(${x + w / 2 + 4 * unit} ${y + rise}) rotate(-90)`} ...${look}>${name} ${count}</text>`;
    return null;
  });
}

/** @param {{boxes: any[], plots: any[], names: [string, string][], view: number[], aspect: number, onView: (view: number[]) => void, chosen: number,
 *   lit: (box: any) => boolean, onChoose: (at: number) => void, onHover: (at: number|null) => void, onKey: (event: KeyboardEvent) => void, says: string, number: (n: number) => string}} props */
export function Sheet({ boxes, plots, names, view: wanted, aspect, onView, chosen, lit, onChoose, onHover, onKey, says, number }) {
  const svg = useRef(null), drag = useRef(null), [across, setAcross] = useState(1000), [x, y, w] = useFlight(wanted), h = w / aspect, unit = w / across;
  useLayoutEffect(() => {
    const watch = new ResizeObserver(([one]) => setAcross(one.contentRect.width || 1000));
    watch.observe(svg.current);
    return () => watch.disconnect();
  }, []);
  const rects = useMemo(() => boxes.map((box, i) => html`<rect key=${i} data-at=${i} fill=${COLOURS[box.kind]} x=${box.x} y=${box.y} width=${box.w} height=${box.h} />`), [boxes]);
  const ground = useMemo(() => plots.map((plot) => html`<rect key=${plot.model} fill="var(--sunk)" fill-opacity="0.5" x=${plot.x} y=${plot.y} width=${plot.w} height=${plot.h} />`), [plots]);
  const at = (event) => { const found = event.target.dataset?.at; return found === undefined ? null : Number(found); };
  const down = (event) => { drag.current = { x: event.clientX, y: event.clientY, view: wanted, moved: false }; };
  const move = (event) => {
    const held = drag.current;
    if (!held) { if (event.pointerType !== "touch") onHover(at(event)); return; }
    const [dx, dy] = [event.clientX - held.x, event.clientY - held.y];
    if (!held.moved && Math.hypot(dx, dy) < 5) return;
    if (!held.moved) svg.current.setPointerCapture(event.pointerId);
    held.moved = true;
    onView([held.view[0] - dx * held.view[2] / across, held.view[1] - dy * held.view[2] / across, held.view[2]], true);
  };
  const up = (event) => { const held = drag.current; drag.current = null; if (held && !held.moved && at(event) !== null) onChoose(at(event)); };
  useEffect(() => {
    const wheel = (event) => {  // a pinch, or the wheel with Ctrl; the bare wheel scrolls the page
      if (!event.ctrlKey) return;
      event.preventDefault();
      const box = svg.current.getBoundingClientRect(), [vx, vy, vw] = wanted, px = (event.clientX - box.left) / box.width, py = (event.clientY - box.top) / box.height, next = vw * Math.exp(event.deltaY / 200);
      onView([vx + px * (vw - next), vy + py * (vw - next) / aspect, next], true);
    };
    svg.current.addEventListener("wheel", wheel, { passive: false });
    return () => svg.current?.removeEventListener("wheel", wheel);
  });
  const seen = (box) => box.x < x + w && box.x + box.w > x && box.y < y + h && box.y + box.h > y;
  const inside = boxes.filter((box) => box.w > 90 * unit && Math.min(box.y + box.h, y + h) - Math.max(box.y, y) > 38 * unit && seen(box)).slice(0, 60), bar = round(0.22 * w), mark = boxes[chosen];
  return html`<div class="sheet" style=${{ background: "var(--surface)", border: "1px solid var(--line)", borderRadius: "10px", overflow: "hidden" }} role="application" tabindex="0" aria-label=${says} aria-describedby="scale-keys" onKeyDown=${onKey}>
    <svg ref=${svg} viewBox=${`${x} ${y} ${w} ${h}`} style=${{ aspectRatio: aspect, display: "block", width: "100%", touchAction: "pan-y", cursor: "grab" }} aria-hidden="true" onPointerDown=${down} onPointerMove=${move} onPointerUp=${up} onPointerCancel=${() => { drag.current = null; }} onPointerLeave=${() => onHover(null)}>
      <line stroke="var(--strong-line)" x1=${x} x2=${x + w} y1="0" y2="0" stroke-width=${unit} />
      ${ground}${rects}
      ${unit * CELLS < 1 && html`<path pointer-events="none" stroke="var(--surface)" stroke-opacity="0.6" stroke-width=${0.7 * unit} d=${boxes.filter(seen).map((box) => lattice(box, x, y, w, h)).join("")} />`}
      <g pointer-events="none">${boxes.filter(lit).map((box) => html`<rect class="lit" stroke="var(--ink)" x=${box.x} y=${box.y} width=${box.w} height=${box.h} stroke-width=${1.5 * unit} />`)}
        ${mark && html`<rect class="mark" stroke="var(--ink)" x=${mark.x} y=${mark.y} width=${mark.w} height=${mark.h} stroke-width=${3 * unit} />`}
        ${inside.map((box) => { const left = Math.max(box.x, x) + 7 * unit, top = Math.max(box.y, y) + 17 * unit, long = (Math.min(box.x + box.w, x + w) - left) / unit;
          return html`<text class="inside-name" x=${left} y=${top} style=${{ fontSize: `${12 * unit}px` }}>${7.4 * box.part.name.length < long ? box.part.name : box.part.name.split(".").at(-2)}<tspan x=${left} dy=${15 * unit}>${box.part.shape.map(number).join(" × ")}</tspan></text>`; })}
        <${Names} plots=${plots} names=${names} unit=${unit} chosen=${mark?.model} ceiling=${y} /></g>
    </svg>
    <div class="scale-bar hint" style=${{ padding: "0 12px 8px", maxWidth: "none" }} aria-hidden="true"><span style=${{ display: "block", width: `${100 * bar / w}%`, height: "6px", border: "solid", borderWidth: "0 1px 1px" }}></span>${t("scale.bar", { n: number(bar) })}</div></div>`;
}
