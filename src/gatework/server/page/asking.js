// Requests to the service, with a token where it wants one.

let token = sessionStorage.getItem("token") || "";
export const setToken = (value) => { token = value; sessionStorage.setItem("token", value); };

export class Refused extends Error {
  constructor(status, message) { super(message); this.status = status; }
}

function options(body, signal) {
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  if (body === undefined) return { headers, signal };
  return { method: "POST", headers: { ...headers, "content-type": "application/json" }, body: JSON.stringify(body), signal };
}

async function refused(response) {
  const text = await response.text();
  let message = text;
  try { message = JSON.parse(text).error || text; } catch { /* no JSON: the text itself */ }
  return new Refused(response.status, message || `HTTP ${response.status}`);
}

// The answer to a request, and the milliseconds it took.
export async function ask(path, body, signal) {
  const start = performance.now();
  const response = await fetch(path, options(body, signal));
  if (!response.ok) throw await refused(response);
  return { data: await response.json(), ms: performance.now() - start };
}

// Server-sent events of a request, as [name, data].
export async function* events(path, body, signal) {
  const response = await fetch(path, options(body, signal));
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
