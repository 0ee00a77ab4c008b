import {QuarryError} from "./error.js";
import type {Plugin} from "./plugin.js";
import {decode, encode} from "./safetensors.js";
import {count, rowBytes, tensors, type Raw} from "./vectors.js";

/** A model of a projection: how many columns its vectors have, and the weight it has beside the others. */
export interface Model {
  name: string;
  width: number;
  weight: number;
}

/** How many bytes of vectors go to the plugin at a time. More would take more of its memory, and save nothing. */
const blockBytes = 4 << 20;

/** blocks cuts rows into ranges of at most blockBytes. */
export function* blocks(rows: number, bytesOfRow: number): Generator<[first: number, end: number]> {
  const step = Math.max(1, Math.floor(blockBytes / Math.max(1, bytesOfRow)));
  for (let first = 0; first < rows; first += step) yield [first, Math.min(rows, first + step)];
}

/** at runs do for rows from first on, and lets an error name the row of the whole. */
export function at<T>(first: number, run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (error instanceof QuarryError && error.row !== undefined && error.tensor?.startsWith("documents")) {
      throw new QuarryError(error.code, error.message, error.tensor, first + error.row);
    }
    throw error;
  }
}

/** Projection is a projection file that is loaded into a plugin. */
export class Projection {
  readonly models: readonly Model[];
  /** SHA-256 of the file. */
  readonly fingerprint: string;
  /** Columns of all models together. */
  readonly columns: number;
  /** Columns of a projected vector: k. */
  readonly components: number;
  /** The share of the variance that each component has. It is empty without PCA. */
  readonly shares: readonly number[];

  constructor(private readonly plugin: Plugin, file: Uint8Array, answer: {projection: string; columns: number; components: number}) {
    const {tensors, metadata} = decode(file);
    this.models = JSON.parse(metadata["models"]!) as Model[];
    this.fingerprint = answer.projection;
    this.columns = answer.columns;
    this.components = answer.components;
    this.shares = [...(tensors["variances"]?.data as Float64Array | undefined) ?? []].map((v) => v / Number(metadata["total_variance"]));
  }

  /**
   * transform projects raw vectors: `rows` times `components` values. Index what it gives, and mine with that: projecting is most of the work.
   * A vector that is zero is an error, or a row of zeros with `zero` = "skip".
   */
  transform(vectors: Raw, zero: "error" | "skip" = "error"): Float32Array<ArrayBuffer> {
    if (this.plugin.projection !== this) throw new QuarryError("no_projection", "another projection was loaded since");
    const rows = count("documents", vectors, this);
    const all = new Float32Array(rows * this.components);
    for (const [first, end] of blocks(rows, rowBytes(vectors, this))) {
      const answer = at(first, () => this.plugin.call("transform", encode(tensors("documents", vectors, this, first, end), {zero})));
      all.set(decode(answer).tensors["documents"]!.data as Float32Array, first * this.components);
    }
    return all;
  }
}
