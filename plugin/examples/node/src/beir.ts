// A folder in BEIR layout with vectors beside the texts, as a map of paths and Blobs, and the file negatives.jsonl. It is what `quarry mine` reads
// and writes, for pages and scripts that mine a folder whole. A program with an index of its own needs none of it.

import {Npy, rowsOf} from "./npy.js";
import type {Mined} from "./part.js";
import type {Projection} from "./projection.js";
import {equal, equalVectors, hashText} from "./twins.js";
import type {Vectors} from "./vectors.js";

/** A query or a document. */
export interface Text {
  id: string;
  title: string;
  text: string;
}

/** A folder's files by their paths in it, as `vectors/minilm/docs.npy`. */
export type Files = ReadonlyMap<string, Blob>;

/** The vectors of one side, what their rows are called, and the hash of each row's title and text. */
export interface Side {
  ids: string[];
  models: Record<string, Npy>;
  hashes: (number | undefined)[];
}

type Judgement = [query: string, document: string, score: number];

/** A pair by its ids. */
export interface Judged {
  query: string;
  positive: string;
}

/** missing says what a folder lacks, a sentence each. */
export function missing(files: Files): string[] {
  const said: string[] = [];
  for (const name of ["corpus.jsonl", "queries.jsonl"]) {
    if (!files.has(name) && !files.has(name + ".gz")) said.push(`There is no ${name}. It has one {"_id","title","text"} a line.`);
  }
  if (splits(files).length === 0) said.push("There is no qrels/train.tsv. Its lines are query-id, corpus-id and score, separated by tabs.");
  const models = modelNames(files);
  if (models.length === 0) said.push("There are no vectors: vectors/<model>/docs.npy and vectors/<model>/queries.npy.");
  for (const model of models) {
    for (const side of ["docs", "queries"]) if (!files.has(`vectors/${model}/${side}.npy`)) said.push(`There is no vectors/${model}/${side}.npy.`);
  }
  if (!files.has("projection.safetensors")) said.push("There is no projection.safetensors. The command quarry fit, given the folder, writes it.");
  return said;
}

/** modelNames are the models of a folder, in the order of their names. */
export const modelNames = (files: Files) => [...new Set([...files.keys()].flatMap((path) => /^vectors\/([^/]+)\/(?:docs|queries)\.npy$/.exec(path)?.[1] ?? []))].sort();

/** splits are the names of the qrels files: train first, then by name. */
export const splits = (files: Files) => [...files.keys()].flatMap((path) => /^qrels\/([^/]+)\.tsv$/.exec(path)?.[1] ?? []).sort((a, b) => Number(b === "train") - Number(a === "train") || (a < b ? -1 : 1));

/** Folder is what mining needs of a folder: ids, vectors and judgements. Texts stay in their files. */
export class Folder {
  private constructor(private readonly files: Files, readonly documents: Side, readonly queries: Side, private readonly qrels: Map<string, Judgement[]>) {}

  /** open reads the ids and the judgements, and the headers of the vectors of the projection's models. */
  static async open(files: Files, projection: Projection): Promise<Folder> {
    const side = async (texts: string, rows: string): Promise<Side> => {
      const models: Record<string, Npy> = {}, ids: string[] = [], hashes: Side["hashes"] = [];
      for (const m of projection.models) {
        const path = `vectors/${m.name}/${rows}.npy`;
        models[m.name] = await Npy.open(path, need(files, path));
        if (models[m.name]!.width !== m.width) throw new Error(`${path}: ${models[m.name]!.width} columns; the projection expects ${m.width}`);
      }
      for await (const t of textsOf(files, texts)) {
        ids.push(t.id);
        hashes.push(t.title || t.text ? hashText(textKey(t)) : undefined);
      }
      for (const [name, m] of Object.entries(models)) if (m.rows !== ids.length) throw new Error(`vectors/${name}/${rows}.npy has ${m.rows} rows; ${texts}.jsonl has ${ids.length} lines`);
      if (new Set(ids).size < ids.length) throw new Error(`${texts}.jsonl has an id twice`);
      return {ids, models, hashes};
    };
    return new Folder(files, await side("corpus", "docs"), await side("queries", "queries"), await judgements(files));
  }

