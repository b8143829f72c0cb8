// The models' cards: state, what each is for, what it takes, what its scores mean and how it is called.

import { ask } from "../api.js";
import { h, replace } from "../dom.js";
import { errorBox } from "../errors.js";
import { found } from "../found.js";
import { samples } from "../picture.js";
import { snippets } from "../snippets.js";
import { query, skeleton } from "./parts.js";

const POLL_MS = 1000;
const STATES = {
  ready: "ready",
  loading: "loading",
  unloaded: "not loaded yet",
  failed: "failed to load",
};
const FILE = { name: "picture.jpg", isLink: false };
const PICTURE = "data:image/jpeg;base64,";

const asked = (text) => ({
  path: "v1/chat/completions",
  body: { messages: [{ role: "user", content: [{ type: "image_url", image_url: { url: PICTURE } }, ...text] }] },
});

/** Errors that a card tells of itself: by the model's state, or by what it turns out to be for. */
const TOLD = ["load_failed", "task_not_supported"];

/** What a visitor should know, by the first of a model's tasks. */
const KINDS = {
  match: {
    best: "Tells how well a text fits a picture, ranks either by the other, and makes vectors to search by.",
    rooms: { match: "Match", rank: "Rank" },
    scores: [
      ["ITM", "0 to 1: the probability that text and picture belong together, from a look at both."],
      ["cosine", "−1 to 1: how alike their vectors are, each made alone. No probability; 0.5 is high."],
    ],
    call: { path: "v1/match", body: { image: PICTURE, captions: ["a red circle", "a blue star"] } },
  },
  caption: {
    best: "Says in a sentence what a picture shows, freely or from a beginning that you give.",
    rooms: { caption: "Caption" },
    scores: [["none", "A caption comes without a score. Whether it fits, a matching model can say."]],
    call: asked([]),
  },
  answer: {
    best: "Answers a question about a picture in a word or two, and chooses among answers that you give.",
    rooms: { ask: "Ask" },
    scores: [
      ["first word", "0 to 1: the probability that the answer begins so, of all words the model knows."],
      ["options", "0 to 1, together 1: which of them fits best, not that any of them is right."],
    ],
    call: asked([{ type: "text", text: "how many shapes are there?" }]),
  },
};

/** A number of bytes in the unit that reads best. */
function bytes(count) {
  const units = ["B", "kB", "MB", "GB"];
  const power = Math.min(Math.floor(Math.log10(count) / 3), units.length - 1);
  return `${(count / 1000 ** power).toLocaleString("en", { maximumSignificantDigits: 3 })} ${units[power]}`;
}

/** Numbers in nested objects, each with its path in words. */
function figures(value, path = []) {
  if (value === null || typeof value !== "object") return [[path.join(", ").replaceAll("_", " "), String(value)]];
  return Object.entries(value).flatMap(([name, below]) => figures(below, [...path, name]));
}

const rows = (pairs) => pairs.filter(([, value]) => value).map(([term, value]) => [h("dt", {}, term), h("dd", {}, value)]);

function facts(model, plain) {
  const { inputs, parameters, created, aliases } = model;
  const memory = Object.entries(model.memory_bytes).map(([type, count]) => h("span", {}, `${bytes(count)} ${type}`));
  const published = created && `, published ${new Date(created * 1000).toLocaleDateString("en", { dateStyle: "long", timeZone: "UTC" })}`;
  return h(
    "dl",
    { class: "facts" },
    rows([
      ["Picture", inputs && `resized to ${inputs.image_size} × ${inputs.image_size} pixels (${inputs.image_tokens} tokens)`],
      ["Text", inputs && `up to ${inputs.text_tokens} tokens`],
      ["Memory", memory.length && h("span", { class: "list" }, memory)],
      ["Parameters", parameters?.toLocaleString("en")],
      ["Licence", model.license ?? "not stated"],
      ["From", `${model.owned_by}${published || ""}`],
      ["Also called", aliases.join(", ")],
      ["Protocol", `${model.protocol}, unless a request names another`],
      ["Plain", plain && [h("code", {}, plain.id), " reads no text beside the picture"]],
    ]),
  );
}

