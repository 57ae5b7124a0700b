// The plot of found records: any keyword across, any others up; with gaps, errors, logarithms, as a histogram or on the
// disk of the Sun; and what one takes away of it: a picture, the data, the code.

import { h, many, number } from "./site.js";
import { chart, disk } from "./chart.js";
import { numeric } from "./values.js";

const MOST = 6, BINS = 50;
const DISK = ["LON_FWT", "LAT_FWT"];
const quoted = (text) => JSON.stringify(text);

/** Fill in the choices and draw; `remember({x, y})` keeps them in the address. `found.source(names)` is Python that gives a frame. */
export function plot(found, remember) {
  const at = (name) => document.getElementById(`plot-${name}`);
  const [across, up, style, right, log, errors, said] = ["x", "y", "style", "right", "log", "errors", "said"].map(at);
  const place = document.getElementById("plot");
  const columns = found.columns.map((column, at) => ({ ...column, at })).filter((column) => column.kind !== "text");
  const by = (name) => columns.find((column) => column.name.toUpperCase() === String(name).toUpperCase());
  const times = columns.filter((column) => column.kind === "time");
  const numbers = columns.filter((column) => column.kind === "number" && !(column.hidden && (column.name.startsWith("*") || column.helper)));
  const asked = found.y.split(",").filter(Boolean);
  const onDisk = DISK.every(by);
  let remove = () => {};

  across.replaceChildren(...[...times, ...numbers].map((column) => h("option", { value: column.name }, column.name)));
  across.value = columns.some((column) => column.name === found.x) ? found.x : (times[0] ?? numbers[0])?.name ?? "";
  const usual = numbers.find((column) => !column.hidden && column.name !== "QUALITY") ?? numbers.find((column) => !column.hidden);
  const chosen = asked.length ? asked : usual ? [usual.name] : [];
  up.append(...numbers.map((column) => h("label", {}, h("input", { type: "checkbox", value: column.name, checked: chosen.includes(column.name) }), ` ${column.name}`)));
  right.replaceChildren(...[["", "by unit"], ...numbers.map((column) => [column.name, column.name])].map(([value, text]) => h("option", { value }, text)));
  style.querySelector('[value="disk"]').hidden = !onDisk;
  if (style.value === "disk" && !onDisk) style.value = "line";
  errors.parentElement.hidden = !columns.some((column) => column.error && by(column.error));

  const values = (column) => found.rows.map((row) => numeric(row[column.at], column.kind));

  /** What is to be drawn now: x, and the ys with their errors and sides. */
  function wanted() {
    const names = [...up.querySelectorAll("input:checked")].map((box) => box.value);
    const ys = numbers.filter((column) => names.includes(column.name)).slice(0, MOST);
    const bars = (column) => (errors.checked && !errors.parentElement.hidden && style.value !== "histogram" && column.error && by(column.error)) || null;
    const side = (column, n) => (right.value ? (right.value === column.name ? "right" : "left") : n);
    return { x: by(across.value), ys: ys.map((column) => ({ column, bar: bars(column), side: side(column, column.units ?? "") })), names };
  }

  function draw() {
    remove();
    remove = () => {};
    place.replaceChildren();
    const { x, ys, names } = wanted();
    at("take").hidden = true;
    if (style.value === "disk") {
      const points = found.rows.map((row) => DISK.map((name) => numeric(row[by(name).at], "number")));
      const labels = found.rows.map((row) => (times[0] ? String(row[times[0].at]) : ""));
      remove = disk(place, points, labels);
      place.setAttribute("aria-label", `The way over the disk of the Sun, ${many(found.rows.length, "record")}`);
      said.textContent = "Stonyhurst longitude and latitude, seen from above the equator.";
      at("take").hidden = false;
      at("code").textContent = code();
      return;
    }
    if (!x || !ys.length) {
      said.textContent = numbers.some((column) => !column.hidden) ? "Select a keyword to plot." : "None of the keywords is numeric. Add some above and search again.";
      return;
    }
    const drawn = ys.map(({ column, bar, side }) => ({ name: column.name, units: column.units, side, values: values(column), errors: bar && values(bar) }));
    if (style.value === "histogram") remove = chart(place, ...histogram(drawn), { log: log.checked, steps: true });
    else remove = chart(place, { name: x.name, kind: x.kind, values: values(x) }, drawn, { dots: style.value === "scatter", log: log.checked, gaps: style.value === "line" });
    const missing = drawn.map((y) => [y.name, y.values.filter((value) => value === null).length]).filter(([, count]) => count);
    place.setAttribute("aria-label", `${names.join(", ")} against ${x.name}, ${many(found.rows.length, "record")}`);
    said.textContent = missing.map(([name, count]) => `${number(count)} record${count === 1 ? " has" : "s have"} no ${name}.`).join(" ");
    at("take").hidden = false;
    at("code").textContent = code();
  }

  /** The same plot in Python. */
  function code() {
    const { x, ys } = wanted();
    const lines = [];
    const label = (column) => quoted(column.units ? `${column.name} [${column.units}]` : column.name);
    const names = style.value === "disk" ? DISK.map((name) => by(name).name) : [x, ...ys.flatMap(({ column, bar }) => [column, bar])].filter(Boolean).map((column) => column.name);
    if (style.value === "disk") {
      const [lon, lat] = names.map((name) => `np.radians(frame[${quoted(name)}])`);
      lines.push(`lon, lat = ${lon}, ${lat}`, "axes.plot(np.cos(lat) * np.sin(lon), np.sin(lat), \".-\")", "axes.add_patch(plt.Circle((0, 0), 1, fill=False))", 'axes.set_aspect("equal")');
    } else if (style.value === "histogram") {
      lines.push(...ys.map(({ column }) => `axes.hist(frame[${quoted(column.name)}].dropna(), bins=${BINS}, histtype="step", label=${label(column)})`));
    } else {
      const first = ys[0]?.side;
      if (ys.some((y) => y.side !== first)) lines.push("right = axes.twinx()");
      ys.forEach(({ column, bar, side }, n) => {
        const place = side === first ? "axes" : "right";
        const data = `frame[${quoted(x.name)}], frame[${quoted(column.name)}]`;
        const more = `color="C${n}", label=${label(column)}`;
        lines.push(bar ? `${place}.errorbar(${data}, yerr=frame[${quoted(bar.name)}], fmt="${style.value === "scatter" ? "." : "-"}", ${more})`
          : style.value === "scatter" ? `${place}.scatter(${data}, s=6, ${more})` : `${place}.plot(${data}, ${more})`);
      });
      lines.push(`axes.set_xlabel(${label(x)})`);
    }
    if (log.checked && style.value !== "disk") lines.push('axes.set_yscale("log")');
    if (style.value !== "disk") lines.push("figure.legend()");
    return ["import matplotlib.pyplot as plt", ...(style.value === "disk" ? ["import numpy as np"] : []), "import mirror", "",
      `frame = ${found.source?.([...new Set(names)]) ?? "..."}`, "figure, axes = plt.subplots()", ...lines, "plt.show()", ""].join("\n");
  }

  function csv() {
    const { x, ys } = wanted();
    const shown = style.value === "disk" ? [...times.slice(0, 1), ...DISK.map(by)] : [x, ...ys.flatMap(({ column, bar }) => [column, bar])].filter(Boolean);
    const cell = (value) => (/[",\n]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value ?? ""));
    return [shown.map((column) => cell(column.name)), ...found.rows.map((row) => shown.map((column) => cell(row[column.at])))].map((row) => row.join(",")).join("\n") + "\n";
  }

  function save(name, blob) {
    const link = h("a", { href: URL.createObjectURL(blob), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  at("csv").onclick = () => save("plot.csv", new Blob([csv()], { type: "text/csv" }));
  at("png").onclick = () => {
    const [canvas, svg] = [place.querySelector("canvas"), place.querySelector("svg")];
    if (canvas) canvas.toBlob((blob) => save("plot.png", blob));
    else if (svg) save("plot.svg", new Blob([new XMLSerializer().serializeToString(svg)], { type: "image/svg+xml" }));
  };
  for (const control of [across, up, style, right, log, errors]) {
    control.onchange = () => {
      draw();
      remember({ x: across.value, y: [...up.querySelectorAll("input:checked")].map((box) => box.value).join(",") });
    };
  }
  document.addEventListener("themechange", () => { if (place.childElementCount) draw(); });
  return { draw };
}

/** How often values are there: the middle of each bin across, counts up. */
function histogram(ys) {
  const all = ys.flatMap((y) => y.values).filter((value) => value !== null);
  const [low, high] = all.reduce(([a, b], value) => [Math.min(a, value), Math.max(b, value)], [Infinity, -Infinity]);
  const width = (high - low) / BINS || 1;
  const middles = Array.from({ length: BINS }, (_, n) => low + (n + 0.5) * width);
  const counts = (values) => {
    const found = new Array(BINS).fill(0);
    for (const value of values) if (value !== null) found[Math.min(BINS - 1, Math.floor((value - low) / width))] += 1;
    return found;
  };
  return [{ name: ys.map((y) => y.name).join(", "), kind: "number", values: middles }, ys.map((y) => ({ name: y.name, units: "", side: "", values: counts(y.values) }))];
}
