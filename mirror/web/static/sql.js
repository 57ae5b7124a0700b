// The SQL console: write, run, cancel, save; the answer as a table, a chart or a file.

import { api, attempt, h, length, may, number, Problem, request, showProblem } from "./site.js";
import { completion } from "./completion.js";
import { answer } from "./answer.js";

const area = document.getElementById("query");
const behind = document.getElementById("behind");
const said = document.getElementById("sql-said");
const [run, cancel, fill] = ["run", "cancel", "fill"].map((id) => document.getElementById(id));
const downloads = document.getElementById("downloads");
/** Characters of an answer that are read to be shown; a file may have more. */
const MOST = 12_000_000;

// ---- the editor --------------------------------------------------------------------------------------

/** The same text lies behind the field, so that a place in it can be marked. */
function mark(from = null, to = from) {
  const text = `${area.value}\n`;
  if (from === null) behind.replaceChildren(text);
  else behind.replaceChildren(text.slice(0, from), h("mark", {}, text.slice(from, to) || " "), text.slice(to));
  area.style.height = "auto";
  area.style.height = `${Math.max(area.scrollHeight, behind.scrollHeight)}px`;
}

/** Places are told in characters, which are not those of JavaScript. */
const place = (text, position) => [...text].slice(0, position).join("").length;

function showError(error) {
  said.replaceChildren();
  // The place is marked in the statement itself.
  const message = error.message.split("\n").filter((line) => !line.startsWith("  ")).join("\n");
  showProblem(new Problem(message, error.status), said);
  const position = error.answer?.position;
  if (position === undefined || position === null) return;
  const from = place(area.value, position);
  const word = /^(?:"[^"]*"?|[\w.]+|\s*\S)/.exec(area.value.slice(from))?.[0].length ?? 1;
  mark(from, from + Math.max(1, word));
  area.setAttribute("aria-invalid", "true");
  area.focus();
  area.setSelectionRange(from, from);
}

area.addEventListener("input", () => { mark(); area.removeAttribute("aria-invalid"); });
completion(area, document.getElementById("editor"), behind);

// ---- running -----------------------------------------------------------------------------------------

let running = null;

async function ask(sql, signal) {
  const response = await request("/api/sql?format=json", { body: { query: sql, fill: fill.checked }, signal });
  const [reader, decoder] = [response.body.getReader(), new TextDecoder()];
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return { ...JSON.parse(text), whole: true };
    text += decoder.decode(value, { stream: true });
    said.textContent = `${number(text.length)} characters so far …`;
    if (text.length > MOST) {
      await reader.cancel();
      return { ...begun(text), whole: false };
    }
  }
}

/** What there is of an answer that was broken off: its rows up to the last whole one. Only they end so. */
function begun(text) {
  const end = text.lastIndexOf("],\n[");
  return end < 0 ? { columns: [], rows: [] } : JSON.parse(`${text.slice(0, end + 1)}]}`);
}

async function go() {
  const sql = area.value.trim();
  if (!sql || running) return;
  running = new AbortController();
  run.disabled = true;
  cancel.hidden = false;
  mark();
  area.removeAttribute("aria-invalid");
  said.replaceChildren(h("p", { class: "muted" }, "Running …"));
  const began = performance.now();
  try {
    const found = await ask(area.value, running.signal);
    said.replaceChildren(h("p", { class: "muted" }, `${number(found.rows.length)} row${found.rows.length === 1 ? "" : "s"} in ${seconds(performance.now() - began)}${found.whole ? "" : "; the download has all rows"}`));
    answer({ ...found, query: area.value });
    remember(area.value);
  } catch (error) {
    if (error.name === "AbortError") said.replaceChildren(h("p", { class: "muted" }, "Cancelled."));
    else showError(error);
  } finally {
    running = null;
    run.disabled = false;
    cancel.hidden = true;
  }
}

const seconds = (ms) => (ms < 10_000 ? `${(ms / 1000).toFixed(2)} s` : length(ms / 1000));

/** The address has the statement, and the downloads too. */
function remember(sql) {
  history.replaceState(null, "", `/sql?query=${encodeURIComponent(sql)}`);
  downloads.hidden = false;
  for (const link of downloads.querySelectorAll("a")) {
    link.href = `/api/sql?format=${link.dataset.format}${fill.checked ? "&fill=1" : ""}&query=${encodeURIComponent(sql)}`;
    link.download = `answer.${link.dataset.format}`;
  }
}

document.getElementById("sql").addEventListener("submit", (event) => { event.preventDefault(); go(); });
area.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); go(); }
  if (event.key === "Escape" && running) running.abort();
});
cancel.addEventListener("click", () => running?.abort());

// ---- saved statements and examples ---------------------------------------------------------------------

const saved = document.getElementById("saved");

/** Put a statement into the editor. */
function load(sql) {
  area.value = sql;
  mark();
  area.focus();
}

async function list() {
  const queries = await api("/api/queries");
  document.getElementById("saved-none").hidden = queries.length > 0;
  saved.replaceChildren(...queries.map((query) => h("li", {},
    h("button", { type: "button", class: "quiet", title: `saved by ${query.saved_by}`, onclick: () => load(query.sql) }, query.name),
    may("export") && h("button", { type: "button", class: "quiet", "aria-label": `Delete ${query.name}`, onclick: (event) => forget(query.name, event.currentTarget) }, "✕"))));
}

const forget = (name, button) => attempt(async () => { await api("/api/queries", { method: "DELETE", body: { name } }); await list(); }, { button, place: said });

document.getElementById("save")?.addEventListener("submit", (event) => {
  event.preventDefault();
  const field = document.getElementById("save-name");
  attempt(async () => {
    await api("/api/queries", { body: { name: field.value, sql: area.value } });
    field.value = "";
    await list();
  }, { button: event.submitter, place: said });
});
for (const link of document.querySelectorAll("#examples a")) {
  const sql = new URL(link.href).searchParams.get("query");
  link.replaceWith(h("button", { type: "button", class: "quiet", onclick: () => load(sql) }, link.textContent));
}
list().catch((error) => showProblem(error, said));
mark();
