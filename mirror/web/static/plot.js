// The plot of found records: any keyword across, any others up.

import { h, number } from "./site.js";
import { chart } from "./chart.js";
import { numeric } from "./values.js";

const MOST = 6;

/** Fill in the choices and draw; `remember({x, y})` keeps them in the address. */
export function plot(found, remember) {
  const [across, up, place, said] = ["plot-x", "plot-y", "plot", "plot-said"].map((id) => document.getElementById(id));
  const dots = document.getElementById("plot-dots");
  const columns = found.columns.map((column, at) => ({ ...column, at })).filter((column) => column.kind !== "text");
  const times = columns.filter((column) => column.kind === "time");
  const numbers = columns.filter((column) => column.kind === "number" && !(column.hidden && column.name.startsWith("*")));
  const asked = found.y.split(",").filter(Boolean);
  let remove = () => {};

  across.replaceChildren(...[...times, ...numbers].map((column) => h("option", { value: column.name }, column.name)));
  across.value = columns.some((column) => column.name === found.x) ? found.x : (times[0] ?? numbers[0])?.name ?? "";
  const usual = numbers.find((column) => !column.hidden && column.name !== "QUALITY") ?? numbers.find((column) => !column.hidden);
  const chosen = asked.length ? asked : usual ? [usual.name] : [];
  up.append(...numbers.map((column) => h("label", {}, h("input", { type: "checkbox", value: column.name, checked: chosen.includes(column.name) }), ` ${column.name}`)));

  const values = (column) => found.rows.map((row) => numeric(row[column.at], column.kind));

  function draw() {
    remove();
    remove = () => {};
    const x = columns.find((column) => column.name === across.value);
    const names = [...up.querySelectorAll("input:checked")].map((box) => box.value);
    const ys = numbers.filter((column) => names.includes(column.name)).slice(0, MOST);
    if (!x || !ys.length) {
      said.textContent = numbers.some((column) => !column.hidden) ? "Select a keyword to plot." : "None of the keywords is numeric. Add some above and search again.";
      return;
    }
    const drawn = ys.map((column) => ({ name: column.name, units: column.units, values: values(column) }));
    remove = chart(place, { name: x.name, kind: x.kind, values: values(x) }, drawn, { dots: dots.checked });
    const missing = drawn.map((y) => [y.name, y.values.filter((value) => value === null).length]).filter(([, count]) => count);
    place.setAttribute("aria-label", `${names.join(", ")} against ${x.name}, ${number(found.rows.length)} records`);
    said.textContent = missing.map(([name, count]) => `${number(count)} record${count === 1 ? " has" : "s have"} no ${name}.`).join(" ");
  }

  for (const control of [across, up, dots]) {
    control.addEventListener("change", () => {
      draw();
      remember({ x: across.value, y: [...up.querySelectorAll("input:checked")].map((box) => box.value).join(",") });
    });
  }
  document.addEventListener("themechange", () => { if (place.childElementCount) draw(); });
  return { draw };
}
