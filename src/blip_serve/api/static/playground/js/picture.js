// A picture of the visitor's, a sample, or a link, and the panel that takes and shows one.

import { h, replace } from "./dom.js";
import { camera, hasCamera } from "./camera.js";
import { takes } from "./given.js";

let made = 0; // panels
const SAMPLES = new URL("../samples/", import.meta.url);

/** Files are let go with the last that speaks of their picture. */
const forgotten = new FinalizationRegistry((url) => URL.revokeObjectURL(url));

export class Picture {
  /** @param {{name: string, url: string | null, blob?: Blob, link?: string, captions?: string[]}} given */
  constructor({ name, url, blob, link, captions = [] }) {
    /** The file's name, as the code shown names it. */
    this.name = name;
    /** What the page shows: an address of the visitor's own file or of a sample. Null for a link. */
    this.url = url;
    /** What a sample shows, and what it does not. */
    this.captions = captions;
    /** Pixels, once shown; 0 before, and where the browser cannot read the file. */
    this.width = this.height = 0;
    this.link = link ?? null;
    this.blob = blob ?? null;
  }

  /** @param {File} file */
  static ofFile(file) {
    const picture = new Picture({ name: file.name || "picture.png", url: URL.createObjectURL(file), blob: file });
    forgotten.register(picture, picture.url);
    return picture;
  }

  /** @param {string} link an http(s) address, which the service fetches. The page itself does not ask for it. */
  static ofLink(link) {
    const name = new URL(link).pathname.split("/").pop() || "picture";
    return new Picture({ name, url: null, link });
  }

  get isLink() {
    return this.link !== null;
  }

  /** What a request says: the link, or the file as a data URI. @returns {Promise<string>} */
  source() {
    this.read ??= this.isLink ? Promise.resolve(this.link) : this.#dataUri();
    this.read.catch(() => (this.read = undefined));
    return this.read;
  }

  async #dataUri() {
    const blob = this.blob ?? (await (await fetch(this.url)).blob());
    return new Promise((resolve, reject) => {
      const reader = new FileReader();
      reader.onload = () => resolve(reader.result);
      reader.onerror = () => reject(new Error(`${this.name} cannot be read.`));
      reader.readAsDataURL(blob);
    });
  }
}

/** The samples, each with its captions: what it shows, then what it does not. @returns {Promise<Picture[]>} */
export function samples() {
  found ??= listed();
  found.catch(() => (found = null));
  return found;
}

let found = null;

async function listed() {
  const known = await (await fetch(new URL("pictures.json", SAMPLES))).json();
  return Object.entries(known).map(
    ([name, { caption, wrong }]) => new Picture({ name, url: new URL(name, SAMPLES).href, captions: [caption, wrong] }),
  );
}

/**
 * The panel: takes pictures by drop, paste, file, camera, link and sample, and shows them.
 * @param {{onChange: (shown: any) => void, multiple?: boolean}} options `onChange` gets the picture, or with
 *   `multiple` the list of pictures; new ones are added to it
 */
