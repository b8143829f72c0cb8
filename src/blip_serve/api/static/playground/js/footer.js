// Below every room: how long it took, and the same request in code.

import { announce, h, replace } from "./dom.js";
import { snippets } from "./snippets.js";

const line = h("p", { class: "timing" });
const tabs = h("div", { class: "tabs", role: "group", "aria-label": "Language" });
const which = h("div", { class: "tabs", role: "group", "aria-label": "Request" });
const code = h("code", {});
const text = h("pre", { tabindex: "0", role: "region", "aria-label": "Code" }, code);
const copy = h("button", { type: "button", class: "quiet", onclick: copied }, "Copy");
const folded = h(
  "details",
  { class: "same", open: matchMedia("(min-width: 60rem)").matches, hidden: true },
  h("summary", {}, "The same in code"),
  h("div", { class: "row" }, which, tabs, copy),
  text,
);
/** By path, the requests of the room. @type {Map<string, {request: any, picture: any, aside: boolean}>} */
const requests = new Map();
let path = ""; // of the request shown
let chosen = "curl";

/** What `index.html` has a place for. */
export const footer = [line, folded];

/**
 * Shows what was just asked. What is left out stays as it is; `request: null` takes the code away.
 * @param {{line?: string, request?: any, picture?: any, aside?: boolean}} given `line`: of `timing`; `request`: what
 *   `ask` returned with the answer; `picture`: the Picture that it has, or several in their order; `aside`: the code is
 *   offered beside what is shown
 */
export function setFooter({ line: said, request, picture, aside = false }) {
  if (said !== undefined) line.textContent = said;
  if (request === undefined) return;
  if (request === null) requests.clear();
  else {
    if (!aside) forget(picture);
    requests.set(request.path, { request, picture, aside });
  }
  if (request && !(aside && requests.has(path))) path = request.path;
  folded.hidden = !requests.size;
  if (requests.size) show();
}

/** Takes away what an earlier answer left: all but what was asked aside about the same picture. */
function forget(picture) {
  for (const [each, old] of requests) if (!old.aside || old.picture !== picture) requests.delete(each);
}

function show() {
  const { request, picture } = requests.get(path);
  const found = snippets(request, picture);
  const shown = found.find(({ name }) => name === chosen) ?? found[0];
  replace(tabs, ...found.map(({ name }) => choice(tabs, name, name === shown.name, () => (chosen = name))));
  const ordered = [...requests].sort(([, one], [, other]) => one.aside - other.aside).map(([each]) => each);
  const paths = requests.size > 1 ? ordered : [];
  replace(which, ...paths.map((each) => choice(which, each, each === path, () => (path = each))));
  code.textContent = shown.text;
}

function choice(group, text, pressed, choose) {
  const act = () => {
    choose();
    show();
    group.querySelector("[aria-pressed=true]").focus();
  };
  return h("button", { type: "button", "aria-pressed": String(pressed), onclick: act }, text);
}

async function copied() {
  try {
    await navigator.clipboard.writeText(code.textContent);
  } catch {
    // No clipboard for pages without TLS: the text is selected, for the reader's own Ctrl+C.
    getSelection().selectAllChildren(code);
    return;
  }
  copy.textContent = "Copied";
  announce("Copied");
  setTimeout(() => (copy.textContent = "Copy"), 1500);
}
