// Pictures that are dropped anywhere on the page, or pasted: they go to the panel on it.

const takers = new WeakMap(); // by the panel's element

/**
 * From now on what is given goes to this panel while it is on the page.
 * @param {HTMLElement} element
 * @param {{take: (files: File[]) => void, takeLink: (link: string) => void}} taker
 */
export function takes(element, taker) {
  element.dataset.takesPictures = "";
  takers.set(element, taker);
}

const taker = () => takers.get(document.querySelector("[data-takes-pictures]"));

// A picture may be dropped anywhere on the page, and pasted anywhere but into a field that takes the text.
addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dragging");
});
addEventListener("dragleave", (event) => event.relatedTarget ?? document.body.classList.remove("dragging"));
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  given(event.dataTransfer, true);
});
addEventListener("paste", (event) => {
  if (given(event.clipboardData, !event.target.closest?.("input, textarea"))) event.preventDefault();
});

function given(data, links) {
  const files = [...data.files];
  const texts = links ? [...data.getData("text/uri-list").split(/\s/), data.getData("text/plain").trim()] : [];
  const link = texts.find((text) => /^https?:\/\/\S+$/i.test(text));
  if (files.length) taker()?.take(files);
  else if (link) taker()?.takeLink(link);
  else return false;
  return true;
}
