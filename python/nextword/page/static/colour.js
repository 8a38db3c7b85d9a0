// Two colour ramps of 256 steps: signed (blue, background, orange) and share (background to ink). Safe for colour
// blindness: blue and orange differ in lightness and hue for all three kinds; sign is also told in the number's sign.

/** Anchors of the ramps in each theme, as [r, g, b]; the middle of `signed` and the start of `share` are the surface. */
const ANCHORS = {
  light: {
    signed: [[16, 62, 131], [72, 130, 196], [168, 203, 232], [250, 249, 246], [249, 199, 140], [214, 118, 33], [127, 55, 6]],
    share: [[250, 249, 246], [208, 218, 240], [146, 168, 222], [86, 106, 190], [46, 48, 138], [22, 18, 74]],
  },
  dark: {
    signed: [[168, 212, 255], [84, 154, 224], [38, 84, 140], [26, 28, 34], [130, 74, 20], [222, 136, 48], [255, 210, 150]],
    share: [[26, 28, 34], [44, 50, 100], [78, 86, 170], [126, 140, 226], [182, 196, 250], [236, 240, 255]],
  },
};

/** The lines over what is masked. To ask the style sheet would make the browser lay out the page in the middle of a change. */
export const HATCH = { light: "rgb(110 106 96 / 55%)", dark: "rgb(150 156 172 / 50%)" };

/** 256 colours of a ramp, 3 bytes each.
 * @param {"signed"|"share"} ramp @param {"light"|"dark"} theme
 * @returns {Uint8Array} */
export function ramp(ramp, theme) {
  const anchors = ANCHORS[theme][ramp], table = new Uint8Array(256 * 3), last = anchors.length - 1;
  for (let step = 0; step < 256; step++) {
    const at = (step / 255) * last, low = Math.min(Math.floor(at), last - 1), part = at - low;
    for (let c = 0; c < 3; c++) table[3 * step + c] = anchors[low][c] * (1 - part) + anchors[low + 1][c] * part;
  }
  return table;
}

/** Step 0 .. 255 of a value. Shares go by their square root, so that small ones are seen.
 * @param {number} value @param {"signed"|"share"} kind @param {number} limit  the largest absolute value shown */
export function stepOf(value, kind, limit) {
  const share = limit > 0 ? Math.max(-1, Math.min(1, value / limit)) : 0;
  return Math.round(255 * (kind === "signed" ? (share + 1) / 2 : Math.sqrt(Math.max(0, share))));
}

/** A css gradient of a ramp, for its legend.
 * @param {"signed"|"share"} kind @param {"light"|"dark"} theme */
export function gradient(kind, theme) {
  const stops = ANCHORS[theme][kind].map((rgb) => `rgb(${rgb.join(" ")})`);
  return `linear-gradient(90deg, ${stops.join(", ")})`;
}
