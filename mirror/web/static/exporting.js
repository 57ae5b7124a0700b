// Exports: begun here, watched until they are done, with where the files are.

import { estimated } from "./estimates.js";
import { api, attempt, h, many, size } from "./site.js";

const LOOK = 1000;

/** Let `form` export the records of `ds`. */
export function exporting(form, ds) {
  if (!form) return;
  const place = document.getElementById("exported");
  const segments = form.elements.seg;

  /** Say what the export would fetch, once somebody looks at the form, and whenever it is about other segments. */
  const estimate = estimated(document.getElementById("export-estimate"), (signal) => {
    const asked = new URLSearchParams({ ds, export: "1" });
    if (segments.value.trim()) asked.set("seg", segments.value.trim());
    return api(`/api/estimate?${asked}`, { signal });
  });
  document.getElementById("tab-export").addEventListener("click", estimate, { once: true });
  form.addEventListener("focusin", estimate, { once: true });
  segments.addEventListener("input", estimate);

  function tell(job) {
    const done = job.state === "done";
    const parts = [h("p", {}, h("a", { href: `/jobs/${encodeURIComponent(job.id)}` }, job.id), " ",
      h("span", { class: `badge ${done ? "good" : job.state === "failed" ? "bad" : "busy"}` }, job.state))];
    if (job.error) parts.push(h("p", { class: "note bad" }, job.error));
    if (job.waits) parts.push(h("p", { class: "note warn" }, `${job.waits.why}; next attempt ${job.waits.next_try}`));
    if (!done && job.state !== "failed") parts.push(h("progress", { max: job.total || 1, value: job.ready, "aria-label": "Files of the export" }));
    if (done) {
      parts.push(h("p", {}, `${many(job.ready, "file")}${job.bytes ? `, ${size(job.bytes)}` : ""}: `,
        job.tar ? h("a", { href: job.tar, download: true }, "tar file") : null, job.tar ? " · " : null,
        h("a", { href: `/jobs/${encodeURIComponent(job.id)}` }, "files")));
    }
    place.replaceChildren(...parts);
  }

  async function follow(id) {
    for (;;) {
      const job = await api(`/api/jobs/${encodeURIComponent(id)}`);
      tell(job);
      if (job.state === "done" || job.state === "failed") return;
      await new Promise((resolve) => { setTimeout(resolve, LOOK); });
    }
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const given = Object.fromEntries([...new FormData(form)].filter(([, value]) => value.trim()));
    attempt(async () => {
      const job = await api("/api/jobs", { body: { ds, ...given } });
      tell(job);
      await follow(job.id);
    }, { place: document.getElementById("export-problem"), button: form.querySelector("button") });
  });
}
