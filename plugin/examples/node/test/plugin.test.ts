// The package against what the command line wrote, and its errors. QUARRY_CASE is the folder that `make examples-case` writes.

import assert from "node:assert/strict";
import {readFile} from "node:fs/promises";
import {join} from "node:path";
import {test} from "node:test";
import {env} from "node:process";
import {Plugin, QuarryError, type Raw} from "quarry-plugin";
import {Folder} from "quarry-plugin/beir";
import {blocksOf, rowsOf} from "quarry-plugin/npy";
import {Extism} from "../example/extism.js";
import {filesOf, loadPlugin, mineFolder, moduleBytes} from "../example/folder.js";

const folder = env["QUARRY_CASE"] ?? "../../../bin/examples/case";
const data = join(folder, "data"), projectionFile = join(folder, "projection.safetensors");
const compiled = await WebAssembly.compile(await moduleBytes());

/** opened is a plugin with the projection, and the folder. */
async function opened() {
  const plugin = await Plugin.load(compiled);
  const projection = plugin.loadProjection(await readFile(projectionFile));
  return {plugin, projection, folder: await Folder.open(await filesOf(data), projection)};
}

const all = (models: Parameters<typeof rowsOf>[0]) => rowsOf(models, Array.from({length: Object.values(models)[0]!.rows}, (_, i) => i));

test("the negatives are the command line's, with blocks of any size", async () => {
  for (const [rule, name] of [["dual", "negatives.jsonl"], ["capped", "negatives-capped.jsonl"]] as const) {
    for (const rows of [undefined, 7]) {
      let mined = "";
      for await (const line of mineFolder(await Plugin.load(compiled), data, projectionFile, {rule}, rows)) mined += line;
      assert.equal(mined, await readFile(join(folder, name), "utf8"));
    }
  }
});

test("projected documents, select and merged parts give the same bytes", async () => {
  const {plugin, projection, folder} = await opened();
  const {ids, ...pairs} = await folder.pairs("all");
  assert.equal(ids.length, 70);
  const documents = await all(folder.documents.models);
  const expected = Buffer.from(plugin.select({...pairs, documents}).bytes);

  const projected = projection.transform(documents), rows = folder.documents.ids.length, k = projection.components;
  assert.equal(projected.length, rows * k);
  assert.deepEqual(Buffer.from(plugin.select({...pairs, documents: projected}).bytes), expected);

  const miner = plugin.mine(pairs);
  miner.push(projected.subarray(0, 100 * k)); // of a buffer that holds more
  const first = miner.finish();
  const other = await opened(), more = other.plugin.mine(pairs);
  more.push(projected.subarray(100 * k), 100);
  assert.equal(more.position, rows);
  assert.deepEqual(Buffer.from(plugin.merge([more.finish(), first.bytes]).bytes), expected);

  const counted = [...plugin.select({...pairs, documents: projected, counts: true})];
  assert.ok(counted.every((m) => m.inWindow! >= m.candidates! && m.candidates! >= m.negatives.length));
});

test("float16 as bits, float32 and float64 of the same values give the same vectors", async () => {
  const {projection} = await opened(), [first, second] = projection.models;
  const value = {half: 0x3800, float: 0.5};
  const raw = (make: (width: number) => Raw[string]): Raw => ({[first!.name]: make(first!.width), [second!.name]: make(second!.width)});
  const expected = projection.transform(raw((width) => new Float32Array(3 * width).fill(value.float)));
  assert.deepEqual(projection.transform(raw((width) => new Uint16Array(3 * width).fill(value.half))), expected);
  assert.deepEqual(projection.transform(raw((width) => new Float64Array(3 * width).fill(value.float))), expected);
  const Float16Array = (globalThis as {Float16Array?: new (length: number) => Uint16Array}).Float16Array;
  if (Float16Array) assert.deepEqual(projection.transform(raw((width) => new Float16Array(3 * width).fill(value.float))), expected);
});

