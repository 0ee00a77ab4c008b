// Mines a folder: node dist/example/mine.js FOLDER PROJECTION [RULE] > negatives.jsonl
// The documents are read while they are mined, a block at a time, so they may be larger than memory.

import {openAsBlob} from "node:fs";
import {readdir, readFile} from "node:fs/promises";
import {join} from "node:path";
import {argv, stdout} from "node:process";
import {Plugin, type Rule} from "quarry-plugin";
import {Folder, line} from "quarry-plugin/beir";
import {blocksOf} from "quarry-plugin/npy";

const [folder, projectionFile, rule = "dual"] = argv.slice(2);
if (!folder || !projectionFile) throw new Error("usage: node mine.js FOLDER PROJECTION [RULE]");

const plugin = await Plugin.load(await readFile(new URL(import.meta.resolve("quarry-plugin/plugin.wasm"))));
const projection = plugin.loadProjection(await readFile(projectionFile));

const files = new Map<string, Blob>();
for (const entry of await readdir(folder, {recursive: true, withFileTypes: true})) {
  const path = join(entry.parentPath ?? entry.path, entry.name);
  if (entry.isFile()) files.set(path.slice(join(folder, "/").length), await openAsBlob(path));
}
const data = await Folder.open(files, projection);
const {ids, ...pairs} = await data.pairs("all");
const miner = plugin.mine({...pairs, rule: rule as Rule["rule"], top: 5});
await miner.pushAll(blocksOf(data.documents.models));
let i = 0;
for (const mined of miner.finish()) stdout.write(line(ids[i++]!, mined, data.documents.ids));