/** A model's card. `load(model, call)` asks it for something; `signal` ends what it asks for itself. `update(model)` shows its state anew. */
function card(model, { plain, alone, load, signal }) {
  const kind = KINDS[model.tasks?.[0]];
  const stated = h("p", { class: "state", role: "status" });
  const why = h("p", { class: "fault", hidden: true });
  const loads = h("button", { type: "button", onclick: () => load(model, (kind ?? KINDS.match).call) }, "Load it now");
  let since = 0;
  const measured = figures(model.metrics).filter(([name]) => !name.startsWith("shipped"));
  const id = h("a", { href: `#/models?${query({ id: model.id })}` }, model.id);
  const element = h(
    "article",
    { class: "card" },
    h("h2", {}, id),
    h("div", { class: "row" }, stated, loads),
    why,
    h("p", {}, kind?.best ?? "What it is for is known once it is loaded."),
    model.description && h("p", { class: "quiet" }, model.description),
    kind && h("p", { class: "row links" }, "Try it: ", Object.entries(kind.rooms).map(([room, title]) => h("a", { href: `#/${room}?${query({ model: model.id })}` }, title))),
    facts(model, plain),
    kind && folded("What its scores mean", alone, h("dl", { class: "facts" }, rows(kind.scores))),
    kind && folded("How to call it", alone, called(model, kind.call)),
    measured.length > 0 && folded("Measured on it", false, h("dl", { class: "facts figures" }, rows(measured))),
    found(model, { open: alone, signal }),
  );
  const update = ({ state, error }) => {
    since = state === "loading" ? since || performance.now() : 0;
    const told = since ? `loading – ${Math.round((performance.now() - since) / 1000)} s so far` : STATES[state];
    if (stated.textContent !== told) stated.textContent = told;
    stated.dataset.state = state;
    why.textContent = error ?? "";
    why.hidden = !error;
    loads.hidden = !["unloaded", "failed"].includes(state);
  };
  update(model);
  return { element, update, known: model.tasks !== null };
}

const folded = (title, open, inside) => h("details", { open }, h("summary", {}, title), inside);

function called(model, { path, body }) {
  const [{ text }] = snippets({ method: "POST", path, body: { model: model.id, ...body } }, FILE);
  return h("pre", { tabindex: "0", "aria-label": "Command" }, h("code", {}, text));
}

/** The room. `id` in the address: the one model to show. */
export function room({ state, params, setFooter }) {
  const only = params.get("id");
  const list = h("div", { class: only ? "cards alone" : "cards" });
  const trouble = h("div", {});
  const element = h(
    "section",
    { class: "room models" },
    h("h1", { class: "row links" }, "Models", only && h("a", { href: "#/models" }, "All of them")),
    trouble,
    list,
  );
  const controller = new AbortController();
  const cards = new Map();
  let timer = 0;
  let waited = 0; // for models asked to load

  /** Shows the models. Cards that are there keep their place and what is unfolded. */
  function show(models) {
    const found = models.filter(({ id, aliases, parent }) => (only ? id === only || aliases.includes(only) : !parent));
    for (const model of found) {
      const plain = models.find(({ parent }) => parent === model.id);
      const before = cards.get(model.id);
      if (before?.known === (model.tasks !== null)) before.update(model);
      else if (before) before.element.replaceWith(add(model, plain));
      else list.append(add(model, plain));
    }
    if (!found.length) replace(list, h("p", {}, only ? `No model is called ${only}.` : "This key may use no model."));
  }

  function add(model, plain) {
    const made = card(model, { plain, alone: only !== null, load, signal: controller.signal });
    cards.set(model.id, made);
    return made.element;
  }

  /** Asks the model about a sample, which loads it. */
  async function load(model, { path, body }) {
    const [sample] = await samples();
    const said = JSON.stringify({ model: model.id, ...body }).replaceAll(PICTURE, await sample.source());
    const ended = ask(path, JSON.parse(said), { signal: controller.signal })
      .then(() => replace(trouble))
      .catch((error) => controller.signal.aborted || TOLD.includes(error.code) || replace(trouble, errorBox(error)));
    waited += 1;
    ended.then(() => ((waited -= 1), refresh()));
    refresh();
  }

  /** Asks again each second while a model loads. */
  async function refresh() {
    clearTimeout(timer);
    try {
      const { data, request } = await ask("v1/models", undefined, { signal: controller.signal });
      state.set({ models: data.data });
      show(data.data);
      setFooter({ request });
      if (waited || data.data.some((model) => model.state === "loading")) timer = setTimeout(refresh, POLL_MS);
    } catch (error) {
      if (!controller.signal.aborted) replace(trouble, errorBox(error, { retry: () => (replace(trouble), refresh()) }));
    }
  }

  if (state.models.length) show(state.models);
  else replace(list, skeleton(3));
  refresh();
  return {
    element,
    leave() {
      clearTimeout(timer);
      controller.abort();
    },
  };
}
