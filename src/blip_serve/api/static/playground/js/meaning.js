// What the numbers of a match say, folded.

import { h } from "./dom.js";

const WORDS = [
  ["ITM", "The probability, from 0 to 1, that picture and caption belong together. The model reads both at once."],
  ["cosine", "How near the picture's vector and the caption's are, from −1 to 1. It ranks; it is no probability."],
  ["hf, paper", "Two ways to prepare the text: the model cards' and BLIP's authors'. The scores differ a little."],
  ["Heat of a word", "Where the model looked for it, as far as that moved its answer. Each word's peak looks alike."],
];

/** The terms, to unfold. */
export const meaning = () =>
  h(
    "details",
    {},
    h("summary", {}, "What the numbers mean"),
    h("dl", { class: "small" }, WORDS.map(([term, text]) => [h("dt", {}, term), h("dd", {}, text)])),
  );
