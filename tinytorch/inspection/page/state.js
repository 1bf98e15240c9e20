// What the views share: the text, the chosen token, the settings, and the heads that are knocked out.

export class State extends EventTarget {
  about = null; // the model, as the message "about" returns it
  ids = [];
  tokens = []; // the text of each id
  shares = []; // the probability of each token that the model has written; null for the others
  position = -1; // of the chosen token; -1 for the last
  temperature = 0.8;
  topK = null;
  off = new Set(); // heads that are knocked out: "block,head"

  get chosen() {
    return this.position < 0 ? this.ids.length - 1 : Math.min(this.position, this.ids.length - 1);
  }

  get heads() {
    return [...this.off].map((key) => key.split(",").map(Number));
  }

  get sampling() {
    return { temperature: this.temperature, top_k: this.topK };
  }

  // `what` is "text", "position", "settings", "heads" or "model".
  changed(what) {
    this.dispatchEvent(new CustomEvent("change", { detail: what }));
  }

  setText(ids, tokens) {
    [this.ids, this.tokens, this.position] = [ids, tokens, -1];
    this.shares = ids.map(() => null);
    this.changed("text");
  }

  append(id, token, share) {
    this.ids = [...this.ids, id];
    this.tokens = [...this.tokens, token];
    this.shares = [...this.shares, share];
    this.position = -1;
  }

  choose(position) {
    if (position < 0 || position >= this.ids.length || position === this.chosen) return;
    this.position = position;
    this.changed("position");
  }

  setOff(block, head, isOff) {
    const key = `${block},${head}`;
    isOff ? this.off.add(key) : this.off.delete(key);
    this.changed("heads");
  }

  restore() {
    this.off.clear();
    this.changed("heads");
  }

  setModel(about) {
    this.about = about;
    this.off.clear();
    this.changed("model");
  }
}
