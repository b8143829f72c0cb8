// Short texts as chips: typed one after the other, each with a button that takes it away.

import { h } from "../dom.js";

/**
 * @param {{texts: string[], name: string, onChange: () => void}} options `name`: what one is called
 * @returns {{element: Element, input: HTMLInputElement, texts: string[]}} the chips, the field that adds one, and their
 *   texts now
 */
export function chips({ texts, name, onChange }) {
  const element = h("ul", { class: "chips", "aria-label": `${name}s` });
  const input = h("input", { type: "text", maxlength: 1000, autocomplete: "off", onkeydown: keyed, onblur: add, onpaste: pasted });
  const made = { element, input, texts };
  let shown = new Map(); // chips by text

  function keyed(event) {
    if (event.isComposing) return;
    if ((event.key === "Enter" || event.key === ",") && input.value.trim()) {
      event.preventDefault();
      add();
    } else if (event.key === "Backspace" && !input.value && made.texts.length) set(made.texts.slice(0, -1));
  }

  function pasted(event) {
    const found = event.clipboardData.getData("text/plain").split(/[\n,]/);
    if (found.length < 2) return;
    event.preventDefault();
    set([...made.texts, ...found]);
  }

  function add() {
    if (!input.value.trim()) return;
    set([...made.texts, input.value]);
    input.value = "";
  }

  /** Texts that the model would read alike are kept once. */
  function set(next) {
    const alike = new Map();
    for (const text of next.map((each) => each.trim()).filter(Boolean)) {
      if (!alike.has(text.toLowerCase())) alike.set(text.toLowerCase(), text);
    }
    const changed = alike.size !== made.texts.length;
    made.texts = [...alike.values()];
    show();
    if (changed) onChange();
  }

  /** What stays a chip stays the same element: a click on it may be under way. */
  function show() {
    const kept = new Map(shown);
    shown = new Map(made.texts.map((text) => [text, kept.get(text) ?? chip(text)]));
    for (const [text, gone] of kept) if (!shown.has(text)) gone.remove();
    for (const each of shown.values()) if (!each.parentNode) element.append(each);
    element.hidden = !shown.size;
  }

  function chip(text) {
    const remove = () => (set(made.texts.filter((each) => each !== text)), input.focus());
    return h("li", {}, h("button", { type: "button", "aria-label": `Remove ${name} ${text}`, onclick: remove }, text, " ×"));
  }

  show();
  return made;
}
