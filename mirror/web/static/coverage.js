// The heat map: all years, one year by months, one day by hours; gaps, and filling them.
import { filling as fillingOf } from "./filling.js";
import { announce, api, attempt, h, listen, many, may, number, share } from "./site.js";
import { Grid } from "./grid.js";
import { Cells, LEGENDS } from "./days.js";
import { yearsTable, yearTable } from "./daytables.js";
import { showDelays } from "./delays.js";

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const MONTH_STARTS = [0, 31, 60, 91, 121, 152, 182, 213, 244, 274, 305, 335];
const byId = (id) => document.getElementById(id);
const series = byId("map").dataset.series;
const measure = byId("measure");
let cells = null;
let place = { year: null, day: null };

const grid = new Grid(byId("heat"), byId("tip"), { describe: (i) => cells.describe(i), pick, say: announce });

// ---- zoom --------------------------------------------------------------------------------------------

/** Days to come are not drawn. */
const today = () => Math.floor((Date.now() - cells.begin) / 86400000);
const ofYear = (year) => Math.round((Date.UTC(year, 0, 1) - cells.begin) / 86400000);
const years = () => [cells.date(0).getUTCFullYear(), cells.date(cells.count - 1).getUTCFullYear()];

function planYears() {
  const [first, last] = years();
  const rows = [];
  for (let year = first; year <= last; year += 1) {
    const [from, to] = [ofYear(year), Math.min(ofYear(year + 1), cells.count, today() + 1)];
    // A common year has no 29 February: months stay below each other.
    const leap = new Date(Date.UTC(year, 1, 29)).getUTCMonth() === 1;
    const row = [];
    for (let i = from; i < to; i += 1) { if (!leap && row.length === 59) row.push(null); row.push(i); }
    rows.push({ label: String(year), cells: row });
  }
  const heads = MONTHS.map((text, i) => ({ at: MONTH_STARTS[i], text: byId("heat").clientWidth < 500 ? text[0] : text }));
  return { rows, columns: 366, heads, height: rows.length > 12 ? 16 : 22 };
}

function planYear(year) {
  const rows = MONTHS.map((label, month) => {
    const from = Math.round((Date.UTC(year, month, 1) - cells.begin) / 86400000);
    const to = Math.round((Date.UTC(year, month + 1, 1) - cells.begin) / 86400000);
    return { label, cells: Array.from({ length: to - from }, (_, i) => (from + i <= today() ? from + i : null)) };
  });
  const heads = [1, 5, 10, 15, 20, 25, 30].map((day) => ({ at: day - 1, text: String(day) }));
  return { rows, columns: 31, heads, height: 26 };
}

function draw() {
  if (!cells) return;
  const plan = place.year === null ? planYears() : planYear(place.year);
  grid.show({ ...plan, color: cells.painter(measure.value), start: place.day ?? undefined });
  byId("legend").replaceChildren(...LEGENDS[measure.value].map(([kind, text]) => h("li", { class: kind }, text)));
  const [from, to] = place.year === null ? [0, cells.count] : [ofYear(place.year), ofYear(place.year + 1)];
  byId("summary").textContent = [
    many(cells.sum("records", from, to), "record"), many(cells.sum("files", from, to), "file"),
    `${number([...cells.answer.states.slice(from, to)].filter((s) => s === "f").length)} days fully cached`,
    `${share(cells.sum("flagged", from, to), cells.sum("records", from, to))} flagged`,
  ].join(", ");
  crumbs();
  byId("table").replaceChildren(place.year === null
    ? yearsTable(cells, years(), ofYear, (year) => go({ year, day: null }))
    : yearTable(cells, place.year, (day) => go({ year: place.year, day })));
}

function crumbs() {
  const crumb = (text, to, current) => h("button", { type: "button", class: "quiet", "aria-current": current ? "true" : null, onclick: () => go(to) }, text);
  const shown = [crumb("All years", { year: null, day: null }, place.year === null)];
  if (place.year !== null) shown.push("›", crumb(String(place.year), { year: place.year, day: null }, place.day === null));
  if (place.day !== null) shown.push("›", crumb(cells.name(place.day), place, true));
  byId("crumbs").replaceChildren(...shown);
}

/** A cell was chosen: of all years its year and day, of a year its day. */
function pick(index) {
  go({ year: cells.date(index).getUTCFullYear(), day: index });
}

function go(to, { remember = true } = {}) {
  place = to;
  if (remember) {
    const query = new URLSearchParams({ series });
    if (place.year !== null) query.set("year", place.year);
    if (place.day !== null) query.set("day", cells.name(place.day));
    history.pushState(null, "", `?${query}`);
  }
  draw();
  detail();
}

function fromAddress() {
  const query = new URLSearchParams(location.search);
  const day = /^(\d{4})\.(\d\d)\.(\d\d)$/.exec(query.get("day") ?? "");
  const year = day ? Number(day[1]) : Number(query.get("year")) || null;
  const [first, last] = years();
  if (year === null || year < first || year > last) return { year: null, day: null };
  const index = day ? Math.round((Date.UTC(day[1], day[2] - 1, day[3]) - cells.begin) / 86400000) : null;
  return { year, day: index };
}

// ---- one day, or one year ------------------------------------------------------------------------------

