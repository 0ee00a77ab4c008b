// Twins: documents that equal a judged positive in title and text, or in the vectors of all models. They are no negatives of its queries.

import type {Npy} from "./npy.js";
import type {Rows} from "./vectors.js";

/** hashText and hashBytes are FNV-1a: what differs here is different, and what agrees is looked at again. */
export function hashText(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}

function hashBytes(bytes: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}

const bytesOf = (rows: Rows) => new Uint8Array(rows.buffer, rows.byteOffset, rows.byteLength);

/**
 * equal groups documents whose keys are equal, where a document that is wanted is among them. hashes has one for each document, or undefined for
 * one that equals none; key reads what must be equal.
 */
export async function equal(hashes: readonly (number | undefined)[], wanted: ReadonlySet<number>, key: (rows: number[]) => Promise<string[]>): Promise<number[][]> {
  const like = new Map<number, number[]>();
  for (const row of wanted) if (hashes[row] !== undefined) like.set(hashes[row]!, []);
  hashes.forEach((hash, row) => hash !== undefined && like.get(hash)?.push(row));
  const rows = [...like.values()].filter((rows) => rows.length > 1).flat().sort((a, b) => a - b), groups = new Map<string, number[]>();
  if (rows.length === 0) return [];
  const keys = await key(rows);
  for (const [i, row] of rows.entries()) groups.set(keys[i]!, [...(groups.get(keys[i]!) ?? []), row]);
  return [...groups.values()].filter((rows) => rows.length > 1);
}

/** equalVectors groups documents whose vectors are equal in all bytes. It reads the vectors of the model that has the fewest. */
export async function equalVectors(models: readonly Npy[], wanted: ReadonlySet<number>): Promise<number[][]> {
  const narrow = models.reduce((a, b) => (b.rowBytes < a.rowBytes ? b : a)), hashes: (number | undefined)[] = [], some = 4096;
  for (let first = 0; first < narrow.rows; first += some) {
    const bytes = bytesOf(await narrow.read(first, Math.min(narrow.rows, first + some)));
    for (let at = 0; at < bytes.length; at += narrow.rowBytes) {
      const row = bytes.subarray(at, at + narrow.rowBytes);
      hashes.push(row.some((byte) => byte !== 0) ? hashBytes(row) : undefined);
    }
  }
  return equal(hashes, wanted, (rows) => Promise.all(rows.map(async (row) => {
    const parts = await Promise.all(models.map((m) => m.read(row, row + 1)));
    return parts.map((part) => bytesOf(part).join()).join();
  })));
}
