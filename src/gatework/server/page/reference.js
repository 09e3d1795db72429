// The reference: every call that /openapi.json describes, to be read and tried.

import { ask, Refused, send, setToken } from "./asking.js";
import { changing, dress, language, words } from "./language.js";
import { copies, curl } from "./programs.js";
import { sketch } from "./schema.js";
import { CALLS, FIELDS, GROUPS, WRONG } from "./reference_words.js";
import { element, named } from "./views.js";

const MOST = 100_000;  // characters of an answer that are shown
const READ = 50 * MOST;  // of one that is laid out, if it is JSON
const at = (id) => document.getElementById(id);
const WRITES = /(generate|fill|rewrite|score|state)$/;  // what language models are asked
let description = null, models = [], drawn = 0;

// A paragraph, a button ... whose word follows the language.
function worded(place, name, word, className = "") {
  const made = element(place, name, words()[word], className);
  made.dataset.word = word;
  if (name === "button") made.type = "button";
  return made;
}

function field(place, title, name = "input") {
  const label = element(place, "label", `${title} `);
  const input = element(label, name);
  input.spellcheck = false;
  return input;
}

// What stands in the fields of a path: those of `{name}` keep their slashes, as models in folders have them.
function address(path, fields) {
  const filled = path.replace(/\{(\w+)\}/g, (_, name) => {
    const parts = fields[name].value.split("/");
    if (parts.some((part) => part === "." || part === "..")) throw new Refused(0, words().dots);
    return parts.map(encodeURIComponent).join("/");
  });
  return new URL(filled.slice(1), location.href).href;
}

// Ask, and show status, time and answer as they come.
async function tried(place, method, url, body, signal) {
  const start = performance.now(), line = place.querySelector(".status"), shown = place.querySelector(".answer");
  const response = await send(method, url, body, signal);
  line.textContent = `${response.status} ${response.statusText}`;
  if (response.status === 401) at("token-row").hidden = false;
  const kind = response.headers.get("content-type") || "";
  if (kind.includes("octet-stream")) shown.textContent = `${(await response.arrayBuffer()).byteLength} ${words().octets}`;
  else if (kind.includes("event-stream")) await pour(response, shown);
  else {
    const text = await response.text();
    shown.textContent = cut(kind.includes("/json") && text.length <= READ ? laid(text) : text);
  }
  shown.hidden = !shown.textContent;
  line.textContent += `, ${(performance.now() - start).toFixed(1)} ${words().ms}`;
}

const cut = (text) => (text.length > MOST ? `${text.slice(0, MOST)} …` : text);

function laid(text) {
  try { return JSON.stringify(JSON.parse(text), null, 2); } catch { return text; }
}

// Events as they come. What is beyond MOST is read all the same, so that the time is that of the whole.
async function pour(response, shown) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let room = MOST;
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    if (room < 0) continue;
    shown.hidden = false;
    shown.append(value.length > room ? `${value.slice(0, room)} …` : value);
    room -= value.length;
  }
}

// Why a call was not answered.
function failed(line, error) {
  line.textContent = error.name === "AbortError" ? words().ended.stop
    : error instanceof TypeError ? words().unreachable : error.message;
  if (error.status === 401) at("token-row").hidden = false;
}

// A model that a call is likely meant for.
function likely(path) {
  const kinds = WRITES.test(path) ? ["lm"] : ["classify", "tag", "seq2seq"];
  return kinds.map((kind) => models.find((model) => model.kind === kind)).find(Boolean) || models[0];
}

