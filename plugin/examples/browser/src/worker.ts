// Mines in a thread of its own, so that the page stays alive. The page stops it by ending the thread.

import {Plugin, QuarryError, type Mined, type Raw} from "quarry-plugin";
import {Folder, line, type Judged, type Text as FullText} from "quarry-plugin/beir";
import {blocksOf} from "quarry-plugin/npy";
import type {Case, Figure, Order, Place, Result, Said, Text} from "./protocol.js";

const maxCases = 200, maxNegatives = 10, maxText = 2000, maxSample = 1500, maxLabel = 100;

const say = (said: Said) => postMessage(said);
const loading = Plugin.load(fetch("plugin.wasm"));

loading.then((plugin) => {
  const {abi, kernels} = plugin.info();
  say({kind: "ready", abi, kernels});
}, (error) => say({kind: "failed", problem: `The module could not be loaded: ${error}`}));

onmessage = async ({data}: MessageEvent<Order>) => {
  try {
    say({kind: "done", result: await mine(await loading, data)});
  } catch (error) {
    const where = error instanceof QuarryError && error.row !== undefined ? ` (${error.tensor}, row ${error.row})` : "";
    say({kind: "failed", problem: (error instanceof Error ? error.message : String(error)) + where});
  }
};

async function mine(plugin: Plugin, {files, split, rule}: Order): Promise<Result> {
  const begin = performance.now();
  say({kind: "progress", words: "Reading ids and judgements"});
  const projection = plugin.loadProjection(new Uint8Array(await files.get("projection.safetensors")!.arrayBuffer()));
  const folder = await Folder.open(files, projection);
  const {ids, queries, positives, ...pairs} = await folder.pairs(split);
  say({kind: "progress", words: `Projecting the queries and positives of ${ids.length.toLocaleString("en")} pairs`});
  const projected = projection.transform(queries as Raw);
  const miner = plugin.mine({...pairs, ...rule, queries: projected, positives: projection.transform(positives as Raw)});

  // Documents are projected once: the picture takes their first two components, and the miner all of them.
  const k = projection.components, of = folder.documents.ids.length, drawn = k > 1 && projection.shares.length > 1;
  const places = new Float32Array(drawn ? 2 * of : 0);
  for await (const block of blocksOf(folder.documents.models, 512)) {
    const rows = projection.transform(block);
    for (let row = 0; drawn && row < rows.length / k; row++) places.set(rows.subarray(row * k, row * k + 2), 2 * (miner.position + row));
    miner.push(rows);
    say({kind: "progress", words: "Mining", done: miner.position, of});
  }
  const part = miner.finish(), all = [...part];

  say({kind: "progress", words: "Reading the texts of the cases"});
  const at = (of: Float32Array, row: number, width: number): Place => [of[row * width]!, of[row * width + 1]!];
  const drawing = {document: (position: number) => (drawn ? at(places, position, 2) : undefined), query: (row: number) => (drawn ? at(projected, row, k) : undefined)};
  const result: Result = {
    file: new Blob(all.map((mined, i) => line(ids[i]!, mined, folder.documents.ids)), {type: "application/jsonl"}),
    documents: of, queries: new Set(ids.map((pair) => pair.query)).size, pairs: all.length, withNegatives: 0, negatives: 0, noneWindow: 0, noneEq6: 0, seconds: 0, cases: [],
  };
  for (const mined of all) {
    result.negatives += mined.negatives.length;
    result[mined.none === "window" ? "noneWindow" : mined.none === "eq6" ? "noneEq6" : "withNegatives"]++;
  }
  const sample = drawn ? Array.from({length: Math.min(maxSample, of)}, (_, i) => Math.floor((i * of) / Math.min(maxSample, of))) : [];
  const shown = all.map((mined, i) => ({mined, ids: ids[i]!, query: pairs.pairs[i]![0]})).filter(({mined}) => mined.negatives.length > 0).slice(0, maxCases);
  const documentIds = folder.documents.ids, wanted = new Set(sample.map((position) => documentIds[position]!));
  for (const {mined, ids} of shown) for (const id of [ids.positive, ...mined.negatives.slice(0, maxNegatives).map((n) => documentIds[n.position]!)]) wanted.add(id);
  const texts = {documents: await folder.texts("corpus", wanted), queries: await folder.texts("queries", new Set(shown.map(({ids}) => ids.query)))};
  const rowOf = new Map(documentIds.map((id, row) => [id, row]));
  const document = (id: string) => short(texts.documents.get(id)!, drawing.document(rowOf.get(id)!));
  result.cases = shown.map(({mined, ids, query}) => caseOf(mined, ids, short(texts.queries.get(ids.query)!, drawing.query(query)), documentIds, document));
  if (drawn) {
    const label = ({title, text}: FullText) => cut(title ? `${title}. ${text}` : text, maxLabel);
    result.figure = {shares: [projection.shares[0]!, projection.shares[1]!], documents: of,
      sample: sample.map((position) => ({id: documentIds[position]!, label: label(texts.documents.get(documentIds[position]!)!), at: drawing.document(position)!}))} satisfies Figure;
  }
  result.seconds = (performance.now() - begin) / 1000;
  return result;
}

function caseOf(mined: Mined, ids: Judged, query: Text, documentIds: string[], document: (id: string) => Text): Case {
  return {
    query, positive: document(ids.positive), d_q_pd: 1 - mined.sQPD, more: Math.max(0, mined.negatives.length - maxNegatives),
    negatives: mined.negatives.slice(0, maxNegatives).map((n, i) => ({...document(documentIds[n.position]!), rank: i + 1, d_q_d: 1 - n.sQD, d_pd_d: 1 - n.sPDD})),
  };
}

const cut = (text: string, most: number) => (text.length <= most ? text : text.slice(0, most - 1).trimEnd() + "\u2026");
const short = (t: FullText, at: Place | undefined): Text => ({...t, text: t.text.slice(0, maxText), cut: Math.max(0, t.text.length - maxText), at});
