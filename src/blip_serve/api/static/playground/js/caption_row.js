// One caption: its field, its scores, and its words.

import { bar } from "./bars.js";
import { h, replace } from "./dom.js";
import { errorBox } from "./errors.js";
import { wordsOf } from "./words.js";

/**
 * @param {{text: string, explain: any, onText: () => void, onLines: (lines: string[]) => void, onRemove: () => void,
 *   onStep: (by: number) => void}} options `explain`: of `wordsOf`; `onLines`: lines to put after this one; `onStep`:
 *   go to the caption before or after
 */
export function captionRow({ text, explain, onText, onLines, onRemove, onStep }) {
  const words = wordsOf(explain);
  const scores = h("div", { class: "scores" });
  const trouble = h("div", {});
  const input = h("input", {
    type: "text",
    value: text,
    "aria-label": "Caption",
    placeholder: "a caption",
    maxlength: 8192,
    autocomplete: "off",
    spellcheck: "false",
    oninput: () => (edited(), onText()),
    onkeydown: keyed,
    onpaste: pasted,
  });
  const removal = { type: "button", class: "quiet", "aria-label": "Remove the caption", onclick: onRemove };
  const element = h("li", {}, h("div", { class: "row" }, input, h("button", removal, "×")), words.element, scores, trouble);
  let bars = [];

  function edited() {
    words.setText(input.value);
    replace(trouble);
    row.unknown(null);
    scores.hidden = !input.value.trim();
  }

  function keyed(event) {
    if (event.isComposing) return;
    if (event.key === "Enter") {
      event.preventDefault();
      if (input.value.trim()) onLines([""]);
    } else if (event.key === "Backspace" && !input.value) {
      event.preventDefault();
      onRemove();
    } else if (event.key === "ArrowUp") onStep(-1);
    else if (event.key === "ArrowDown") onStep(1);
  }

  function pasted(event) {
    const [first, ...more] = event.clipboardData.getData("text/plain").split(/\s*\n\s*/).filter(Boolean);
    if (!more.length) return;
    event.preventDefault();
    input.setRangeText(first, input.selectionStart, input.selectionEnd, "end");
    edited();
    onLines(more);
  }

  const row = {
    element,
    input,
    words,
    /** The first column's probability, to sort by; null: not known. @type {number | null} */
    itm: null,
    get text() {
      return input.value;
    },
    set text(next) {
      input.value = next;
      edited();
    },
    /** Makes place for a column of scores under each label; one label needs no name. @param {string[]} labels */
    columns(labels) {
      bars = labels.map(() => [bar({ label: "ITM" }), bar({ label: "cosine", min: -1 })]);
      const head = (label) => labels.length > 1 && h("h2", {}, label);
      replace(scores, labels.map((label, i) => h("div", { role: "group", "aria-label": label }, head(label), bars[i])));
    },
    /** Has no scores, for now (null) or after an error (undefined). @param {null | undefined} value */
    unknown(value) {
      bars.flat().forEach((each) => each.update(value));
      row.itm = null;
    },
    /** @param {number} column @param {{itm_score: number, cosine_score: number}} score */
    scored(column, score) {
      bars[column][0].update(score.itm_score);
      bars[column][1].update(score.cosine_score);
      if (column === 0) row.itm = score.itm_score;
    },
    /** What was wrong with this caption. @param {any} error */
    failed(error) {
      replace(trouble, errorBox(error));
    },
  };
  edited();
  return row;
}
