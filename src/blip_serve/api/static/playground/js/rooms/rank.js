// Many pictures in the order of a text, or many texts in that of a picture: one request gives both scores.

import { ask, timing } from "../api.js";
import { bar } from "../bars.js";
import { announce, h, replace } from "../dom.js";
import { picturePanel, samples } from "../picture.js";
import { on } from "../state.js";
import { choices, field, none, query, skeleton, Turn } from "./parts.js";

const TYPING_MS = 300;
const MANY = 12; // pictures, of which all are sent each time: then a longer pause
const MODES = [
  ["pictures", "Many pictures, one text"],
  ["texts", "One picture, many texts"],
];
const ORDERS = [
  ["itm", "match (ITM)"],
  ["cosine", "cosine"],
];
const TEXT = "a blue square";
const TEXTS = ["a red circle", "a large red circle", "a blue circle", "two purple squares", "a small pink star"];

/** What results are sorted by. The logits tell apart what the probability rounds to 1. */
const measure = {
  itm: ({ itm_logits: [no, yes] }) => yes - no,
  cosine: ({ cosine_score: cosine }) => cosine,
};

let kept = null; // the pictures, for a visitor who comes back

/**
 * @param {{state: any, address: any, params: URLSearchParams, setFooter: Function, panel: any}} context
 * @returns {{element: Element, leave: () => void}}
 */
