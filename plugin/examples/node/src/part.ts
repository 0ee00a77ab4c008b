import {decode, type Tensor} from "./safetensors.js";

/** A negative of a pair. */
export interface Negative {
  /** Its position among the documents, from 0. */
  position: number;
  /** s(Q,D): the cosine similarity to the query. */
  sQD: number;
  /** s(PD,D): that to the positive. */
  sPDD: number;
}

/** A pair with its negatives, the nearest to the query first. */
export interface Mined {
  /** s(Q,PD): the cosine similarity of query and positive. */
  sQPD: number;
  negatives: Negative[];
  /** Why there is none: no document lay in the rule's window, or all of those are nearer to the positive (Eq. 6). */
  none?: "window" | "eq6";
  /** With `counts`: how many documents lay in the window, and how many were candidates. */
  inWindow?: number;
  candidates?: number;
}

/** Part is what was mined of pairs against some documents. `bytes` is the file, to keep or to merge. */
export class Part implements Iterable<Mined> {
  readonly #tensors: Record<string, Tensor>;
  readonly metadata: Readonly<Record<string, string>>;

  constructor(readonly bytes: Uint8Array<ArrayBuffer>) {
    ({tensors: this.#tensors, metadata: this.metadata} = decode(bytes));
  }

  /** length is the number of pairs. */
  get length(): number {
    return this.#tensors["s_q_pd"]!.shape[0]!;
  }

  /** pair is pair i, from 0. */
  pair(i: number): Mined {
    if (!(i >= 0 && i < this.length)) throw new RangeError(`there is no pair ${i}: the part has ${this.length}`);
    const integers = (name: string) => this.#tensors[name]?.data as BigInt64Array, floats = (name: string) => this.#tensors[name]!.data as Float64Array;
    const negatives: Negative[] = [];
    for (let at = Number(integers("offsets")[i]); at < Number(integers("offsets")[i + 1]); at++) {
      negatives.push({position: Number(integers("position")[at]), sQD: floats("s_q_d")[at]!, sPDD: floats("s_pd_d")[at]!});
    }
    const mined: Mined = {sQPD: floats("s_q_pd")[i]!, negatives};
    if (negatives.length === 0) mined.none = (this.#tensors["window"]!.data as Uint8Array)[i] ? "eq6" : "window";
    if (integers("in_window")) {
      mined.inWindow = Number(integers("in_window")[i]);
      mined.candidates = Number(integers("candidates")[i]);
    }
    return mined;
  }

  *[Symbol.iterator](): Generator<Mined> {
    for (let i = 0; i < this.length; i++) yield this.pair(i);
  }
}
