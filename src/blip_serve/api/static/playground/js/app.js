// The shell: the rooms' links, the model, the key, and the room that the address names.

import { announce, h, replace } from "./dom.js";
import { ask } from "./api.js";
import { address, emit, on, state } from "./state.js";
import { errorBox } from "./errors.js";
import { picturePanel, samples } from "./picture.js";
import { footer, setFooter } from "./footer.js";
import { leaveWords } from "./words.js";
import { room as asking } from "./rooms/ask.js";
import { room as caption } from "./rooms/caption.js";
import { room as match } from "./rooms/match.js";
import { room as cards } from "./rooms/models.js";
import { room as rank } from "./rooms/rank.js";

/** By name: the title, the task whose model is chosen at the top (null: none), and what mounts it. */
const ROOMS = {
  match: { title: "Match", task: "match", mount: match },
  caption: { title: "Caption", task: "caption", mount: caption },
  ask: { title: "Ask", task: "answer", mount: asking },
  rank: { title: "Rank", task: "match", mount: rank },
  models: { title: "Models", task: null, mount: cards },
};
const FIRST = "match";

const main = document.getElementById("room");
const panel = picturePanel({ onChange: (picture) => emit("picture", picture) });
const links = Object.fromEntries(
  Object.entries(ROOMS).map(([name, { title }]) => [name, h("a", { href: `#/${name}` }, title)]),
);
let open = null; // {name, leave}

/** Shows the room of the address. */
function enter() {
  if (!Object.hasOwn(ROOMS, address.read().room)) history.replaceState(null, "", `#/${FIRST}`);
  const { room: name, params } = address.read();
  const { mount, task, title } = ROOMS[name];
  if (task && params.get("model")) state.chosen[task] = params.get("model");
  open?.leave();
  leaveWords();
  setFooter({ line: "", request: null });
  const { element, leave } = mount({ state, address, params, setFooter, panel });
  open = { name, leave };
  replace(main, element);
  for (const [each, link] of Object.entries(links)) {
    if (each === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${title} – blip-serve`;
  announce(title);
  choice();
}

/** The models for the room's task, to choose from. */
function choice() {
  const place = document.getElementById("choice");
  const { task } = ROOMS[open.name];
  if (!task) return replace(place);
  const focused = place.contains(document.activeElement);
  const options = state.having(task).map((card) => h("option", { value: card.id }, state.named(card)));
  const select = h("select", { onchange: () => state.choose(task, select.value), value: state.model(task) }, options);
  replace(place, h("label", {}, h("span", {}, "Model"), select));
  if (focused) select.focus();
}

const key = {
  input: h("input", { type: "password", autocomplete: "off", "aria-label": "API key", placeholder: "API key" }),
  button: h("button", { type: "button", class: "quiet", onclick: () => unfoldKey(key.form.hidden) }, "Key"),
};
key.form = h(
  "form",
  {
    class: "row key",
    onsubmit: (event) => {
      event.preventDefault();
      state.set({ key: key.input.value.trim() });
      unfoldKey(false);
      start();
    },
  },
  h("span", { class: "quiet small" }, "It stays in this page's memory, and is gone with the page."),
  key.input,
  h("button", {}, "Use"),
);

function unfoldKey(unfold) {
  key.form.hidden = !unfold;
  key.button.setAttribute("aria-expanded", String(unfold));
  key.button.textContent = state.key ? "Key ✓" : "Key";
  if (unfold) key.input.focus();
}

/** Asks which models there are, and enters the room. Again with another key. */
async function start() {
  try {
    const [{ data }, [first]] = await Promise.all([ask("v1/models"), samples()]);
    state.set({ models: data.data });
    if (!panel.picture) panel.setPicture(first);
  } catch (error) {
    replace(main, errorBox(error, { retry: start }));
    if (error.status === 401) unfoldKey(true);
    return;
  }
  enter();
}

replace(document.getElementById("rooms"), Object.values(links));
replace(document.getElementById("key"), key.button, key.form);
replace(document.getElementById("footer"), footer);
unfoldKey(false);
on("address", ({ room }) => links[room]?.setAttribute("href", location.hash)); // to come back to what one left
on("models", () => open && choice());
addEventListener("popstate", enter);
start();
