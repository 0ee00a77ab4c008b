// Prints how many milliseconds this process needs from the module's bytes on disk to its answer to info.

import {argv, stdout} from "node:process";
import {loadPlugin, moduleBytes} from "./folder.js";

const Extism = argv[2] === "extism" ? (await import("./extism.js")).Extism : undefined;
const begin = performance.now();
if (Extism) await (await Extism.load(await moduleBytes())).call("info");
else (await loadPlugin()).info();
stdout.write(String(performance.now() - begin));
