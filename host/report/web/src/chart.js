import {plot} from "@observablehq/plot";
import {h} from "./dom.js";

// figure makes a figure whose picture is drawn again whenever its width changes. draw gives the options of Plot for a width in pixels, and
// after is called with the picture.
export function figure(label, caption, draw, after) {
  const box = h("div", {class: "picture"});
  box.style.minHeight = draw(640).height + "px"; // so that what follows moves little once the picture is there
  let width = 0;
  const redraw = () => {
    const picture = plot({className: "chart", width, marginLeft: 56, marginBottom: 42, ...draw(width)});
    // Plot brings a style element, which the page's policy would refuse. The page's own style sheet says the same.
    picture.querySelector("style")?.remove();
    // Plot names groups of marks, as "rect". They have no role, so that no name is allowed there, and the picture has its own.
    for (const group of picture.querySelectorAll("g[aria-label]")) group.removeAttribute("aria-label");
    picture.setAttribute("role", after ? "group" : "img");
    picture.setAttribute("aria-label", label);
    box.replaceChildren(picture);
    box.style.minHeight = ""; // on a narrow screen the picture is lower than what was kept for it
    after?.(picture, box);
  };
  new ResizeObserver(([entry]) => {
    const now = Math.floor(entry.contentRect.width);
    if (now > 0 && now !== width) {
      width = now;
      requestAnimationFrame(redraw); // an observer that changes sizes itself is called again, which browsers report
    }
  }).observe(box);
  return {element: h("figure", {}, box, caption == null ? null : h("figcaption", {}, caption)), redraw: () => width > 0 && redraw()};
}
