// Scores as bars to one scale.

import { h } from "./dom.js";

/**
 * A bar with its label and number. With `min` below 0 it grows from a zero mark. `update(value)` changes it; null: the
 * number is waited for, and the bar before stays, faint; undefined: there is none.
 * @param {{label: string, value?: number | null, min?: number, max?: number, digits?: number}} given
 * @returns {HTMLElement & {update: (value: number | null) => void}}
 */
export function bar({ label, value = null, min = 0, max = 1, digits = 2 }) {
  const number = h("span", { class: "number" });
  const place = (given) => (Math.min(Math.max(given, min), max) - min) / (max - min);
  const element = h(
    "div",
    { class: "bar", role: "meter", "aria-label": label, "aria-valuemin": min, "aria-valuemax": max },
    h("span", { class: "label" }, label),
    h("span", { class: min < 0 ? "track signed" : "track" }, h("span", { class: "fill" })),
    number,
  );
  element.update = (next) => {
    const known = Number.isFinite(next);
    element.classList.toggle("pending", next === null);
    element.classList.toggle("unknown", !known);
    number.textContent = known ? next.toFixed(digits) : next === null ? "…" : "–";
    if (known) {
      const [from, to] = [place(0), place(next)].sort((a, b) => a - b);
      element.style.setProperty("--from", from);
      element.style.setProperty("--to", to);
    }
    element.setAttribute("aria-valuenow", known ? next : min);
    element.setAttribute("aria-valuetext", known ? next.toFixed(Math.max(digits, 4)) : "not known");
  };
  element.update(value);
  return element;
}
