// Messages of the plugin: safetensors files in memory, as docs/ABI.md describes them.

import {QuarryError} from "./error.js";

/** A tensor of a message. `data` lies in C order; the plugin reads and writes little endian, as every engine of JavaScript does. */
export interface Tensor {
  dtype: "F16" | "F32" | "F64" | "I64" | "U8";
  shape: number[];
  data: ArrayBufferView;
}

/** A message that is written straight to where it is read, so that its tensors are copied once. */
export interface Message {
  readonly length: number;
  write(to: Uint8Array): void;
}

const sizes = {F16: 2, F32: 4, F64: 8, I64: 8, U8: 1};

/** encode lays a message out. The tensors are ordered by size of element, so that each of them is aligned. */
export function encode(tensors: Record<string, Tensor>, metadata: Record<string, string> = {}): Message {
  const header: Record<string, unknown> = {__metadata__: metadata};
  const parts: Uint8Array[] = [];
  let end = 0;
  for (const [name, t] of Object.entries(tensors).sort(([, a], [, b]) => sizes[b.dtype] - sizes[a.dtype])) {
    header[name] = {dtype: t.dtype, shape: t.shape, data_offsets: [end, end += t.data.byteLength]};
    parts.push(new Uint8Array(t.data.buffer, t.data.byteOffset, t.data.byteLength)); // a subarray gives its own bytes alone
  }
  let text = JSON.stringify(header);
  const encoder = new TextEncoder();
  let head = encoder.encode(text);
  if (head.length % 8 !== 0) head = encoder.encode(text += " ".repeat(8 - (head.length % 8)));
  return {
    length: 8 + head.length + end,
    write(to) {
      new DataView(to.buffer, to.byteOffset).setBigUint64(0, BigInt(head.length), true);
      to.set(head, 8);
      let at = 8 + head.length;
      for (const part of parts) {
        to.set(part, at);
        at += part.length;
      }
    },
  };
}

/** decode reads a file that quarry wrote. The tensors are views of its bytes, except where those are not aligned. */
export function decode(bytes: Uint8Array): {tensors: Record<string, Tensor>; metadata: Record<string, string>} {
  const bad = (problem: string) => new QuarryError("bad_message", "not a safetensors file: " + problem);
  if (bytes.length < 8) throw bad(`it has ${bytes.length} bytes`);
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  if (length > bytes.length - 8) throw bad(`its header should have ${length} bytes`);
  let header: Record<string, {dtype: Tensor["dtype"]; shape: number[]; data_offsets: [number, number]}>;
  try {
    header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  } catch (error) {
    throw bad(String(error));
  }
  const {__metadata__: metadata = {}, ...entries} = header as typeof header & {__metadata__?: Record<string, string>};
  const tensors: Record<string, Tensor> = {};
  for (const [name, {dtype, shape, data_offsets: [first, end]}] of Object.entries(entries)) {
    const data = bytes.subarray(8 + length + first, 8 + length + end);
    if (!(dtype in sizes) || data.length !== shape.reduce((a, b) => a * b, sizes[dtype])) throw bad(`tensor ${name} is ${dtype} [${shape}] in ${data.length} bytes`);
    tensors[name] = {dtype, shape, data: typed(dtype, data)};
  }
  return {tensors, metadata};
}

const arrays = {F16: Uint16Array, F32: Float32Array, F64: Float64Array, I64: BigInt64Array, U8: Uint8Array};

/** typed is bytes as the array of that type. Float16 comes as the bits of each value, which Float16Array reads where there is one. */
export function typed(dtype: Tensor["dtype"], bytes: Uint8Array): ArrayBufferView {
  const aligned = bytes.byteOffset % sizes[dtype] === 0 ? bytes : new Uint8Array(bytes); // slice() of Node's Buffer would not copy
  return new arrays[dtype](aligned.buffer as ArrayBuffer, aligned.byteOffset, aligned.byteLength / sizes[dtype]);
}
