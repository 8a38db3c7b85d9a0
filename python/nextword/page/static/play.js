// The loop: choose a word, append it, and again. One step, or many while it plays.
import { signal } from "@preact/signals";
import { added, position, still } from "page/state.js";
import { run, busy, model, failure } from "page/run.js";
import { chosen } from "page/choice.js";

export const playing = signal(false);
/** Seconds between two words. */
export const pace = signal(0.8);
/** Whether the window is full, so that no word can follow. */
export const full = () => model.value?.window !== null && (run.value?.tokens.length ?? 0) >= (model.value?.window ?? Infinity);

const settled = () => new Promise((resolve) => {
  const stop = busy.subscribe((value) => { if (!value) queueMicrotask(() => { stop?.(); resolve(); }); });
});

/** Appends a word. @param {number} [id]  without it, the one that settings and seed choose */
export async function step(id) {
  await settled();
  if (full() || !run.value) { playing.value = false; return; }
  let token = id;
  if (token === undefined) {
    try {
      token = (await chosen()).token;
    } catch (fault) {
      playing.value = false;
      failure.value = { ...(fault.failure ?? { code: "unknown", message: String(fault) }), status: fault.status };
      return;
    }
  }
  position.value = -1;
  added.value = [...added.value, token];
}

/** Takes the last word away. */
export function back() {
  playing.value = false;
  if (added.value.length) added.value = added.value.slice(0, -1);
}

/** Starts or stops playing. Without motion it goes one word. */
export async function togglePlay() {
  if (still()) { await step(); return; }
  playing.value = !playing.value;
  while (playing.value) {
    await step();
    await settled();
    if (failure.value) playing.value = false;
    await new Promise((resolve) => setTimeout(resolve, 1000 * pace.value));
  }
}
