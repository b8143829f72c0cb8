// The very request that was sent, as code to run where the picture's file is.

import { state } from "./state.js";
import { local } from "./snippets_local.js";

/**
 * @param {{method: string, path: string, body: any}} request
 * @param {any} picture the Picture in the request, or several in the order in which the request has them
 * @returns {{name: string, text: string}[]}
 */
export function snippets(request, picture) {
  const pictures = [picture ?? []].flat();
  const sent = { ...request, ...withoutData(request.body, pictures), base: new URL(".", location.href).href };
  return [
    { name: "curl", text: curl(sent) },
    { name: "Python (openai)", text: openai(sent) },
    ...local(sent, state.card(request.body?.model)),
  ]
    .filter(({ text }) => text)
    .map(({ name, text }) => ({ name, text: text.includes("API_KEY") ? `# API_KEY is your key\n${text}` : text }));
}

/** A place in a body where a file's data URI was. */
class FilePlace {
  constructor(number, name, head) {
    Object.assign(this, { number, name, head });
  }
}

/** The body with files in place of data URIs, and the files: the same data is the same file. */
function withoutData(body, pictures) {
  const files = new Map();
  const named = pictures.filter((picture) => !picture.isLink);
  const walk = (value) => {
    if (Array.isArray(value)) return value.map(walk);
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, walk(each)]));
    }
    if (typeof value !== "string" || !/^data:[\w/.+-]*;base64,/.test(value)) return value;
    if (!files.has(value)) {
      const name = named[files.size]?.name ?? `picture-${files.size + 1}`;
      files.set(value, new FilePlace(files.size, name, value.slice(0, value.indexOf(",") + 1)));
    }
    return files.get(value);
  };
  return { body: walk(body), files: [...files.values()] };
}

/** A string for a POSIX shell. Control characters are spelled: a terminal into which they are pasted obeys them. */
export const quoted = (text) => {
  if (/^[\w@%+=:,./-]+$/.test(text)) return text;
  if (!CONTROL.test(text)) return `'${text.replaceAll("'", `'\\''`)}'`;
  return `$'${text.replace(/[\\']/g, "\\$&").replace(CONTROLS, octal)}'`;
};

const CONTROL = /[\0-\x1f\x7f]/;
const CONTROLS = new RegExp(CONTROL, "g");
const octal = (letter) => `\\${letter.charCodeAt(0).toString(8).padStart(3, "0")}`;

/** A file's name for a command, which must not take it for an option. */
export const fileName = (name) => quoted(name.startsWith("-") ? `./${name}` : name);

function curl({ method, path, body, files, base }) {
  const url = quoted(base + path);
  const key = state.key ? ' \\\n  -H "Authorization: Bearer $API_KEY"' : "";
  if (method === "GET") return `curl ${url}${key}`;
  if (path === "v1/match" && body.image) return `curl ${url}${key} \\\n  ${form(body).join(" \\\n  ")}`;
  const variables = files.map(
    ({ number, name, head }) => `IMAGE_${number}="${head}$(base64 < ${fileName(name)} | tr -d '\\n')"\n`,
  );
  // In a here-document a shell reads $, ` and \ as its own.
  const text = json(body, ({ number }) => `"\u0000IMAGE_${number}"`, 0)
    .replace(/[\\$`]/g, "\\$&")
    .replaceAll("\u0000", "$");
  return `${variables.join("")}curl ${url}${key} \\\n  -H "Content-Type: application/json" -d @- <<END\n${text}\nEND`;
}

/** Fields of a form. `--form-string` reads no @ and no ; in a text. */
function form(body) {
  const { image, caption, captions = [caption], ...others } = body;
  const file = image instanceof FilePlace;
  // curl reads quotes within the name of a file, and what follows a semicolon
  const named = file && /[;,"\\]/.test(image.name) ? `"${image.name.replace(/["\\]/g, "\\$&")}"` : image.name;
  return [
    file ? `-F ${quoted(`image=@${named}`)}` : `--form-string ${quoted(`image=${image}`)}`,
    ...captions.map((text) => `--form-string ${quoted(`caption=${text}`)}`),
    ...Object.entries(others).flatMap(([name, value]) => [value].flat().map((each) => field(name, each))),
  ];
}

