// Fetching all of a record set: first its size, then a button that names it, then the job.

import { api, attempt, h, length, number } from "./site.js";

/** What would be fetched, as the words of a button. */
export function named(estimate) {
  const time = estimate.seconds ? `, about ${length(estimate.seconds)}` : "";
  const many = estimate.records === null ? "all missing records" : `${number(estimate.records)} ${estimate.records === 1 ? "record" : "records"}`;
  return `Fetch ${many}${time}`;
}

/** Let `button` fetch what is missing of `ds`: the first click asks for the size, the second begins. */
export function filling(button, outcome, ds, begun = () => {}) {
  let size = null;
  button.addEventListener("click", async () => {
    if (size === null) {
      const answer = await attempt(() => api("/api/fill", { body: { ds, dry_run: true } }), { button });
      if (!answer) return;
      if (!answer.count) { outcome.textContent = "Nothing is missing."; button.disabled = true; return; }
      size = answer.estimate;
      button.textContent = named(size);
      outcome.textContent = size.notes.join("; ");
      return;
    }
    const job = await attempt(() => api("/api/fill", { body: { ds } }), { button });
    if (!job) return;
    button.disabled = true;
    outcome.replaceChildren("Fetching: ", h("a", { href: `/jobs/${encodeURIComponent(job.id)}` }, job.id));
    begun(job);
  });
}
