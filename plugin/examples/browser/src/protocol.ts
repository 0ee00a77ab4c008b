// What page and worker say to one another. Cases and figure are as the report's page takes them.

import type {Rule} from "quarry-plugin";

/** Page to worker: mine these files. */
export interface Order {
  files: Map<string, Blob>;
  split: string;
  rule: Rule;
}

/** Worker to page. */
export type Said =
  | {kind: "ready"; abi: string; kernels: string}
  | {kind: "progress"; words: string; done?: number; of?: number}
  | {kind: "done"; result: Result}
  | {kind: "failed"; problem: string};

export interface Result {
  /** negatives.jsonl */
  file: Blob;
  documents: number;
  queries: number;
  pairs: number;
  withNegatives: number;
  negatives: number;
  noneWindow: number;
  noneEq6: number;
  seconds: number;
  cases: Case[];
  /** Undefined where the projection has no two components to draw. */
  figure?: Figure;
}

/** A place on the first two components. */
export type Place = [x: number, y: number];

export interface Text {
  id: string;
  title: string;
  text: string;
  /** How many characters were left out at the end. */
  cut: number;
  at?: Place;
}

/** A pair with its negatives. */
export interface Case {
  query: Text;
  positive: Text;
  d_q_pd: number;
  negatives: (Text & {rank: number; d_q_d: number; d_pd_d: number})[];
  /** Negatives that are not shown. */
  more: number;
}

/** The paper's Figure 2: documents of the corpus on the first two components. */
export interface Figure {
  shares: [number, number];
  documents: number;
  sample: {id: string; label: string; at: Place}[];
}
