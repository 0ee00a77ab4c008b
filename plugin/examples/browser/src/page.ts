// The page: data in, a worker that mines, and what it found. Pictures and cases are those of the report's page.

import {missing, modelNames, splits} from "quarry-plugin/beir";
import {cases} from "../../../../host/report/web/src/cases.js";
import {count, h, share} from "../../../../host/report/web/src/dom.js";
import {map} from "../../../../host/report/web/src/map.js";
import {Marks} from "../../../../host/report/web/src/marks.js";
import {fromDrop, fromInput} from "./folder.js";
import type {Order, Result, Said} from "./protocol.js";

const element = <T extends HTMLElement>(id: string) => document.getElementById(id) as T;
const drop = element("drop"), found = element("found"), result = element("result"), said = element("said"), problem = element("problem");
const mine = element<HTMLButtonElement>("mine"), stop = element<HTMLButtonElement>("stop"), progress = element<HTMLProgressElement>("progress");
const rule = element<HTMLSelectElement>("rule"), split = element<HTMLSelectElement>("split"), top = element<HTMLInputElement>("top");

let files = new Map<string, Blob>();
let worker = start();

function start(): Worker {
  const w = new Worker("worker.js", {type: "module"});
  w.onmessage = ({data}: MessageEvent<Said>) => hear(data);
  w.onerror = (event) => hear({kind: "failed", problem: event.message || "The worker could not be started."});
  return w;
}

function hear(what: Said) {
  switch (what.kind) {
    case "ready":
      element("module").textContent = `Module ${what.abi}, ${what.kernels}.`;
      document.documentElement.dataset["ready"] = "yes";
      return;
    case "progress":
      if (what.of === undefined) progress.removeAttribute("value");
      else [progress.max, progress.value] = [what.of, what.done!];
      // A screen reader is told of each step once; how far it is, it reads from the bar.
      progress.setAttribute("aria-valuetext", what.of === undefined ? what.words : `${count(what.done!)} of ${count(what.of)} documents`);
      if (said.dataset["words"] !== what.words || what.of === undefined) said.textContent = (said.dataset["words"] = what.words) + "\u2026";
      element("far").textContent = what.of === undefined ? "" : `${count(what.done!)} of ${count(what.of)} documents`;
      return;
    case "done":
      working(false);
      said.textContent = `Mined in ${what.result.seconds.toFixed(1)} seconds.`;
      show(what.result);
      return;
    case "failed":
      working(false);
      said.textContent = "";
      problem.textContent = what.problem;
  }
}

function working(on: boolean) {
  mine.disabled = on;
  stop.disabled = !on;
  element("working").hidden = !on;
  if (on) problem.textContent = "";
  document.documentElement.dataset["mining"] = on ? "yes" : "no";
}

// take adds files to what is there: a projection may be dropped after its folder. Another corpus starts anew.
function take(more: ReadonlyMap<string, Blob>) {
  if (more.size === 0) return;
  halt();
  files = new Map([...([...more.keys()].some((path) => /^corpus\.jsonl/.test(path)) ? [] : files), ...more]);
  result.replaceChildren();
  said.textContent = problem.textContent = "";
  const lacks = missing(files), names = splits(files);
  element("mining").hidden = lacks.length > 0;
  if (lacks.length > 0) {
    found.replaceChildren(h("div", {class: "missing"}, h("p", {}, "The folder is not complete."), h("ul", {}, lacks.map((words) => h("li", {}, words)))));
    return;
  }
  const models = modelNames(files), listed = new Intl.ListFormat("en").format(models);
  found.replaceChildren(h("p", {}, `Ready to mine, with the vectors of ${models.length === 1 ? "model" : "models"} ${listed}.`));
  split.replaceChildren(...["all", ...names].map((name) => h("option", {value: name}, name === "all" ? "all splits" : `split ${name}`)));
  split.value = names.includes("train") ? "train" : "all";
}

