// A static server that does nothing for the page but to send its files, with the policy that it must work under.

import {createReadStream} from "node:fs";
import {stat} from "node:fs/promises";
import {createServer} from "node:http";
import type {AddressInfo} from "node:net";
import {extname, join, normalize} from "node:path";

const types: Record<string, string> = {".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".wasm": "application/wasm", ".svg": "image/svg+xml", ".json": "application/json"};

/** Server serves folders by the first part of a path; the page is at "". hold makes requests for a file wait until what it gives is called. */
export interface Server {
  origin: string;
  hold(path: string): () => void;
  close(): void;
}

export async function serve(folders: Record<string, string>): Promise<Server> {
  const held = new Map<string, Promise<void>>();
  const server = createServer(async (request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url!, "http://page").pathname));
    await held.get(path);
    const first = path.split("/")[1]!, [folder, rest] = first in folders ? [folders[first]!, path.slice(first.length + 2)] : [folders[""]!, path];
    const file = join(folder, rest.endsWith("/") || rest === "" ? rest + "index.html" : rest);
    const found = await stat(file).catch(() => undefined);
    response.writeHead(found?.isFile() ? 200 : 404, {"content-type": types[extname(file)] ?? "application/octet-stream", "content-security-policy": "default-src 'self' 'wasm-unsafe-eval'"});
    if (found?.isFile()) createReadStream(file).pipe(response);
    else response.end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    hold(path) {
      let release = () => {};
      held.set(path, new Promise((resolve) => (release = resolve)));
      return release;
    },
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}
