// The still pictures: distances, scree curve, rules and training.
import {barX, dot, lineY, rectY, ruleX, ruleY, text} from "@observablehq/plot";
import {figure} from "./chart.js";
import {count, fixed, h, inNumbers, share, table} from "./dom.js";

// halo keeps a label readable on top of what is drawn.
const halo = {stroke: "var(--page)", strokeWidth: 4, fill: "currentColor"};

// distribution draws a histogram with its median. at, where it is given, is a value that means something.
export function distribution(title, label, what, d, at) {
  const binned = d.counts.map((n, i) => ({from: d.first + i * d.width, to: d.first + (i + 1) * d.width, n}));
  const q = d.quantiles;
  const {element} = figure(`Histogram of ${label}: median ${fixed(q.median)}, from ${fixed(q.min)} to ${fixed(q.max)}`, null, () => ({
    height: 250, marginTop: 44,
    x: {label, labelAnchor: "center", labelArrow: "none", ticks: 6}, y: {label: "negatives", grid: true, ticks: 5, tickFormat: count},
    marks: [
      rectY(binned, {x1: "from", x2: "to", y: "n", fill: "var(--negative)", inset: 0.5}),
      ruleY([0]),
      at == null ? null : ruleX([at], {stroke: "currentColor", strokeDasharray: "2,3"}),
      ruleX([q.median], {stroke: "currentColor", strokeWidth: 1.5}),
      text([q.median], {x: (v) => v, text: (v) => "median " + fixed(v), frameAnchor: "top", dy: -14}),
    ],
  }));
  return h("div", {}, h("h3", {}, title), element, h("p", {class: "note"}, what),
    h("p", {class: "note"}, `Quartiles: ${fixed(q.q25)}, ${fixed(q.median)}, ${fixed(q.q75)}; from ${fixed(q.min)} to ${fixed(q.max)}; ${count(q.count)} negatives.`),
    inNumbers(label, [
      {name: "from", value: (b) => fixed(b.from), numeric: true},
      {name: "to below", value: (b) => fixed(b.to), numeric: true},
      {name: "negatives", value: (b) => count(b.n), numeric: true},
    ], binned));
}

// decades is 1, 2 and 5 times the powers of ten that lie among the shares, in percent.
function decades(components) {
  const shares = components.map((c) => 100 * c.share), low = Math.min(...shares), high = Math.max(...shares);
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
    ticks.push(...[1, 2, 5].map((times) => times * 10 ** power).filter((v) => low <= v && v <= high));
  }
  return ticks.length > 8 ? ticks.filter((v) => Number.isInteger(Math.log10(v))) : ticks;
}

// scree draws what each component keeps, and what the first ones keep together, with the chosen number of them.
export function scree(s) {
  let sum = 0;
  const components = s.variances.map((v, i) => ({k: i + 1, share: v / s.total, kept: (sum += v) / s.total}));
  const chosen = components.at(-1);
  const shown = components.filter((c) => c.share > 0);
  const x = {label: "component", labelAnchor: "center", labelArrow: "none", ticks: 6};
  const each = figure(`Scree curve: the first component keeps ${share(components[0].share)} of the variance, the last, ${chosen.k}, ${share(chosen.share)}`,
    "What each component keeps, on a logarithmic scale.", () => ({
      height: 260, x: {...x, domain: [1, Math.max(chosen.k, 2)]}, y: {type: "log", label: "% of the variance", grid: true, ticks: decades(shown), tickFormat: (v) => String(Number(v.toPrecision(1)))},
      marks: [lineY(shown, {x: "k", y: (c) => 100 * c.share, stroke: "var(--positive)", strokeWidth: 2}),
        shown.length <= 30 ? dot(shown, {x: "k", y: (c) => 100 * c.share, fill: "var(--positive)", r: 3}) : null],
    }));
  const together = figure(`The first ${chosen.k} of ${s.columns} components keep ${share(chosen.kept)} of the variance`,
    `What the first components keep together. The curve ends at the chosen number of ${count(s.columns)}.`, () => ({
      height: 260, x: {...x, label: "components", domain: [0, s.columns]}, y: {label: "% of the variance", grid: true, domain: [0, 100], ticks: 5},
      marks: [
        ruleX([chosen], {x: "k", stroke: "currentColor", strokeDasharray: "2,3"}),
        lineY([{k: 0, kept: 0}, ...components], {x: "k", y: (c) => 100 * c.kept, stroke: "var(--positive)", strokeWidth: 2}),
        dot([chosen], {x: "k", y: (c) => 100 * c.kept, fill: "var(--positive)", r: 4}),
        text([chosen], {x: "k", y: 50, dx: chosen.k > s.columns / 2 ? -8 : 8, textAnchor: chosen.k > s.columns / 2 ? "end" : "start",
          text: (c) => `k = ${c.k}\n${share(c.kept)}`}),
      ],
    }));
  const some = components.filter((c) => c.k <= 10 || c.k % Math.ceil(chosen.k / 20) === 0 || c === chosen);
  return h("div", {},
    h("p", {}, `${count(chosen.k)} components of ${count(s.columns)} columns keep ${share(chosen.kept)} of the variance of ${count(s.rows)} rows (`, h("code", {}, s.pca), ")."),
    h("div", {class: "pair"}, each.element, together.element),
    inNumbers("Components", [
      {name: "component", value: (c) => count(c.k), numeric: true},
      {name: "keeps", value: (c) => (100 * c.share).toPrecision(3) + "\u00a0%", numeric: true},
      {name: "kept up to it", value: (c) => share(c.kept), numeric: true},
    ], some));
}

