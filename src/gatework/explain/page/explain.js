// Draws an explanation, the plain data of `gatework.explain.explain`, into an element. No other file is needed.

const WORDS = {
  en: {
    for: "What each token does for", against: "against it", speaks: "for it", nats: "nats of log odds",
    surprise: "How unexpected each token was, in nats", tags: "Tags", looked: "Where each token written looked",
    gates: "Gates and states", layer: "Layer", show: "Show", forward: "forward", backward: "backward", unit: "unit",
    cut: "tokens at the end are not shown", units: "units that vary most, from top to bottom", end: "end",
    i: "input gate", f: "forget gate", g: "candidate", o: "output gate", c: "cell state", h: "output",
    r: "reset gate", z: "update gate", n: "candidate",
  },
  zh: {
    for: "每个词元对此标签的作用：", against: "反对", speaks: "支持", nats: "对数几率（纳特）",
    surprise: "每个词元的意外程度（纳特）", tags: "标注", looked: "写出每个词元时所看之处",
    gates: "门与状态", layer: "层", show: "显示", forward: "正向", backward: "反向", unit: "单元",
    cut: "个末尾词元未显示", units: "变化最大的单元，自上而下", end: "结束",
    i: "输入门", f: "遗忘门", g: "候选值", o: "输出门", c: "细胞状态", h: "输出", r: "重置门", z: "更新门", n: "候选值",
  },
};
const SIGNED = new Set(["g", "n", "c", "h"]);  // beside the gates proper, which lie between 0 and 1

// `tagged`: whether the text with its tags is shown too, where the page has not shown it already.
export function renderExplanation(root, data, language = "en", tagged = true) {
  const words = WORDS[language] || WORDS.en;
  root.classList.add("explanation");
  root.replaceChildren();
  if (data.task === "classify") attribution(root, data, words);
  else if (data.task === "tag") { if (tagged) tags(root, data, words); }
  else if (data.task === "lm") surprise(root, data, words);
  if (data.alignment) alignment(root, data.alignment, words);
  if (data.gates) gates(root, data.gates, words);
  if (data.left_out) note(root, `${data.left_out} ${words.cut}`);
}

function element(parent, name, text = "", attributes = {}) {
  const made = parent.appendChild(document.createElement(name));
  if (text) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}
const note = (root, text) => element(root, "p", text, { class: "note" });
const colour = (name, share) => `rgba(var(--${name}), ${share.toFixed(3)})`;

// The text with each of `pieces`, which have places in it, made by `make`; what is between them stays as it is.
function running(root, data, pieces, make) {
  const line = element(root, "p", "", { class: "tokens" });
  const letters = Array.from(data.text);  // offsets count code points
  let at = 0;
  for (const piece of pieces) {
    line.append(letters.slice(at, piece.start).join(""));
    make(element(line, "span", letters.slice(piece.start, piece.end).join(""), { class: "token" }), piece);
    at = piece.end;
  }
  line.append(letters.slice(at).join(""));
}

function attribution(root, data, words) {
  element(root, "h3", `${words.for} “${data.label}”`);
  const most = Math.max(...data.tokens.map((token) => Math.abs(token.weight)), 1e-6);
  running(root, data, data.tokens, (span, token) => {
    span.style.background = colour(token.weight >= 0 ? "for" : "against", 0.75 * Math.abs(token.weight) / most);
    span.title = `${token.weight.toFixed(2)} ${words.nats}`;
  });
  const legend = note(root, "");
  for (const [name, word] of [["for", words.speaks], ["against", words.against]]) {
    element(legend, "span", word, { class: "token" }).style.background = colour(name, 0.5);
    legend.append(" ");
  }
  legend.append(`± ${most.toFixed(2)} ${words.nats}`);
}

function tags(root, data, words) {
  element(root, "h3", words.tags);
  const spans = data.answer.spans;
  running(root, data, spans || data.tokens, (span, piece) => {
    const tag = spans ? piece.label : piece.tag;
    if (tag === "O") return;
    span.dataset.tag = tag;
    span.style.background = colour("for", 0.1 + 0.3 * piece.score);
    span.title = `${tag} ${(100 * piece.score).toFixed(1)} %`;
    element(span, "sub", tag);
  });
}

function surprise(root, data, words) {
  element(root, "h3", words.surprise);
  const line = element(root, "p", "", { class: "tokens" });
  const most = Math.max(...data.tokens.map((token) => token.nats), 1);
  for (const token of data.tokens) {
    const span = element(line, "span", token.text, { class: "token", title: `${token.nats.toFixed(2)} nats` });
    span.style.background = colour("against", 0.8 * token.nats / most);
  }
}

