// An error where it happened: in the envelope's words, with what to do.

import { h } from "./dom.js";

/** What to do, by the error. */
function advice({ status, code, param }) {
  if (status === 401) return "Put your API key in at the top, by “Key”.";
  if (status === 403 && ["task_not_allowed", "model_not_allowed"].includes(code)) return "Another key, or another model, may do.";
  if (status === 0) return "Is it running? Your picture and texts are kept.";
  if (status === 429) return "It is busy. Try again in a while.";
  if (code === "load_failed") return "The room Models says why; another model may do.";
  if (status === 503) return "Wait a little, then try again.";
  if (status === 404 && code === "not_found") return "This service does not have it.";
  if (code?.startsWith("too_many")) return "Take some away.";
  if (param?.startsWith("image")) return "Try another picture.";
  return "";
}

/**
 * @param {any} error an ApiError, or any other
 * @param {{retry?: () => void}} [options]
 * @returns {HTMLElement}
 */
export function errorBox(error, { retry } = {}) {
  const todo = advice(error);
  const about = [error.param && `field ${error.param}`, error.code].filter(Boolean).join(", ");
  return h(
    "div",
    { class: "error", role: "alert" },
    h("p", {}, h("strong", {}, error.message), todo && ` ${todo}`),
    about && h("p", { class: "quiet" }, error.status ? `${error.status}: ${about}` : about),
    retry && h("button", { type: "button", onclick: retry }, "Try again"),
  );
}

/** What a countdown says. @param {number} seconds @param {any} error */
export const countdown = (seconds, error) => `${error.message} Trying again in ${seconds} s.`;
