// Requests to the service, with a token where it wants one.

import { keep, recall, words } from "./language.js";

const KEY = "gatework-token";
let token = recall("sessionStorage", KEY);
export const hasToken = () => token !== "";
export const setToken = (value) => { token = value; keep("sessionStorage", KEY, value); };

export class Refused extends Error {
  constructor(status, message) { super(message); this.status = status; }
}

// The response to a request: a body is JSON, as text or to become it, or a file.
export async function send(method, path, body, signal) {
  if (/[^\x20-\x7e\xa0-\xff]/.test(token)) throw new Refused(401, words().odd_token);  // no header can hold it
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  if (body === undefined) return fetch(path, { method, headers, signal });
  headers["content-type"] = body instanceof Blob ? "application/octet-stream" : "application/json";
  const sent = typeof body === "string" || body instanceof Blob ? body : JSON.stringify(body);
  return fetch(path, { method, headers, signal, body: sent });
}

const fetched = (path, body, signal) => send(body === undefined ? "GET" : "POST", path, body, signal);

async function refused(response) {
  const text = await response.text();
  let message = text;
  try { message = JSON.parse(text).error || text; } catch { /* no JSON: the text itself */ }
  return new Refused(response.status, message || `HTTP ${response.status}`);
}

// The answer to a request, and the milliseconds it took.
export async function ask(path, body, signal) {
  const start = performance.now();
  const response = await fetched(path, body, signal);
  if (!response.ok) throw await refused(response);
  return { data: await response.json(), ms: performance.now() - start };
}

// Server-sent events of a request, as [name, data].
export async function* events(path, body, signal) {
  const response = await fetched(path, body, signal);
  if (!response.ok) throw await refused(response);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const lines = block.split("\n");
      const field = (name) => lines.filter((line) => line.startsWith(`${name}: `)).map((line) => line.slice(name.length + 2));
      yield [field("event")[0] || "message", JSON.parse(field("data").join("\n"))];
    }
  }
}
