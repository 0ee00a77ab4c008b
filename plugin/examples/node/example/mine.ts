// Mines a folder: node dist/example/mine.js FOLDER PROJECTION [RULE] > negatives.jsonl

import {argv, stdout} from "node:process";
import type {Rule} from "quarry-plugin";
import {loadPlugin, mineFolder} from "./folder.js";

const [folder, projection, rule = "dual"] = argv.slice(2);
if (!folder || !projection) throw new Error("usage: node mine.js FOLDER PROJECTION [RULE]");
for await (const line of mineFolder(await loadPlugin(), folder, projection, {rule: rule as Rule["rule"]})) stdout.write(line);
