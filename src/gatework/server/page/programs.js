// The same request from a program, as text to be copied.

import { hasToken } from "./asking.js";
import { words } from "./language.js";

const quoted = (text) => text.replaceAll("'", "'\\''");

// A token is never copied: programs take it from GATEWORK_TOKEN. `streams`: the answer comes piece by piece.
export function curl(method, url, body, streams = false) {
  const verb = method === (body === undefined ? "GET" : "POST") ? "" : `-X ${method} `;
  const who = hasToken() ? ' -H "authorization: Bearer $GATEWORK_TOKEN"' : "";
  const data = body === undefined ? "" : ` -H 'content-type: application/json' --data-raw '${quoted(body)}'`;
  return `curl ${streams ? "-N " : ""}${verb}'${quoted(url)}'${who}${data}`;
}

export function python(url, body, streams) {
  const literal = body.replaceAll("\\", "\\\\").replaceAll("'", "\\'");
  const who = hasToken() ? ', "authorization": "Bearer " + os.environ["GATEWORK_TOKEN"]' : "";
  return `import json, ${who && "os, "}urllib.request\n\n`
    + `body = '${literal}'.encode()\n`
    + `headers = {"content-type": "application/json"${who}}\n`
    + `request = urllib.request.Request("${url}", body, headers)\n`
    + (streams ? "for line in urllib.request.urlopen(request):\n    print(line.decode(), end=\"\")\n"
      : "print(json.load(urllib.request.urlopen(request)))\n");
}

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch { /* not there over plain HTTP, or not allowed */ }
  const place = document.body.appendChild(document.createElement("textarea"));
  place.className = "unseen";
  place.value = text;
  place.focus({ preventScroll: true });
  place.select();
  try { return document.execCommand("copy"); } finally { place.remove(); }
}

// A button that copies what `text` gives, if anything, and says for a moment whether it did.
export function copies(button, text, word = "copy") {
  button.onclick = async () => {
    const given = text();
    if (given === undefined) return;
    button.textContent = words()[await copied(given) ? "copied" : "not_copied"];
    button.focus();
    setTimeout(() => { button.textContent = words()[word]; }, 1200);
  };
}
