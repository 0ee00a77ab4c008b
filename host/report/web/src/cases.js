// Cases to page through, to filter and to mark.
import {count, fixed, h} from "./dom.js";
import {marked, wordsOf} from "./words.js";

const whole = (t) => (t.title ? t.title + " " : "") + t.text;
const doubt = (c) => Math.max(0, ...c.negatives.map((n) => n.score ?? 0));

function textOf(t, query, positive) {
  return h("div", {class: "text", tabindex: "0", role: "group", "aria-label": "Text of " + t.id},
    t.title ? h("h5", {}, marked(t.title, query, positive)) : null,
    h("p", {}, marked(t.text, query, positive), t.cut ? h("em", {class: "note"}, ` \u2026 ${count(t.cut)} more characters`) : null));
}

const facts = (rows) => h("dl", {class: "facts"}, rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));

// cases makes the section. onMap, where it is given, shows a case on the map.
export function cases(all, marks, onMap) {
  const audited = all.some((c) => c.negatives.some((n) => n.score != null));
  let shown = all.map((_, i) => i), at = 0;
  const box = h("article", {class: "case", "aria-live": "off"});
  const where = h("output", {class: "where", "aria-live": "polite"});
  const search = h("input", {type: "search", id: "case-search", placeholder: "words or an id", oninput: () => filter()});
  const kind = h("select", {id: "case-kind", onchange: () => filter()},
    [["all", "all"], ["open", "with a negative that is not marked"], ["good", "with one marked good"], ["false", "with one marked false"],
      ...(audited ? [["doubt", "that the audit doubts"]] : [])].map(([value, name]) => h("option", {value}, name)));
  const order = h("select", {id: "case-order", onchange: () => filter()},
    [["file", "as in the file"], ["near", "negative nearest to the positive first"], ...(audited ? [["doubt", "most doubted first"]] : [])]
      .map(([value, name]) => h("option", {value}, name)));
  const back = h("button", {type: "button", onclick: () => go(at - 1)}, "Previous case");
  const forth = h("button", {type: "button", onclick: () => go(at + 1)}, "Next case");

  const has = {
    all: () => true,
    open: (c) => c.negatives.some((n) => marks.get(c.query.id, n.id) === ""),
    good: (c) => c.negatives.some((n) => marks.get(c.query.id, n.id) === "good"),
    false: (c) => c.negatives.some((n) => marks.get(c.query.id, n.id) === "false"),
    doubt: (c) => c.negatives.some((n) => n.score > 0),
  };
  const nearest = (c) => Math.min(...c.negatives.map((n) => n.d_pd_d));
  const orders = {file: (a, b) => a - b, near: (a, b) => nearest(all[a]) - nearest(all[b]), doubt: (a, b) => doubt(all[b]) - doubt(all[a])};

  function filter() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const said = (c) => [c.query, c.positive, ...c.negatives].map((t) => t.id + " " + whole(t)).join(" ").toLowerCase();
    shown = all.map((_, i) => i).filter((i) => has[kind.value](all[i]) && (words.length === 0 || words.every((w) => said(all[i]).includes(w))));
    shown.sort(orders[order.value]);
    go(0);
  }

  function go(to) {
    at = Math.max(0, Math.min(to, shown.length - 1));
    back.disabled = at === 0;
    forth.disabled = at >= shown.length - 1;
    where.textContent = shown.length === 0 ? "No case is like that." : `Case ${count(at + 1)} of ${count(shown.length)}`;
    box.replaceChildren(...(shown.length === 0 ? [] : one(shown[at])));
  }

  function one(i) {
    const c = all[i];
    const query = wordsOf(whole(c.query)), positive = wordsOf(whole(c.positive));
    return [
      h("header", {}, h("h3", {}, h("span", {class: "label"}, `Query ${c.query.id}`), c.query.title ? c.query.title + " " : null, c.query.text),
        onMap?.has(i) ? h("button", {type: "button", onclick: () => { onMap.show(i); document.getElementById("map").scrollIntoView(); }}, "Show on the map") : null),
      h("div", {class: "beside"},
        h("section", {class: "document positive"}, h("h4", {}, h("span", {class: "label"}, "Positive"), " ", h("code", {}, c.positive.id)),
          facts([["distance to the query", fixed(c.d_q_pd)]]), textOf(c.positive, query)),
        h("div", {class: "negatives"}, c.negatives.map((n) => negative(c, n, i, query, positive)),
          c.more ? h("p", {class: "note"}, `${count(c.more)} more negatives are not shown.`) : null)),
    ];
  }

  function negative(c, n, i, query, positive) {
    const radio = (value, name) => h("label", {},
      h("input", {type: "radio", name: `mark-${i}-${n.rank}`, value, checked: marks.get(c.query.id, n.id) === value, onchange: () => marks.set(c.query.id, n.id, value)}), name);
    return h("section", {class: "document negative"}, h("h4", {}, h("span", {class: "label"}, `Negative ${n.rank}`), " ", h("code", {}, n.id)),
      facts([["distance to the query", fixed(n.d_q_d)], ["to the positive", fixed(n.d_pd_d)], ["s(Q,D) \u2212 s(Q,PD)", fixed(c.d_q_pd - n.d_q_d)]]),
      n.score == null ? null : h("div", {class: "doubt"}, h("p", {}, `The audit\u2019s score: ${fixed(n.score)}, where 1 is surely relevant.`), h("ul", {}, (n.reasons ?? []).map((r) => h("li", {}, r)))),
      textOf(n, query, positive),
      h("fieldset", {}, h("legend", {}, `Negative ${n.rank} is`), radio("", "not marked"), radio("good", "a good negative"), radio("false", "a false negative")));
  }

  const field = (label, input) => h("div", {class: "field"}, h("label", {for: input.id}, label), input);
  const element = h("div", {},
    h("p", {}, h("mark", {}, "Marked"), " words are the query's. ", h("u", {}, "Underlined"), " words of a negative are the positive's too."),
    h("div", {class: "tools"}, field("Find", search), field("Show cases", kind), field("Order", order)),
    h("div", {class: "tools pager"}, back, where, forth), box, exportOf(marks, filter));
  go(0);
  return element;
}

