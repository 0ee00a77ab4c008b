// What the reader said of negatives: good, or false because they are relevant. The browser keeps it for these negatives where it can.

export class Marks {
  constructor(name) {
    this.name = "quarry.marks." + name;
    this.of = new Map();
    this.listeners = [];
    try {
      for (const [query, document, mark] of JSON.parse(localStorage.getItem(this.name) ?? "[]")) this.of.set(JSON.stringify([query, document]), mark);
    } catch {
      // Where the browser keeps nothing, the marks live as long as the page is open.
    }
  }

  get(query, document) {
    return this.of.get(JSON.stringify([query, document])) ?? "";
  }

  // set marks a negative as "good" or "false"; "" takes the mark away.
  set(query, document, mark) {
    const key = JSON.stringify([query, document]);
    if (mark === "") this.of.delete(key);
    else this.of.set(key, mark);
    this.changed();
  }

  clear() {
    this.of.clear();
    this.changed();
  }

  changed() {
    try {
      localStorage.setItem(this.name, JSON.stringify([...this.of].map(([key, mark]) => [...JSON.parse(key), mark])));
    } catch {
      // as above
    }
    for (const listener of this.listeners) listener();
  }

  count(mark) {
    return [...this.of.values()].filter((m) => m === mark).length;
  }

  // tsv is the marks as judgements in BEIR's layout: a false negative is relevant, with score 1, and a good one is not, with score 0.
  tsv() {
    const lines = ["query-id\tcorpus-id\tscore"];
    for (const [key, mark] of this.of) {
      const ids = JSON.parse(key);
      if (!ids.some((id) => /[\t\r\n]/.test(id))) lines.push([...ids, mark === "false" ? 1 : 0].join("\t"));
    }
    return lines.join("\n") + "\n";
  }
}