// bars draws a share of each rule, with its value behind the bar.
function bars(label, rules, value, fill, interval) {
  return figure(label + " by rule", label + ".", () => ({
    height: 44 + 30 * rules.length, marginLeft: 96, marginRight: 68, y: {label: null, domain: rules.map((r) => r.rule), tickSize: 0},
    x: {label: "%", labelAnchor: "center", labelArrow: "none", grid: true, ticks: 5, zero: true},
    marks: [
      barX(rules, {y: "rule", x: (r) => 100 * value(r), fill, insetTop: 3, insetBottom: 3}),
      interval ? ruleY(rules.filter(interval), {y: "rule", x1: (r) => 100 * interval(r)[0], x2: (r) => 100 * interval(r)[1], strokeWidth: 2}) : null,
      text(rules, {y: "rule", x: (r) => 100 * (interval?.(r)?.[1] ?? value(r)), text: (r) => share(value(r)), textAnchor: "start", dx: 8, ...halo}),
      ruleX([0]),
    ],
  })).element;
}

export function rules(all, unmeasured) {
  const measured = all.filter((r) => r.hidden_positives);
  const hidden = (r, value) => (r.hidden_positives ? value(r.hidden_positives) : "not measured");
  const measures = [
    {name: "hidden positives taken", value: (r) => hidden(r, (p) => share(p.taken_share)), numeric: true},
    {name: "95\u00a0%", value: (r) => hidden(r, (p) => (p.taken_interval ? p.taken_interval.map(share).join(" to ") : "")), numeric: true},
    {name: "taken first", value: (r) => hidden(r, (p) => share(p.first_share)), numeric: true},
    {name: "draws", value: (r) => hidden(r, (p) => count(p.draws)), numeric: true},
  ];
  return h("div", {},
    h("div", {class: "pair"}, bars("Pairs that get a negative", all, (r) => r.yield, "var(--positive)"),
      measured.length === 0 ? null
        : bars("Hidden positives that are taken for negatives, with 95\u00a0% intervals where there are any", measured, (r) => r.hidden_positives.taken_share, "var(--negative)",
          (r) => r.hidden_positives.taken_interval)),
    table("Rules on this data", [
      {name: "rule", value: (r) => h("code", {}, r.rule)},
      {name: "pairs with a negative", value: (r) => share(r.yield), numeric: true},
      {name: "negatives", value: (r) => count(r.negatives), numeric: true},
      ...(measured.length === 0 ? [] : measures),
    ], all),
    measured.length === 0 ? h("p", {class: "note"}, `How often a rule takes a relevant document was not measured${unmeasured ? ": " + unmeasured : "."}`) : null);
}

