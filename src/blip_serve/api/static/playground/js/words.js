// The words of a text as buttons: one under pointer, finger or focus lays its heat over the picture.

import { aborted, ask } from "./api.js";
import { announce, h, replace, ticking } from "./dom.js";
import { countdown } from "./errors.js";
import { clearHeat, showHeat, strongest } from "./heat.js";
import { state } from "./state.js";

const KEPT = 64; // explanations of a picture, the oldest given up first
const FAINT = 0.1; // of the caption's largest maximum
const REST_MS = 80; // a pointer that only passes over a word asks nothing

const answers = new WeakMap(); // by picture, and then by body: they go with the picture, whose data they hold
let room = new AbortController(); // ends what was asked in the room that is left
let refused = null; // the key that may not ask for explanations
/** The word whose heat is wanted. @type {{button: Element, end: () => void} | null} */
let shown = null;
/** Shows the word in focus again, after the pointer has left another. */
let again = () => {};

/** Ends the waiting for explanations, as the room is left. */
export function leaveWords() {
  room.abort();
  room = new AbortController();
}

/**
 * @param {{panel: any, body: (text: string) => any, tell?: (text: string) => void,
 *   onAnswer?: (answer: any, picture: any) => void, onError?: (error: any) => void}} options `body`: what v1/explain is
 *   asked about a text, but for the picture, or null where there is nothing to ask; `tell` says what is waited for;
 *   `onAnswer` gets what `ask` returned, each time that it is shown
 * @returns {{element: HTMLElement, setText: (text: string) => void, clear: () => void}}
 */
export function wordsOf({ panel, body, tell = () => {}, onAnswer = () => {}, onError = () => {} }) {
  const element = h("p", { class: "words" });
  let text = "";

  function begin(button, word) {
    if (shown?.button === button) return;
    shown?.end();
    shown = { button, end: () => ended(button) };
    show(button, word);
  }

  function ended(button) {
    shown = null;
    tell("");
    button.classList.remove("shown");
    button.removeAttribute("aria-describedby");
    clearHeat(panel);
  }

  function left(button) {
    if (shown?.button === button) shown.end();
  }

  async function show(button, { start, end }) {
    const { picture } = panel;
    const asked = body(text);
    if (!picture || !asked || refused === state.key) return;
    const word = text.slice(start, end);
    const current = () => shown?.button === button && panel.picture === picture;
    const stop = ticking((seconds) => {
      if (current()) tell(`Asking where the picture shows “${word}” – ${seconds.toFixed(1)} s so far`);
    });
    try {
      const waiting = (seconds, error) => current() && (stop(), tell(countdown(seconds, error)));
      const answer = await explain(picture, asked, waiting);
      const explained = answer.data.data[0];
      const found = wordAt(explained.words, [...text.slice(0, start)].length, [...text.slice(0, end)].length);
      if (!current() || !found) return;
      onAnswer(answer, picture);
      const most = explained.words.reduce((a, b) => (b.maximum > a.maximum ? b : a));
      const weight = most.maximum > 0 ? found.maximum / most.maximum : 1;
      const where = strongest(found.map) + (weight < FAINT ? `, faint beside “${most.word}”` : "");
      showHeat(panel, found.map, `“${word}”: ${where}`, explained, weight);
      button.classList.add("shown");
      button.setAttribute("aria-describedby", panel.heatNote.id);
      announce(`${word}: strongest ${where}`);
    } catch (error) {
      if (aborted(error)) return;
      if (error.code === "task_not_allowed") refused = state.key;
      if (current()) onError(error);
    } finally {
      stop();
      if (current()) tell("");
    }
  }

  function wordButton(word) {
    let rest = 0;
    const button = h(
      "button",
      {
        type: "button",
        onpointerenter: () => (rest = setTimeout(begin, REST_MS, button, word)),
        onpointerleave() {
          clearTimeout(rest);
          if (document.activeElement === button) return;
          left(button);
          again();
        },
        onfocus() {
          again = () => begin(button, word);
          again();
        },
        onblur() {
          again = () => {};
          left(button);
        },
        onclick: () => button.focus(), // not every browser does it by itself
        onkeydown: (event) => event.key === "Escape" && left(button),
      },
      text.slice(word.start, word.end),
    );
    return button;
  }

  return {
    element,
    /** Shows the words of another text. */
    setText(next) {
      if (next === text) return;
      this.clear();
      text = next;
      const words = [...text.matchAll(/\S+/g)];
      replace(element, words.map(({ 0: { length }, index }) => [wordButton({ start: index, end: index + length }), " "]));
    },
    /** Takes the heat away, as for another picture. */
    clear() {
      if (element.contains(shown?.button)) shown.end();
      if (element.contains(document.activeElement)) again = () => {};
    },
  };
}

/** The explanation of a text: asked once for a picture. */
function explain(picture, asked, waiting) {
  if (!answers.has(picture)) answers.set(picture, new Map());
  const known = answers.get(picture);
  const body = JSON.stringify(asked);
  if (!known.has(body)) {
    const { signal } = room;
    const sent = async () => ask("v1/explain", { image: await picture.source(), ...asked }, { signal, waiting });
    const answer = sent();
    answer.catch(() => known.delete(body));
    known.set(body, answer);
    if (known.size > KEPT) known.delete(known.keys().next().value);
  }
  return known.get(body);
}

/** The answer's word at a place in the text, in code points: of several the one with the largest maximum. */
function wordAt(words, start, end) {
  return words
    .filter((word) => word.start < end && word.end > start)
    .sort((a, b) => b.maximum - a.maximum)[0];
}
