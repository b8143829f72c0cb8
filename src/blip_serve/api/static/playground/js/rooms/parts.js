// The controls that these rooms share, and the order of their requests. Knows no task.

import { h, replace, ticking } from "../dom.js";
import { countdown, errorBox } from "../errors.js";
import { state } from "../state.js";

let made = 0;

/** A control below its label; `note` says in a few words what it does. */
export function field(label, control, note) {
  control.id ||= `field-${++made}`;
  const told = note && h("small", { id: `${control.id}-note` }, note);
  if (told) control.setAttribute("aria-describedby", told.id);
  return h("div", { class: "field" }, h("label", { for: control.id }, label), control, told);
}

/**
 * A row of choices of which one holds.
 * @param {string} legend
 * @param {[string, string][]} options value and words of each
 * @param {string} chosen
 * @param {(value: string) => void} onChoice
 */
export function choices(legend, options, chosen, onChoice) {
  const name = `choice-${++made}`;
  const choice = ([value, words]) =>
    h(
      "label",
      {},
      h("input", { type: "radio", class: "unseen", name, value, checked: value === chosen, onchange: () => onChoice(value) }),
      h("span", {}, words),
    );
  return h("fieldset", { class: "choices" }, h("legend", {}, legend), options.map(choice));
}

/** The parameters of an address: those of `values` that are neither empty nor absent; a list gives one each. */
export function query(values) {
  const pairs = Object.entries(values).flatMap(([name, value]) => [value].flat().map((each) => [name, each]));
  return new URLSearchParams(pairs.filter(([, value]) => value !== null && value !== undefined && value !== ""));
}

/** One piece of work at a time: a later one gives up the one before. Says what it waits for, and what went wrong. */
export class Turn {
  #controller = null;
  #timer = 0;
  #status = h("p", { class: "status quiet" });
  #fault = h("div", {});

  /** Where it says so. */
  element = h("div", { class: "turn" }, this.#status, this.#fault);

  /**
   * Starts `work({signal, waiting})`, the options of a request, once `pause` milliseconds have passed without another
   * start. An error stays until a later work has ended well.
   * @param {string} what is waited for, in words
   * @param {(options: {signal: AbortSignal, waiting: (seconds: number, error: any) => void}) => Promise<void>} work
   * @param {number} [pause]
   * @param {() => any} [card] the model's: while it is not loaded, that is what is waited for
   */
  start(what, work, pause = 0, card = () => null) {
    this.stop();
    const { signal } = (this.#controller = new AbortController());
    this.#timer = setTimeout(() => this.#run({ what, work, card }, signal), pause);
  }

  /** Gives up what is under way. */
  stop() {
    clearTimeout(this.#timer);
    this.#controller?.abort();
    this.#status.textContent = "";
  }

  /** Says what else is waited for; empty: nothing. @param {string} text */
  say(text) {
    this.#status.textContent = text;
  }

  /** Shows what went wrong. @param {any} error @param {() => void} [retry] */
  fail(error, retry) {
    replace(this.#fault, errorBox(error, { retry }));
  }

  async #run({ what, work, card }, signal) {
    const say = (text) => signal.aborted || this.say(text);
    const ready = (card()?.state ?? "ready") === "ready";
    const doing = ready ? what : "Loading the model, which takes a while the first time";
    const ended = ticking((seconds) => say(`${doing} – ${seconds.toFixed(1)} s so far`));
    const waiting = (seconds, error) => (ended(), say(countdown(seconds, error)));
    try {
      await work({ signal, waiting });
      if (!signal.aborted) replace(this.#fault);
    } catch (error) {
      if (!signal.aborted) this.fail(error, () => this.start(what, work, 0, card));
    } finally {
      ended();
      say("");
    }
  }
}

/** `count` lines in the place of what is to come. */
export function skeleton(count) {
  return Array.from({ length: count }, () => h("div", { class: "skeleton", "aria-hidden": "true" }));
}

/** What a model is, in the words of its card. */
export const about = (card) => card?.description ?? "";

/** In place of an answer, where no model has the room's task. */
export const none = () =>
  `No model here can do this${state.key ? ", or none that your key may ask" : ""}. The room Models says what they are for.`;
