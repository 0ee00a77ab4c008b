// Vectors as callers give them, and as the tensors of a message.

import {QuarryError} from "./error.js";
import type {Tensor} from "./safetensors.js";

/** A Float16Array, which Node has from version 24 on. A Uint16Array of the same bits is accepted everywhere. */
export interface Half extends ArrayBufferView {
  readonly [Symbol.toStringTag]: "Float16Array";
  readonly BYTES_PER_ELEMENT: number;
  readonly length: number;
  subarray(begin?: number, end?: number): Half;
}

/** Rows one after another. Uint16Array holds the bits of float16 values. */
export type Rows = Float32Array | Float64Array | Uint16Array | Half;

/** Raw vectors: the rows of each model of the projection, by its name. */
export type Raw = Readonly<Record<string, Rows>>;

/** Vectors: raw ones, which the plugin projects, or rows of k float32 that `transform` gave. */
export type Vectors = Float32Array | Raw;

/** What the rows of vectors are wide: k, and the width of each model. */
export interface Widths {
  readonly components: number;
  readonly models: readonly {readonly name: string; readonly width: number}[];
}

const dtypes: Record<string, Tensor["dtype"]> = {Float16Array: "F16", Uint16Array: "F16", Float32Array: "F32", Float64Array: "F64"};

/** count is how many rows vectors have. What does not divide into rows of the expected widths is an error that names the tensor. */
export function count(name: string, vectors: Vectors, widths: Widths): number {
  const rows = new Set(columns(name, vectors, widths).map(([tensor, array, width]) => {
    if (!(array[Symbol.toStringTag] in dtypes)) throw new QuarryError("bad_message", `${tensor}: ${array[Symbol.toStringTag]}; expected a Float32Array, a Float64Array, a Float16Array or its bits as a Uint16Array`, tensor);
    if (array.length % width !== 0) throw new QuarryError("bad_message", `${tensor}: ${array.length} values are not rows of ${width}`, tensor);
    return array.length / width;
  }));
  if (rows.size !== 1) throw new QuarryError("bad_message", `${name}: the models have ${[...rows].join(" and ")} rows`, name);
  return [...rows][0]!;
}

/** tensors are rows first … end − 1 of vectors, without a copy. */
export function tensors(name: string, vectors: Vectors, widths: Widths, first: number, end: number): Record<string, Tensor> {
  return Object.fromEntries(columns(name, vectors, widths).map(([tensor, array, width]) =>
    [tensor, {dtype: dtypes[array[Symbol.toStringTag]]!, shape: [end - first, width], data: array.subarray(first * width, end * width)}]));
}

/** rowBytes is how many bytes a row takes in a message. */
export function rowBytes(vectors: Vectors, widths: Widths): number {
  return columns("", vectors, widths).reduce((sum, [, array, width]) => sum + width * array.BYTES_PER_ELEMENT, 0);
}

function columns(name: string, vectors: Vectors, widths: Widths): [tensor: string, array: Rows, width: number][] {
  if (ArrayBuffer.isView(vectors)) {
    const problem = !((vectors as Rows) instanceof Float32Array) ? "projected vectors are a Float32Array; raw ones are given by model, as {minilm: array}"
      : widths.components < 1 ? "load a projection first, or say how many components a row has" : "";
    if (problem) throw new QuarryError("bad_message", `${name}: ${problem}`, name);
    return [[name, vectors as Float32Array, widths.components]];
  }
  const of = (model: string) => widths.models.find((m) => m.name === model);
  for (const model of Object.keys(vectors)) if (!of(model)) throw new QuarryError("mismatch", `${name}: the projection has no model ${model}`, `${name}/${model}`);
  return widths.models.map((m) => {
    const array = vectors[m.name];
    if (!array) throw new QuarryError("mismatch", `${name}: the vectors of model ${m.name} are missing`, `${name}/${m.name}`);
    return [`${name}/${m.name}`, array, m.width];
  });
}
