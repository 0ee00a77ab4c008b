// Models that were trained with each rule's negatives: what each gains over no training, drawn and in numbers.
import {dot, ruleX, ruleY, text} from "@observablehq/plot";
import {figure} from "./chart.js";
import {count, fixed, h, table} from "./dom.js";

const signed = (value) => (value < 0 ? "\u2212" : "+") + Math.abs(100 * value).toFixed(1); // in points, a hundredth of MRR
const known = (interval) => interval.low != null;
const capital = (words) => words.charAt(0).toUpperCase() + words.slice(1);

// verdicts are how a gain is drawn. Its sign says the same as its colour.
const verdicts = {
  better: {color: "var(--positive)", fill: "var(--positive)"},
  worse: {color: "var(--negative)", fill: "var(--negative)"},
  "cannot tell": {color: "var(--soft)", fill: "var(--page)"},
};
const drawn = (contrast) => verdicts[contrast.verdict] ?? verdicts["cannot tell"];

function nameOf(row, rows) {
  const same = rows.filter((other) => other.rule === row.rule);
  const told = (key) => same.some((other) => other[key] !== row[key]);
  return [row.rule, told("pairs") ? `${row.pairs} pairs` : null, row.documents ? row.documents : null].filter(Boolean).join(", ");
}

// gains draws the difference of each row from no training: a dot, and its interval as a line.
function gains(rows, name) {
  const gain = (r) => r.gain.none.mrr_10, low = (r) => 100 * (gain(r).low ?? gain(r).mean), high = (r) => 100 * (gain(r).high ?? gain(r).mean);
  const color = (r) => drawn(r.gain.none).color;
  const longest = Math.max(...rows.map((r) => name(r).length));
  return figure("Gain in MRR@10 over no training, by rule, with 95\u00a0% intervals; the table below has the numbers",
    "Gain in MRR@10 over no training, in points: the mean, and the 95\u00a0% interval. A filled dot is told apart from no training, a hollow one is not.", (width) => ({
      height: 52 + 26 * rows.length, marginLeft: Math.min(24 + 6.6 * longest, width / 2.4), marginRight: width < 500 ? 76 : 96, marginTop: 8,
      y: {label: null, domain: rows.map(name), tickSize: 0},
      x: {label: "points over no training", labelAnchor: "center", labelArrow: "none", grid: true, ticks: width < 500 ? 4 : 8, nice: true, zero: true},
      marks: [
        ruleX([0], {stroke: "currentColor"}),
        ruleY(rows.filter((r) => known(gain(r))), {y: name, x1: low, x2: high, stroke: color, strokeWidth: 2}),
        dot(rows, {y: name, x: (r) => 100 * gain(r).mean, stroke: color, fill: (r) => drawn(r.gain.none).fill, strokeWidth: 2, r: 4.5}),
        text(rows, {y: name, x: high, text: (r) => (r.gain.none.verdict === "cannot tell" ? "cannot tell" : signed(gain(r).mean)), fill: color, textAnchor: "start", dx: 10,
          stroke: "var(--page)", strokeWidth: 4}),
      ],
    })).element;
}

// training makes the part of one trainee.
export function training(t) {
  const rows = [...t.rules].sort((a, b) => b.mrr_10.mean - a.mrr_10.mean);
  const name = (r) => nameOf(r, t.rules);
  const held = rows.filter((r) => r.gain?.none);
  const interval = (i, say) => (known(i) ? `${say(i.mean)} (${say(i.low)} to ${say(i.high)})` : say(i.mean));
  const against = (key) => ({name: `over ${key === "none" ? "no training" : key}`, numeric: true, value: (r) => {
    const c = r.gain?.[key];
    return c ? `${interval(c.mrr_10, signed)}, ${c.verdict}` : "";
  }});
  const compared = ["none", "random", "dual"].filter((key) => rows.some((r) => r.gain?.[key]));
  const facts = [t.model, t.test_queries ? `${count(Math.round(t.test_queries))} test queries` : null, t.ranked_documents ? `ranking ${t.ranked_documents}` : null,
    t.device ? `on ${t.device}` : null].filter(Boolean);
  const title = `${capital(t.trainee)}, ${count(t.seeds)} ${t.seeds === 1 ? "seed" : "seeds"}`;
  return h("div", {class: "trained"}, h("h3", {}, title), facts.length === 0 ? null : h("p", {class: "note"}, facts.join(", ") + "."),
    held.length === 0 ? null : gains(held, name),
    table(`${title}: MRR@10, and gains in points; in brackets 95\u00a0% intervals`, [
      {name: "rule", value: (r) => h("code", {}, name(r))},
      {name: "MRR@10", value: (r) => interval(r.mrr_10, fixed), numeric: true},
      ...compared.map(against),
    ], rows),
    (t.notes ?? []).map((note) => h("p", {class: "note"}, note)));
}
