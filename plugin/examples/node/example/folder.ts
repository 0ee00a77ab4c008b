// A folder on disk, mined: what mine.ts prints and measure.ts compares.

import {openAsBlob} from "node:fs";
import {readdir, readFile} from "node:fs/promises";
import {join} from "node:path";
import {Plugin, type Rule} from "quarry-plugin";
import {Folder, line} from "quarry-plugin/beir";
import {blocksOf} from "quarry-plugin/npy";

/** moduleBytes is the module that is in the package. */
export const moduleBytes = () => readFile(new URL(import.meta.resolve("quarry-plugin/plugin.wasm"))) as Promise<Buffer<ArrayBuffer>>;

/** loadPlugin makes an instance of it. */
export const loadPlugin = async () => Plugin.load(await moduleBytes());

/** mineFolder gives the lines of negatives.jsonl. The documents are read while they are mined, a block at a time, so they may be larger than memory. */
export async function* mineFolder(plugin: Plugin, folder: string, projectionFile: string, rule: Rule, blockRows?: number): AsyncGenerator<string> {
  const data = await Folder.open(await filesOf(folder), plugin.loadProjection(await readFile(projectionFile)));
  const {ids, ...pairs} = await data.pairs("all");
  const miner = plugin.mine({...pairs, ...rule});
  await miner.pushAll(blocksOf(data.documents.models, blockRows));
  let i = 0;
  for (const mined of miner.finish()) yield line(ids[i++]!, mined, data.documents.ids);
}

/** filesOf is the files of a folder, by their paths in it. */
export async function filesOf(folder: string): Promise<Map<string, Blob>> {
  const files = new Map<string, Blob>();
  for (const entry of await readdir(folder, {recursive: true, withFileTypes: true})) {
    const path = join(entry.parentPath ?? entry.path, entry.name);
    if (entry.isFile()) files.set(path.slice(join(folder, "/").length).replaceAll("\\", "/"), await openAsBlob(path));
  }
  return files;
}
