// <input data-filter="#table">: shows only the rows that have every word. On the list of series Enter opens one.
import { announce } from "./site.js";

for (const input of document.querySelectorAll("input[data-filter]")) {
  const table = document.querySelector(input.dataset.filter);
  const rows = [...(table?.tBodies[0]?.rows ?? [])];
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const apply = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    rows.forEach((row, i) => {
      row.hidden = !words.every((word) => texts[i].includes(word));
      shown += !row.hidden;
    });
    if (words.length) announce(`${shown} of ${rows.length} rows`);
  };
  input.addEventListener("input", apply);
  apply();
  const form = document.getElementById("look-up");
  form?.addEventListener("submit", (event) => {
    event.preventDefault();
    const left = rows.filter((row) => !row.hidden);
    // A name in full is a series, known here or not; else the only one that is left.
    const exact = rows.find((row) => row.cells[0].textContent.toLowerCase() === input.value.trim().toLowerCase());
    const link = (exact ?? (left.length === 1 ? left[0] : null))?.querySelector("a");
    if (link) location.href = link.href;
    else if (input.value.trim()) location.href = `/series/${encodeURIComponent(input.value.trim())}`;
  });
}
