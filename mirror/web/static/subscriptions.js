// Subscriptions: how they are doing, and their editor.

import { estimated } from "./estimates.js";
import { api, attempt, h, length, may, number, request, showProblem, size } from "./site.js";

const LOOK = 5000;
const list = document.getElementById("list");
const tablesData = document.getElementById("tables");
let tables = tablesData ? JSON.parse(tablesData.textContent) : null;
const COLOURS = { current: "good", working: "busy", waiting: "warn", failing: "bad" };

// ---- the list ----------------------------------------------------------------------------------------

function meter(label, part, whole) {
  return h("progress", { max: whole || 1, value: Math.min(part, whole || 1), "aria-label": label });
}

function card(one) {
  const own = tables && one.name in tables;
  const buttons = h("div", { class: "row" },
    may("admin") && h("button", { type: "button", onclick: (event) => look(one.name, event.currentTarget) }, "Sync now"),
    own ? h("button", { type: "button", onclick: () => edit(one.name) }, "Edit") : null,
    own ? h("button", { type: "button", class: "danger", onclick: () => remove(one.name) }, "Remove") : null);
  return h("article", { class: "card subscription", "data-name": one.name },
    h("div", { class: "row spread" }, h("h2", {}, one.name, " ", h("span", { class: `badge ${COLOURS[one.state] ?? ""}` }, one.state)), buttons),
    h("p", { class: "muted" }, h("a", { href: `/series/${encodeURIComponent(one.series)}` }, one.series), ` from ${one.start} to ${one.end}: ${one.segments.length ? one.segments.join(", ") : "keywords only"}`),
    h("dl", { class: "pairs" },
      h("dt", {}, "Records"), h("dd", {}, `${number(one.records)} of ${number(one.records_wanted)}`, meter("Records", one.records, one.records_wanted)),
      one.segments.length ? [h("dt", {}, "Files"), h("dd", {}, `${number(one.files)} of ${number(one.files_wanted)}, ${size(one.bytes)}`,
        one.rate ? `, ${size(one.rate)}/s` : "", one.seconds_left ? `, ${length(one.seconds_left)} left` : "",
        one.files_absent ? `; ${number(one.files_absent)} are unavailable` : "", meter("Files", one.files, one.files_wanted))] : null,
      one.budget ? [h("dt", {}, "Budget"), h("dd", {}, `${size(one.budget.used)} of ${one.budget.limit}`)] : null,
      h("dt", {}, "Last sync"), h("dd", {}, `${one.last_look ?? "not yet"}; next ${one.next_look ?? "–"}`)),
    one.why ? h("p", { class: `note ${one.problem ? "bad" : ""}` }, one.why) : null);
}

async function refresh() {
  const answer = await api("/api/subscriptions");
  // Whoever is about to press a button there keeps it.
  if (list.contains(document.activeElement) && document.activeElement !== document.body) return;
  list.replaceChildren(...(answer.length ? answer.map(card) : [h("p", { class: "empty" }, "No subscriptions yet.")]));
}

const look = (name, button) => attempt(async () => { await api("/api/sync", { body: { name } }); button.blur(); await refresh(); }, { button });

async function again() {
  document.activeElement?.blur?.();
  await refresh().catch((error) => showProblem(error));
}

// ---- the editor --------------------------------------------------------------------------------------

const dialog = document.getElementById("edit");
const form = dialog?.querySelector("form");
let editing = null;

/** What a table of config.toml says of a key, as it is typed here. */
function typed(name, value) {
  if (name === "segments") return value.join(", ");
  if (name !== "keys") return String(value);
  return Object.entries(value).map(([key, values]) => `${key}=${Array.isArray(values) ? values.join(",") : values}`).join("; ");
}

