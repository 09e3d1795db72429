// The language of a page, English or Chinese: kept between visits, and changed by the button in its head.

import { WORDS } from "./words.js";

// What a browser keeps, in localStorage or sessionStorage; where it keeps nothing, nothing is found.
export function recall(store, name) {
  try { return window[store].getItem(name) || ""; } catch { return ""; }
}
export function keep(store, name, value) {
  try { window[store].setItem(name, value); } catch { /* storage is blocked */ }
}

const KEY = "gatework-language";  // other services may share the origin, and with it what is kept
const kept = recall("localStorage", KEY);
let chosen = Object.hasOwn(WORDS, kept) ? kept : navigator.language.startsWith("zh") ? "zh" : "en";
export const language = () => chosen;
export const words = () => WORDS[chosen];

// Put the words into what names them.
export function dress() {
  document.documentElement.lang = chosen;
  for (const place of document.querySelectorAll("[data-word]")) place.textContent = words()[place.dataset.word];
  document.getElementById("language").textContent = words().other;
}

// The button that changes it; `drawn` draws what else depends on it.
export function changing(drawn) {
  document.getElementById("language").onclick = () => {
    chosen = chosen === "en" ? "zh" : "en";
    keep("localStorage", KEY, chosen);
    dress();
    drawn();
  };
}
