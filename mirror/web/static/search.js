// The search page: the record set is checked while it is typed, built from fields, and its records looked at.

import { api, h } from "./site.js";
import { builder } from "./builder.js";
import { exporting } from "./exporting.js";
import { filling } from "./filling.js";
import { film } from "./film.js";
import { keywordPicker } from "./picker.js";
import { table } from "./table.js";
import { tabs } from "./tabs.js";
import { plot } from "./plot.js";

const ds = document.getElementById("ds");
const checked = document.getElementById("checked");

/** Call `work` once nothing has happened for a while. */
export function settled(work, wait = 250) {
  let timer = 0;
  return (...given) => { clearTimeout(timer); timer = setTimeout(() => work(...given), wait); };
}

/** What a check found, below the record set: how much is cached, or the error marked in its place. */
export function tell(answer) {
  ds.toggleAttribute("aria-invalid", false);
  if (answer.ok) {
    checked.replaceChildren(...answer.sets.map((set) => h("p", { class: set.plan === "local" ? "good" : "muted" },
      answer.sets.length > 1 ? `${set.series}: ${set.text}` : set.text)));
    return;
  }
  ds.setAttribute("aria-invalid", "true");
  const parts = [];
  if (answer.position !== null && answer.ds) {
    const [before, rest] = [answer.ds.slice(0, answer.position), answer.ds.slice(answer.position)];
    parts.push(h("pre", { class: "marked" }, before, h("mark", {}, rest.slice(0, 1) || " "), rest.slice(1)));
  }
  parts.push(h("p", { class: "bad" }, answer.error + (answer.expected ? `; expected ${answer.expected}` : "")));
  checked.replaceChildren(...parts);
}

let running = null;
async function check() {
  running?.abort();
  if (!ds.value.trim()) { checked.replaceChildren(); ds.removeAttribute("aria-invalid"); return; }
  running = new AbortController();
  const asked = ds.value;
  try {
    const answer = await api(`/api/check-query?ds=${encodeURIComponent(asked)}`, { signal: running.signal });
    if (asked === ds.value) tell(answer);
  } catch (error) {
    if (error.name !== "AbortError") checked.replaceChildren(h("p", { class: "bad" }, error.message));
  }
}

/** Offer the names of series in a list of suggestions, while what is typed is still a name. */
export function offerNames(input, list) {
  input.addEventListener("input", settled(async () => {
    if (/[[{]/.test(input.value)) return;
    const found = await api(`/api/names?q=${encodeURIComponent(input.value.trim())}`).catch(() => []);
    list.replaceChildren(...found.map((one) => h("option", { value: one.series, label: `${one.note}${one.known ? " (cached)" : ""}` })));
  }, 150));
}

ds.addEventListener("input", settled(check));
offerNames(ds, document.getElementById("names"));
document.getElementById("search").addEventListener("submit", () => {
  checked.replaceChildren(h("p", { class: "muted" }, "Searching; missing records are fetched from JSOC …"));
});
if (ds.value && !ds.hasAttribute("aria-invalid")) check();

const picker = keywordPicker(document.getElementById("picker"), document.getElementById("key"));
builder(document.getElementById("build"), (answer) => { ds.value = answer.ds || ds.value; if (answer.ds) tell(answer); }, picker, offerNames, settled);

const fill = document.getElementById("fill");
if (fill) filling(fill, document.getElementById("fill-said"), ds.defaultValue);

const data = document.getElementById("found");
if (data) {
  const found = JSON.parse(data.textContent);
  const state = new URLSearchParams(location.search);
  const remember = (changes) => {
    for (const [name, value] of Object.entries(changes)) { if (value) state.set(name, value); else state.delete(name); }
    history.replaceState(null, "", `?${state}`);
  };
  table(found);
  const given = [JSON.stringify(ds.defaultValue), null, found.where ? `where=${JSON.stringify(found.where)}` : "", `n=${found.n}`, "times=True"];
  found.source = (names) => `mirror.Client(${JSON.stringify(location.origin)}).search(${given.map((part) => part ?? JSON.stringify(names)).filter(Boolean).join(", ")})`;
  const drawing = plot(found, remember);
  film();
  exporting(document.getElementById("export"), ds.defaultValue);
  const first = state.has("pictures") ? "tab-pictures" : state.has("y") ? "tab-plot" : "tab-table";
  tabs(document.querySelector("#results .tabs"), first, (tab) => { if (tab === "tab-plot") drawing.draw(); });
}
