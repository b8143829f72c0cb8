// What all rooms share: the key, the models, and the address. Nothing of it outlives the page.

const listeners = new Map();

/** Calls `f` at each `emit` of the event; the function returned ends that. Events: "models", "model", "picture". */
export function on(event, f) {
  if (!listeners.has(event)) listeners.set(event, new Set());
  listeners.get(event).add(f);
  return () => listeners.get(event).delete(f);
}

/** Tells who listens. @param {string} event @param {any} [value] */
export function emit(event, value) {
  for (const f of [...(listeners.get(event) ?? [])]) f(value);
}

/** What every room reads. */
export const state = {
  /** The API key: in memory only. */
  key: "",
  /** The models, as GET v1/models tells them. @type {any[]} */
  models: [],
  /** Ids chosen, by task. @type {Record<string, string>} */
  chosen: {},

  /** The models that have a task ("match", "caption", "answer", "embed"), or may have it: their tasks are not known. */
  having(task) {
    return this.models.filter((model) => model.tasks === null || model.tasks.includes(task));
  },

  /** A model's name where one chooses, with its state unless it is ready. */
  named: ({ id, state: now }) => (now === "ready" ? id : `${id} (${now})`),

  /** The id chosen for a task; else the first that is ready, else the first there is, else null. */
  model(task) {
    const having = this.having(task);
    const chosen = having.find(({ id, aliases }) => id === this.chosen[task] || aliases.includes(this.chosen[task]));
    const ready = having.find((model) => model.tasks !== null && model.state === "ready");
    return (chosen ?? ready ?? having[0])?.id ?? null;
  },

  /** The card of a model, or undefined. @param {string | null} id */
  card(id) {
    return this.models.find((model) => model.id === id);
  },

  /** Sets fields, such as `{key: ...}`, and emits an event named for each. @param {Record<string, any>} fields */
  set(fields) {
    Object.assign(this, fields);
    for (const [name, value] of Object.entries(fields)) emit(name, value);
  },

  /** Chooses a model for a task. @param {string} task @param {string} id */
  choose(task, id) {
    this.chosen = { ...this.chosen, [task]: id };
    emit("model", { task, id });
  },
};

/** The address: `#/match?model=...&c=...`. The picture is no part of it. */
export const address = {
  /** @returns {{room: string, params: URLSearchParams}} */
  read() {
    const [room, query = ""] = location.hash.replace(/^#\/?/, "").split(/\?(.*)/s);
    return { room, params: new URLSearchParams(query) };
  },

  /** Says where we are: another room is a step for Back, the same one is not. @param {URLSearchParams} [params] */
  write(room, params = new URLSearchParams()) {
    const query = params.toString();
    const hash = `#/${room}${query ? `?${query}` : ""}`;
    if (hash === location.hash) return;
    if (this.read().room === room) history.replaceState(null, "", hash);
    else history.pushState(null, "", hash);
    emit("address", this.read());
  },
};