const rules: Record<string, string> = {
  dual: "Documents that score above the positive, and are nearer to the query than to the positive (the paper\u2019s Eq. 5 and 6).",
  capped: "Documents that score at most 0.95 of the positive\u2019s score, and are nearer to the query than to the positive.",
  perc: "Documents that score at most 0.95 of the positive\u2019s score.",
  margin: "Documents that score below the positive by 0.05 at least.",
  topk: "The documents nearest to the query, whatever their score.",
};

function explain() {
  element("rule-note").textContent = rules[rule.value]!;
}

function halt() {
  if (stop.disabled) return;
  worker.terminate(); // it is busy with a block, and hears nothing until then
  worker = start();
  working(false);
  said.textContent = "Stopped.";
}

function show(r: Result) {
  const tile = (value: number, name: string) => h("div", {}, h("dd", {}, count(value)), h("dt", {}, name));
  const part = (id: string, title: string, ...children: (HTMLElement | null)[]) => h("section", {id, "aria-labelledby": id + "-title"}, h("h2", {id: id + "-title"}, title), ...children);
  const none: [number, string][] = [[r.noneWindow, "no document lies in the rule\u2019s window"], [r.noneEq6, "all documents in the window are nearer to the positive (Eq. 6)"]];
  const figure = r.figure && r.cases.length > 0 ? map(r.figure, r.cases) : undefined;
  const found = part("found-negatives", "What was mined",
    h("dl", {class: "tiles"}, tile(r.documents, "documents"), tile(r.queries, "queries"), tile(r.pairs, "pairs"),
      tile(r.withNegatives, `pairs with negatives (${share(r.withNegatives / r.pairs)})`), tile(r.negatives, "negatives")),
    h("ul", {class: "plain note"}, none.filter(([n]) => n > 0).map(([n, why]) => h("li", {}, `${count(n)} pairs have none: ${why}.`))),
    h("div", {class: "tools"}, h("button", {type: "button", class: "main", id: "save", onclick: () => save(r.file)}, "Save negatives.jsonl")));
  result.replaceChildren(found,
    figure ? part("map", "A query among the documents", figure.element) : "",
    r.cases.length === 0 ? "" : part("cases", "Cases",
      r.cases.length < r.withNegatives ? h("p", {class: "note"}, `The first ${count(r.cases.length)} of ${count(r.withNegatives)} pairs with negatives are shown. The file has all of them.`) : null,
      cases(r.cases, new Marks(`page.${r.documents}.${r.pairs}`), figure)));
  found.scrollIntoView({block: "nearest"});
}

function save(file: Blob) {
  const address = URL.createObjectURL(file);
  h("a", {href: address, download: "negatives.jsonl"}).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

async function example() {
  const names = (await (await fetch("demo/files.json")).json()) as string[];
  const blobs = await Promise.all(names.map(async (name) => [name, await (await fetch("demo/" + name)).blob()] as const));
  take(new Map(blobs));
}

element<HTMLInputElement>("folder").onchange = ({target}) => {
  const input = target as HTMLInputElement;
  take(fromInput(input.files!));
  input.value = ""; // so that the same folder can be chosen again, once it is complete
};
element("example").onclick = () => example().catch((error) => (problem.textContent = `The example could not be read: ${error}`));
element<HTMLFormElement>("form").onsubmit = (event) => {
  event.preventDefault();
  result.replaceChildren();
  working(true);
  worker.postMessage({files, split: split.value, rule: {rule: rule.value as Order["rule"]["rule"], top: Number(top.value)}} satisfies Order);
};
stop.onclick = halt;
rule.onchange = explain;
explain();

// The whole window takes a folder: one that misses the box would be opened by the browser instead.
addEventListener("dragover", (event) => {
  event.preventDefault();
  drop.classList.add("over");
});
addEventListener("dragleave", (event) => event.relatedTarget === null && drop.classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  if (event.dataTransfer) fromDrop(event.dataTransfer).then(take, (error) => (problem.textContent = `What was dropped could not be read: ${error}`));
});