// The form of one call: its path's fields, its body, and what came back.
function trial(place, method, path, call) {
  const form = element(place, "form", "", "trial"), fields = {};
  form.autocomplete = "off";
  for (const { name } of call.parameters || []) {
    fields[name] = field(form, name);
    fields[name].value = { name: likely(path)?.name, version: likely(path)?.version }[name] ?? "1";
    if (name === "name") fields.name.setAttribute("list", "models");
  }
  const content = call.requestBody?.content || {}, json = content["application/json"];
  const [media] = Object.keys(content), body = media ? field(form, media, json ? "textarea" : "input") : null;
  if (json) {
    body.value = JSON.stringify(json.example ?? {}, null, 2);
    body.rows = body.value.split("\n").length + 1;
    body.onkeydown = (event) => {
      if (event.key !== "Enter" || event.isComposing || !(event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      form.requestSubmit();
    };
  }
  if (body && !json) body.type = "file";
  const buttons = element(form, "p", "", "buttons");
  worded(buttons, "button", "send", "main").type = "submit";
  const stop = worded(buttons, "button", "stop");
  stop.hidden = true;
  stop.onclick = () => running?.abort();
  const given = () => (json ? body.value : body?.files[0]);
  const command = () => {
    try {
      return curl(method, address(path, fields), json ? body.value : undefined, json && streams(body.value));
    } catch (error) { failed(line, error); }
  };
  if (json || !body) copies(worded(buttons, "button", "copy_curl"), command, "copy_curl");
  const line = element(form, "p", "", "status note"), shown = element(form, "pre", "", "answer");
  line.setAttribute("role", "status");
  shown.hidden = true;
  let running = null;
  form.onsubmit = async (event) => {
    event.preventDefault();
    running?.abort();
    const own = running = new AbortController();
    shown.hidden = true;
    shown.textContent = "";
    line.textContent = "…";
    stop.hidden = false;
    try {
      await tried(form, method, address(path, fields), given(), own.signal);
    } catch (error) { if (running === own) failed(line, error); }
    if (running !== own) return;
    running = null;
    stop.hidden = true;
  };
}

function streams(body) {
  try { return JSON.parse(body).stream === true; } catch { return false; }
}

function details(place, method, path, call) {
  for (const [media, { schema }] of Object.entries(call.requestBody?.content || {})) {
    worded(place, "h3", "body");
    sketched(element(place, "pre"), schema, schema ? "" : media);
  }
  worded(place, "h3", "answers");
  const list = element(place, "ul", "", "statuses");
  for (const [status, { description: wrong, content = {} }] of Object.entries(call.responses)) {
    const line = element(list, "li", `${status} `);
    if (status !== "200") { wrongs(element(line, "span"), status, wrong); continue; }
    for (const [media, { schema }] of Object.entries(content)) {
      sketched(element(element(line, "div"), "code"), schema, schema ? `${media}: ` : media);
    }
  }
  worded(place, "h3", "trial");
  trial(place, method, path, call);
}

// What stands before a schema, and the schema if there is one; drawn again when the language changes.
const drawings = new Map();
function sketched(place, schema, before) {
  drawings.set(place, [schema, before]);
  const told = (name, english) => (language() === "zh" && FIELDS[name]) || english;
  place.textContent = before + (schema ? sketch(schema, description.components.schemas, told) : "");
}

// What a status says was wrong.
function wrongs(place, status, english) {
  place.className = "wrong";
  place.dataset.status = status;
  place.dataset.english = english;
  place.textContent = (language() === "zh" && WRONG[status]) || english;
}

const told = (method, path, call) => (language() === "zh" && CALLS[`${method} ${path}`]) || call.summary;

function one(place, method, path, call) {
  const whole = element(place, "details", "", "call");
  whole.id = `${method} ${path}`;
  const head = element(whole, "summary");
  element(head, "b", method, `method ${method.toLowerCase()}`);
  element(head, "code", path);
  element(head, "span", "", "told");
  whole.ontoggle = () => {
    if (!whole.open) return;
    history.replaceState(null, "", `#${encodeURIComponent(whole.id)}`);
    if (!whole.querySelector(".trial")) details(whole, method, path, call);
  };
}

// Open the call that the address names; what opens it draws it before it is scrolled to.
function go() {
  const place = at(named());
  if (!place?.matches(".call")) return;
  place.open = true;
  place.ontoggle();
  place.scrollIntoView();
}

// A sentence in which `this` is code.
function ticked(place, text) {
  place.replaceChildren();
  text.split("`").forEach((part, index) => (index % 2 ? element(place, "code", part) : place.append(part)));
}

// What changes with the language; forms that are open stay as they are.
function speak() {
  const { info, paths, tags } = description;
  at("about").textContent = `${info.title} ${info.version} · OpenAPI ${description.openapi}`;
  for (const { name, description: english } of tags) {
    at(`group-${name}`).textContent = words().groups[name];
    at(`about-${name}`).textContent = (language() === "zh" && GROUPS[name]) || english;
  }
  for (const [place, [schema, before]] of drawings) sketched(place, schema, before);
  for (const place of document.querySelectorAll(".wrong")) wrongs(place, place.dataset.status, place.dataset.english);
  for (const [path, calls] of Object.entries(paths)) {
    for (const [method, call] of Object.entries(calls)) {
      const verb = method.toUpperCase();
      ticked(at(`${verb} ${path}`).querySelector(".told"), told(verb, path, call));
    }
  }
}

function draw() {
  at("calls").replaceChildren();
  drawings.clear();
  for (const { name } of description.tags) {
    const group = element(at("calls"), "section");
    element(group, "h2").id = `group-${name}`;
    element(group, "p", "", "note").id = `about-${name}`;
    for (const [path, calls] of Object.entries(description.paths)) {
      for (const [method, call] of Object.entries(calls)) if (call.tags[0] === name) one(group, method.toUpperCase(), path, call);
    }
  }
  speak();
  go();
}

async function start() {
  const turn = ++drawn;
  try {
    const found = (await ask("openapi.json")).data, loaded = (await ask("v1/models")).data.models;
    if (turn !== drawn) return;
    description = found;
    models = loaded;
    at("error").hidden = true;
    at("models").replaceChildren();
    for (const model of models) element(at("models"), "option").value = model.name;
    draw();
  } catch (error) {
    at("error").hidden = false;
    at("error").textContent = error instanceof Refused ? error.message : words().unreachable;
    at("token-row").hidden = error.status !== 401 && at("token-row").hidden;
  }
}

dress();
changing(() => { if (description) speak(); });
at("asking").onsubmit = (event) => event.preventDefault();
at("token").onchange = () => {
  setToken(at("token").value.trim());
  if (!description) start();  // else what was typed into the forms would go
};
window.onhashchange = () => { if (description) go(); };
start();
