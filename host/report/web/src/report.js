// The page: its parts in their order, each where there is something to show.
import {cases} from "./cases.js";
import {count, h, share} from "./dom.js";
import {map} from "./map.js";
import {Marks} from "./marks.js";
import {distribution, rules, scree} from "./pictures.js";
import {training} from "./training.js";

const numbers = JSON.parse(document.getElementById("numbers").textContent);
const main = document.getElementById("main"), contents = document.getElementById("contents");

function part(id, title, ...children) {
  main.append(h("section", {id, "aria-labelledby": id + "-title"}, h("h2", {id: id + "-title"}, title), ...children));
  contents.append(h("li", {}, h("a", {href: "#" + id}, title)));
}

const bound = (b) => (b[1] === 0 ? `${b[0] === 1 ? "" : b[0] + " \u00b7 "}s(Q,PD)` : `${b[0] === 1 ? "" : b[0] + " \u00b7 "}s(Q,PD) ${b[1] < 0 ? "\u2212" : "+"} ${Math.abs(b[1])}`);

// whatItTakes says a rule in the terms of the paper's equations.
function whatItTakes(rule) {
  const conditions = [rule.floor && `s(Q,D) > ${bound(rule.floor)}`, rule.cap && `s(Q,D) \u2264 ${bound(rule.cap)}`, rule.eq6 && "s(Q,D) > s(PD,D)"].filter(Boolean);
  return conditions.length === 0 ? "" : `: ${conditions.join(" and ")}`;
}

function overview() {
  const t = numbers.tallies;
  document.getElementById("lead").append(
    `${count(t.negatives)} negatives for ${count(t.with_negatives)} of ${count(t.pairs)} pairs, from ${count(t.documents)} documents`,
    ...(numbers.rule ? [", mined by rule ", h("code", {}, numbers.rule.name)] : []), ".");
  const tile = (value, name) => h("div", {}, h("dd", {}, value), h("dt", {}, name));
  const rest = [[t.none_window, "without a negative: no document in the rule\u2019s window"], [t.none_eq6, "without a negative: all in the window are nearer to the positive (Eq. 6)"],
    [t.skipped_pairs_missing, "left out: query or positive missing"], [t.skipped_pairs_zero, "left out: a zero vector"]];
  part("overview", "What was mined",
    h("dl", {class: "tiles"}, tile(count(t.documents), "documents"), tile(count(t.queries), "queries"), tile(count(t.pairs), "pairs"),
      tile(count(t.with_negatives), `pairs with negatives (${share(t.pairs ? t.with_negatives / t.pairs : 0)})`), tile(count(t.negatives), "negatives")),
    h("ul", {class: "plain"},
      numbers.rule ? h("li", {}, "Rule ", h("code", {}, numbers.rule.name), whatItTakes(numbers.rule), `. At most ${count(numbers.top)} a pair, split `, h("code", {}, numbers.split), ".") : null,
      rest.filter(([n]) => n > 0).map(([n, why]) => h("li", {}, `${count(n)} pairs ${why}.`)),
      numbers.negatives_sha256 ? h("li", {}, "Negatives ", h("code", {class: "hash"}, numbers.negatives_sha256)) : null));
}

function distances() {
  if (!numbers.margins) return;
  part("distances", "How near the negatives are",
    h("div", {class: "pair"},
      distribution("Against the positive", "s(Q,D) \u2212 s(Q,PD)", "Right of 0, a negative is nearer to its query than the positive is. The further right, the more likely it is relevant.", numbers.margins, 0),
      distribution("To the positive", "s(PD,D)", "Near 1, a negative says what the positive says.", numbers.likeness)));
}

overview();
distances();
if (numbers.scree) part("scree", "Components", scree(numbers.scree));
const figure = numbers.figure && map(numbers.figure, numbers.cases);
if (figure) part("map", "Queries among documents", figure.element);
if (numbers.rules) part("rules", "Rules beside one another", rules(numbers.rules, numbers.unmeasured));
if (numbers.trainings) part("training", "Models trained on the negatives", ...numbers.trainings.map(training));
if (numbers.cases.length > 0) part("cases", "Cases", cases(numbers.cases, new Marks(numbers.negatives_sha256 ?? numbers.data), figure));
if (numbers.left_out.length > 0) part("left-out", "What this page leaves out", h("ul", {}, numbers.left_out.map((line) => h("li", {}, line))));
if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView(); // the parts were not there when the page was loaded
document.documentElement.dataset.ready = "yes";
