// One line of all days of a series, for its page.
import { api, number } from "./site.js";
import { Cells } from "./days.js";

const place = document.getElementById("strip");
const canvas = place.querySelector("canvas");
const answer = await api(`/api/coverage/days?series=${encodeURIComponent(place.dataset.series)}`).catch(() => null);
if (answer) {
  const cells = new Cells(answer);
  document.getElementById("strip-first").textContent = cells.name(0).slice(0, 4);
  document.getElementById("strip-last").textContent = cells.name(cells.count - 1).slice(0, 4);
  const full = [...answer.states].filter((s) => s === "f").length;
  document.getElementById("strip-says").textContent = `${number(full)} days fully cached, ${number([...answer.states].filter((s) => s === "p").length)} partly cached`;
  const draw = () => {
    const scale = devicePixelRatio || 1;
    canvas.width = Math.max(1, Math.round(canvas.clientWidth * scale));
    canvas.height = Math.round(canvas.clientHeight * scale);
    const pen = canvas.getContext("2d");
    const color = cells.painter("coverage");
    const wide = canvas.width / cells.count;
    // Cached days are drawn last: one day among a year must be seen.
    for (const state of ["-", "g", "p", "f"]) {
      for (let i = 0; i < cells.count; i += 1) {
        if (answer.states[i] !== state) continue;
        pen.fillStyle = color(i);
        pen.fillRect(i * wide, 0, Math.max(wide + 0.5, state === "-" ? 0 : 1.5 * scale), canvas.height);
      }
    }
  };
  draw();
  new ResizeObserver(draw).observe(canvas);
  document.addEventListener("themechange", draw);
}
