// The library's own choice of the next word: for the settings, the seed and the run that are shown.
import { temperature, topK, topP, minP, seed } from "page/state.js";
import { run, answer } from "page/run.js";

export const SHOWN = 20;  // candidates

/** What a choice depends on beside the run. */
export const settings = () => ({ settings: { temperature: temperature.value, top_k: topK.value, top_p: topP.value, min_p: minP.value }, seed: seed.value });

/** The body of POST /api/run/R/choose. @param {ReturnType<typeof settings>} [chosen] */
export const choice = (chosen = settings()) => ({ ...chosen, step: run.value.grown, candidates: SHOWN });

/** The choice, which is asked for once: the loop takes what station 6 showed. @returns {Promise<any>} */
export const chosen = () => answer(`/api/run/${run.value.run}/choose`, choice());