  /**
   * pairs are those of a split, or of "all", in the order of the judgements, as Plugin.mine takes them, and their ids. A document that any split
   * judges relevant to a query, a twin of such a document, and one that has the query's own id, are never its negatives.
   */
  async pairs(split: string): Promise<{ids: Judged[]; queries: Vectors; positives: Vectors; pairs: [number, number][]; exclude: number[][]}> {
    const rowOf = (ids: string[]) => new Map(ids.map((id, row) => [id, row]));
    const documents = rowOf(this.documents.ids), queries = rowOf(this.queries.ids);
    const judged = [...this.qrels].flatMap(([name, lines]) => lines.filter(([, , score]) => score > 0).map(([query, positive]) => ({name, query, positive})));
    // A pair that several of the splits have comes once, with the first.
    const ids = [...new Map(judged.filter(({name}) => split === "all" || name === split).map((pair) => [JSON.stringify([pair.query, pair.positive]), pair])).values()];
    if (ids.length === 0) throw new Error(`split ${split} has no pair with a score above 0`);
    const row = (of: Map<string, number>, id: string, file: string) => {
      const found = of.get(id);
      if (found === undefined) throw new Error(`${id} is judged, and is not in ${file}`);
      return found;
    };
    const asked = new Map<string, number>(), positives = new Map<string, number>(), pairs: [number, number][] = [];
    const index = (of: Map<string, number>, id: string) => of.get(id) ?? (of.set(id, of.size), of.size - 1);
    for (const {query, positive} of ids) pairs.push([index(asked, query), index(positives, positive)]);
    const exclude = [...asked.keys()].map((query) => new Set(documents.has(query) ? [documents.get(query)!] : []));
    const twins = await this.twins(new Set(judged.flatMap(({query, positive}) => (asked.has(query) ? documents.get(positive) ?? [] : []))));
    for (const {query, positive} of judged) {
      const i = asked.get(query), document = documents.get(positive);
      if (i !== undefined && document !== undefined) for (const row of [document, ...(twins.get(document) ?? [])]) exclude[i]!.add(row);
    }
    return {
      ids, pairs, exclude: exclude.map((rows) => [...rows].sort((a, b) => a - b)),
      queries: await rowsOf(this.queries.models, [...asked.keys()].map((id) => row(queries, id, "queries.jsonl"))),
      positives: await rowsOf(this.documents.models, [...positives.keys()].map((id) => row(documents, id, "corpus.jsonl"))),
    };
  }

  /** twins are, for each of the rows that has some, the documents that equal it in title and text, or in the vectors of all models. */
  private async twins(positives: ReadonlySet<number>): Promise<Map<number, number[]>> {
    const {ids, models, hashes} = this.documents, of = new Map<number, number[]>();
    const byText = await equal(hashes, positives, async (rows) => {
      const found = await this.texts("corpus", new Set(rows.map((row) => ids[row]!)));
      return rows.map((row) => textKey(found.get(ids[row]!)!));
    });
    for (const group of [...byText, ...(await equalVectors(Object.values(models), positives))]) {
      for (const row of group) of.set(row, [...(of.get(row) ?? []), ...group]);
    }
    return of;
  }

  /** texts reads the texts of those ids. */
  async texts(side: "corpus" | "queries", ids: ReadonlySet<string>): Promise<Map<string, Text>> {
    const found = new Map<string, Text>();
    for await (const text of textsOf(this.files, side)) {
      if (ids.has(text.id)) found.set(text.id, text);
      if (found.size === ids.size) break;
    }
    return found;
  }
}

/** line is a pair as a line of negatives.jsonl, to the byte as `quarry mine` writes it. */
export function line(pair: Judged, mined: Mined, documents: readonly string[]): string {
  const object = {
    query_id: pair.query, positive_id: pair.positive, d_q_pd: 1 - mined.sQPD,
    negatives: mined.negatives.map((n, i) => ({id: documents[n.position]!, rank: i + 1, d_q_d: 1 - n.sQD, d_pd_d: 1 - n.sPDD})),
    ...(mined.none && {none: mined.none}), in_window: mined.inWindow, candidates: mined.candidates,
  };
  return JSON.stringify(object).replace(/[\u2028\u2029]/g, (c) => "\\u" + c.charCodeAt(0).toString(16)) + "\n";
}

