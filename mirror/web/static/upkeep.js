// Upkeep: checks that are watched, what eviction would take, backups.
import { api, attempt, h, many, moment, number, request, showProblem, size } from "./site.js";

const byId = (id) => document.getElementById(id);

function table(heads, rows, label) {
  const cell = (value, i) => h(i ? "td" : "th", { class: heads[i].startsWith("#") ? "n" : "w", scope: i ? null : "row" }, value ?? "");
  return h("div", { class: "scroll tall", tabindex: 0, role: "region", "aria-label": label }, h("table", {},
    h("thead", {}, h("tr", {}, heads.map((t) => h("th", { scope: "col", class: t.startsWith("#") ? "n" : null }, t.replace("#", ""))))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map(cell))))));
}

// ---- check -------------------------------------------------------------------------------------------

function showCheck(answer) {
  const run = answer.run;
  if (!run) return;
  const step = run.steps.indexOf(run.step);
  const state = answer.running ? ["busy", "running"] : answer.ok ? ["good", "no problems"] : ["bad", "problems found"];
  byId("check-state").replaceChildren(
    h("p", {}, h("span", { class: `badge ${state[0]}` }, state[1]), ` ${many(run.files, "file")}, ${size(run.bytes)}, ${many(run.records, "record")} checked; started ${moment(run.started_at)}${run.ended_at ? `, finished ${moment(run.ended_at)}` : ""}.`),
    answer.running ? h("p", {}, `Checking ${run.doing}, step ${step + 1} of ${run.steps.length}. `, h("progress", { max: run.steps.length, value: step, "aria-label": "Steps" })) : "",
    answer.findings.length ? table(["Outcome", "Where", "Problem", "Action"], answer.findings.map((f) => [f.outcome, f.place, f.problem, f.action]), "Findings") : "",
    answer.more_findings ? h("p", { class: "muted" }, `and ${number(answer.more_findings)} more`) : "");
}

async function watchCheck() {
  const answer = await attempt(() => api("/api/check"));
  if (!answer) return;
  showCheck(answer);
  if (answer.running) setTimeout(watchCheck, 1000);
}

byId("check")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = event.submitter;
  const answer = await attempt(() => api("/api/check", { body: { scope: byId("scope").value, restart: byId("restart").checked } }), { button });
  if (answer) watchCheck();
});
if (document.querySelector("#check-state .busy")) watchCheck();

// ---- eviction ----------------------------------------------------------------------------------------

byId("evict")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const need = Math.round(Number(byId("need").value) * Number(byId("need-unit").value));
  const answer = await attempt(() => api("/api/evict", { body: { need, dry_run: true } }), { button: event.submitter });
  if (answer) showEviction(answer, need);
});

function showEviction(answer, need) {
  const goes = h("button", { type: "button", class: "danger" }, `Evict ${many(answer.blobs, "file")} now`);
  let sure = false;
  goes.addEventListener("click", async () => {
    if (!sure) { sure = true; goes.textContent = "Confirm: they will have to be fetched again"; return; }
    const done = await attempt(() => api("/api/evict", { body: { need } }), { button: goes });
    if (done) byId("evict-state").replaceChildren(h("p", { class: "note good" }, `${many(done.blobs, "file")} evicted, ${size(done.freed)} freed.`));
  });
  byId("evict-state").replaceChildren(
    h("p", {}, answer.blobs ? `${many(answer.blobs, "file")} would be evicted, freeing ${size(answer.freed)}.` : "Nothing can be evicted: all cached files are pinned or in use, or there are none."),
    answer.files.length ? table(["File", "#Size", "Last used"], answer.files.map((f) => [f.file || f.sha256, size(f.size), f.last_used]), "Files that would be evicted") : "",
    answer.blobs ? h("p", {}, goes) : "");
}

// ---- backups -----------------------------------------------------------------------------------------

const kept = (() => { try { return localStorage.getItem("backups"); } catch { return null; } })();
if (kept && byId("to")) byId("to").value = kept;

async function listBackups() {
  const to = byId("to").value.trim();
  if (!to) { byId("to").focus(); return; }
  try { localStorage.setItem("backups", to); } catch { /* not remembered, then */ }
  const answer = await attempt(() => api(`/api/backups?to=${encodeURIComponent(to)}`));
  if (!answer) return;
  byId("backup-state").replaceChildren(answer.length
    ? table(["Backup", "Made", "#Files", "#Size", "Contents"], answer.map((b) => [b.backup, b.made_at, number(b.files), size(b.size), b.index_only ? "the index" : "everything"]), "Backups")
    : h("p", { class: "muted" }, "No backups in this folder."));
}

byId("backup-list")?.addEventListener("click", listBackups);
byId("backup")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = event.submitter;
  button.disabled = true;
  try {
    await backUp();
    await listBackups();
  } catch (error) {
    showProblem(error);
  } finally {
    button.disabled = false;
  }
});

/** Make a backup; the mirror tells how far it is, a line of JSON at a time. */
async function backUp() {
  const response = await request("/api/backup", { body: { to: byId("to").value.trim(), keep: Number(byId("keep").value) || null } });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines.filter(Boolean)) tellBackup(JSON.parse(line));
  }
}

function tellBackup(word) {
  if (word.error) throw new Error(word.error);
  const text = word.done ? `Made ${word.done.path}: ${many(word.done.files, "file")}, ${size(word.done.size)}.`
    : word.step === "files" ? `Files: ${number(word.done)} of ${number(word.total)}` : "Copying the index…";
  byId("backup-state").replaceChildren(h("p", {}, text));
}

// ---- audit -------------------------------------------------------------------------------------------

// Its names and values are the mirror's own.
const audit = byId("audit") ? await api("/api/audit?n=200").catch(() => null) : null;
if (Array.isArray(audit) && audit.length) {
  byId("audit").hidden = false;
  const names = Object.keys(audit[0]);
  byId("audit-table").replaceWith(table(names, audit.map((row) => names.map((n) => (typeof row[n] === "object" ? JSON.stringify(row[n]) : String(row[n] ?? "")))), "Audit"));
}
