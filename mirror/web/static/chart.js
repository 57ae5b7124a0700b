// One chart: lines or points over a number or a time, in the colours of the page, with the keyboard too.

const COLOURS = ["#1d6fb8", "#c2570c", "#2f855a", "#9b2c8f", "#a16207", "#0e7490"];
const RAD = Math.PI / 180;
const DARK = ["#6cb6ff", "#ffa657", "#7ee2a8", "#f0a0e6", "#e3c567", "#67d4e8"];

// For uPlot: from how many seconds between ticks on, what a tick says, and what is added where a year, a month,
// a day, an hour, a minute begins.
const CLOCK = [
  [31536000, "{YYYY}", null, null, null, null, null, null, 1],
  [2419200, "{YYYY}-{MM}", null, null, null, null, null, null, 1],
  [86400, "{MM}-{DD}", "\n{YYYY}", null, null, null, null, null, 1],
  [60, "{HH}:{mm}", "\n{YYYY}-{MM}-{DD}", null, "\n{MM}-{DD}", null, null, null, 1],
  [0.001, "{HH}:{mm}:{ss}", "\n{YYYY}-{MM}-{DD}", null, "\n{MM}-{DD}", null, null, null, 1],
];

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const isDark = () => getComputedStyle(document.documentElement).colorScheme.includes("dark");
const readable = (value) => (value === null || value === undefined ? "–" : Math.abs(value) >= 1e6 || (value && Math.abs(value) < 1e-3) ? value.toExponential(3) : String(Number(value.toPrecision(7))));

const GAP = 1.5;

/** Rows in the order of x, with an empty one wherever records are missing: a step much longer than the usual one. */
function broken(data) {
  const xs = data[0];
  const steps = xs.slice(1).map((x, at) => x - xs[at]).sort((a, b) => a - b);
  const usual = steps[Math.floor(steps.length / 2)];
  if (!usual) return data;
  const out = data.map(() => []);
  xs.forEach((x, at) => {
    if (at && x - xs[at - 1] > GAP * usual) out.forEach((column, n) => column.push(n ? null : (x + xs[at - 1]) / 2));
    out.forEach((column, n) => column.push(data[n][at]));
  });
  return out;
}

/**
 * Draw into `place`. `x` is {name, kind, values}, `ys` are [{name, units, side, values, errors}]; values are numbers or null,
 * those of one `side` share an axis. Points are sorted along x; `gaps` leaves the line open where points are missing, `steps`
 * draws bars. Returns what takes the chart away.
 */
