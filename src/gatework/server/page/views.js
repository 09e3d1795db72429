// What is asked of each kind of model, and how its answer is shown. A view has: `label` of the text, `options` it lets
// people set, `live` (asked while one types), `request(text, options)` and `show(place, data, words, text)`. That of a task
// comes before that of its kind; one with `turns` is a dialogue, whose request has turns for a text.

const HUES = [210, 25, 140, 290, 50, 330, 175, 250, 95, 0];

export function element(parent, name, text = "", className = "") {
  const made = parent.appendChild(document.createElement(name));
  if (text) made.textContent = text;
  if (className) made.className = className;
  return made;
}

// What the address names behind its #.
export function named() {
  const hash = location.hash.slice(1);
  try { return decodeURIComponent(hash); } catch { return hash; }
}

function bars(place, scores) {
  const grid = element(place, "div", "", "bars");
  Object.entries(scores).slice(0, 12).forEach(([label, score], rank) => {
    element(grid, "span", label, rank ? "" : "first");
    const inner = element(element(grid, "span", "", "bar"), "i");
    inner.style.width = `${100 * score}%`;
    element(grid, "span", `${(100 * score).toFixed(1)} %`, "number");
  });
}

// Labels get colours in the order in which they are met.
const met = new Map();
function paint(label) {
  if (!met.has(label)) met.set(label, met.size);
  return `hsl(${HUES[met.get(label) % HUES.length]} 75% 55% / .32)`;
}

function spans(place, text, pieces) {
  const line = element(place, "p", "", "spans"), letters = Array.from(text);  // offsets count code points
  let at = 0;
  for (const { start, end, label, score } of pieces) {
    line.append(letters.slice(at, start).join(""));
    const mark = element(line, "mark", letters.slice(start, end).join(""));
    mark.style.background = paint(label);
    mark.title = `${label} ${(100 * score).toFixed(1)} %`;
    element(mark, "small", label);
    at = end;
  }
  line.append(letters.slice(at).join(""));
}

const classify = {
  label: "text", live: true, options: [],
  request: (text) => ["predict", { text }],
  show: (place, data) => bars(place, data.answer.scores),
};

const tag = {
  label: "text", live: true, options: [],
  request: (text) => ["predict", { text }],
  show(place, { answer }, words, text) {
    const found = answer.spans || answer.tokens.map((token) => ({ ...token, label: token.tag }));
    spans(place, text, found);
    if (!found.length) element(place, "p", words.none, "note");
  },
};

const seq2seq = {
  label: "source", live: true, options: ["beams", "count", "must"],
  request: (text, { beams, count, must }) => ["predict", {
    text, options: { ...(beams && { beams }), ...(count && { count }), ...(must && { constraint: { must } }) },
  }],
  show(place, { answer }, words) {
    element(place, "p", answer.text, "written").dir = "auto";
    if (!answer.alternatives) return;
    const list = element(place, "ol");
    list.start = 2;
    for (const other of answer.alternatives) element(list, "li", `${other.text}  (${other.score.toFixed(2)})`);
  },
};

const lm = {
  label: "prompt", live: false, options: ["max_tokens", "temperature", "top_p", "seed", "must", "must_not", "pattern"],
  gap: "___",
  request(text, given) {
    const { must, must_not, pattern, ...options } = given;
    const constraint = { ...(must && { must }), ...(must_not && { must_not }), ...(pattern && { pattern }) };
    if (Object.keys(constraint).length) options.constraint = constraint;
    if (!text.includes(this.gap)) return ["generate", { prompt: text, options, stream: true }];
    return ["fill", { text, options: options.constraint ? { constraint } : {} }];
  },
  show(place, data) {
    const list = element(place, "ol");
    for (const one of data.answers) element(list, "li", one.text);
  },
};

const reply = {
  label: "message", live: false, turns: true, options: ["temperature", "top_p", "seed"],
  request: (turns, options, model) => ["predict", { text: model.turns ? turns : turns.at(-1) || "", options }],
  read: (turns, model) => turns.slice(-(model.turns || 1)).join("\n"),  // what it has read of a dialogue
};

export const viewOf = (model) => ({ reply })[model.task] || { classify, tag, seq2seq, lm }[model.kind];

// What a model tells apart: labels, of tags that mark spans only what they mark.
export function kindsOf(model) {
  const spans = model.kind === "tag" && model.labels.every((label) => label === "O" || /^[BIESMLU]-./.test(label));
  return spans ? [...new Set(model.labels.filter((label) => label !== "O").map((label) => label.slice(2)))] : model.labels;
}

// How an option is asked for: its kind of value, and an example.
export const OPTIONS = {
  max_tokens: { kind: "whole", value: 200 }, temperature: { kind: "number", value: 0.8 }, top_p: { kind: "number" },
  seed: { kind: "whole" }, beams: { kind: "whole" }, count: { kind: "whole" },
  must: { kind: "words" }, must_not: { kind: "words" }, pattern: { kind: "text" },
};

export function read(kind, value) {
  if (!value.trim()) return undefined;
  if (kind === "whole" || kind === "number") return Number(value);
  if (kind === "words") return value.split(/[,，、]/).map((word) => word.trim()).filter(Boolean);
  return value;
}
