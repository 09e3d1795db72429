// The page of a service: choose a model, type, see its answer and why. Plain modules; nothing comes from elsewhere.

import { ask, events, Refused, setToken } from "./asking.js";
import { Dialogue } from "./dialogue.js";
import { renderExplanation } from "./explain.js";
import { changing, dress, language, words } from "./language.js";
import { copies, curl, python } from "./programs.js";
import { element, kindsOf, named, OPTIONS, read, viewOf } from "./views.js";

const LIVE_MS = 60, WHY_MS = 350, WHY_TOKENS = 96, SHOWN = 12;
const at = (id) => document.getElementById(id);
const state = { models: [], model: null, asked: "", written: "", turn: 0 };
const dialogue = new Dialogue(at("answer"));
let running = null, typed = 0, wondered = 0;
let writing = false;  // whether a language model is at it; what is typed meanwhile is not what it goes on from

const view = () => viewOf(state.model);
const size = (bytes) => bytes < 1e5 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(2)} MB`;
const path = (action) => `v1/models/${state.model.name.split("/").map(encodeURIComponent).join("/")}/${action}`;

// What would be asked now, of a dialogue with these turns: the action and its body.
function request(turns = asked()) {
  const given = {};
  for (const input of at("options").querySelectorAll("input")) {
    const value = read(OPTIONS[input.name].kind, input.value);
    if (value !== undefined) given[input.name] = value;
  }
  return view().request(view().turns ? turns : at("text").value, given, state.model);
}

// The turns up to the message that is written, or to the last one that was sent.
const asked = () => (said().length ? [...dialogue.turns, ...said()] : dialogue.turns.slice(0, -1));

// The message that is written, as the turns it would add.
function said() {
  const text = at("text").value.trim();
  return text ? [text] : [];
}

function fail(error) {
  if (error.name === "AbortError") return;
  at("error").hidden = false;
  at("error").textContent = error instanceof Refused ? error.message : words().unreachable;
  at("token-row").hidden = error.status !== 401 && at("token-row").hidden;
}

// Ask at once; an answer to what was typed before is dropped.
async function answer() {
  if (!state.model) return;
  if (view().turns) { await say(); return; }
  running?.abort();
  running = new AbortController();
  const signal = running.signal, turn = ++state.turn, text = at("text").value;
  state.asked = text;
  state.written = "";
  writing = false;
  at("error").hidden = true;
  code();
  if (!text.trim() && view().live) {
    at("answer").replaceChildren();
    element(at("answer"), "p", words().empty, "note");
    at("status").textContent = "";
    return;
  }
  try {
    const [action, body] = request();
    if (action === "generate") await write(body, text, signal, turn);
    else {
      const { data, ms } = await ask(path(action), body, signal);
      if (turn !== state.turn) return;
      const place = document.createElement("div");
      view().show(place, data, words(), text);
      at("answer").replaceChildren(place);
      at("status").textContent = `${ms.toFixed(1)} ${words().ms}`;
    }
    wonder();
  } catch (error) { if (turn === state.turn) fail(error); }
}

// A turn of a dialogue; `again` asks for another reply to the last one. What failed is taken back.
async function say(again = false) {
  const message = said(), draft = at("text").value, before = dialogue.turns;
  if (running || !(again ? before : message).length) return;
  const turn = ++state.turn;
  dialogue.turns = again ? before.slice(0, -1) : [...before, ...message];
  const [action, body] = request(dialogue.turns);
  if (!again) at("text").value = "";
  running = new AbortController();
  at("error").hidden = true;
  dialogue.draw(words(), true);
  buttons();
  try {
    const { data, ms } = await ask(path(action), body, running.signal);
    if (turn !== state.turn) return;
    dialogue.turns = [...dialogue.turns, data.answer.text];
    at("status").textContent = `${ms.toFixed(1)} ${words().ms}`;
    wonder();
  } catch (error) {
    if (turn !== state.turn) return;
    dialogue.turns = before;
    if (!again) at("text").value = draft;
    fail(error);
  } finally {
    if (turn === state.turn) {
      running = null;
      dialogue.draw(words());
      buttons();
      code();
    }
  }
}

function forget() {
  running?.abort();
  running = null;
  state.turn++;
  dialogue.turns = [];
  at("status").textContent = "";
  at("error").hidden = true;
  at("explanation").replaceChildren();
  dialogue.draw(words());
  buttons();
  code();
  at("text").focus();
}

// A blank where a model of words goes on after a prompt, else nothing.
const between = (text, next) => (state.model.spaced && /\S$/.test(text) && /^\S/.test(next) ? " " : "");

// What a language model writes, as it comes.
async function write(body, text, signal, turn) {
  const start = performance.now();
  at("answer").replaceChildren();
  at("status").textContent = "";
  const line = element(at("answer"), "p", "", "written");
  line.dir = "auto";
  element(line, "span", text, "given");
  const place = element(line, "span");
  writing = true;
  buttons();
  try {
    for await (const [name, data] of events(path("generate"), body, signal)) {
      if (turn !== state.turn) return;
      if (name === "error") throw new Refused(422, data.error);
      if (name === "message") {
        const piece = (state.written ? "" : between(text, data.text)) + data.text;
        place.append(piece);
        state.written += piece;
        continue;
      }
      const ms = performance.now() - start;
      at("status").textContent = `${data.tokens} ${words().tokens}, ${words().ended[data.reason] || data.reason}, ${ms.toFixed(0)} ${words().ms}`;
    }
  } catch (error) {
    if (error.name !== "AbortError" || turn !== state.turn) throw error;
    at("status").textContent = words().ended.stop;
  } finally {
    if (turn === state.turn) {
      writing = false;
      buttons();
    }
  }
}

// Why: asked once typing rests, and only where it is looked at.
function wonder() {
  clearTimeout(wondered);
  if (at("why").open) wondered = setTimeout(explain, WHY_MS);
}

async function explain() {
  const turn = state.turn;
  if (!state.model) return;
  try {
    const text = view().turns ? view().read(dialogue.turns.slice(0, -1), state.model)
      : state.written ? state.asked + state.written : at("text").value;
    if (!text.trim()) { at("explanation").replaceChildren(); return; }
    const { data } = await ask(path("explain"), { text, limit: WHY_TOKENS });
    if (view().turns) data.alignment = null;  // of the likeliest reply, where the one shown was drawn
    if (turn === state.turn) renderExplanation(at("explanation"), data, language(), false);
  } catch (error) { if (turn === state.turn) fail(error); }
}

function code() {
  const [action, body] = request(), url = new URL(path(action), location.href).href;
  at("curl").textContent = curl("POST", url, JSON.stringify(body), body.stream);
  at("python").textContent = python(url, JSON.stringify(body), body.stream);
}

function buttons() {
  at("actions").replaceChildren();
  if (view().live) return;
  const busy = view().turns ? running !== null : writing, filling = at("text").value.includes(view().gap || "\0");
  if (busy) button("stop", () => running.abort(), "main");
  else button(view().turns ? "send" : filling ? "fill" : "write", answer, "main");
  if (busy || !view().turns || !dialogue.turns.length) return;
  button("again", () => say(true));
  button("fresh", forget);
}

function button(word, work, className = "") {
  const made = element(at("actions"), "button", words()[word], className);
  made.type = "button";
  made.onclick = work;
}

// Everything that depends on the model and the language.
function draw() {
  dress();
  const model = state.model;
  if (!model) { fail(new Refused(0, words().no_model)); return; }
  const kinds = kindsOf(model);
  at("text-label").textContent = words()[view().label];
  at("text").rows = view().turns ? 2 : 5;
  at("answer").parentElement.classList.toggle("turns", Boolean(view().turns));
  at("about").textContent = `${model.name} · ${model.task} · ${size(model.bytes)} ${words().bytes}`
    + (kinds.length ? ` · ${kinds.slice(0, SHOWN).join(", ")}${kinds.length > SHOWN ? ` … (${kinds.length})` : ""}` : "");
  const kept = Object.fromEntries([...at("options").querySelectorAll("input")].map((input) => [input.name, input.value]));
  at("options").replaceChildren();
  for (const name of view().options) {
    const { kind, value = "" } = OPTIONS[name];
    const label = element(at("options"), "label", `${words()[name]} `, kind === "whole" || kind === "number" ? "" : "wide");
    const input = element(label, "input");
    input.name = name;
    input.value = kept[name] ?? value;
    input.inputMode = kind === "whole" ? "numeric" : kind === "number" ? "decimal" : "text";
    input.oninput = change;
  }
  if (view().turns) dialogue.draw(words(), Boolean(running));
  buttons();
  code();
}

function change() {
  clearTimeout(typed);
  if (!state.model) return;
  if (view().live) typed = setTimeout(answer, LIVE_MS);
  else {
    if (!writing) state.written = "";
    buttons();
    code();
    if (!view().turns) wonder();
  }
}

async function start() {
  try {
    const { data } = await ask("v1/models");
    at("error").hidden = true;
    state.models = data.models;
    state.model = data.models.find((model) => model.name === named()) || data.models[0] || null;
    at("model").replaceChildren();
    for (const model of data.models) element(at("model"), "option", model.name).selected = model === state.model;
    draw();
    if (state.model && view().live) answer();
  } catch (error) { draw(); fail(error); }
}

at("text").oninput = change;
at("asking").onsubmit = (event) => { event.preventDefault(); answer(); };
at("text").onkeydown = (event) => {
  if (event.key !== "Enter" || event.isComposing || !state.model) return;
  if (!(event.ctrlKey || event.metaKey) && (event.shiftKey || !view().turns)) return;
  event.preventDefault();
  answer();
};
at("model").onchange = () => {
  state.model = state.models.find((model) => model.name === at("model").value);
  history.replaceState(null, "", `#${encodeURIComponent(state.model.name)}`);
  running?.abort();
  running = null;
  state.turn++;
  state.written = "";
  writing = false;
  dialogue.turns = [];
  for (const id of ["answer", "explanation"]) at(id).replaceChildren();
  at("status").textContent = "";
  draw();
  change();
  wonder();
};
changing(() => {
  draw();
  if (!state.model) return;
  if (view().live) change();  // its answer has words too
  wonder();
});
at("why").ontoggle = wonder;
at("token").onchange = () => { setToken(at("token").value.trim()); start(); };
for (const button of document.querySelectorAll("[data-copy]")) copies(button, () => at(button.dataset.copy).textContent);
start();
