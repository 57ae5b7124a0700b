// Jobs as they go on: when one has changed, the part of the page that shows them is fetched again.
import { announce, api, attempt, listen } from "./site.js";

const place = () => document.getElementById("jobs");
let before = null;
let due = null;

async function renew() {
  due = null;
  const response = await fetch(location.href, { headers: { Accept: "text/html" }, credentials: "same-origin" }).catch(() => null);
  if (!response?.ok) return;
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html").getElementById("jobs");
  if (!fresh || fresh.innerHTML === place().innerHTML || place().contains(document.activeElement)) return;
  if (fresh.dataset.finished === "yes" && place().dataset.finished === "no") announce("The job has finished.");
  place().replaceWith(document.adoptNode(fresh));
}

document.querySelector("main").addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-cancel]");
  if (!button) return;
  const path = `/api/jobs/${encodeURIComponent(button.dataset.cancel)}`;
  const job = await attempt(() => api(path, { method: "DELETE", body: {} }), { button });
  if (!job) return;
  announce(`${job.id} is ${job.state}.`);
  button.remove();
  await renew();
});

listen((state) => {
  const now = JSON.stringify(state.jobs.map((job) => [job.id, job.state, job.ready, job.total]));
  if (before !== null && now !== before && !due) due = setTimeout(renew, 300);
  before = now;
});
