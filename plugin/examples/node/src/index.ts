// quarry-plugin: hard negatives by quarry's Wasm module, in Node and in browsers.
export {QuarryError} from "./error.js";
export {Miner, type Pairs, type Rule} from "./miner.js";
export {Part, type Mined, type Negative} from "./part.js";
export {operations, Plugin, type Info, type Operation, type Source} from "./plugin.js";
export {Projection, type Model} from "./projection.js";
export {decode, encode, type Message, type Tensor} from "./safetensors.js";
export type {Half, Raw, Rows, Vectors} from "./vectors.js";