function need(files: Files, path: string): Blob {
  const file = files.get(path);
  if (!file) throw new Error(`there is no ${path}`);
  return file;
}

const textKey = (t: Text) => `${t.title.length} ${t.title}${t.text}`;

/** judgements reads all splits: three columns by tabs, as BEIR has them, or the four of TREC. The same judgement twice is one. */
async function judgements(files: Files): Promise<Map<string, Judgement[]>> {
  const scores = new Map<string, number>(), all = new Map<string, Judgement[]>();
  for (const split of splits(files)) {
    const path = `qrels/${split}.tsv`, found = new Map<string, Judgement>();
    let trec: boolean | undefined;
    for await (const [number, text] of lines(path, need(files, path))) {
      trec ??= text.split("\t").length !== 3;
      const fields = trec ? text.trim().split(/[\t ]+/) : text.split("\t"), [query, document, score] = trec ? [fields[0], fields[2], fields[3]] : fields;
      if (!query || !document || !score || fields.length !== (trec ? 4 : 3)) throw new Error(`${path}:${number}: expected query-id, corpus-id and score, separated by tabs`);
      const pair = JSON.stringify([query, document]), value = score.trim() === "" ? NaN : Number(score);
      if (!Number.isFinite(value)) {
        if (number === 1) continue; // it names the columns
        throw new Error(`${path}:${number}: score ${JSON.stringify(score)} is not a number`);
      }
      if (scores.has(pair) && scores.get(pair) !== value) throw new Error(`${path}:${number}: query ${query} and document ${document} are judged twice, with scores ${scores.get(pair)} and ${value}`);
      scores.set(pair, value);
      if (!found.has(pair)) found.set(pair, [query, document, value]);
    }
    all.set(split, [...found.values()]);
  }
  return all;
}

async function* textsOf(files: Files, name: string): AsyncGenerator<Text> {
  const path = files.has(name + ".jsonl") ? name + ".jsonl" : name + ".jsonl.gz";
  for await (const [number, text] of lines(path, need(files, path))) {
    let object;
    try {
      object = parse(text);
    } catch (error) {
      throw new Error(`${path}:${number}: not JSON: ${error}`);
    }
    const id = object?._id ?? object?.id;
    if (!(typeof id === "string" || Number.isSafeInteger(id)) || id === "") throw new Error(`${path}:${number}: no _id`);
    yield {id: String(id), title: object.title ?? "", text: object.text ?? ""};
  }
}

/** parse reads JSON, where Python may have written NaN or Infinity; each stands for null. */
function parse(text: string) {
  try {
    return JSON.parse(text);
  } catch {
    return JSON.parse(text.replace(/"(?:[^"\\]|\\.)*"|-?(?:NaN|Infinity)\b/g, (found) => (found.startsWith('"') ? found : "null")));
  }
}

/** lines reads a text file, compressed or not, a piece at a time. Lines that are empty are left out. */
async function* lines(path: string, file: Blob): AsyncGenerator<[number: number, line: string]> {
  let bytes: ReadableStream<BufferSource> = file.stream();
  if (path.endsWith(".gz")) bytes = (bytes as ReadableStream<Uint8Array<ArrayBuffer>>).pipeThrough(new DecompressionStream("gzip"));
  const reader = bytes.pipeThrough(new TextDecoderStream("utf-8", {fatal: true})).getReader();
  let rest = "", number = 0;
  try {
    for (;;) {
      const {value, done} = await reader.read();
      const whole = (rest + (value ?? "")).split("\n");
      rest = done ? "" : whole.pop()!;
      for (const line of whole) {
        number++;
        const text = line.endsWith("\r") ? line.slice(0, -1) : line;
        if (text !== "") yield [number, text];
      }
      if (done) return;
    }
  } catch (error) {
    if (error instanceof TypeError) throw new Error(`${path}:${number + 1}: not UTF-8, or not a whole file: ${error.message}`);
    throw error;
  } finally {
    await reader.cancel().catch(() => {});
  }
}
