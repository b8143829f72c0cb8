// What was found out about a model where it is served: by `doctor`, `eval`, `calibrate` and `models --fit`.

import { ask } from "./api.js";
import { h, replace } from "./dom.js";
import { errorBox } from "./errors.js";

const KINDS = {
  doctor: "Doctor",
  evaluation: "Evaluation",
  calibration: "Calibration",
  fit: "Memory and speed",
};

/** A figure as a person reads it. */
function shown(value) {
  if (typeof value === "number") return value.toLocaleString("en", { maximumSignificantDigits: 4 });
  if (typeof value === "boolean") return value ? "yes" : "no";
  return value ?? "–";
}

/** One finding: what was measured, its figures, and of what they hold. */
function finding({ kind, name, dtype, machine, made, figures }) {
  const title = name && name !== kind ? `${KINDS[kind] ?? kind}: ${name}` : (KINDS[kind] ?? kind);
  const day = made && new Date(made * 1000).toLocaleDateString("en", { dateStyle: "medium", timeZone: "UTC" });
  return h(
    "section",
    { class: "finding" },
    h("h3", {}, title),
    h("dl", { class: "facts figures" }, Object.entries(figures).map(([figure, value]) => [h("dt", {}, figure), h("dd", {}, shown(value))])),
    h("p", { class: "quiet" }, [dtype, machine, day].filter(Boolean).join(", ")),
  );
}

/** What a model takes of memory and how fast it should be, in one number type, as a finding. */
function fitted({ dtype, rest_bytes, step_bytes, held_bytes, fits, pairs_per_second }) {
  const figures = {
    "MB at rest": rest_bytes / 1e6,
    "MB in a full step": step_bytes / 1e6,
    "MB at most": held_bytes / 1e6,
    fits,
    "pairs a second": pairs_per_second,
  };
  return finding({ kind: "fit", dtype, figures });
}

const nothing = (id) => [
  h("p", {}, "Nothing yet. Where it is served, these commands find it out:"),
  h("pre", { tabindex: "0", "aria-label": "Commands" }, h("code", {}, `blip-serve doctor --model ${id}\nblip-serve models --fit`)),
];

/** The findings of a model, folded. They are asked for when they are unfolded. */
export function found(model, { open, signal }) {
  const inside = h("div", {});
  const asked = async () => {
    replace(inside, h("p", { class: "quiet" }, "reading ..."));
    try {
      const { data } = await ask(`v1/models/${model.id}`, undefined, { signal });
      const all = [...data.findings.map(finding), ...data.fit.map(fitted)];
      replace(inside, all.length ? all : nothing(model.id));
    } catch (error) {
      if (!signal.aborted) replace(inside, errorBox(error, { retry: asked }));
    }
  };
  const ontoggle = ({ target }) => target.open && asked();
  return h("details", { open, ontoggle }, h("summary", {}, "Found out here"), inside);
}
