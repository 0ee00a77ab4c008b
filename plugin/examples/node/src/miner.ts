import {QuarryError} from "./error.js";
import {Part} from "./part.js";
import {json, type Plugin} from "./plugin.js";
import {at, blocks} from "./projection.js";
import {encode, type Message, type Tensor} from "./safetensors.js";
import {count, rowBytes, tensors, type Vectors, type Widths} from "./vectors.js";

/** A rule, and how many negatives a pair gets. docs/ABI.md says what each rule takes. */
export interface Rule {
  /** "dual" by default. */
  rule?: "dual" | "topk" | "margin" | "perc" | "capped" | "window";
  /** For margin: 0 to 2; 0.05 by default. */
  margin?: number;
  /** For perc and capped: above 0, at most 1; 0.95 by default. */
  perc?: number;
  /** For window: s(Q,D) > a · s(Q,PD) + b, and s(Q,D) ≤ that, as [a, b]. */
  floor?: readonly [a: number, b: number];
  cap?: readonly [a: number, b: number];
  /** For window: whether s(Q,D) > s(PD,D) must hold too. */
  eq6?: boolean;
  /** At most this many negatives a pair, 1 to 4,096; 5 by default. */
  top?: number;
  /** Count all documents in the window and all candidates, exactly; slower. */
  counts?: boolean;
  /** A document that is a zero vector fails the call, or is left out and counted; "error" by default. */
  zero?: "error" | "skip";
}

/** Pairs of queries and positives to mine negatives for. */
export interface Pairs extends Rule {
  /** Each query once. */
  queries: Vectors;
  /** Each positive once. */
  positives: Vectors;
  /** Row of `queries` and row of `positives` of each pair; by default pair i is query i with positive i. */
  pairs?: Iterable<readonly [query: number, positive: number]>;
  /** Of each query: positions of documents that are never its negatives. Those of its positives belong here too. */
  exclude?: readonly Iterable<number>[];
  /** Of each query: rows of `positives` that must all satisfy the rule. */
  together?: readonly Iterable<number>[];
  /** Up to 256 bytes, repeated in the part: parts with different ones do not merge. */
  pairsId?: string;
  /** k of projected vectors, where no projection is loaded. */
  components?: number;
}

/** Miner takes documents in blocks of any size, and gives the negatives. An instance of the plugin has one at a time. */
export class Miner {
  /** The position of the next document. */
  position = 0;
  readonly #widths: Widths;

  /** Plugin.mine calls it. */
  constructor(private readonly plugin: Plugin, pairs: Pairs) {
    this.#widths = widths(plugin, pairs);
    const {set, options} = begin(pairs, this.#widths);
    json(plugin.call("begin", encode(set, options)));
    plugin.miner = this;
  }

  /** select is Plugin.select. */
  static select(plugin: Plugin, pairs: Pairs & {documents: Vectors}): Part {
    const of = widths(plugin, pairs), {set, options} = begin(pairs, of);
    const rows = count("documents", pairs.documents, of);
    return new Part(plugin.call("select", encode({...set, ...tensors("documents", pairs.documents, of, 0, rows)}, options)));
  }

  /**
   * push mines a block of documents. They follow the last block, unless `first` gives the position of the first of them. It gives how many
   * were zero vectors and left out.
   */
  push(documents: Vectors, first = this.position): number {
    const rows = count("documents", documents, this.#widths);
    let skipped = 0;
    for (const [from, end] of blocks(rows, rowBytes(documents, this.#widths))) {
      const message = encode(tensors("documents", documents, this.#widths, from, end), {first: String(first + from)});
      skipped += (json(at(from, () => this.#call("push", message))) as {skipped: number}).skipped;
      this.position = first + end;
    }
    return skipped;
  }

  /** pushAll mines blocks as they come, such as those of a file that is read while they are mined, until `signal` says stop. */
  async pushAll(blocks: AsyncIterable<Vectors> | Iterable<Vectors>, {signal, progress}: {signal?: AbortSignal; progress?: (documents: number) => void} = {}): Promise<this> {
    for await (const block of blocks) {
      signal?.throwIfAborted();
      this.push(block);
      progress?.(this.position);
    }
    return this;
  }

  /** finish gives the part of what was pushed. The pairs stay, ready for other documents. */
  finish(): Part {
    return new Part(this.#call("finish"));
  }

  #call(operation: "push" | "finish", message?: Message): Uint8Array<ArrayBuffer> {
    if (this.plugin.miner !== this) throw new QuarryError("no_pairs", "the plugin has other pairs, or another projection, since: mine with a plugin of its own");
    return this.plugin.call(operation, message);
  }
}

function widths(plugin: Plugin, {components}: Pairs): Widths {
  return plugin.projection ?? {components: components ?? 0, models: []};
}

/** begin is the tensors and options that `begin` and `select` have in common. */
function begin(p: Pairs, of: Widths): {set: Record<string, Tensor>; options: Record<string, string>} {
  const queries = count("queries", p.queries, of), positives = count("positives", p.positives, of);
  if (!p.pairs && queries !== positives) throw new QuarryError("bad_message", `${queries} queries and ${positives} positives: say which of them are pairs`, "pair_query");
  const pairs = p.pairs ? [...p.pairs] : Array.from({length: queries}, (_, i) => [i, i] as const);
  const set: Record<string, Tensor> = {...tensors("queries", p.queries, of, 0, queries), ...tensors("positives", p.positives, of, 0, positives),
    pair_query: integers("pair_query", pairs.map(([query]) => query)), pair_positive: integers("pair_positive", pairs.map(([, positive]) => positive))};
  for (const name of ["exclude", "together"] as const) {
    const lists = p[name]?.map((list) => [...list]);
    if (!lists) continue;
    let end = 0;
    set[name + "_offsets"] = integers(name + "_offsets", [0, ...lists.map((list) => (end += list.length))]);
    set[name] = integers(name, lists.flat());
  }
  const given = {rule: p.rule, margin: p.margin, perc: p.perc, floor: p.floor?.join(" "), cap: p.cap?.join(" "), eq6: p.eq6, top: p.top, counts: p.counts, zero: p.zero, pairs_id: p.pairsId};
  const options = Object.fromEntries(Object.entries(given).flatMap(([name, value]) => (value === undefined ? [] : [[name, String(value)]])));
  return {set, options};
}

/** integers is a tensor of positions or rows, which the values of a mask are not. */
function integers(name: string, values: readonly number[]): Tensor {
  const row = values.findIndex((value) => !Number.isSafeInteger(value));
  if (row >= 0) throw new QuarryError("bad_message", `${name}: ${values[row]} is not an integer`, name, row);
  return {dtype: "I64", shape: [values.length], data: BigInt64Array.from(values, BigInt)};
}