export function chart(place, x, ys, { dots = false, log = false, gaps = false, steps = false } = {}) {
  const order = x.values.map((_, at) => at).filter((at) => x.values[at] !== null).sort((a, b) => x.values[a] - x.values[b]);
  const shown = (value) => (log && value !== null && value <= 0 ? null : value);
  const along = (values, keep) => order.map((at) => (values ? keep(values[at]) : null));
  const whole = [order.map((at) => x.values[at]), ...ys.map((y) => along(y.values, shown)), ...ys.map((y) => along(y.errors, (e) => e))];
  const table = gaps ? broken(whole) : whole;
  const [data, errors] = [table.slice(0, ys.length + 1), table.slice(ys.length + 1)];
  const colours = isDark() ? DARK : COLOURS;
  const sides = [...new Set(ys.map((y) => y.side))];
  const scale = (y) => `y${y.side}`;
  const label = (side) => [...new Set(ys.filter((y) => y.side === side).map((y) => y.units || y.name))].join(", ");
  const axis = { stroke: css("--muted"), grid: { stroke: css("--line"), width: 1 }, ticks: { stroke: css("--line"), width: 1 } };
  const bars = (u) => ys.forEach((y, n) => {
    if (!y.errors) return;
    u.ctx.save();
    u.ctx.strokeStyle = colours[n % colours.length];
    u.ctx.beginPath();
    data[0].forEach((at, row) => {
      const [value, error] = [data[n + 1][row], errors[n][row]];
      if (value === null || error === null || value === undefined) return;
      const low = log && value - Math.abs(error) <= 0 ? value : value - Math.abs(error);
      const [left, bottom, top] = [u.valToPos(at, "x", true), u.valToPos(low, scale(y), true), u.valToPos(value + Math.abs(error), scale(y), true)];
      u.ctx.moveTo(left, bottom);
      u.ctx.lineTo(left, top);
    });
    u.ctx.stroke();
    u.ctx.restore();
  });
  const options = {
    width: place.clientWidth || 600,
    height: Math.max(260, Math.min(460, Math.round((place.clientWidth || 600) * 0.45))),
    tzDate: (seconds) => window.uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
    scales: { x: { time: x.kind === "time" }, ...Object.fromEntries(sides.map((side) => [`y${side}`, log ? { distr: 3 } : {}])) },
    axes: [
      { ...axis, ...(x.kind === "time" ? { values: CLOCK } : { label: x.name, values: (_, ticks) => ticks.map(readable) }) },
      ...sides.slice(0, 2).map((side, at) => ({
        ...axis, scale: `y${side}`, side: at === 0 ? 3 : 1, label: steps ? "records" : label(side), size: 78,
        grid: at === 0 ? axis.grid : { show: false },
        values: (_, ticks) => ticks.map((tick) => (tick === null ? "" : readable(tick))),
      })),
    ],
    series: [
      { label: x.name, value: x.kind === "time" ? "{YYYY}-{MM}-{DD} {HH}:{mm}:{ss}" : (_, v) => readable(v) },
      ...ys.map((y, at) => ({
        label: y.units ? `${y.name} [${y.units}]` : y.name,
        scale: scale(y),
        stroke: colours[at % colours.length],
        width: dots ? 0 : 1.5,
        paths: dots ? () => null : steps ? window.uPlot.paths.stepped({ align: 0 }) : undefined,
        points: { show: dots ? true : steps ? false : undefined, size: 4, fill: colours[at % colours.length] },
        value: (_, v) => readable(v),
      })),
    ],
    hooks: { draw: [bars] },
  };
  const drawn = new window.uPlot(options, data, place);
  const fit = new ResizeObserver(() => {
    if (place.clientWidth && place.clientWidth !== drawn.width) drawn.setSize({ width: place.clientWidth, height: drawn.height });
  });
  fit.observe(place);
  return () => { fit.disconnect(); drawn.destroy(); };
}

/** Draw the disk of the Sun with places on it, [longitude, latitude] in degrees or null, and a label each. */
export function disk(place, points, labels) {
  const svg = (name, attributes, ...inner) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...inner);
    return made;
  };
  const seen = ([lon, lat]) => [Math.cos(lat * RAD) * Math.sin(lon * RAD), -Math.sin(lat * RAD)].map((v) => (v * 100).toFixed(2));
  const line = (all) => svg("polyline", { points: all.map((point) => seen(point).join(",")).join(" "), fill: "none", stroke: css("--line"), "stroke-width": 0.4 });
  const range = (from, to, step) => Array.from({ length: Math.round((to - from) / step) + 1 }, (_, n) => from + n * step);
  const grid = [
    ...range(-60, 60, 30).map((lat) => line(range(-90, 90, 5).map((lon) => [lon, lat]))),
    ...range(-60, 60, 30).map((lon) => line(range(-90, 90, 5).map((lat) => [lon, lat]))),
  ];
  const there = points.map((point, at) => [point, labels[at]]).filter(([[lon, lat]]) => lon !== null && lat !== null && Math.abs(lon) <= 90);
  const colour = (isDark() ? DARK : COLOURS)[1];
  const way = svg("polyline", { points: there.map(([point]) => seen(point).join(",")).join(" "), fill: "none", stroke: colour, "stroke-width": 0.6 });
  const marks = there.map(([point, label]) => {
    const [cx, cy] = seen(point);
    return svg("circle", { cx, cy, r: 1.2, fill: colour }, svg("title", {}, `${label} ${point[0]}, ${point[1]}`));
  });
  const limb = svg("circle", { cx: 0, cy: 0, r: 100, fill: "none", stroke: css("--muted"), "stroke-width": 0.8 });
  place.replaceChildren(svg("svg", { viewBox: "-105 -105 210 210", width: 460, height: 460 }, ...grid, limb, way, ...marks));
  return () => place.replaceChildren();
}
