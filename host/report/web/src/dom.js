// Elements and numbers. Texts of the data become text nodes only, so none of them is ever read as HTML.

// h makes an element. Attributes that are null or false are left out, "on…" are listeners, and children that are null are left out.
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value == null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child != null));
  return element;
}

export const fixed = (value) => value.toFixed(3).replace("-", "\u2212");
export const share = (value) => (100 * value).toFixed(1) + "\u00a0%";
export const count = (value) => value.toLocaleString("en");
export const shorten = (text, most) => (text.length <= most ? text : text.slice(0, most - 1).trimEnd() + "\u2026");

// table makes a table whose first column names the rows. Columns are {name, value, numeric}.
export function table(caption, columns, rows) {
  const cell = (row) => (column, i) =>
    h(i === 0 ? "th" : "td", {scope: i === 0 ? "row" : null, class: column.numeric ? "number" : null}, column.value(row));
  return h("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": caption},
    h("table", {}, h("caption", {}, caption),
      h("thead", {}, h("tr", {}, columns.map((c) => h("th", {scope: "col", class: c.numeric ? "number" : null}, c.name)))),
      h("tbody", {}, rows.map((row) => h("tr", {}, columns.map(cell(row)))))));
}

// inNumbers is a table behind a picture, for those who cannot see the picture or want to check it.
export const inNumbers = (...args) => h("details", {class: "numbers"}, h("summary", {}, "The picture in numbers"), table(...args));
