// Which words of a text are marked: those that it has in common with the query, and with the positive.

const plain = new Set(("a about above after again all also am an and any are as at be because been before being below between both but by can could did do does " +
  "doing down during each few for from further had has have having he her here hers him his how i if in into is it its just me more most my no nor not now of " +
  "off on once one only or other our out over own same she should so some such than that the their them then there these they this those through to too under until " +
  "up use used uses using very was we were what when where which while who whom why will with would you your").split(" "));

const word = /[\p{L}\p{N}]+/gu;

// wordsOf is the words of a text, without those that say nothing.
export function wordsOf(text) {
  return new Set([...text.toLowerCase().matchAll(word)].map(([w]) => w).filter((w) => w.length > 1 && !plain.has(w)));
}

// marked is a text as nodes, with the words of the query marked and those of the positive underlined.
export function marked(text, query, positive = new Set()) {
  const nodes = [];
  let end = 0;
  for (const {0: w, index} of text.matchAll(word)) {
    const lower = w.toLowerCase();
    const tag = query.has(lower) ? "mark" : positive.has(lower) && w.length > 3 ? "u" : null;
    if (tag === null) continue;
    nodes.push(text.slice(end, index));
    const element = document.createElement(tag);
    element.textContent = w;
    nodes.push(element);
    end = index + w.length;
  }
  nodes.push(text.slice(end));
  return nodes;
}