test("errors have the code, the tensor and the caller's row", async () => {
  const {plugin, projection, folder} = await opened();
  const {ids: _, ...pairs} = await folder.pairs("train");
  const fails = (run: () => unknown, expected: object) => assert.throws(run, (error) => {
    assert.ok(error instanceof QuarryError, String(error));
    assert.deepEqual({...error, ...expected}, {...error});
    return true;
  });
  const rows = 9000, zero = 8765; // far in the third block that goes to the plugin
  const raw = Object.fromEntries(projection.models.map((m) => [m.name, new Float32Array(rows * m.width).fill(1)])), {name, width} = projection.models[1]!;
  raw[name]!.fill(0, zero * width, (zero + 1) * width);
  fails(() => projection.transform(raw), {code: "zero_vector", tensor: `documents/${name}`, row: zero});
  const miner = plugin.mine(pairs);
  fails(() => miner.push(raw), {code: "zero_vector", tensor: `documents/${name}`, row: zero});
  assert.equal(plugin.mine({...pairs, zero: "skip"}).push(raw), 1);
  fails(() => miner.push(raw), {code: "no_pairs"});

  fails(() => plugin.mine({...pairs, rule: "best" as "dual"}), {code: "bad_option"});
  fails(() => plugin.mine({...pairs, pairs: [[0, 4711]]}), {code: "bad_message", tensor: "pair_positive", row: 0});
  fails(() => plugin.mine({...pairs, pairs: undefined}), {code: "bad_message"});
  const mask = [[true, false]] as unknown as number[][];
  fails(() => plugin.mine({...pairs, exclude: mask}), {code: "bad_message", tensor: "exclude", row: 0});
  fails(() => plugin.mine({...pairs, pairs: [[0, 0], [0.5, 0]]}), {code: "bad_message", tensor: "pair_query", row: 1});
  fails(() => plugin.mine(pairs).push({[name]: raw[name]!}), {code: "mismatch"});
  fails(() => plugin.mine(pairs).push({...raw, [name]: raw[name]!.subarray(1)}), {code: "bad_message", tensor: `documents/${name}`});
  fails(() => plugin.mine(pairs).push({...raw, [name]: new Int32Array(rows * width) as unknown as Float32Array}), {code: "bad_message", tensor: `documents/${name}`});
  fails(() => plugin.loadProjection(new Uint8Array(7)), {code: "bad_message"});
  fails(() => plugin.merge([new Uint8Array(3)]), {code: "bad_message"});
  fails(() => plugin.reset(-1), {code: "bad_option"});

  const k = projection.components;
  plugin.reset();
  fails(() => projection.transform(raw), {code: "no_projection"});
  fails(() => plugin.mine({queries: new Float32Array(k), positives: new Float32Array(k)}), {code: "bad_message"});
  const one = plugin.select({components: 2, queries: Float32Array.of(1, 0), positives: Float32Array.of(0, 1), documents: Float32Array.of(1, 0.1, -1, 0), rule: "topk", top: 1});
  assert.equal(one.pair(0).negatives[0]!.position, 0);
  assert.throws(() => one.pair(1), RangeError);
  const none = plugin.select({components: 2, queries: Float32Array.of(1, 0), positives: Float32Array.of(0, 1), documents: new Float32Array(0)});
  assert.deepEqual(none.pair(0), {sQPD: 0, negatives: [], none: "window"});
});

test("a module that stopped says why, and stays stopped", async () => {
  const plugin = await Plugin.load(compiled);
  const broken = {get length(): number { return 8; }, write() { throw new WebAssembly.RuntimeError("unreachable"); }};
  for (const message of [broken, undefined]) assert.throws(() => plugin.call("info", message), {code: "internal"});
});

