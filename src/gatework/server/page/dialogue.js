// A dialogue: its turns in order, mine and the model's in turn, as bubbles, the newest in view.

import { element } from "./views.js";

export class Dialogue {
  constructor(place) { this.place = place; this.turns = []; }

  // Draw all of it; `waiting` adds a bubble for a reply that is being written.
  draw(words, waiting = false) {
    this.place.replaceChildren();
    this.turns.forEach((text, index) => this.bubble(words, index % 2 === 0, text));
    if (waiting) this.bubble(words, false, "…").classList.add("waits");
    if (!this.turns.length) element(this.place, "p", words.begin, "note");
    this.place.scrollTop = this.place.scrollHeight;
  }

  bubble(words, mine, text) {
    const made = element(this.place, "p", "", mine ? "turn mine" : "turn");
    element(made, "span", `${words[mine ? "you" : "model"]}: `, "unseen");
    made.append(text || words.silent);
    made.dir = "auto";
    return made;
  }
}
