// Caption: what the model writes about the picture, word by word, and where it looked for each.

import { stream, timing } from "../api.js";
import { announce, h, replace } from "../dom.js";
import { on } from "../state.js";
import { wordsOf } from "../words.js";
import { about, choices, field, none, query, skeleton, Turn } from "./parts.js";

const TYPING_MS = 400;
const WAYS = [
  ["greedy", "Greedy"],
  ["beams", "Beams"],
  ["sampled", "Sampled"],
];
const TOLD = {
  greedy: "The likeliest word each time: the same caption each time.",
  beams: "Keeps several beginnings and takes the likeliest whole. They come at once, when all are done.",
  sampled: "Draws each word by its probability: another caption each time.",
};
/** By parameter: its label, its bounds and the service's own value, and the ways that read it. */
const NUMBERS = {
  max_tokens: ["Tokens at most", { min: 1, placeholder: "20" }, ["greedy", "beams", "sampled"]],
  n: ["Captions", { min: 1, placeholder: "1" }, ["beams", "sampled"]],
  num_beams: ["Beams", { min: 2, placeholder: "3" }, ["beams"]],
  temperature: ["Temperature", { min: 0, max: 2, step: 0.1, placeholder: "1" }, ["sampled"]],
  top_p: ["Top p", { min: 0.05, max: 1, step: 0.05, placeholder: "1" }, ["sampled"]],
  seed: ["Seed", { placeholder: "drawn" }, ["sampled"]],
};

/**
 * @param {{state: any, address: any, params: URLSearchParams, setFooter: Function, panel: any}} context
 * @returns {{element: Element, leave: () => void}}
 */
export function room({ state, address, params, setFooter, panel }) {
  const turn = new Turn();
  const way = { now: Object.hasOwn(TOLD, params.get("way")) ? params.get("way") : "greedy" };
  const list = h("ol", { class: "written" });
  const told = h("p", { class: "quiet" });
  const begin = h("input", {
    type: "text",
    value: params.get("begin") ?? "",
    placeholder: "a picture of",
    maxlength: 1000,
    autocomplete: "off",
    oninput: () => write(TYPING_MS),
  });
  const numbers = Object.fromEntries(Object.entries(NUMBERS).map(([name, [, bounds]]) => [name, numberField(name, bounds)]));
  const fields = Object.entries(NUMBERS).map(([name, [label, , ways]]) => ({ ways, element: field(label, numbers[name]) }));
  const again = h("button", { type: "button", onclick: () => write() }, "Draw again");
  const note = h("p", { class: "quiet about" });
  const element = h(
    "div",
    { class: "room two caption" },
    panel.element,
    h(
      "section",
      { class: "answers", "aria-label": "Captions" },
      h("h1", {}, "What does the model see?"),
      h("p", { class: "quiet" }, "Point at a word, or touch it, to see where the model looked when it wrote it."),
      list,
      h("div", { class: "row" }, again),
      turn.element,
      field("Begin with", begin, "Empty: plain, the model begins by itself. It goes on from words you give; it follows no instructions."),
      choices("Words", WAYS, way.now, (chosen) => ((way.now = chosen), arrange(), write())),
      told,
      h("details", {}, h("summary", {}, "More settings"), h("div", { class: "row numbers" }, fields.map((each) => each.element))),
      note,
    ),
  );
  let captions = []; // of `wordsOf`

  function numberField(name, bounds) {
    const value = params.get(name) ?? "";
    return h("input", { type: "number", step: 1, ...bounds, value, oninput: () => write(TYPING_MS) });
  }

  /** The model itself, whose plain form may have been chosen. */
  const model = () => state.card(state.model("caption"))?.parent ?? state.model("caption");
  const plain = () => state.models.find(({ parent }) => parent === model())?.id ?? model();

  /** The numbers that were typed and that the way reads. */
  function typed() {
    const read = Object.entries(NUMBERS).filter(([name, [, , ways]]) => ways.includes(way.now) && numbers[name].value !== "");
    return Object.fromEntries(read.map(([name]) => [name, Number(numbers[name].value)]));
  }

  function arrange() {
    for (const { ways, element: each } of fields) each.hidden = !ways.includes(way.now);
    again.hidden = way.now !== "sampled";
    replace(told, TOLD[way.now]);
    replace(note, about(state.card(model())));
  }

  async function body(picture) {
    const text = begin.value.trim();
    const options = typed();
    if (way.now === "beams") options.num_beams ??= Math.max(3, options.n ?? 1);
    if (way.now === "sampled") options.temperature ??= 1;
    return {
      model: text ? model() : plain(),
      messages: [
        {
          role: "user",
          content: [
            { type: "image_url", image_url: { url: await picture.source() } },
            ...(text ? [{ type: "text", text }] : []),
          ],
        },
      ],
      ...options,
      stream: true,
      stream_options: { include_usage: true },
    };
  }

  /** Asks for captions of the picture as all is set now, and says in the address what that is. */
  function write(pause = 0) {
    address.write("caption", query({ model: model(), begin: begin.value.trim(), way: way.now, ...typed() }));
    captions.forEach((each) => each.clear());
    const { picture } = panel;
    if (!picture || !model()) {
      turn.stop();
      return replace(list, h("li", { class: "quiet" }, picture ? none() : "Choose a picture."));
    }
    list.setAttribute("aria-busy", "true");
    turn.start("Looking at the picture", (options) => written(picture, options), pause, () => state.card(model()));
  }

  async function written(picture, options) {
    const texts = [];
    let usage = null;
    let first = 0;
    const from = performance.now();
    const onEvent = (event) => {
      if (options.signal.aborted) return;
      usage = event.usage ?? usage;
      for (const { index, delta } of event.choices) texts[index] = (texts[index] ?? "") + (delta.content ?? "");
      if (!texts.some(Boolean)) return;
      first ||= performance.now();
      show(texts);
    };
    if (!captions.length) replace(list, skeleton(1).map((line) => h("li", {}, line)));
    try {
      const { headers, request } = await stream("v1/chat/completions", await body(picture), { ...options, onEvent });
      const spent = `first word after ${Math.round(first - from)} ms, all after ${Math.round(performance.now() - from)} ms`;
      setFooter({ line: [spent, timing(headers, { usage })].filter(Boolean).join(" – "), request, picture });
      finish(texts);
    } finally {
      if (!options.signal.aborted) {
        list.removeAttribute("aria-busy");
        list.querySelector(".skeleton")?.closest("li").remove();
      }
    }
  }

  function show(texts) {
    replace(list, ...texts.map((text) => h("li", {}, h("p", { class: "words" }, text || "…"))));
  }

  /** The captions are whole: their words can be looked at. */
  function finish(texts) {
    captions = texts.map((text) => {
      const words = wordsOf({
        panel,
        body: (caption) => ({ caption, model: model(), method: "attention" }),
        tell: (text) => turn.say(text),
        onAnswer: ({ data, headers, request }, picture) =>
          setFooter({ line: `Heat: ${timing(headers, data)}`, request, picture, aside: true }),
        onError: (error) => turn.fail(error),
      });
      words.setText(text.trim());
      return words;
    });
    replace(list, ...captions.map((each) => h("li", {}, each.element)));
    announce(texts.join("; "));
  }

  const ends = [on("picture", () => write()), on("model", () => (arrange(), write()))];
  arrange();
  write();
  return {
    element,
    leave() {
      ends.forEach((end) => end());
      captions.forEach((each) => each.clear());
      turn.stop();
    },
  };
}
