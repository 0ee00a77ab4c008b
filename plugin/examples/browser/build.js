// Builds the page: node build.js FOLDER, where FOLDER/node_modules has the libraries. It writes FOLDER/site, which any static server can serve,
// and what tests it to FOLDER/test. The script run calls it.

import {cp, mkdir, readdir, rm, writeFile} from "node:fs/promises";
import {createRequire} from "node:module";
import {join} from "node:path";
import process from "node:process";

const here = import.meta.dirname, root = join(here, "../../..");
const out = process.argv[2], site = join(out, "site"), example = join(root, "bin/examples/case");
const {build} = createRequire(join(out, "package.json"))("esbuild");
const common = {bundle: true, target: "es2022", format: "esm", tsconfig: join(here, "tsconfig.json"), nodePaths: [join(out, "node_modules")], logLevel: "warning"};

await rm(site, {recursive: true, force: true});
await mkdir(site, {recursive: true});
await build({...common, entryPoints: ["page.ts", "worker.ts", "page.css"].map((name) => join(here, "src", name)), outdir: site, minify: true});
await build({...common, entryPoints: [join(here, "test/measure.ts")], outdir: join(out, "test/served"), minify: true});
await build({...common, entryPoints: [join(here, "test/page.test.ts")], outdir: join(out, "test"), platform: "node", packages: "external", external: ["playwright-core"]});

await cp(join(here, "static"), site, {recursive: true});
await cp(join(root, "plugin/plugin.wasm"), join(site, "plugin.wasm"));
await cp(join(root, "host/report/dist/licenses.txt"), join(site, "licenses.txt")); // the report's page has the same libraries
await cp(join(example, "data"), join(site, "demo"), {recursive: true});
await cp(join(example, "projection.safetensors"), join(site, "demo/projection.safetensors"));
const files = (await readdir(join(site, "demo"), {recursive: true, withFileTypes: true})).filter((entry) => entry.isFile());
await writeFile(join(site, "demo/files.json"), JSON.stringify(files.map((entry) => join(entry.parentPath ?? entry.path, entry.name).slice(join(site, "demo/").length)).sort()));