export function room({ state, address, params, setFooter, panel }) {
  const turn = new Turn();
  const given = {
    by: params.get("by") === "texts" ? "texts" : "pictures",
    order: params.get("order") === "cosine" ? "cosine" : "itm",
    text: params.get("text") ?? TEXT,
    texts: params.getAll("t").length ? params.getAll("t") : TEXTS,
  };
  const model = () => state.model("match");
  let matches = []; // of the last answer
  let entries = new Map(); // by picture or text
  const many = picturePanel({ multiple: true, onChange: changed });
  const text = h("input", { type: "text", value: given.text, autocomplete: "off", oninput: typed });
  const texts = h("textarea", { rows: 7, oninput: typed, value: given.texts.join("\n") });
  const clear = h("button", { type: "button", class: "quiet", onclick: () => many.setPictures([]) }, "Remove all");
  const list = h("ol", { class: "ranked", "aria-label": "In order" });
  const pictures = h("div", {});
  const words = h("div", {});
  const element = h(
    "section",
    { class: "room two rank" },
    pictures,
    h(
      "section",
      { class: "answers", "aria-label": "Ranking" },
      h("h1", {}, "Which fits best?"),
      choices("Rank", MODES, given.by, (by) => (change({ by }), arrange(), rank())),
      words,
      turn.element,
      h(
        "div",
        { class: "row ends" },
        choices("In the order of", ORDERS, given.order, (order) => (change({ order }), show())),
        clear,
      ),
      list,
    ),
  );

  /** Other pictures. A sample that was there before is taken away: its button was pressed already. */
  function changed(pictures) {
    const last = pictures.at(-1);
    const others = pictures.filter(({ url }) => url === null || url !== last.url);
    if (pictures.length - others.length > 1) return many.setPictures(others);
    kept = pictures;
    rank();
  }

  function change(next) {
    Object.assign(given, next);
    const { by, order, text, texts } = given;
    address.write("rank", query({ model: model(), by, order, ...(by === "texts" ? { t: texts } : { text }) }));
  }

  function typed() {
    const lines = texts.value.split("\n").map((line) => line.trim());
    change({ text: text.value, texts: [...new Set(lines)].filter(Boolean) });
    rank(given.by === "pictures" && many.pictures.length > MANY ? 3 * TYPING_MS : TYPING_MS);
  }

  /** Puts the panel and the field of the mode in their places. */
  function arrange() {
    const single = given.by === "texts";
    replace(pictures, single ? panel.element : many.element);
    replace(words, single ? field("Texts, one a line", texts) : field("Text", text));
    matches = [];
    clear.hidden = single;
    element.classList.toggle("many", !single);
  }

  function rank(pause = 0) {
    const items = given.by === "texts" ? [...given.texts] : [...many.pictures];
    const [image, caption] = given.by === "texts" ? [panel.picture, items] : [items, given.text.trim()];
    if (!items.length || !image || !caption || !model()) {
      turn.stop();
      matches = [];
      return replace(list, h("li", { class: "hint quiet" }, model() ? hint() : none()));
    }
    if (!matches.length) replace(list, skeleton(Math.min(items.length, 6)));
    list.setAttribute("aria-busy", "true");
    turn.start(`scoring ${items.length} ${given.by}`, (options) => score(items, image, caption, options), pause);
  }

  async function score(items, image, caption, options) {
    const body = { model: model() };
    if (given.by === "texts") Object.assign(body, { image: await image.source(), captions: caption });
    else Object.assign(body, { images: await Promise.all(image.map((each) => each.source())), caption });
    try {
      const { data, headers, request } = await ask("v1/match", body, options);
      matches = data.data.map((match, index) => ({ ...match, of: items[index] }));
      setFooter({ line: timing(headers, data), request, picture: image });
    } catch (error) {
      if (!options.signal.aborted) fail(items, items[/^images\[(\d+)\]/.exec(error.param)?.[1]]);
      throw error;
    }
    show();
    announce(`First: ${nameOf(matches[0].of)}.`);
  }

  /** Shows the last answer in its order. What has the focus keeps it. */
  function show() {
    if (!matches.length) return;
    matches.sort((one, other) => measure[given.order](other) - measure[given.order](one));
    put(matches.map(({ of }) => of));
    for (const { of, itm_score: itm, cosine_score: cosine } of matches) entries.get(of).update(itm, cosine);
  }

  /** Shows all there is, what has a place before what has none, and which could not be scored, if it was one. */
  function fail(items, faulty) {
    const placed = matches.map(({ of }) => of).filter((of) => items.includes(of));
    put([...placed, ...items.filter((item) => !placed.includes(item))]);
    entries.forEach(({ element: each }, item) => each.classList.toggle("faulty", item === faulty));
  }

  function put(items) {
    const focused = document.activeElement;
    entries = new Map(items.map((item) => [item, entryOf(item)]));
    replace(list, ...[...entries.values()].map(({ element }) => element));
    list.removeAttribute("aria-busy");
    if (list.contains(focused)) focused.focus();
  }

  function entryOf(item) {
    if (!entries.has(item)) entries.set(item, typeof item === "string" ? textEntry(item) : pictureEntry(item));
    return entries.get(item);
  }

  function pictureEntry(picture) {
    const words = (text) => h("span", { class: "unshown" }, text);
    const unread = () => sight.replaceWith(words("not shown: this browser cannot read it"));
    const sight = picture.isLink ? words(new URL(picture.link).host) : h("img", { src: picture.url, alt: "", onerror: unread });
    const remove = () => many.setPictures(many.pictures.filter((each) => each !== picture));
    return entry(
      opening(
        () => [given.text, ...picture.captions],
        { "aria-label": `Open ${picture.name} in Match`, onclick: () => panel.setPicture(picture) },
        sight,
      ),
      h("span", { class: "name" }, picture.name),
      h("button", { type: "button", class: "quiet remove", "aria-label": `Remove ${picture.name}`, onclick: remove }, "×"),
    );
  }

  const textEntry = (words) => entry(opening(() => [words], { title: "Open in Match" }, words));

  /** A link into Match with `captions()`, as they are when it is followed. */
  function opening(captions, props, ...inside) {
    const link = h("a", { class: "thumb", ...props, href: "#/match" }, inside);
    const aim = () => (link.href = `#/match?${query({ c: captions() })}`);
    for (const event of ["pointerdown", "focus"]) link.addEventListener(event, aim);
    return link;
  }

  function entry(...head) {
    const itm = bar({ label: "ITM" });
    const cosine = bar({ label: "cosine", min: -1 });
    const update = (...scores) => [itm, cosine].forEach((each, i) => each.update(scores[i]));
    return { element: h("li", {}, h("div", { class: "head" }, head), itm, cosine), update };
  }

  const hint = () => (given.by === "texts" ? "Type some texts, one a line." : "Drop some pictures, and type a text to rank them by.");
  const ends = [on("picture", () => given.by === "texts" && rank()), on("model", () => rank())];
  arrange();
  if (kept) many.setPictures(kept);
  else samples().then((found) => kept || many.setPictures(found));
  if (given.by === "texts") rank();
  return {
    element,
    leave() {
      turn.stop();
      ends.forEach((end) => end());
    },
  };
}

const nameOf = (item) => (typeof item === "string" ? item : item.name);