function alignment(root, data, words) {
  element(root, "h3", words.looked);
  heat(root, data.weights, named(data.source, words), named(data.written, words), { low: 0, high: 1 });
}

// Tokens as they are written beside a map; the empty one is the end of a source or of what was written.
const named = (tokens, words) => tokens.map((token) => token.trim() || (token ? "␣" : `⏎ ${words.end}`));

function gates(root, data, words) {
  element(root, "h3", words.gates);
  const controls = element(root, "div", "", { class: "controls" });
  const choose = (text) => element(element(controls, "label", text), "select");
  const layer = choose(words.layer), what = choose(words.show);
  data.layers.forEach((one, index) => {
    element(layer, "option", `${one.layer + 1}, ${words[one.direction]}`, { value: index });
  });
  for (const name of Object.keys(data.layers[0].values)) {
    element(what, "option", words[name] ? `${name}: ${words[name]}` : name, { value: name });
  }
  const place = element(root, "div");
  const draw = () => {
    const one = data.layers[Number(layer.value)], rows = one.values[what.value];
    const most = SIGNED.has(what.value) || data.cell.startsWith("rnn") ? Math.max(...rows.flat().map(Math.abs), 1e-3) : 0;
    place.replaceChildren();
    heat(place, rows, named(data.tokens, words), one.units.map((unit) => `${words.unit} ${unit}`),
      { low: -most, high: most || 1, small: true });
    note(place, `${data.cell}: ${one.units.length} ${words.units}`);
  };
  layer.onchange = what.onchange = draw;
  draw();
}

// A heat map of rows over columns, with the value under the pointer told below it.
function heat(root, rows, across, down, { low, high, small = false }) {
  const scroll = element(root, "div", "", { class: "scroll" });
  const canvas = element(scroll, "canvas", "", { role: "img", tabindex: "0" });
  const readout = note(root, " ");
  readout.setAttribute("aria-live", "polite");
  const style = getComputedStyle(root), font = "12px system-ui, sans-serif";
  const pen = canvas.getContext("2d");
  pen.font = font;
  const widest = (texts) => Math.min(150, Math.max(10, ...texts.map((text) => pen.measureText(text).width)));
  const left = small ? 4 : widest(down) + 8, top = widest(across) + 8, dots = window.devicePixelRatio || 1;
  const room = Math.max(scroll.clientWidth - left - 30, 0) / across.length;
  const cell = { w: Math.floor(Math.min(Math.max(room, 18), 44)), h: small ? 7 : 20 };
  const width = left + cell.w * across.length + 4, height = top + cell.h * rows.length + 4;
  canvas.width = width * dots; canvas.height = height * dots;
  canvas.style.width = `${width}px`; canvas.style.height = `${height}px`;
  pen.scale(dots, dots);
  pen.font = font; pen.textBaseline = "middle"; pen.fillStyle = style.getPropertyValue("--ink");
  across.forEach((text, column) => {
    pen.save();
    pen.translate(left + (column + 0.5) * cell.w, top - 5);
    if (pen.measureText(text).width > cell.w - 2) pen.rotate(-Math.PI / 2);
    else { pen.textAlign = "center"; pen.translate(0, -5); }
    pen.fillText(text, 0, 0, 150);
    pen.restore();
  });
  if (!small) {
    pen.textAlign = "right";
    down.forEach((text, row) => pen.fillText(text, left - 5, top + (row + 0.5) * cell.h, 150));
  }
  const tone = { for: style.getPropertyValue("--for"), against: style.getPropertyValue("--against") };
  rows.forEach((values, row) => values.forEach((value, column) => {
    const share = Math.min(1, Math.abs(value) / Math.max(Math.abs(low), Math.abs(high)));
    pen.fillStyle = `rgba(${value < 0 ? tone.against : tone.for}, ${share})`;
    pen.fillRect(left + column * cell.w, top + row * cell.h, cell.w - 1, cell.h - (small ? 0 : 1));
  }));
  let at = [0, 0];
  const tell = (row, column) => {
    if (row < 0 || column < 0 || row >= rows.length || column >= across.length) return;
    at = [row, column];
    readout.textContent = `${down[row]} · ${across[column]}: ${rows[row][column].toFixed(3)}`;
  };
  canvas.setAttribute("aria-label", `${rows.length} × ${across.length}`);
  canvas.onpointermove = canvas.onpointerdown = (event) => {
    tell(Math.floor((event.offsetY - top) / cell.h), Math.floor((event.offsetX - left) / cell.w));
  };
  canvas.onkeydown = (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    tell(at[0] + step[0], at[1] + step[1]);
  };
}
