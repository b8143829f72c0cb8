// Requests to the service: relative to the page, with the key where one was given.

import { state } from "./state.js";

const LARGE = 1 << 18; // characters; a browser sends more of them sooner as a blob
const TRIES = 40;
const LONGEST_WAIT_S = 60;

/** What the service, or the way to it, answered in place of a result. */
export class ApiError extends Error {
  /**
   * @param {{status: number, code: string | null, param?: string | null, message: string,
   *   retryAfter?: number | null}} given
   */
  constructor({ status, code, param = null, message, retryAfter = null }) {
    super(message);
    Object.assign(this, { status, code, param, retryAfter });
  }
}

/**
 * Asks, and tries again where the service says when (429 and 503 with `retry-after`).
 * @param {string} path such as "v1/match"
 * @param {any} [body] sent as JSON by POST; without one it is a GET
 * @param {{signal?: AbortSignal, waiting?: (secondsLeft: number, error: ApiError) => void}} [options] `waiting` is
 *   called each second until the next try
 * @returns {Promise<{data: any, headers: Headers, ms: number, request: {method: string, path: string, body: any}}>}
 * @throws {ApiError} and the signal's reason
 */
export async function ask(path, body, options = {}) {
  const { response, ms, request } = await answered(path, body, options);
  return { data: await response.json(), headers: response.headers, ms, request };
}

/**
 * Asks for server-sent events and gives each one's data, parsed, to `onEvent`. Resolves when they end.
 * @param {string} path
 * @param {any} body
 * @param {{signal?: AbortSignal, waiting?: (secondsLeft: number, error: ApiError) => void,
 *   onEvent: (data: any) => void}} options
 */
export async function stream(path, body, options) {
  const { response, ms, request } = await answered(path, body, options);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      const events = (rest + value).split("\n\n");
      rest = events.pop();
      for (const event of events) {
        const lines = event.split("\n").filter((line) => line.startsWith("data:"));
        const data = lines.map((line) => line.slice(5).trim());
        if (!data.length || data[0] === "[DONE]") continue;
        const parsed = JSON.parse(data.join("\n"));
        if (parsed.error) throw failure(response.status, parsed, response.headers);
        options.onEvent(parsed);
      }
    }
  } catch (error) {
    reader.cancel().catch(() => {}); // else the connection stays
    throw error;
  }
  return { headers: response.headers, ms, request };
}

async function answered(path, body, { signal, waiting }) {
  const request = { method: body === undefined ? "GET" : "POST", path, body };
  for (let tries = 1; ; tries++) {
    const from = performance.now();
    const response = await once(request, signal);
    if (response.ok) return { response, ms: performance.now() - from, request };
    const error = failure(response.status, await response.json().catch(() => null), response.headers);
    if (![429, 503].includes(error.status) || error.retryAfter === null || tries === TRIES) throw error;
    for (let left = Math.min(error.retryAfter, LONGEST_WAIT_S); left > 0; left--) {
      waiting?.(left, error);
      await second(signal);
    }
  }
}

async function once({ method, path, body }, signal) {
  const headers = { accept: "application/json, text/event-stream" };
  if (state.key) headers.authorization = `Bearer ${state.key}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  const text = body && JSON.stringify(body);
  try {
    return await fetch(path, { method, headers, body: text?.length > LARGE ? new Blob([text]) : text, signal });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError({ status: 0, code: "unreachable", message: "The service does not answer." });
  }
}

function failure(status, envelope, headers) {
  const { message, code = null, param = null } = envelope?.error ?? {};
  const after = Number.parseInt(headers.get("retry-after") ?? "", 10);
  return new ApiError({
    status,
    code,
    param,
    message: message ?? `The answer was ${status}, without words.`,
    retryAfter: Number.isNaN(after) ? null : Math.max(after, 1),
  });
}

function second(signal) {
  return new Promise((resolve, reject) => {
    const give = () => (clearTimeout(timer), reject(signal.reason));
    const timer = setTimeout(() => (signal?.removeEventListener("abort", give), resolve()), 1000);
    signal?.addEventListener("abort", give, { once: true });
  });
}

/** Whether an error only says that its request was given up for a newer one. */
export const aborted = (error) => error?.name === "AbortError";

/**
 * One line for people: how long it took and what was known already.
 * @param {Headers} headers
 * @param {any} data
 */
export function timing(headers, data) {
  const found = (headers.get("server-timing") ?? "").matchAll(/(\w+);dur=([\d.]+)/g);
  const stages = [...found].map(([, name, ms]) => [name, Number(ms)]);
  const parts = stages.filter(([, ms]) => ms >= 1).map(([name, ms]) => `${name} ${Math.round(ms)}`);
  const total = stages.reduce((sum, [, ms]) => sum + ms, 0);
  const { image_tokens: image, cached_tokens: cached } = data?.usage?.prompt_tokens_details ?? {};
  const seen = cached >= image ? "image known, text pass only" : cached ? "some images known" : "image encoded";
  const spent = stages.length ? `${total < 10 ? total.toFixed(1) : Math.round(total)} ms` : "";
  const said = [spent, image ? seen : ""].filter(Boolean).join(" – ");
  return parts.length > 1 ? `${said} (${parts.join(", ")})` : said;
}