// exportOf is how the marks leave the page.
function exportOf(marks, refresh) {
  const said = h("output", {id: "marked"}), lines = h("pre", {id: "judgements", tabindex: "0"});
  const save = h("button", {type: "button", id: "export", onclick: () => {
    const address = URL.createObjectURL(new Blob([marks.tsv()], {type: "text/tab-separated-values"}));
    h("a", {href: address, download: "judgements.tsv"}).click();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
  }}, "Save judgements.tsv");
  const clear = h("button", {type: "button", onclick: () => {
    if (confirm("Take all marks away?")) {
      marks.clear();
      refresh();
    }
  }}, "Take all marks away");
  const update = () => {
    said.textContent = `${count(marks.count("good"))} marked good, ${count(marks.count("false"))} marked false.`;
    lines.textContent = marks.tsv();
    save.disabled = clear.disabled = marks.of.size === 0;
  };
  marks.listeners.push(update);
  update();
  return h("section", {class: "export"}, h("h3", {}, "Your marks"), h("p", {}, said),
    h("p", {class: "note"}, "They are saved as judgements in BEIR\u2019s layout. A false negative is relevant, with score 1. A good negative is not, with score 0. " +
      "With quarry mine DIR --judgements judgements.tsv, no document that you marked as a false negative of a query is taken for it again. " +
      "Do not put the file into the folder qrels: there it is a split, and its false negatives are positives of pairs."),
    h("div", {class: "tools"}, save, clear), h("details", {}, h("summary", {}, "The file as text"), lines));
}
