// Match: how well captions fit the picture, as one types, and where the picture shows each word.

import { aborted, ask, timing } from "../api.js";
import { captionRow } from "../caption_row.js";
import { announce, debounced, h, replace, ticking } from "../dom.js";
import { countdown, errorBox } from "../errors.js";
import { meaning } from "../meaning.js";
import { on } from "../state.js";

const PAUSE_MS = 250;
const OF_PHOTOS = ["a photo of a person", "a photo of an animal", "a drawing of shapes"];
const HINT = "Type, and the scores follow. Point at a word, or touch it, to see where the picture shows it.";
const OTHER = { hf: "paper", paper: "hf" };

/**
 * @param {{state: any, address: any, params: URLSearchParams, setFooter: Function, panel: any}} context
 * @returns {{element: Element, leave: () => void}}
 */
export function room({ state, address, params, setFooter, panel }) {
  /** @type {any[]} */
  let rows = [];
  let offered = panel.picture?.captions ?? []; // the captions that came with the picture
  let running = null;
  const list = h("ol", { class: "captions" });
  const status = h("p", { class: "status" });
  const trouble = h("div", {});
  const about = h("p", { class: "quiet small" });
  const protocol = h("select", { onchange: again }, h("option", {}, "hf"), h("option", {}, "paper"));
  const other = h("select", { onchange: again });
  const soon = debounced(score, PAUSE_MS);
  const element = h(
    "div",
    { class: "room two" },
    panel.element,
    h(
      "section",
      { class: "answers", "aria-label": "Captions and their scores" },
      h("h1", {}, "How well does each caption fit?"),
      h("p", { class: "quiet small" }, HINT),
      list,
      h(
        "div",
        { class: "row" },
        h("button", { type: "button", onclick: () => add(rows.length).input.focus() }, "+ another caption"),
        h("button", { type: "button", onclick: sort }, "Sort"),
        status,
      ),
      trouble,
      h(
        "div",
        { class: "row" },
        h("label", { class: "choice" }, h("span", {}, "Scored as"), protocol),
        h("label", { class: "choice" }, h("span", {}, "Compare with"), other),
      ),
      meaning(),
      about,
    ),
  );

  const model = () => state.model("match");
  const explain = {
    panel,
    body: (caption) => (caption.trim() ? { caption, model: model(), protocol: protocol.value } : null),
    tell: (text) => replace(status, text),
    onAnswer: ({ data, headers, request }, picture) =>
      setFooter({ line: `Heat: ${timing(headers, data)}`, request, picture, aside: true }),
    onError: (error) => trouble.firstChild || replace(trouble, errorBox(error)), // that of the scores stays
  };

  /** The model and protocol of each column of scores. */
  function columns() {
    const own = { model: model(), protocol: protocol.value };
    if (!other.value) return [{ ...own, label: "" }];
    const by = other.value === "protocol" ? "protocol" : "model";
    const compared = { ...own, [by]: by === "protocol" ? OTHER[own.protocol] : other.value };
    return [own, compared].map((each) => ({ ...each, label: each[by] }));
  }

  function choices(wanted = other.value) {
    const others = state.having("match").filter(({ id }) => id !== model());
    replace(
      other,
      h("option", { value: "" }, "nothing"),
      h("option", { value: "protocol" }, `the protocol ${OTHER[protocol.value]}`),
      others.map((card) => h("option", { value: card.id }, state.named(card))),
    );
    other.value = [...other.options].some(({ value }) => value === wanted) ? wanted : "";
    replace(about, state.card(model())?.description ?? "");
  }

  function add(at, text = "") {
    const row = captionRow({
      text,
      explain,
      onText: () => (written(), soon()),
      onLines: (lines) => {
        const added = lines.map((line, i) => add(rows.indexOf(row) + 1 + i, line));
        added.at(-1).input.focus();
        written();
        soon();
      },
      onRemove: () => remove(row),
      onStep: (by) => rows[rows.indexOf(row) + by]?.input.focus(),
    });
    row.columns(columns().map(({ label }) => label));
    rows.splice(at, 0, row);
    list.insertBefore(row.element, list.children[at] ?? null);
    return row;
  }

  function remove(row) {
    const at = rows.indexOf(row);
    row.words.clear();
    if (rows.length === 1) row.text = "";
    else {
      rows.splice(at, 1);
      row.element.remove();
    }
    rows[Math.max(at - 1, 0)].input.focus();
    written();
    soon();
  }

  function sort() {
    const order = (row) => row.itm ?? -1;
    rows = [...rows].sort((a, b) => order(b) - order(a));
    list.append(...rows.map((row) => row.element));
    written();
    announce("Sorted, the best first");
  }

  function captions(texts) {
    rows.forEach((row) => row.words.clear());
    rows = [];
    replace(list);
    texts.forEach((text, at) => add(at, text));
  }

  /** Says in the address what is asked, so that a link leads here. */
  function written() {
    const query = new URLSearchParams({ model: model() ?? "", protocol: protocol.value });
    if (other.value) query.set("compare", other.value);
    for (const { text } of rows) if (text.trim()) query.append("c", text);
    address.write("match", query);
  }

  function again() {
    choices();
    const labels = columns().map(({ label }) => label);
    rows.forEach((row) => (row.words.clear(), row.columns(labels)));
    written();
    score();
  }

  async function score() {
    soon.cancel();
    running?.abort();
    const controller = (running = new AbortController());
    const asked = rows.filter(({ text }) => text.trim());
    const { picture } = panel;
    replace(trouble);
    replace(panel.trouble);
    if (!picture || !asked.length) return replace(status, picture ? "Type a caption." : "Choose a picture.");
    const loaded = columns().every((each) => state.card(each.model)?.state === "ready");
    const doing = loaded ? "Looking at the picture" : "Loading the model, which takes a while the first time";
    const stop = ticking((seconds) => replace(status, `${doing} – ${seconds.toFixed(1)} s so far`));
    const waiting = (seconds, error) => (stop(), replace(status, countdown(seconds, error)));
    try {
      const image = await picture.source();
      const texts = asked.map(({ text }) => text);
      const answers = await Promise.all(
        columns().map(({ label, ...how }) =>
          ask("v1/match", { image, captions: texts, ...how }, { signal: controller.signal, waiting }),
        ),
      );
      if (controller.signal.aborted) return;
      const same = (i) => asked[i].text === texts[i]; // else it was edited while the answer was on its way
      answers.forEach(({ data }, column) => data.data.forEach((score, i) => same(i) && asked[i].scored(column, score)));
      const [{ data, headers, request }] = answers;
      setFooter({ line: timing(headers, data), request, picture });
      replace(status);
      if (!loaded) refresh();
      announce(asked.filter((row) => row.itm !== null).map(({ text, itm }) => `${text}: ${itm.toFixed(2)}`).join("; "));
    } catch (error) {
      if (aborted(error)) return;
      if (!loaded) refresh();
      replace(status);
      asked.forEach((row) => row.unknown(undefined));
      const [, at] = /^captions?\[(\d+)\]/.exec(error.param ?? "") ?? [];
      if (at) asked[at].failed(error);
      else replace(error.param?.startsWith("image") ? panel.trouble : trouble, errorBox(error, { retry: score }));
    } finally {
      stop();
    }
  }

  /** The models' states, after one was to be loaded. */
  async function refresh() {
    const { data } = await ask("v1/models").catch(() => ({ data: { data: state.models } }));
    state.set({ models: data.data });
  }

  /** Beside a picture of the visitor's own, what the model knows comes first. */
  function placed() {
    const own = !panel.picture?.captions.length;
    if (own) element.querySelector("h1").after(about);
    else element.querySelector(".answers").append(about);
  }

  /** Another picture: captions that came with the one before go with it. */
  function pictured(picture) {
    const texts = rows.map(({ text }) => text).filter(Boolean);
    const next = picture.captions.length ? picture.captions : OF_PHOTOS;
    if (texts.join("\n") === offered.join("\n")) captions(next);
    offered = next;
    placed();
    rows.forEach((row) => (row.words.clear(), row.columns(columns().map(({ label }) => label))));
    written();
    score();
  }

  const wanted = params.get("protocol");
  protocol.value = Object.hasOwn(OTHER, wanted) ? wanted : (state.card(model())?.protocol ?? "hf");
  choices(params.get("compare"));
  captions(params.has("c") ? params.getAll("c") : offered.length ? offered : [""]);
  placed();
  written();
  score();
  const ends = [on("picture", pictured), on("model", again), on("models", () => choices())];
  return {
    element,
    leave() {
      ends.forEach((end) => end());
      rows.forEach((row) => row.words.clear());
      soon.cancel();
      running?.abort();
    },
  };
}
