// Rows of .npy files, read from a Blob a block at a time: a browser's File is one, and node:fs opens a file as one.

import {typed, type Tensor} from "./safetensors.js";
import type {Raw, Rows} from "./vectors.js";

const types: Record<string, Tensor["dtype"]> = {"<f2": "F16", "<f4": "F32", "<f8": "F64"};
const sizes: Record<string, number> = {F16: 2, F32: 4, F64: 8};

/** Npy is a file of rows. */
export class Npy {
  private constructor(private readonly file: Blob, private readonly begin: number, private readonly dtype: Tensor["dtype"], readonly rows: number, readonly width: number) {}

  /** open reads the header. `name` is what errors call the file. */
  static async open(name: string, file: Blob): Promise<Npy> {
    const bad = (problem: string) => new Error(`${name}: ${problem}`);
    const start = new DataView(await file.slice(0, 12).arrayBuffer());
    if (start.byteLength < 12 || start.getUint32(0) !== 0x934e554d || start.getUint16(4) !== 0x5059) throw bad("not a .npy file");
    const [at, length] = start.getUint8(6) === 1 ? [10, start.getUint16(8, true)] : [12, start.getUint32(8, true)];
    const header = await file.slice(at, at + length).text();
    const descr = /'descr':\s*'([^']*)'/.exec(header)?.[1] ?? "unknown", shape = /'shape':\s*\((\d+),\s*(\d+),?\s*\)/.exec(header);
    const dtype = types[descr];
    if (!dtype) throw bad(`values are ${descr}; float16, float32 and float64, little endian, are read`);
    if (!shape || !/'fortran_order':\s*False/.test(header)) throw bad("expected an array of rows in C order, as numpy.save(path, numpy.ascontiguousarray(array)) writes it");
    const [rows, width] = [Number(shape[1]), Number(shape[2])], expected = at + length + rows * width * sizes[dtype]!;
    if (file.size !== expected) throw bad(`${rows} rows of ${width} values make ${expected} bytes; the file has ${file.size}`);
    return new Npy(file, at + length, dtype, rows, width);
  }

  /** rowBytes is how many bytes a row takes. */
  get rowBytes(): number {
    return this.width * sizes[this.dtype]!;
  }

  /** read reads rows first … end − 1. Float16 comes as its bits. */
  async read(first: number, end: number): Promise<Rows> {
    const bytes = await this.file.slice(this.begin + first * this.rowBytes, this.begin + end * this.rowBytes).arrayBuffer();
    return typed(this.dtype, new Uint8Array(bytes)) as Rows;
  }
}

/** blocksOf reads rows of all models, some at a time. The next block is read while the caller works on the last. */
export async function* blocksOf(models: Readonly<Record<string, Npy>>, rows = 1024): AsyncGenerator<Raw> {
  const total = Math.min(...Object.values(models).map((m) => m.rows));
  const read = async (first: number) => {
    const parts = Object.entries(models).map(async ([name, m]) => [name, await m.read(first, Math.min(total, first + rows))] as const);
    return Object.fromEntries(await Promise.all(parts));
  };
  let next = read(0);
  for (let first = 0; first < total; first += rows) {
    const block = await next;
    if (first + rows < total) next = read(first + rows);
    next.catch(() => {}); // it is awaited above, or nobody wants it any more
    yield block;
  }
}

/** rowsOf reads single rows of all models. */
export async function rowsOf(models: Readonly<Record<string, Npy>>, rows: readonly number[]): Promise<Raw> {
  const all: Record<string, Rows> = {};
  for (const [name, m] of Object.entries(models)) {
    const first = await m.read(0, 0);
    const out = new (first.constructor as Float32ArrayConstructor)(rows.length * m.width);
    for (const [i, row] of rows.entries()) out.set((await m.read(row, row + 1)) as Float32Array, i * m.width);
    all[name] = out;
  }
  return all;
}
