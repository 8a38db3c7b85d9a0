// Names beside points that do not cover each other: each takes the first place around its point that is free.

const HIGH = 17;  // of a line of text, in units of the picture
const FONT = "600 15px";  // as the style sheet has it
const GAP = 9;  // between a point and its name

let pen = null;
/** A text's width, as it is drawn. @param {string} text */
function width(text) {
  if (!pen) {
    pen = new OffscreenCanvas(1, 1).getContext("2d");
    pen.font = `${FONT} ${getComputedStyle(document.body).fontFamily}`;
  }
  return pen.measureText(text).width;
}

/** @typedef {{left: number, right: number, top: number, bottom: number}} Box */

const meets = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;

/** Where names stand: the start of their base line, their width, and whether a line leads from the point, as they are far.
 * @param {number[][]} points @param {string[]} names @param {number} side  of the square that they stay in
 * @returns {{x: number, y: number, wide: number, far: boolean}[]} */
export function placed(points, names, side) {
  /** @type {Box[]} */
  const taken = points.map(([x, y]) => ({ left: x - 7, right: x + 7, top: y - 7, bottom: y + 7 }));
  return points.map(([x, y], i) => {
    const wide = width(names[i]);
    const boxAt = (away, turn) => {  // its middle lies on an ellipse around the point
      const angle = turn * Math.PI / 6, cx = x + Math.cos(angle) * (away + wide / 2), cy = y - Math.sin(angle) * (away + HIGH / 2);
      const left = Math.max(2, Math.min(side - wide - 2, cx - wide / 2)), top = Math.max(2, Math.min(side - HIGH - 2, cy - HIGH / 2));
      return { left, right: left + wide, top, bottom: top + HIGH };
    };
    const first = x > side / 2 ? 5 : 1, turns = Array.from({ length: 12 }, (_, n) => first + (n % 2 ? 1 : -1) * Math.ceil(n / 2));
    const places = [0, 1, 2, 3, 4, 5, 6].flatMap((ring) => turns.map((turn) => ({ box: boxAt(GAP + ring * HIGH, turn), far: ring > 0 })));
    const free = places.find(({ box }) => !taken.some((other) => meets(box, other))) ?? places[0];
    taken.push(free.box);
    return { x: free.box.left, y: free.box.bottom - 5, wide, far: free.far };
  });
}
