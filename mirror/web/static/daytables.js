// The heat map as tables: the same for those who cannot see it, or do not want to point.
import { h, share } from "./site.js";
import { SYMBOLS } from "./days.js";

const MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];

/** Years by months: the share of the slots that are cached. */
export function yearsTable(cells, [first, last], ofYear, open) {
  const rows = [];
  for (let year = first; year <= last; year += 1) {
    const row = MONTHS.map((name, month) => {
      const from = Math.round((Date.UTC(year, month, 1) - cells.begin) / 86400000);
      const to = Math.min(cells.count, Math.round((Date.UTC(year, month + 1, 1) - cells.begin) / 86400000));
      const text = share(cells.sum("held", from, to), cells.sum("expected", from, to));
      return h("td", {}, text.replace("0.0 %", "–"));
    });
    rows.push(h("tr", {}, h("th", { scope: "row" }, h("button", { type: "button", onclick: () => open(year), "aria-label": `Open ${year}` }, String(year))), row));
  }
  return h("table", {}, h("caption", {}, "Share of slots fully cached, by month"),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Year"), MONTHS.map((m) => h("th", { scope: "col" }, m.slice(0, 3))))), h("tbody", {}, rows));
}

/** Months by days, each a button. */
export function yearTable(cells, year, open) {
  const rows = MONTHS.map((name, month) => {
    const days = new Date(Date.UTC(year, month + 1, 0)).getUTCDate();
    const from = Math.round((Date.UTC(year, month, 1) - cells.begin) / 86400000);
    const row = Array.from({ length: 31 }, (_, day) => {
      if (day >= days) return h("td", {});
      const index = from + day;
      const state = cells.answer.states[index];
      const button = h("button", { type: "button", class: state === "f" ? "full" : null, "aria-label": cells.describe(index).replaceAll("\n", ", "), onclick: () => open(index) }, SYMBOLS[state]);
      return h("td", {}, button);
    });
    return h("tr", {}, h("th", { scope: "row" }, name), row);
  });
  return h("table", {}, h("caption", {}, `${year}: ● fully cached, ◐ partly cached, ○ missing, · never requested`),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Month"), Array.from({ length: 31 }, (_, d) => h("th", { scope: "col" }, String(d + 1))))), h("tbody", {}, rows));
}
