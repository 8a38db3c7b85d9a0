// The template function: htm's templates as preact elements. Every module draws with it.
import { h } from "preact";
import htm from "htm";

export const html = htm.bind(h);
