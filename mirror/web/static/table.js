// The table of records: sorted by a click on a heading, a page at a time, all within the browser.

import { announce, h, number } from "./site.js";
import { numeric } from "./values.js";

const ROWS = 100;

/** Take over the table that the server made, with all rows of `found`. */
export function table(found) {
  const made = document.getElementById("table");
  const [body, heads] = [made.tBodies[0], [...made.tHead.rows[0].cells]];
  const shown = found.columns.map((column, at) => ({ ...column, at })).filter((column) => !column.hidden);
  const state = { order: found.rows.map((_, at) => at), by: null, down: false, page: 0 };
  const pager = document.getElementById("pager");
  const pages = Math.max(1, Math.ceil(found.rows.length / ROWS));

  const cell = (column, value) => {
    const text = String(value);
    const inside = text === "MISSING" ? h("span", { class: "missing" }, text)
      : text.startsWith("/SUM") ? h("a", { href: text }, text) : text;
    return h("td", { class: column.kind === "number" ? "n" : null }, inside);
  };

  const [back, next] = [h("button", { type: "button" }, "Back"), h("button", { type: "button" }, "Next")];
  const span = h("span", { class: "muted", role: "status" });
  pager.replaceChildren(back, span, next);

  function show() {
    const from = state.page * ROWS;
    const rows = state.order.slice(from, from + ROWS);
    body.replaceChildren(...rows.map((row) => h("tr", {}, shown.map((column) => cell(column, found.rows[row][column.at])))));
    span.textContent = `${number(from + 1)} to ${number(from + rows.length)} of ${number(found.rows.length)}`;
    [back.disabled, next.disabled] = [state.page === 0, state.page + 1 >= pages];
    pager.hidden = pages === 1 && rows.length < 10;
  }

  function sort(column) {
    state.down = state.by === column.at ? !state.down : false;
    state.by = column.at;
    const value = column.kind === "text" ? (row) => found.rows[row][column.at] : (row) => numeric(found.rows[row][column.at], column.kind);
    const sign = state.down ? -1 : 1;
    const missing = (v) => v === null || Number.isNaN(v);
    // What is missing comes last either way.
    state.order.sort((one, other) => {
      const [a, b] = [value(one), value(other)];
      if (missing(a) || missing(b)) return missing(a) - missing(b) || one - other;
      return a < b ? -sign : a > b ? sign : one - other;
    });
    state.page = 0;
    heads.forEach((head, at) => head.setAttribute("aria-sort", shown[at].at !== state.by ? "none" : state.down ? "descending" : "ascending"));
    announce(`Sorted by ${column.name}, ${state.down ? "descending" : "ascending"}`);
    show();
  }

  heads.forEach((head, at) => head.replaceChildren(
    h("button", { type: "button", class: "head", onclick: () => sort(shown[at]) }, ...head.childNodes),
  ));
  back.addEventListener("click", () => { state.page -= 1; show(); });
  next.addEventListener("click", () => { state.page += 1; show(); });
  show();
}
