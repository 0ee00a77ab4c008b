// The same module under Extism's SDK for JavaScript, for programs that have the SDK anyway. It reads its input by a BigInt for eight bytes, and
// is several times slower than the raw exports where there is much input.

import createPlugin, {type Plugin as ExtismPlugin} from "@extism/extism";
import {Plugin, QuarryError, type Operation} from "quarry-plugin";

/** Extism calls operations under the SDK, and keeps out of its traps. */
export class Extism {
  private constructor(private readonly plugin: ExtismPlugin) {}

  static async load(module: Uint8Array<ArrayBuffer>): Promise<Extism> {
    return new Extism(await createPlugin({wasm: [{data: whole(module)}]}, {useWasi: false}));
  }

  /** call runs an operation. `reset`, too, is the plugin's own: the SDK's method of that name drops the SDK's memory, and the projection stays. */
  async call(operation: Operation, message: Uint8Array = new Uint8Array()): Promise<Uint8Array> {
    try {
      const answer = await this.plugin.call(operation, whole(message));
      return answer ? answer.bytes().slice() : new Uint8Array(); // what the SDK gives is gone after the next call
    } catch (error) {
      const found = /^Plugin-originated error: (\{.*\})$/s.exec((error as Error).message);
      if (!found) throw error;
      const {code, message, tensor, row} = JSON.parse(found[1]!) as {code: string; message: string; tensor?: string; row?: number};
      throw new QuarryError(code, message, tensor, row);
    }
  }

  /** raw is the same instance by its raw exports, as the package calls them: what is loaded there is loaded here. */
  async raw(): Promise<Plugin> {
    return Plugin.load(await this.plugin.getInstance());
  }

  async close(): Promise<void> {
    await this.plugin.close();
  }
}

/** whole is bytes in a buffer of their own: of a subarray, the SDK would send the whole buffer. slice() of Node's Buffer would not copy. */
const whole = (bytes: Uint8Array): Uint8Array<ArrayBuffer> =>
  (bytes.byteLength === bytes.buffer.byteLength ? bytes : new Uint8Array(bytes)) as Uint8Array<ArrayBuffer>;