/** What is typed, as config.toml has it; an empty field is no key. */
function meant(name, text) {
  if (name === "segments") return text.split(",").map((part) => part.trim()).filter(Boolean);
  if (name === "pictures") return text === "true";
  if (name !== "keys") return text.trim();
  return Object.fromEntries(text.split(";").filter((part) => part.trim()).map((part) => {
    const [key, values = ""] = part.split(/=(.*)/s).map((piece) => piece.trim());
    const items = values.split(",").map((item) => item.trim());
    return [key, items.every((item) => /^\d+$/.test(item)) ? items.map(Number) : values];
  }));
}

function edit(name) {
  editing = name;
  document.getElementById("edit-title").textContent = name === null ? "New subscription" : `Subscription ${name}`;
  form.reset();
  wrong({});
  for (const [key, value] of Object.entries((name !== null && tables[name]) || {})) {
    if (form.elements[key]) form.elements[key].value = typed(key, value);
  }
  dialog.showModal();
  estimate();
}

function wrong(fields) {
  showProblem(null, document.getElementById("edit-problem"));
  for (const place of form.querySelectorAll("[data-field]")) {
    const problem = fields[place.dataset.field];
    place.querySelector(".wrong").textContent = problem ?? "";
    place.querySelector("input, select").setAttribute("aria-invalid", String(Boolean(problem)));
  }
  form.querySelector('[aria-invalid="true"]')?.focus();
}

/** What is filled in, as config.toml has it. */
function filled() {
  const entered = {};
  for (const element of form.querySelectorAll("[data-field] :is(input, select)")) {
    if (element.value.trim()) entered[element.name] = meant(element.name, element.value);
  }
  return entered;
}

/** What it would fetch by now, as far as it is filled in. */
const estimate = form ? estimated(document.getElementById("edit-estimate"), (signal) => {
  const entered = filled();
  return entered.series && entered.start ? api("/api/subscriptions/estimate", { body: entered, signal }) : null;
}) : () => {};

async function write() {
  const entered = filled();
  try {
    if (editing === null) await api("/api/subscriptions", { body: entered });
    else await api(`/api/subscriptions/${encodeURIComponent(editing)}`, { method: "PUT", body: entered });
    await reload();
    dialog.close();
    await again();
  } catch (error) {
    wrong(error.answer?.fields ?? {});
    if (!error.answer?.fields) showProblem(error, document.getElementById("edit-problem"));
  }
}

/** What the file says now, of which the page has only what it said when it was made. */
async function reload() {
  const page = new DOMParser().parseFromString(await (await request("/subscriptions")).text(), "text/html");
  // A file that cannot be read just now has no tables.
  tables = JSON.parse(page.getElementById("tables")?.textContent ?? "{}");
}

function remove(name) {
  const sure = document.getElementById("sure");
  document.getElementById("sure-title").textContent = `Remove ${name}?`;
  sure.returnValue = "";
  sure.addEventListener("close", () => {
    if (sure.returnValue !== "yes") return;
    attempt(async () => {
      await api(`/api/subscriptions/${encodeURIComponent(name)}`, { method: "DELETE" });
      await reload();
      await again();
    });
  }, { once: true });
  sure.showModal();
}

if (dialog) {
  const button = document.getElementById("new");
  button.hidden = false;
  button.addEventListener("click", () => edit(null));
  dialog.querySelector("[data-close]").addEventListener("click", () => dialog.close());
  form.addEventListener("input", estimate);
  form.addEventListener("submit", (event) => { event.preventDefault(); write(); });
  const series = form.elements.series;
  series.addEventListener("input", async () => {
    const found = await api(`/api/names?q=${encodeURIComponent(series.value.trim())}`).catch(() => []);
    document.getElementById("series-names").replaceChildren(...found.map((one) => h("option", { value: one.series, label: one.note })));
  });
  const asked = new URLSearchParams(location.search).get("series");
  if (asked !== null) { edit(null); series.value = asked; }
}
refresh().catch((error) => showProblem(error));
setInterval(() => { if (!document.hidden && !dialog?.open) refresh().catch(() => {}); }, LOOK);
