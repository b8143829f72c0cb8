// Ask: an answer to a question about the picture, what else it might have been, or which of given options it is.

import { ask, timing } from "../api.js";
import { bar } from "../bars.js";
import { announce, h, replace } from "../dom.js";
import { on } from "../state.js";
import { wordsOf } from "../words.js";
import { chips } from "./chips.js";
import { about, field, none, query, skeleton, Turn } from "./parts.js";

const TYPING_MS = 400;
const ALTERNATIVES = 6;
const LEAST = 0.001; // what is less likely is left out, but for the first two
const OF_SHAPES = ["how many shapes are there?", "what colour is the circle?", "is there a star?"];
const OF_PHOTOS = ["what is in the picture?", "how many people are there?", "is it day or night?"];
const NOTES = {
  words: "How likely each word is as the first of the answer, among all words the model knows. Point at the answer to see where it looked.",
  options: "Which option fits best: together they are 1. No number says that any of them is right.",
};

/**
 * @param {{state: any, address: any, params: URLSearchParams, setFooter: Function, panel: any}} context
 * @returns {{element: Element, leave: () => void}}
 */
export function room({ state, address, params, setFooter, panel }) {
  const turn = new Turn();
  const model = () => state.model("answer");
  const suggested = () => (model()?.includes("demo") ? OF_SHAPES : OF_PHOTOS);
  const question = h("input", {
    type: "text",
    value: params.get("q") ?? suggested()[0],
    maxlength: 8192,
    autocomplete: "off",
    oninput: () => run(TYPING_MS),
  });
  const options = chips({ texts: params.getAll("o"), name: "option", onChange: () => run() });
  const suggestions = h("div", { class: "row suggestions", role: "group", "aria-label": "Questions to try" });
  const answer = h("div", { class: "answer" });
  const bars = h("ol", { class: "bars" });
  const told = h("p", { class: "quiet" });
  const note = h("p", { class: "quiet about" });
  const words = wordsOf({
    panel,
    body: (caption) => ({ caption, question: question.value.trim(), model: model(), method: "attention" }),
    tell: (text) => turn.say(text),
    onAnswer: ({ data, headers, request }, picture) =>
      setFooter({ line: `Heat: ${timing(headers, data)}`, request, picture, aside: true }),
    onError: (error) => turn.fail(error),
  });
  const element = h(
    "div",
    { class: "room two ask" },
    panel.element,
    h(
      "section",
      { class: "answers", "aria-label": "Question and answer" },
      h("h1", {}, "Ask about the picture"),
      field("Question", question),
      suggestions,
      answer,
      bars,
      told,
      turn.element,
      field("Only these answers", options.input, "Optional. Enter or a comma adds one; with two or more the model chooses among them."),
      options.element,
      note,
    ),
  );
  let shown = ""; // what the bars are of

  function arrange() {
    const ask = (text) => ((question.value = text), run());
    replace(suggestions, ...suggested().map((text) => h("button", { type: "button", class: "quiet", onclick: () => ask(text) }, text)));
    replace(note, about(state.card(model())));
  }

  /** Asks as all is set now, and says in the address what that is. */
  function run(pause = 0) {
    const text = question.value.trim();
    const { picture } = panel;
    const among = options.texts.length > 1 ? [...options.texts] : null;
    address.write("ask", query({ model: model(), q: text, o: options.texts }));
    words.clear();
    if (!picture || !text || !model()) {
      turn.stop();
      return replace(told, !model() ? none() : picture ? "Type a question." : "Choose a picture.");
    }
    if (!shown) replace(bars, skeleton(3));
    bars.setAttribute("aria-busy", "true");
    const work = among ? choose : open;
    turn.start("Looking at the picture", (how) => work(picture, text, how, among), pause, () => state.card(model()));
  }

  async function open(picture, text, how) {
    const url = await picture.source();
    const body = {
      model: model(),
      messages: [{ role: "user", content: [{ type: "image_url", image_url: { url } }, { type: "text", text }] }],
      logprobs: true,
      top_logprobs: ALTERNATIVES,
    };
    const { data, headers, request } = await ask("v1/chat/completions", body, how);
    const [{ message, logprobs }] = data.choices;
    const words = (logprobs.content[0]?.top_logprobs ?? []).map(({ token, logprob }) => [token.trim() || "(no word)", Math.exp(logprob)]);
    show(message.content, words.filter(([, likely], i) => likely >= LEAST || i < 2), "words");
    setFooter({ line: timing(headers, data), request, picture });
  }

  async function choose(picture, text, how, among) {
    const body = {
      model: model(),
      input: [{ role: "user", content: [{ type: "input_image", image_url: await picture.source() }] }],
      questions: [{ type: "choice", instructions: text, choices: among.map((value) => ({ value })) }],
    };
    const { data, headers, request } = await ask("v1/decisions", body, how);
    const [{ choice, probabilities }] = data.answers;
    show(choice, probabilities.map(({ value, probability }) => [value, probability]), "options");
    const usage = { prompt_tokens_details: data.usage.input_tokens_details };
    setFooter({ line: timing(headers, { usage }), request, picture });
  }

  /** @param {string} text the answer @param {[string, number][]} likely words or options, with their probabilities */
  function show(text, likely, kind) {
    words.setText(text);
    replace(answer, words.element);
    const same = JSON.stringify([kind, likely.map(([label]) => label)]);
    if (same !== shown) replace(bars, ...likely.map(([label]) => h("li", {}, bar({ label, digits: 3 }))));
    shown = same;
    likely.forEach(([, value], i) => bars.children[i].firstChild.update(value));
    bars.removeAttribute("aria-busy");
    replace(told, NOTES[kind]);
    announce(`${text}. ${likely.slice(0, 3).map(([label, value]) => `${label} ${value.toFixed(2)}`).join(", ")}`);
  }

  const modelled = () => {
    if (OF_SHAPES.concat(OF_PHOTOS).includes(question.value)) question.value = suggested()[0];
    arrange();
    run();
  };
  const ends = [on("picture", () => run()), on("model", modelled)];
  arrange();
  run();
  return {
    element,
    leave() {
      ends.forEach((end) => end());
      words.clear();
      turn.stop();
    },
  };
}
