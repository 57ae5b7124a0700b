// An answer of the console: rows a page at a time, and a chart of its columns.

import { h, number } from "./site.js";
import { plot } from "./plot.js";
import { tabs } from "./tabs.js";

const ROWS = 200;
const NUMBER = /^(U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|DOUBLE|FLOAT|REAL|DECIMAL.*)$/;
const TIME = /^(TIMESTAMP|DATE)/;
let drawing = null;

const kind = (type) => (NUMBER.test(type) ? "number" : TIME.test(type) ? "time" : "text");
const printed = (value) => (typeof value === "object" ? JSON.stringify(value) : String(value));

/** Show `found`, which has columns and rows. */
export function answer(found) {
  const place = document.getElementById("answer");
  const columns = found.columns.map((column) => ({ name: column.name, kind: kind(column.type), type: column.type, units: "", hidden: false }));
  place.hidden = false;
  document.getElementById("answer-title").textContent = `${number(found.rows.length)} row${found.rows.length === 1 ? "" : "s"}${found.whole ? "" : " (more in the download)"}`;
  const made = place.querySelector("table");
  made.tHead.replaceChildren(h("tr", {}, columns.map((column) => h("th", { scope: "col", class: column.kind === "number" ? "n" : null, title: column.type }, column.name))));
  rows(made.tBodies[0], columns, found.rows);

  for (const id of ["plot-x", "plot", "plot-said"]) document.getElementById(id).replaceChildren();
  const up = document.getElementById("plot-y");
  up.replaceChildren(up.firstElementChild);
  const source = () => `mirror.Client(${JSON.stringify(location.origin)}).sql(${JSON.stringify(found.query ?? "")})`;
  drawing = plot({ columns, rows: found.rows, source, x: columns.find((c) => c.kind === "time")?.name ?? "", y: "" }, () => {});
  if (!place.dataset.tabs) tabs(place.querySelector(".tabs"), "tab-rows", (tab) => { if (tab === "tab-chart") drawing.draw(); });
  else if (document.getElementById("tab-chart").getAttribute("aria-selected") === "true") drawing.draw();
  place.dataset.tabs = "made";
  // Whoever ran a long statement sees that there is an answer.
  if (place.getBoundingClientRect().top > innerHeight - 120) place.scrollIntoView({ block: "nearest" });
}

function rows(body, columns, all) {
  const pager = document.getElementById("pager");
  let page = 0;
  const [back, next] = [h("button", { type: "button" }, "Back"), h("button", { type: "button" }, "Next")];
  const span = h("span", { class: "muted", role: "status" });
  pager.replaceChildren(back, span, next);
  pager.hidden = all.length <= ROWS;
  function show() {
    const part = all.slice(page * ROWS, (page + 1) * ROWS);
    body.replaceChildren(...part.map((row) => h("tr", {}, row.map((value, at) => h("td", { class: value === null ? "null" : columns[at].kind === "number" ? "n" : null }, value === null ? "NULL" : printed(value))))));
    span.textContent = `${number(page * ROWS + 1)} to ${number(page * ROWS + part.length)} of ${number(all.length)}`;
    [back.disabled, next.disabled] = [page === 0, (page + 1) * ROWS >= all.length];
  }
  back.addEventListener("click", () => { page -= 1; show(); });
  next.addEventListener("click", () => { page += 1; show(); });
  show();
}
