// Measures the plugin in this Node: node dist/example/measure.js CASE raw|extism
// CASE is the folder that `make examples-case` writes. Prints one line of JSON, and fails where an answer is not what it holds.

import {execFileSync} from "node:child_process";
import {readFile} from "node:fs/promises";
import {join} from "node:path";
import process from "node:process";
import {fileURLToPath} from "node:url";
import type {Operation, Rule} from "quarry-plugin";
import {loadPlugin, mineFolder, moduleBytes} from "./folder.js";

const [folder = "", how = "raw"] = process.argv.slice(2);
const file = async (name: string) => new Uint8Array(await readFile(join(folder, name)));
const host = how === "extism" ? await (await import("./extism.js")).Extism.load(await moduleBytes()) : await byRawExports();
let equal = true;
const check = (what: string, got: Uint8Array, expected: Uint8Array) => {
  if (Buffer.compare(got, expected) === 0) return;
  equal = false;
  console.error(`${what} differs from what the command line wrote`);
};

async function byRawExports() {
  const plugin = await loadPlugin();
  return {raw: async () => plugin, call: (operation: Operation, message?: Uint8Array) => plugin.call(operation, message)};
}

// The nth of sorted values, where n is a share.
const quantile = (values: number[], share: number) => values.sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))]!;
const rounded = (value: number) => Number(value.toPrecision(3));

async function timed(times: number, run: () => unknown): Promise<number[]> {
  const took: number[] = [];
  for (let i = 0; i < times; i++) {
    const begin = performance.now();
    await run();
    took.push(performance.now() - begin);
  }
  return took;
}

async function select(kind: "raw" | "projected") {
  const message = await file(`bench/select-${kind}.safetensors`), expected = await file("bench/select.part");
  check(`select ${kind}`, await host.call("select", message), expected);
  await timed(20, () => host.call("select", message));
  const took = await timed(200, () => host.call("select", message));
  return {median: rounded(quantile(took, 0.5)), p99: rounded(quantile(took, 0.99))};
}

async function megabytesPerSecond() {
  const begin = await file("bench/begin.safetensors"), push = await file("bench/push.safetensors");
  const took: number[] = [];
  for (let i = 0; i < 10; i++) {
    await host.call("begin", begin);
    took.push(...(await timed(1, () => host.call("push", push))));
  }
  check("push", await host.call("finish"), await file("bench/push.part"));
  return push.length / 1e6 / (quantile(took, 0.5) / 1e3);
}

// Each in a process of its own: a process that dies fails the measurement.
const starts = Array.from({length: 20}, () => Number(execFileSync(process.execPath, [fileURLToPath(new URL("start.js", import.meta.url)), how], {encoding: "utf8"})));
await host.call("load_projection", await file("bench/projection.safetensors"));
const result = {
  host: how === "extism" ? "Node, Extism's SDK" : "Node, raw exports", version: how === "extism" ? `1.0.3 on ${process.version.slice(1)}` : process.version.slice(1),
  start_ms: rounded(quantile(starts, 0.5)), in_mb_s: rounded(await megabytesPerSecond()),
  select_raw_ms: await select("raw"), select_projected_ms: await select("projected"),
};
for (const [rule, name] of [["dual", "negatives.jsonl"], ["capped", "negatives-capped.jsonl"]] as [Rule["rule"], string][]) {
  const lines: string[] = [];
  for await (const line of mineFolder(await host.raw(), join(folder, "data"), join(folder, "projection.safetensors"), {rule})) lines.push(line);
  check(name, Buffer.from(lines.join("")), await file(name));
}
console.log(JSON.stringify({...result, equal}));
process.exit(equal ? 0 : 1);