export function picturePanel({ onChange, multiple = false }) {
  const stage = h("div", { class: "stage", onclick: () => input.click() }); // for pointers; keys have the field itself
  const heat = h("canvas", { class: "heat", "aria-hidden": "true" });
  const heatNote = h("span", { class: "heat-note", id: `heat-${++made}`, hidden: true });
  const trouble = h("div", {});
  const input = h("input", {
    type: "file",
    class: "unseen file",
    accept: "image/*",
    multiple,
    "aria-label": multiple ? "Choose pictures" : "Choose a picture",
    onchange: () => (take([...input.files]), (input.value = "")),
  });
  const field = h("input", {
    type: "url",
    placeholder: "https://…",
    "aria-label": "Address of a picture",
    required: true,
  });
  const link = h(
    "form",
    { class: "row", hidden: true, onsubmit: (event) => (event.preventDefault(), takeLink(field.value)) },
    field,
    h("button", {}, "Use"),
  );
  const unfold = h(
    "button",
    {
      type: "button",
      class: "quiet",
      "aria-expanded": "false",
      onclick: () => {
        link.hidden = !link.hidden;
        unfold.setAttribute("aria-expanded", String(!link.hidden));
        if (!link.hidden) field.focus();
      },
    },
    "Link",
  );
  const choose = h("label", { class: "button" }, "Choose");
  const shot = async () => take(await camera(fail));
  const shoot = hasCamera() && h("button", { type: "button", class: "quiet", onclick: shot }, "Camera");
  const name = h("span", { class: "name" });
  const strip = h("ul", { class: "samples", "aria-label": "Samples" });
  const element = h(
    "section",
    { class: "panel", "aria-label": multiple ? "Pictures" : "Picture" },
    h("div", { class: "takes" }, input, stage, h("div", { class: "row" }, name, choose, shoot, unfold)),
    h("p", { class: "quiet small drop-hint" }, "Or drop one anywhere on this page, or paste it."),
    link,
    trouble,
    h("div", { class: "row" }, h("span", { class: "quiet" }, "Samples"), strip),
  );
  input.id = `file-${made}`;
  choose.htmlFor = input.id;

  const panel = {
    element,
    heat,
    heatNote,
    /** A place for what is wrong with the picture; another picture empties it. */
    trouble,
    /** @type {Picture | null} */
    picture: null,
    /** @type {Picture[]} */
    pictures: [],
    /** Shows one picture and tells `onChange`. @param {Picture} picture */
    setPicture(picture) {
      panel.setPictures([picture]);
    },
    /** Shows these pictures and tells `onChange`. @param {Picture[]} list */
    setPictures(list) {
      replace(trouble);
      panel.pictures = multiple ? list : list.slice(0, 1);
      panel.picture = list[0] ?? null;
      show();
      onChange(multiple ? panel.pictures : panel.picture);
    },
  };

  function take(files) {
    const found = files.filter((file) => file.type.startsWith("image/") || !file.type).map(Picture.ofFile);
    if (found.length) panel.setPictures(multiple ? [...panel.pictures, ...found] : found);
    else if (files.length) fail(`${files[0].name} is no picture.`);
  }

  function takeLink(text) {
    if (!/^https?:\/\//i.test(text) || !URL.canParse(text)) return fail("An address begins with https:// or http://.");
    const picture = Picture.ofLink(text);
    panel.setPictures(multiple ? [...panel.pictures, picture] : [picture]);
  }

  function fail(text) {
    replace(trouble, text && h("p", { class: "fault", role: "alert" }, text));
  }

  function show() {
    const { picture } = panel;
    heat.classList.remove("shown");
    heatNote.hidden = true;
    stage.style.removeProperty("--ratio");
    stage.classList.toggle("bare", !picture?.url || multiple);
    name.textContent = multiple ? `${panel.pictures.length} pictures` : (picture?.name ?? "");
    for (const button of strip.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(panel.pictures.some((each) => each.url === button.dataset.url)));
    }
    if (multiple) replace(stage, "Drop or paste pictures here, or click to choose");
    else if (!picture) replace(stage, "Drop a picture here, paste one, or click to choose");
    else if (picture.isLink) replace(stage, h("p", {}, linked(picture)), heat, heatNote);
    else replace(stage, image(picture), heat, heatNote);
  }

  function image(picture) {
    // It may be read only after another picture has taken its place.
    const onload = () => shown.parentNode === stage && measured(picture, shown);
    const onerror = () => shown.parentNode === stage && unreadable(shown);
    const shown = h("img", { alt: picture.name, draggable: "false", onload, onerror });
    shown.src = picture.url;
    return shown;
  }

  function measured(picture, shown) {
    picture.width = shown.naturalWidth;
    picture.height = shown.naturalHeight;
    stage.style.setProperty("--ratio", `${picture.width} / ${picture.height}`);
  }

  function unreadable(shown) {
    shown.replaceWith(h("p", {}, "This browser cannot show the file; the service may read it all the same."));
    stage.classList.add("bare");
  }

  takes(element, { take, takeLink });
  samples().then((found) =>
    replace(strip, ...found.map((sample) => h("li", {}, button(sample)))),
    () => replace(strip),
  );

  function button(sample) {
    const act = () => panel.setPictures(multiple ? [...panel.pictures, sample] : [sample]);
    const chosen = String(panel.pictures.some((each) => each.url === sample.url));
    return h(
      "button",
      {
        type: "button",
        "aria-pressed": chosen,
        "aria-label": `Sample: ${sample.captions[0]}`,
        dataset: { url: sample.url },
        onclick: act,
      },
      h("img", { src: sample.url, alt: "", draggable: "false" }),
    );
  }

  show();
  return panel;
}

const linked = ({ link }) =>
  `${new URL(link).host}: the service fetches this picture. It is not shown, because this page asks no other host.`;