let asked = 0;

async function detail({ quietly = false } = {}) {
  byId("detail").hidden = place.year === null;
  if (place.year === null) return;
  const whole = place.day === null;
  const [from, count] = whole ? [ofYear(place.year), ofYear(place.year + 1) - ofYear(place.year)] : [place.day, 1];
  const ds = cells.recordSet(from, count);
  const turn = (asked += 1);
  if (!quietly) {
    byId("detail-title").textContent = whole ? String(place.year) : cells.name(place.day);
    byId("detail-body").replaceChildren(h("p", { class: "muted" }, "Loading gaps…"));
  }
  const answer = await attempt(() => Promise.all([
    api(`/api/gaps?ds=${encodeURIComponent(ds)}`),
    whole ? null : api(`/api/coverage/hours?series=${encodeURIComponent(series)}&day=${cells.name(place.day)}`),
  ]));
  if (!answer || turn !== asked) return;
  const [gaps, hours] = answer;
  byId("detail-body").replaceChildren(
    whole ? "" : h("p", {}, cells.describe(place.day).split("\n").slice(1).join("; ")),
    hours ? hourStrip(new Cells(hours)) : "", actions(ds, gaps, whole), gapList(gaps));
  if (!quietly && !whole) byId("detail-title").focus({ preventScroll: true });
}

function hourStrip(answer) {
  const [canvas, tip] = [h("canvas", { tabindex: 0, role: "application", "aria-label": "Hours of the day. Arrow keys move, Enter shows the records." }), h("div", { class: "tip", hidden: true })];
  const heat = h("div", { class: "heat" }, canvas, tip);
  const pickHour = (index) => { location.href = `/search?ds=${encodeURIComponent(answer.recordSet(index))}`; };
  const strip = new Grid(canvas, tip, { describe: (i) => answer.describe(i), pick: pickHour, say: announce });
  const heads = [0, 3, 6, 9, 12, 15, 18, 21].map((hour) => ({ at: hour, text: `${String(hour).padStart(2, "0")}:00` }));
  requestAnimationFrame(() => strip.show({ rows: [{ label: "TAI", cells: [...Array(24).keys()] }], columns: 24, heads, height: 32, color: answer.painter(measure.value) }));
  return heat;
}

function actions(ds, gaps, whole) {
  const outcome = h("span", { role: "status" });
  const button = h("button", { type: "button", class: "main", id: "fill" }, whole ? "Fill the year" : "Fill this day");
  button.disabled = !gaps.count;
  fillingOf(button, outcome, ds, (job) => follow(job.id));
  return h("p", { class: "row" }, may("export") && button,
    h("a", { class: "button", href: `/search?ds=${encodeURIComponent(ds)}` }, "See records"),
    h("code", { class: "small" }, ds), outcome);
}

function gapList(gaps) {
  if (!gaps.count) return h("p", { class: "note good" }, "Nothing is missing.");
  const rows = gaps.gaps.map((g) => h("tr", {}, h("td", {}, g.first ?? "start of series"), h("td", {}, g.last ?? "end of series"), h("td", { class: "n" }, number(g.slots)), h("td", { class: "w" }, g.restriction)));
  return h("div", {},
    h("p", {}, `${number(gaps.count)} ${gaps.count === 1 ? "gap" : "gaps"}${gaps.slots === null ? "" : `, ${many(gaps.slots, "slot")}`}${gaps.count > rows.length ? `; the first ${rows.length}` : ""}:`),
    h("div", { class: "scroll tall", tabindex: 0, role: "region", "aria-label": "Gaps" }, h("table", {},
      h("thead", {}, h("tr", {}, ["From", "To", "Slots", "Restricted to"].map((t) => h("th", { scope: "col", class: t === "Slots" ? "n" : null }, t)))),
      h("tbody", {}, rows))));
}

// ---- live ----------------------------------------------------------------------------------------------

/** Milliseconds from one look at a fill to the next. */
const LOOK = 1000;
let filling = false;
let refreshed = 0;

/** Show what a fill has brought once it has ended. News may miss one that is quick, and tell late of its beginning. */
async function follow(id) {
  let job;
  do {
    await new Promise((resolve) => { setTimeout(resolve, LOOK); });
    job = await attempt(() => api(`/api/jobs/${encodeURIComponent(id)}`));
  } while (job && !["done", "failed", "cancelled", "unreadable"].includes(job.state));
  refresh(true);
}

async function refresh(quietly) {
  const answer = await attempt(() => api(`/api/coverage/days?series=${encodeURIComponent(series)}`));
  if (!answer) return;
  cells = new Cells(answer);
  if (!quietly) { place = fromAddress(); }
  draw();
  detail({ quietly });
}

function news(state) {
  const running = state.fills.some((f) => f.series.toLowerCase() === series.toLowerCase());
  if (!running && !filling) return;
  filling = running;
  if (!running || Date.now() - refreshed > 3000) {
    refreshed = Date.now();
    refresh(true);
  }
}

measure.addEventListener("change", () => { draw(); if (place.day !== null) detail({ quietly: true }); });
addEventListener("popstate", () => { place = fromAddress(); draw(); detail(); });
await refresh(false);
showDelays(series);
listen(news);
