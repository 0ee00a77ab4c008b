// The files of a dropped or chosen folder, by their paths in it. Nothing is read here.

/** fromDrop lists what was dropped: folders with all that is in them, and files. */
export async function fromDrop(transfer: DataTransfer): Promise<Map<string, File>> {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry()); // they are gone once this function waits
  const files = new Map<string, File>();
  for (const entry of entries) if (entry) await walk(entry, files);
  return inside(files);
}

/** fromInput lists the files of a chosen folder. */
export const fromInput = (list: FileList) => inside(new Map([...list].map((file) => [file.webkitRelativePath || file.name, file])));

async function walk(entry: FileSystemEntry, files: Map<string, File>): Promise<void> {
  if (entry.isFile) {
    files.set(entry.fullPath.replace(/^\//, ""), await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject)));
    return;
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject)); // it gives a hundred at a time
    if (some.length === 0) return;
    for (const child of some) await walk(child, files);
  }
}

/** inside takes paths from the folder that holds the corpus, or the other files of a data set, so that a folder around it does no harm. */
function inside(files: Map<string, File>): Map<string, File> {
  const known = /^(.*?)(?:corpus\.jsonl(?:\.gz)?|queries\.jsonl(?:\.gz)?|qrels\/[^/]+\.tsv|vectors\/[^/]+\/(?:docs|queries)\.npy)$/;
  const roots = [...files.keys()].flatMap((path) => known.exec(path)?.[1] ?? []).sort((a, b) => a.length - b.length);
  const root = roots[0] ?? "", found = new Map<string, File>();
  for (const [path, file] of files) if (path.startsWith(root)) found.set(path.slice(root.length), file);
  // A projection is recognised wherever it lies: quarry fit writes it beside the folder.
  const projection = [...files].filter(([path]) => path.endsWith(".safetensors")).sort(([a], [b]) => Number(b.endsWith("projection.safetensors")) - Number(a.endsWith("projection.safetensors")));
  if (!found.has("projection.safetensors") && projection[0]) found.set("projection.safetensors", projection[0][1]);
  return found;
}
