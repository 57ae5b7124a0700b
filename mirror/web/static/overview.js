// The front page: figures as they change.
import { h, length, listen, many, number, share, size } from "./site.js";

const JSOC = { ok: ["online", "good"], failing: ["failing", "bad"], away: ["not responding", "bad"], offline: ["offline mode", "muted"] };
const SUBSCRIPTION = { current: "good", failing: "bad", working: "busy" };

const figures = (state) => ({
  share: share(state.answers.local, state.answers.all),
  local: many(state.answers.local, "search"),
  asked: number(state.answers.asked),
  spared: size(state.bytes.spared),
  sent: size(state.bytes.sent),
  fetched: size(state.bytes.asked),
  ahead: size(state.bytes.ahead),
  policy: state.policy,
  requests: many(state.upstream.requests, "request"),
  failed: number(state.upstream.failed),
  refused: number(state.upstream.refused ?? 0),
  records: number(state.records),
  series: number(state.series),
  files: number(state.files.count),
  held: size(state.files.bytes),
  quota: size(state.files.quota),
  "quota-share": share(state.files.bytes, state.files.quota),
  free: size(state.disk.free),
  total: size(state.disk.total),
});

function show(state) {
  for (const [name, text] of Object.entries(figures(state))) {
    for (const place of document.querySelectorAll(`[data-live="${name}"]`)) if (place.textContent !== text) place.textContent = text;
  }
  const [word, kind] = JSOC[state.upstream.state] ?? [state.upstream.state, "bad"];
  const jsoc = document.getElementById("jsoc");
  jsoc.textContent = word;
  jsoc.className = kind;
  const quota = document.getElementById("quota");
  if (quota) quota.value = state.files.bytes ?? 0;
  const problem = document.getElementById("config-problem");
  problem.hidden = !state.config.problem;
  problem.textContent = state.config.problem ?? "";
  fill("work", [...state.fills.map(aFill), ...(state.downloads ?? []).map(theFiles), ...state.jobs.map(aJob)], "Nothing is being fetched.");
  fill("subscriptions", state.subscriptions.map(aSubscription), "None yet.");
  fill("changed", state.changes.map(aChange), "None of the cached records has been reprocessed.");
}

/** Put these in place of what is there; not while the keyboard is in it, and not if they are the same. */
function fill(id, elements, empty) {
  const place = document.getElementById(id);
  const key = elements.map((element) => element.outerHTML).join("");
  // What the page came with when there is nothing says more than we would.
  const before = place.dataset.shown ?? (place.querySelector(".empty") ? "" : null);
  if (key === before || place.contains(document.activeElement)) return;
  place.replaceChildren(...(elements.length ? elements : [h("p", { class: "empty" }, empty)]));
  place.dataset.shown = key;
}

const left = (work) => (typeof work.seconds_left !== "number" ? "" : `, ${length(work.seconds_left)} left`);
const forWhom = (who) => h("p", { class: "small muted w" }, `for ${who}`);

const task = (name, right, ...more) => h("div", { class: "card task" }, h("div", { class: "row spread" }, h("span", {}, name), h("span", { class: "muted" }, right)), more);

const aFill = (f) => task(
  h("a", { href: `/coverage?series=${encodeURIComponent(f.series)}` }, f.series), `${number(f.done)} of ${number(f.total)} chunks${left(f)}`,
  h("progress", { max: Math.max(1, f.total ?? 0), value: f.done ?? 0, "aria-label": `Fill of ${f.series}` }),
  f.who?.length ? forWhom(f.who.join(", ")) : null);

const theFiles = (f) => task(`${number(f.files)} file${f.files === 1 ? "" : "s"}`,
  `${size(f.bytes)}${f.size ? ` of ${size(f.size)}` : ""}${left(f)}`,
  h("progress", { max: Math.max(1, f.size), value: f.bytes, "aria-label": `Files for ${f.who}` }), forWhom(f.who));

const aJob = (j) => task(
  [h("a", { href: `/jobs/${encodeURIComponent(j.id)}` }, j.id), " ", h("span", { class: "badge busy" }, j.state), j.server ? h("span", { class: "small muted" }, ` at ${j.server}`) : null],
  `${number(j.ready)} of ${number(j.total)} ${j.counted}${left(j)}`, h("p", { class: "small mono w" }, j.ds), j.by ? forWhom(j.by) : null);

const aSubscription = (s) => task(
  [h("a", { href: "/subscriptions" }, s.name), " ", h("span", { class: `badge ${SUBSCRIPTION[s.state] ?? ""}` }, s.state)],
  `${number(s.records)} of ${number(s.records_wanted)} records${s.files_wanted ? `, ${number(s.files)} of ${number(s.files_wanted)} files` : ""}`,
  h("progress", { max: Math.max(1, s.records_wanted + s.files_wanted), value: s.records + s.files, "aria-label": `Subscription ${s.name}` }),
  s.why ? h("p", { class: "small muted" }, s.why) : null);

const aChange = (c) => h("p", { class: "change" }, h("span", { class: "mono w" }, c.record), " ",
  h("span", { class: "small muted" }, `${c.gone ? "withdrawn" : "new version"}, ${c.found_at}`));

function lost(away) {
  document.getElementById("live").hidden = false;
  const badge = document.getElementById("live-badge");
  badge.textContent = away ? "not connected" : "live";
  badge.className = `badge ${away ? "bad" : "good"}`;
  document.getElementById("figures").classList.toggle("lost", away);
}

listen(show, lost);
