// Runs in the browser, under the page's policy: the calls that are timed in every host, and whether their answers are the expected bytes.

import {Plugin} from "quarry-plugin";

export interface Figures {
  equal: boolean;
  select_raw: number[];
  select_projected: number[];
  push: number[];
  pushBytes: number;
}

/** start gives the milliseconds from nothing to an instance that has answered info. */
export async function start(): Promise<number> {
  const begin = performance.now();
  (await Plugin.load(fetch("/plugin.wasm"))).info();
  return performance.now() - begin;
}

/** measure gives the milliseconds of each call, with the messages of a folder that is served. */
export async function measure(folder: string): Promise<Figures> {
  const file = async (name: string) => new Uint8Array(await (await fetch(`${folder}/${name}`)).arrayBuffer());
  const plugin = await Plugin.load(fetch("/plugin.wasm"));
  plugin.loadProjection(await file("projection.safetensors"));
  let equal = true;
  const check = (got: Uint8Array, expected: Uint8Array) => (equal &&= got.length === expected.length && got.every((byte, i) => byte === expected[i]));
  const timed = (times: number, run: () => void) => Array.from({length: times}, () => {
    const begin = performance.now();
    run();
    return performance.now() - begin;
  });
  const select = async (kind: string) => {
    const message = await file(`select-${kind}.safetensors`);
    check(plugin.call("select", message), await file("select.part"));
    timed(20, () => plugin.call("select", message));
    return timed(200, () => plugin.call("select", message));
  };
  const select_raw = await select("raw"), select_projected = await select("projected");
  const begin = await file("begin.safetensors"), message = await file("push.safetensors"), push: number[] = [];
  for (let i = 0; i < 10; i++) {
    plugin.call("begin", begin);
    push.push(...timed(1, () => plugin.call("push", message)));
  }
  check(plugin.call("finish"), await file("push.part"));
  return {equal, select_raw, select_projected, push, pushBytes: message.length};
}
