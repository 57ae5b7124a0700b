// Completion for SQL: words, tables, and the columns of the tables that a statement names.

import { api, h } from "./site.js";

const WORDS = ("SELECT FROM WHERE GROUP BY ORDER LIMIT JOIN LEFT ASOF USING ON AS AND OR NOT IN BETWEEN LIKE IS NULL DISTINCT " +
  "WITH UNION ALL CASE WHEN THEN ELSE END CAST HAVING OVER PARTITION DESC ASC QUALIFY FILTER DESCRIBE SUMMARIZE EXPLAIN PIVOT INTERVAL DATE TIMESTAMP").split(" ");
const CALLS = ("count avg min max sum median stddev quantile_cont corr regr_slope date_trunc date_diff extract abs round floor sqrt ln coalesce " +
  "arg_min arg_max first last list unnest generate_series time_bucket lag lead row_number histogram approx_count_distinct strftime jsoc").split(" ");
const MOST = 40;
const BEGUN = /[\w.]*$/;

/** A keyword that is a time has two columns: in UTC, and the exact DRMS time. */
const both = ([name, type, note]) => (type.startsWith("time") && /_tai$/i.test(name)
  ? [[name.slice(0, -4), "timestamp", note], [name, "TAI seconds", note]] : [[name, type, note]]);

/** Offer completions below the caret of `area`, whose text also lies in `behind`, both in `editor`. */
export function completion(area, editor, behind) {
  const list = h("ul", { class: "choices", role: "listbox", id: "choices", "aria-label": "Completions" });
  list.hidden = true;
  editor.append(list);
  for (const [name, value] of Object.entries({ role: "combobox", "aria-autocomplete": "list", "aria-controls": "choices", "aria-expanded": "false" })) area.setAttribute(name, value);
  const tables = names();
  const columns = new Map();
  let [offered, at] = [[], 0];

  async function ask(sql) {
    const answer = await api(`/api/sql?query=${encodeURIComponent(sql)}`).catch(() => ({ rows: [] }));
    return answer.rows;
  }

  async function names() {
    const series = await api("/api/series").catch(() => []);
    const own = ["series", "keywords", "segments", "coverage", "holdings", "jobs", "subscriptions"];
    return [...series.map((one) => [one.series.toLowerCase(), one.note]), ...own.map((name) => [`mirror.${name}`, "about the mirror"])];
  }

  /** The columns of the tables that a statement names; asked for once. */
  async function known(sql) {
    const text = sql.toLowerCase().replaceAll('"', "");
    const named = (await tables).filter(([name]) => text.includes(name)).map(([name]) => name);
    for (const name of named) {
      if (columns.has(name)) continue;
      columns.set(name, ask(name.startsWith("mirror.")
        ? `SELECT column_name, column_type, '' FROM (DESCRIBE ${name})`
        : `SELECT "column", type || CASE WHEN units IN ('', 'none') THEN '' ELSE ' [' || units || ']' END, note FROM mirror.keywords WHERE series ILIKE '${name.replaceAll("'", "''")}'`));
    }
    return (await Promise.all(named.map((name) => columns.get(name)))).flat().flatMap(both);
  }

  async function candidates(word) {
    const start = word.toLowerCase();
    const [cols, tabs] = [await known(area.value), await tables];
    const last = start.slice(start.lastIndexOf(".") + 1);
    const all = [
      ...cols.filter(([name]) => name.toLowerCase().startsWith(last)).map(([name, type, note]) => ({ text: name.toLowerCase(), note: `${type}${note ? ` ${note}` : ""}`, replaces: last.length })),
      ...tabs.filter(([name]) => name.includes(start)).map(([name, note]) => ({ text: name, note, replaces: start.length })),
      ...(start.includes(".") ? [] : [
        ...WORDS.filter((name) => name.toLowerCase().startsWith(start)).map((name) => ({ text: name, note: "", replaces: start.length })),
        ...CALLS.filter((name) => name.startsWith(start)).map((name) => ({ text: `${name}(`, note: "function", replaces: start.length })),
      ]),
    ];
    const seen = new Set();
    return all.filter((one) => !seen.has(one.text) && seen.add(one.text)).slice(0, MOST);
  }

  function close() {
    list.hidden = true;
    offered = [];
    area.setAttribute("aria-expanded", "false");
    area.removeAttribute("aria-activedescendant");
  }

  function choose(place) {
    at = (place + offered.length) % offered.length;
    [...list.children].forEach((item, n) => item.setAttribute("aria-selected", String(n === at)));
    list.children[at].scrollIntoView({ block: "nearest" });
    area.setAttribute("aria-activedescendant", list.children[at].id);
  }

  function take() {
    const { text, replaces } = offered[at];
    area.setRangeText(text, area.selectionStart - replaces, area.selectionStart, "end");
    close();
    area.dispatchEvent(new Event("input", { bubbles: true }));
    close();
  }

  /** Where the caret is: the text behind the field is broken off there. */
  function move() {
    const caret = h("span");
    const text = area.value;
    behind.replaceChildren(text.slice(0, area.selectionStart), caret, `${text.slice(area.selectionStart)}\n`);
    const place = [caret.offsetTop, caret.offsetLeft];
    behind.replaceChildren(`${text}\n`);
    list.style.top = `${place[0] + 26}px`;
    list.style.left = `${Math.min(place[1], Math.max(0, editor.clientWidth - 320))}px`;
  }

  async function offer(asked) {
    const word = BEGUN.exec(area.value.slice(0, area.selectionStart))[0];
    if (!asked && word.length < 2) { close(); return; }
    const [before, caret] = [area.value, area.selectionStart];
    const found = await candidates(word);
    if (area.value !== before || area.selectionStart !== caret || document.activeElement !== area) return;
    offered = found.filter((one) => one.text.toLowerCase() !== word.toLowerCase());
    if (!offered.length) { close(); return; }
    list.replaceChildren(...offered.map((one, n) => h("li", { role: "option", id: `choice-${n}`, onmousedown: (event) => { event.preventDefault(); at = n; take(); } },
      h("span", { class: "mono" }, one.text), h("span", { class: "muted small" }, one.note))));
    list.hidden = false;
    area.setAttribute("aria-expanded", "true");
    move();
    choose(0);
  }

  area.addEventListener("input", (event) => { if (event.inputType) offer(false); });
  area.addEventListener("blur", close);
  area.addEventListener("click", close);
  area.addEventListener("keydown", (event) => {
    if (event.key === " " && event.ctrlKey) { event.preventDefault(); offer(true); return; }
    if (list.hidden) return;
    if (event.key === "ArrowDown") choose(at + 1);
    else if (event.key === "ArrowUp") choose(at - 1);
    else if ((event.key === "Enter" && !event.ctrlKey) || event.key === "Tab") take();
    else if (event.key === "Escape") close();
    else return;
    event.preventDefault();
    event.stopImmediatePropagation();
  });
}
