// The plugin by its raw exports, which docs/ABI.md describes: a message is written into the module's memory, and the answer is read there.

import {QuarryError} from "./error.js";
import {Miner, type Pairs} from "./miner.js";
import {Part} from "./part.js";
import {Projection} from "./projection.js";
import {encode, type Message, type Tensor} from "./safetensors.js";
import type {Vectors} from "./vectors.js";

/** The plugin's operations, by the numbers of its interface. */
export const operations = ["info", "load_projection", "transform", "begin", "push", "finish", "select", "merge", "reset"] as const;
export type Operation = (typeof operations)[number];

/**
 * What the module may come as. A `Response`, or the promise of one, is compiled while it arrives. An instance is one that another host made, such as
 * Extism's SDK.
 */
export type Source = BufferSource | WebAssembly.Module | WebAssembly.Instance | Response | Promise<Response>;

/** What `info` tells. */
export interface Info {
  abi: string;
  operations: string[];
  limits: Record<string, number>;
  kernels: string;
}

interface Exports {
  memory: WebAssembly.Memory;
  quarry_buffer(bytes: number): number;
  quarry_call(operation: number, bytes: number): number;
  quarry_output(): bigint;
  quarry_fault(): bigint;
}

/**
 * Plugin is an instance of quarry's module. It keeps at most one projection and one set of pairs, and computes on the
 * thread that calls it: in a page, that of a Web Worker. Several instances of one `WebAssembly.Module` know nothing of one another.
 */
export class Plugin {
  /** The projection that is loaded. */
  projection: Projection | undefined;
  /** The miner whose pairs are set; those of an earlier one are gone. */
  miner: Miner | undefined;
  #fault: QuarryError | undefined;

  private constructor(private readonly exports: Exports) {}

  /** load compiles the module, unless it is compiled already, and makes an instance of it. Another major version of the interface is an error. */
  static async load(source: Source): Promise<Plugin> {
    const plugin = new Plugin((await instantiate(await source)).exports as unknown as Exports);
    const {abi} = plugin.info();
    if (!abi.startsWith("1.")) throw new QuarryError("mismatch", `the module has version ${abi} of the interface; expected 1`);
    return plugin;
  }

  /** call runs an operation on a message, and gives what it answers, in memory of its own. It is for whoever makes messages themselves. */
  call(operation: Operation, message?: Message | Uint8Array): Uint8Array<ArrayBuffer> {
    if (this.#fault) throw this.#fault;
    try {
      const length = message?.length ?? 0;
      if (message && length > 0) {
        const buffer = this.exports.quarry_buffer(length) >>> 0; // the memory may grow: its views are taken afterwards
        if (buffer === 0) throw new QuarryError("limit", `a message of ${length} bytes is too large: give fewer rows at a time`);
        const to = new Uint8Array(this.exports.memory.buffer, buffer, length);
        if (message instanceof Uint8Array) to.set(message);
        else message.write(to);
      }
      const status = this.exports.quarry_call(operations.indexOf(operation), length);
      const answer = this.#read(this.exports.quarry_output());
      if (status !== 0) throw errorOf(answer);
      return answer;
    } catch (error) {
      if (error instanceof QuarryError) throw error;
      // The module trapped, and its instance is of no more use. Its runtime has said why before.
      const place = this.exports.quarry_fault();
      this.#fault = place !== 0n ? errorOf(this.#read(place)) : new QuarryError("internal", `the module stopped: ${error}`);
      throw this.#fault;
    }
  }

  /** info tells the versions and limits of the module. */
  info(): Info {
    return json(this.call("info")) as Info;
  }

  /** loadProjection loads a file that `quarry fit` made. It forgets the pairs that were set. */
  loadProjection(file: Uint8Array): Projection {
    const answer = json(this.call("load_projection", file)) as {projection: string; columns: number; components: number};
    this.miner = undefined;
    return (this.projection = new Projection(this, file, answer));
  }

  /** mine begins to mine negatives for pairs; the miner takes documents in blocks. */
  mine(pairs: Pairs): Miner {
    return new Miner(this, pairs);
  }

  /** select mines pairs against documents that are at hand, such as the hits of a query, in one call. What `mine` had set stays. */
  select(pairs: Pairs & {documents: Vectors}): Part {
    return Miner.select(this, pairs);
  }

  /** merge joins parts of the same pairs against different documents. */
  merge(parts: Iterable<Part | Uint8Array>): Part {
    const tensors: Record<string, Tensor> = {};
    let n = 0;
    for (const part of parts) {
      const data = part instanceof Part ? part.bytes : part;
      tensors[`part${n++}`] = {dtype: "U8", shape: [data.length], data};
    }
    return new Part(this.call("merge", encode(tensors)));
  }

  /** reset forgets projection and pairs, and may set how many bytes of memory the instance takes. */
  reset(memoryLimit?: number): void {
    this.call("reset", encode({}, memoryLimit === undefined ? {} : {memory_limit: String(memoryLimit)}));
    this.projection = this.miner = undefined;
  }

  #read(place: bigint): Uint8Array<ArrayBuffer> {
    const at = BigInt.asUintN(64, place);
    return new Uint8Array(this.exports.memory.buffer, Number(at >> 32n), Number(at & 0xffffffffn)).slice() as Uint8Array<ArrayBuffer>;
  }
}

async function instantiate(from: Awaited<Source>): Promise<WebAssembly.Instance> {
  if (from instanceof WebAssembly.Instance) return from;
  const module = from instanceof WebAssembly.Module ? from : await (from instanceof Response ? compile(from) : WebAssembly.compile(from));
  const imports: WebAssembly.Imports = {};
  for (const i of WebAssembly.Module.imports(module)) { // those of Extism, of which the raw exports call none
    (imports[i.module] ??= {})[i.name] = () => { throw new Error(`${i.name} is for hosts of Extism`); };
  }
  return WebAssembly.instantiate(module, imports);
}

async function compile(from: Response): Promise<WebAssembly.Module> {
  if (!from.ok) throw new Error(`${from.url}: ${from.status} ${from.statusText}`);
  // A server that does not know the type of .wasm is no reason to fail.
  return from.headers.get("content-type")?.startsWith("application/wasm") ? WebAssembly.compileStreaming(from) : WebAssembly.compile(await from.arrayBuffer());
}

/** json reads an answer that is JSON. */
export const json = (bytes: Uint8Array): unknown => JSON.parse(new TextDecoder().decode(bytes));

function errorOf(bytes: Uint8Array): QuarryError {
  const {code, message, tensor, row} = json(bytes) as {code: string; message: string; tensor?: string; row?: number};
  return new QuarryError(code, message, tensor, row);
}