const field = (name, value) => `-F ${quoted(`${name}=${value}`)}`;

/** JSON, on several lines where it is long. `file` writes what stands for a file. */
function json(value, file, depth, words = JSON.stringify) {
  if (value instanceof FilePlace) return file(value);
  if (value === null || typeof value !== "object") return words(value);
  const inside = Array.isArray(value)
    ? value.map((each) => json(each, file, depth + 1, words))
    : Object.entries(value).map(([name, each]) => `${JSON.stringify(name)}: ${json(each, file, depth + 1, words)}`);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  const short = open + inside.join(", ") + close;
  if (short.length + 2 * depth <= 96 && !short.includes("\n")) return short;
  const margin = "  ".repeat(depth + 1);
  return `${open}\n${margin}${inside.join(`,\n${margin}`)}\n${"  ".repeat(depth)}${close}`;
}

const WORDS = new Map([[true, "True"], [false, "False"], [null, "None"]]);

/** A value as Python. `file` writes what stands for a file. */
export const python = (value, file = ({ name }) => JSON.stringify(name), depth = 0) =>
  json(value, file, depth, (each) => WORDS.get(each) ?? JSON.stringify(each));

// What the SDK's method takes by name; the rest goes into `extra_body`.
const CHAT = new Set(
  `model messages stream stream_options temperature top_p n seed max_tokens max_completion_tokens stop logprobs
  top_logprobs presence_penalty frequency_penalty logit_bias response_format service_tier`.split(/\s+/),
);

function openai({ method, path, body, files, base }) {
  if (!path.startsWith("v1/")) return "";
  const variable = files.length > 1 ? ({ number }) => `pictures[${number}]` : () => "picture";
  const key = state.key ? 'os.environ["API_KEY"]' : '"unused"';
  const imports = ["base64"].filter(() => files.length).concat(state.key ? ["os"] : []);
  return [
    ...imports.map((name) => `import ${name}`),
    ...(imports.length ? [""] : []),
    "from openai import OpenAI",
    "",
    `client = OpenAI(base_url=${JSON.stringify(`${base}v1`)}, api_key=${key})`,
    ...reading(files),
    ...(path === "v1/chat/completions" ? chat(body, variable) : posted(method, path, body, variable)),
  ].join("\n");
}

/** Lines that read the files as data URIs. */
function reading(files) {
  if (files.length === 1) {
    const [{ name, head }] = files;
    return [
      `with open(${JSON.stringify(name)}, "rb") as file:`,
      `    picture = ${JSON.stringify(head)} + base64.b64encode(file.read()).decode()`,
    ];
  }
  if (!files.length) return [];
  return [
    "pictures = []",
    `for name in ${python(files)}:`,
    `    with open(name, "rb") as file:`,
    `        pictures.append("data:;base64," + base64.b64encode(file.read()).decode())`,
  ];
}

function posted(method, path, body, variable) {
  const target = JSON.stringify(path.slice(2));
  if (method === "GET") return [`print(client.get(${target}, cast_to=object))`];
  return [`print(client.post(${target}, cast_to=object, body=${python(body, variable)}))`];
}

function chat(body, variable) {
  const all = Object.entries(body);
  const extra = Object.fromEntries(all.filter(([name]) => !CHAT.has(name)));
  const known = all.filter(([name]) => CHAT.has(name));
  const given = known.map(([name, value]) => `    ${name}=${python(value, variable, 2)},`);
  if (Object.keys(extra).length) given.push(`    extra_body=${python(extra, variable, 2)},`);
  const call = ["client.chat.completions.create(", ...given, ")"].join("\n");
  if (!body.stream) return [`answer = ${call}`, "for choice in answer.choices:", "    print(choice.message.content)"];
  return [
    `stream = ${call}`,
    "for chunk in stream:",
    "    for choice in chunk.choices:",
    '        print(choice.delta.content or "", end="", flush=True)',
  ];
}
