// The handout: the walk with every station open, printed in the light palette, and the page as it was afterwards.
import { open, theme } from "page/state.js";
import { NAMES } from "page/station.js";

/** Resolves when nothing is awaited on the page any more. */
async function drawn() {
  for (let calm = 0, turn = 0; calm < 3 && turn < 100; turn++) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    calm = document.querySelector("main .skeleton, .busy") ? 0 : calm + 1;
  }
}

export async function print() {
  const before = [open.value, theme.value];
  [open.value, theme.value] = [NAMES, "light"];
  await drawn();
  window.print();
  [open.value, theme.value] = before;
}
