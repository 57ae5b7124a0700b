// The builder: fields of a series make a record set, which is checked as it grows.

import { api, h } from "./site.js";

/**
 * Bring the builder in `place` to life. `built` is told of each record set that comes of it, `picker` gets the
 * keywords of the series that is chosen.
 */
export function builder(place, built, picker, offerNames, settled) {
  const [form, fields, said] = ["builder", "fields", "b-said"].map((id) => document.getElementById(id));
  const series = document.getElementById("b-series");
  const templates = () => { const made = document.getElementById("b-keywords"); if (made) picker.fill(made); };

  async function choose() {
    const name = series.value.trim();
    if (!name || name === fields.dataset.series) return;
    const response = await fetch(`/search/builder?series=${encodeURIComponent(name)}`);
    if (!response.ok) { said.textContent = /[.]/.test(name) ? "Unknown series." : ""; return; }
    const piece = new DOMParser().parseFromString(await response.text(), "text/html");
    fields.replaceChildren(...piece.body.childNodes);
    fields.dataset.series = name;
    templates();
    await build();
  }

  async function build() {
    const filled = new URLSearchParams();
    for (const [name, value] of new FormData(form)) if (value.trim()) filled.append(name, value);
    if (!filled.has("b.series")) return;
    try {
      const answer = await api(`/api/build-query?${filled}`);
      if (answer.ds) built(answer);
      said.replaceChildren(h("span", { class: answer.ok ? "muted" : "bad" }, answer.ok ? "" : answer.error));
    } catch (error) {
      said.replaceChildren(h("span", { class: "bad" }, error.message));
    }
  }

  offerNames(series, document.getElementById("series-names"));
  series.addEventListener("change", choose);
  series.addEventListener("input", settled(choose, 400));
  fields.addEventListener("input", settled(build));
  if (series.value) fields.dataset.series = series.value;
  templates();
  // The search form has the keywords and the rest too: search with that.
  form.addEventListener("submit", (event) => {
    if (!document.getElementById("ds").value) return;
    event.preventDefault();
    document.getElementById("search").requestSubmit();
  });
}