test("mining stops between blocks", async () => {
  const {plugin, folder} = await opened();
  const {ids: _, ...pairs} = await folder.pairs("all");
  const stop = new AbortController(), seen: number[] = [];
  const mining = plugin.mine(pairs).pushAll(blocksOf(folder.documents.models, 50), {signal: stop.signal, progress: (n) => seen.push(n) === 2 && stop.abort()});
  await assert.rejects(mining, {name: "AbortError"});
  assert.deepEqual(seen, [50, 100]);
});

test("under Extism's SDK a subarray sends its own bytes, and reset is the plugin's", async () => {
  const sdk = await Extism.load(await moduleBytes()), raw = await loadPlugin();
  const around: Buffer = Buffer.concat([Buffer.alloc(3), await readFile(projectionFile), Buffer.alloc(5)]);
  const file = around.subarray(3, around.length - 5);
  const loaded = JSON.parse(new TextDecoder().decode(await sdk.call("load_projection", file)));
  assert.equal(loaded.projection, raw.loadProjection(file).fingerprint);
  assert.equal(raw.projection!.shares.length, loaded.components);
  const same = await sdk.raw(); // the SDK's instance, by its raw exports
  assert.equal(same.info().abi, raw.info().abi);
  await assert.rejects(sdk.call("finish"), {code: "no_pairs"});
  const one = new Float32Array(loaded.components).fill(1);
  same.mine({components: loaded.components, queries: one, positives: one});
  assert.ok((await sdk.call("finish")).length > 0);
  await sdk.call("reset");
  await assert.rejects(sdk.call("transform", await readFile(join(folder, "bench/select-raw.safetensors"))), (error) => error instanceof QuarryError && error.code !== "internal");
  await assert.rejects(sdk.call("push", file), {code: "no_pairs"});
  await sdk.close();
});

test("twins of positives, repeated judgements and TREC's columns are read as the command line reads them", async () => {
  const {projection} = await opened(), files = await filesOf(data), name = projection.models[0]!.name;
  const corpus = (await files.get("corpus.jsonl")!.text()).trim().split("\n").map((text) => JSON.parse(text) as {_id: string; title: string; text: string});
  const first = corpus.findIndex((t) => t._id === "d001"), [sameText, sameVectors] = [200, 201];
  Object.assign(corpus[sameText]!, {title: corpus[first]!.title, text: corpus[first]!.text});
  files.set("corpus.jsonl", new Blob(corpus.map((t, i) => JSON.stringify(t).replace(/}$/, i === 5 ? ',"score":NaN}\r\n' : "}\n"))));
  for (const model of projection.models) {
    const path = `vectors/${model.name}/docs.npy`, bytes = new Uint8Array(await files.get(path)!.arrayBuffer()), row = 2 * model.width, begin = bytes.length - corpus.length * row;
    bytes.copyWithin(begin + sameVectors * row, begin + first * row, begin + (first + 1) * row);
    if (model.name === name) bytes.copyWithin(begin + 202 * row, begin + first * row, begin + (first + 1) * row); // of one model alone: no twin
    files.set(path, new Blob([bytes]));
  }
  files.set("qrels/train.tsv", new Blob(["q01 0 d001 1\nq03\t0\td009\t1\nq01 0 d001 1\n"]));
  files.set("qrels/test.tsv", new Blob(["query-id\tcorpus-id\tscore\nq01\td001\t1\nq02\td005\t1\n"]));
  const {ids, exclude} = await (await Folder.open(files, projection)).pairs("all");
  assert.deepEqual(ids.map(({query, positive}) => `${query} ${positive}`), ["q01 d001", "q03 d009", "q02 d005"]);
  assert.deepEqual(exclude[0], [first, sameText, sameVectors]);

  files.set("qrels/test.tsv", new Blob(["q01\td001\t0\n"]));
  await assert.rejects(Folder.open(files, projection), /qrels\/test\.tsv:1: query q01 and document d001 are judged twice, with scores 1 and 0/);
});
