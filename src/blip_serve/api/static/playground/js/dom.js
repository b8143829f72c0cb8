// Elements made of data. Text becomes text nodes only; nothing here reads HTML.

// Set as properties: their attributes are only what they begin with.
const PROPERTIES = new Set("value checked disabled hidden selected open srcObject".split(" "));

/**
 * An element. `props`: attributes (true: an empty one; false, null, undefined: none), `class`, listeners (`onclick`),
 * `dataset`, and `vars`: custom properties of its style. Children: elements, strings, numbers, lists of them; null and
 * false are left out.
 * @param {string} tag
 * @param {Record<string, any>} [props]
 * @param {...any} children
 * @returns {HTMLElement}
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  const last = [];
  for (const [name, value] of Object.entries(props ?? {})) {
    if (name === "class") element.className = value ?? "";
    else if (name === "dataset") Object.assign(element.dataset, value);
    else if (name === "vars") Object.entries(value).forEach(([key, each]) => element.style.setProperty(key, each));
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (PROPERTIES.has(name)) last.push([name, value]);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, String(value));
  }
  element.append(...nodes(children));
  for (const [name, value] of last) if (value !== undefined) element[name] = value; // a select needs its options first
  return element;
}

/** Puts `children` in place of what `node` holds. @param {Element} node @param {...any} children */
export function replace(node, ...children) {
  node.replaceChildren(...nodes(children));
}

function nodes(children) {
  return children
    .flat(Infinity)
    .filter((child) => child !== null && child !== undefined && child !== false)
    .map((child) => (child instanceof Node ? child : document.createTextNode(String(child))));
}

let pause = 0;

/** Says `text` to who listens instead of looking: once it has been the last for a moment. @param {string} text */
export function announce(text) {
  clearTimeout(pause);
  pause = setTimeout(() => {
    document.getElementById("live").textContent = text;
  }, 700);
}

/**
 * Calls `tell` with the seconds gone by, from 100 ms on, until the function it returns is called.
 * @param {(seconds: number) => void} tell
 * @returns {() => void}
 */
export function ticking(tell) {
  const from = performance.now();
  const timer = setInterval(() => tell((performance.now() - from) / 1000), 100);
  return () => clearInterval(timer);
}

/** A function that calls `f` once `ms` have passed without another call. `cancel()` forgets the call. */
export function debounced(f, ms) {
  let timer = 0;
  const call = (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => f(...given), ms);
  };
  call.cancel = () => clearTimeout(timer);
  return call;
}
