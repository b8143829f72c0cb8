// The same without a server: the Python object `BlipServe`, and the command line.

import { fileName, python, quoted } from "./snippets.js";

const SCORES = "    print(pair.image_index, pair.caption_index, pair.score.itm_score, pair.score.cosine_score)";

/**
 * @param {{path: string, body: any, files: any[]}} sent a request, with files in place of data URIs
 * @param {any} card of the model it names, or undefined
 * @returns {{name: string, text: string}[]}
 */
export function local({ path, body, files }, card) {
  const call = body && BY_PATH[path]?.(body, card);
  if (!call) return [];
  const { method, given, show, command } = call;
  const named = Object.entries({ ...call.named, ...pick(body, ["model", "protocol"]) });
  const all = [...given.map(written), ...named.map(([name, each]) => `${name}=${written(each)}`)];
  const paths = /Path\(/.test(all.join()) ? ["from pathlib import Path", ""] : [];
  const text = [
    ...paths,
    `from blip_serve import ${["BlipServe", ...(call.imports ?? [])].join(", ")}`,
    ...(call.more ?? []),
    "",
    "with BlipServe() as blip:",
    `    result = blip.${method}(\n        ${all.join(",\n        ")},\n    )`,
    ...show.map((line) => `    ${line}`),
  ];
  const found = [{ name: "Python (blip_serve)", text: text.join("\n") }];
  if (command) found.push({ name: "CLI", text: ["blip-serve", ...command, ...chosen(body)].join(" ") });
  return found;
}

/** Python written as it stands, in place of a value. */
class Written {
  constructor(text) {
    this.text = text;
  }
}

const written = (value) => (value instanceof Written ? value.text : python(value, undefined, 4));
const pick = (body, names) => Object.fromEntries(Object.entries(body).filter(([name]) => names.includes(name)));
const chosen = (body) => ["model", "protocol"].filter((name) => name in body).map((name) => flag(name, body[name]));
const flag = (name, value) => `--${name.replace("_", "-")} ${quoted(String(value))}`;
const list = (one, many) => (many === undefined ? [one] : [many].flat());
const place = (picture) => (typeof picture === "string" ? quoted(picture) : fileName(picture.name));
const options = (name, texts) => texts.map((text) => `--${name} ${quoted(text)}`);

function match({ image, images, caption, captions }) {
  const pictures = list(image, images);
  const texts = list(caption, captions);
  return {
    method: "match",
    given: [image ?? pictures, caption ?? texts],
    show: ["for pair in result.pairs:", SCORES],
    command: ["match", ...pictures.map(place), ...options("caption", texts)],
  };
}

function explain({ image, images, caption, captions, ...others }) {
  const pictures = list(image, images);
  const texts = list(caption, captions);
  const how = Object.entries(pick(others, HOW));
  return {
    method: "explain",
    given: [image ?? pictures, caption ?? texts],
    named: Object.fromEntries(how),
    show: [
      "for explained in result.explanations:",
      "    for word in explained.explanation.words:",
      "        print(word.word, word.maximum, word.map)",
    ],
    command: [
      "explain",
      ...pictures.map(place),
      ...options("caption", texts),
      ...how.map(([name, value]) => flag(name, value)),
      "--out explained",
    ],
  };
}

const HOW = ["question", "method", "layer", "per"];

function chat({ messages, n, max_tokens, ...others }, card) {
  const parts = [messages.at(-1).content].flat();
  const image = parts.find((part) => part.type === "image_url")?.image_url;
  const text = parts.find((part) => part.type === "text")?.text ?? "";
  const answers = card?.tasks?.includes("answer");
  const given = "guided_choice" in others || "structured_outputs" in others || "response_format" in others;
  if (!image || given) return null;
  const asked = pick({ max_tokens, ...others }, OPTIONS);
  if (asked.max_tokens === undefined) delete asked.max_tokens;
  const plain = Object.keys(asked).every((name) => ["max_tokens", "num_beams"].includes(name)) && (n ?? 1) === 1;
  const call = {
    method: answers ? "answer" : "caption",
    given: [image.url, ...(text ? [text] : [])],
    named: n > 1 ? { n } : {},
    show: ["for text in result.texts:", "    print(text.text)"],
    command: plain && [
      "caption",
      place(image.url),
      ...(text ? options("prompt", [text]) : []),
      ...("max_tokens" in asked ? [`--max-tokens ${asked.max_tokens}`] : []),
      ...("num_beams" in asked ? [`--beams ${asked.num_beams}`] : []),
    ],
  };
  if (Object.keys(asked).length) {
    const words = Object.entries(asked).map(([name, value]) => `${name}=${python(value)}`);
    call.named.options = new Written(`GenerationOptions(${words.join(", ")})`);
    call.more = ["from blip_serve.domain import GenerationOptions"];
  }
  return call;
}

const OPTIONS = `max_tokens min_tokens temperature top_k top_p min_p seed num_beams repetition_penalty`.split(" ");

function rerank({ query, documents, ...others }) {
  const asked = pick(others, ["rank_by", "top_n", "shortlist"]);
  const flags = Object.entries(asked).map(([name, value]) => flag(name, value));
  const show = [
    "for document in result.documents:",
    "    print(document.index, document.score.itm_score, document.score.cosine_score)",
  ];
  const image = picture(query);
  if (image) {
    const texts = documents.map((document) => document.text ?? document);
    return {
      method: "rerank",
      given: [new Written(`Path(${JSON.stringify(image.name ?? image)})`), texts],
      named: asked,
      show,
      command: ["rerank", `--query-image ${place(image)}`, ...options("document", texts), ...flags],
    };
  }
  const pictures = documents.map(picture);
  return {
    method: "rerank",
    given: [query, pictures],
    named: asked,
    show,
    command: ["rerank", ...pictures.map(place), ...options("query", [query]), ...flags],
  };
}

/** The picture in a value that may be one: a file, a link, or an object with one of these. */
function picture(value) {
  const found = value?.image ?? value?.image_url?.url ?? value?.image_url ?? value?.url ?? value;
  return typeof found === "string" ? (/^https?:/.test(found) && found !== value ? found : null) : found;
}

function decisions({ input, questions }) {
  const [{ type, instructions, choices }] = questions;
  if (questions.length > 1 || type !== "choice") return null;
  return {
    method: "decide",
    given: [input[0].content[0].image_url, new Written(`choice(${python(instructions)}, ${python(choices.map(({ value }) => value))})`)],
    show: ["[answer] = result.answers", "print(answer.choice, answer.probabilities)"],
    imports: ["choice"],
  };
}

const BY_PATH = {
  "v1/match": match,
  "v1/explain": explain,
  "v1/chat/completions": chat,
  "v1/decisions": decisions,
  "v1/rerank": rerank,
};
