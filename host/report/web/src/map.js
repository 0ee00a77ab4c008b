// The paper's Figure 2: a query, its positive and its negatives on the first two principal components, among documents of the corpus.
import {dot, link, text} from "@observablehq/plot";
import {figure} from "./chart.js";
import {fixed, h, share, shorten} from "./dom.js";

const nameOf = (t) => shorten(t.title ? `${t.title}. ${t.text}` : t.text, 220);

// placesOf lists what is drawn of a case. A text that is a zero vector has no place.
function placesOf(c) {
  const places = [
    {kind: "query", name: "Query", text: c.query},
    {kind: "positive", name: "Positive", text: c.positive, note: `distance to the query ${fixed(c.d_q_pd)}`},
    ...c.negatives.map((n) => ({kind: "negative", name: `Negative ${n.rank}`, rank: n.rank, text: n,
      note: `distance to the query ${fixed(n.d_q_d)}, to the positive ${fixed(n.d_pd_d)}`})),
  ];
  return places.filter((p) => p.text.at);
}

// map makes the figure and returns it with show(i), which picks a case.
export function map(data, cases) {
  const drawable = cases.map((c, i) => ({c, i})).filter(({c}) => placesOf(c).length > 0);
  const sample = data.sample ?? [];
  const all = [...sample.map((p) => p.at), ...drawable.flatMap(({c}) => placesOf(c).map((p) => p.text.at))];
  const extent = (axis) => all.reduce(([low, high], at) => [Math.min(low, at[axis]), Math.max(high, at[axis])], [Infinity, -Infinity]);
  let picked = drawable[0];

  const tip = h("div", {class: "tip", hidden: true});
  const say = (box, mark, name, words, note) => {
    tip.replaceChildren(h("strong", {}, name), h("span", {}, words), ...(note ? [h("em", {}, note)] : []));
    tip.hidden = false;
    box.append(tip);
    const outer = box.getBoundingClientRect(), at = mark.getBoundingClientRect();
    const left = at.left - outer.left + at.width / 2 - tip.offsetWidth / 2;
    tip.style.left = Math.max(0, Math.min(left, outer.width - tip.offsetWidth)) + "px";
    const below = at.bottom - outer.top + 8;
    tip.style.top = (below + tip.offsetHeight > outer.height ? at.top - outer.top - tip.offsetHeight - 8 : below) + "px";
  };
  const listen = (box, mark, ...what) => {
    mark.addEventListener("pointerenter", () => say(box, mark, ...what));
    mark.addEventListener("pointerleave", () => (tip.hidden = true));
    if (!mark.hasAttribute("tabindex")) return; // Chromium's Tab key stops at every mark that listens for focus, so at each document in grey
    mark.addEventListener("focus", () => say(box, mark, ...what));
    mark.addEventListener("blur", () => (tip.hidden = true));
    mark.addEventListener("keydown", (event) => event.key === "Escape" && (tip.hidden = true));
  };

  const axis = (i) => ({label: `principal component ${i + 1} (${share(data.shares[i])} of the variance)`, labelAnchor: "center", labelArrow: "none", ticks: 5, domain: extent(i), nice: true});
  const chart = figure("Documents on the first two principal components", null, (width) => {
    const places = picked ? placesOf(picked.c) : [];
    const query = places.find((p) => p.kind === "query");
    const x = (p) => p.text.at[0], y = (p) => p.text.at[1];
    const of = (kind) => places.filter((p) => p.kind === kind).reverse(); // the nearest negative is drawn last, on top
    const common = {x, y, stroke: "var(--page)", strokeWidth: 1.5};
    return {
      height: Math.max(320, Math.min(560, width * 0.62)), marginLeft: 60, x: axis(0), y: axis(1), grid: true,
      marks: [
        dot(sample, {x: (p) => p.at[0], y: (p) => p.at[1], fill: "var(--sample)", r: 2.2, className: "sample"}),
        query ? link(places.filter((p) => p !== query), {x1: x(query), y1: y(query), x2: x, y2: y, stroke: (p) => `var(--${p.kind})`, strokeOpacity: 0.6}) : null,
        dot(of("negative"), {...common, fill: "var(--negative)", r: 9, className: "negative"}),
        text(of("negative"), {x, y, text: (p) => String(p.rank), fill: "var(--page)", pointerEvents: "none", fontWeight: 700}),
        dot(of("positive"), {...common, fill: "var(--positive)", symbol: "square", r: 9, className: "positive"}),
        dot(of("query"), {...common, fill: "var(--ink)", symbol: "diamond", r: 9, className: "query"}),
      ],
    };
  }, (picture, box) => {
    tip.hidden = true;
    const marks = (label) => [...(picture.querySelector("g." + label)?.children ?? [])];
    marks("sample").forEach((mark, i) => listen(box, mark, sample[i].id, sample[i].label ?? ""));
    if (!picked) return;
    for (const kind of ["query", "positive", "negative"]) {
      const places = placesOf(picked.c).filter((p) => p.kind === kind).reverse();
      marks(kind).forEach((mark, i) => {
        const p = places[i];
        mark.setAttribute("tabindex", "0");
        mark.setAttribute("role", "img");
        mark.setAttribute("aria-label", [p.name, p.text.id, nameOf(p.text), p.note].filter(Boolean).join(": "));
        listen(box, mark, `${p.name} · ${p.text.id}`, nameOf(p.text), p.note);
      });
    }
  });

  const choice = h("select", {id: "map-query", onchange: () => show(Number(choice.value))},
    drawable.map(({c, i}) => h("option", {value: i}, shorten(`${c.query.id}: ${c.query.text}`, 110))));
  const step = (by) => () => {
    const now = drawable.indexOf(picked);
    show(drawable[(now + by + drawable.length) % drawable.length].i);
  };
  function show(i) {
    const found = drawable.find((d) => d.i === i);
    if (!found) return;
    picked = found;
    choice.value = String(i);
    chart.redraw();
  }
  const key = (kind, sign, words) => h("li", {}, h("span", {class: `key ${kind}`, "aria-hidden": "true"}, sign), words);
  const element = h("div", {},
    drawable.length === 0 ? null
      : h("div", {class: "tools"}, h("label", {for: "map-query"}, "Query"), choice,
        h("button", {type: "button", onclick: step(-1)}, "Previous query"), h("button", {type: "button", onclick: step(1)}, "Next query")),
    h("ul", {class: "keys"}, key("query", "\u25c6", "query"), key("positive", "\u25a0", "its positive"), key("negative", "\u25cf", "its negatives, by rank"),
      key("sample", "\u25cf", `${sample.length.toLocaleString("en")} of ${data.documents.toLocaleString("en")} documents`)),
    chart.element,
    h("p", {class: "note"}, "Point at a mark, or move to it with the Tab key, to read its text. The two components show only a part of the distances: ",
      "what decides is the cosine in all of them."));
  return {element, show, has: (i) => drawable.some((d) => d.i === i)};
}
