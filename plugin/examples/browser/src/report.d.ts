// The modules of the report's page that this page uses: pictures and cases are the same in both.

declare module "*/host/report/web/src/dom.js" {
  type Child = Node | string | null | undefined | false;
  export function h<K extends keyof HTMLElementTagNameMap>(tag: K, attributes?: Record<string, unknown>, ...children: (Child | Child[])[]): HTMLElementTagNameMap[K];
  export const count: (value: number) => string;
  export const share: (value: number) => string;
}

declare module "*/host/report/web/src/map.js" {
  import type {Case, Figure} from "./protocol.js";
  export function map(data: Figure, cases: Case[]): {element: HTMLElement; show(i: number): void; has(i: number): boolean};
}

declare module "*/host/report/web/src/cases.js" {
  import type {Case} from "./protocol.js";
  export function cases(all: Case[], marks: unknown, onMap?: {show(i: number): void; has(i: number): boolean}): HTMLElement;
}

declare module "*/host/report/web/src/marks.js" {
  export class Marks {
    constructor(name: string);
  }
}
