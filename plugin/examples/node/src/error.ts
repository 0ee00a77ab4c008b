/** QuarryError is an error of the plugin, or one that this package finds before it asks the plugin. docs/ABI.md lists the codes. */
export class QuarryError extends Error {
  override name = "QuarryError";

  constructor(
    /** What kind of error it is: `zero_vector`, `mismatch`, … */
    readonly code: string,
    message: string,
    /** The tensor that it is about, as `documents/minilm`. */
    readonly tensor?: string,
    /** The row of what the caller gave, from 0. */
    readonly row?: number,
  ) {
    super(message);
  }
}
