// One chart: lines or points over a number or a time, in the colours of the page, with the keyboard too.

const COLOURS = ["#1d6fb8", "#c2570c", "#2f855a", "#9b2c8f", "#a16207", "#0e7490"];
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

/**
 * Draw into `place`. `x` is {name, kind, values}, `ys` are [{name, units, values}]; values are numbers or null.
 * Points are sorted along x. Returns what takes the chart away.
 */
export function chart(place, x, ys, { dots = false } = {}) {
  const order = x.values.map((_, at) => at).filter((at) => x.values[at] !== null).sort((a, b) => x.values[a] - x.values[b]);
  const data = [order.map((at) => x.values[at]), ...ys.map((y) => order.map((at) => y.values[at]))];
  const colours = isDark() ? DARK : COLOURS;
  const units = [...new Set(ys.map((y) => y.units ?? ""))];
  const axis = { stroke: css("--muted"), grid: { stroke: css("--line"), width: 1 }, ticks: { stroke: css("--line"), width: 1 } };
  const options = {
    width: place.clientWidth || 600,
    height: Math.max(260, Math.min(460, Math.round((place.clientWidth || 600) * 0.45))),
    tzDate: (seconds) => window.uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
    scales: { x: { time: x.kind === "time" }, ...Object.fromEntries(units.map((unit) => [`y${unit}`, {}])) },
    axes: [
      { ...axis, ...(x.kind === "time" ? { values: CLOCK } : { label: x.name, values: (_, ticks) => ticks.map(readable) }) },
      ...units.slice(0, 2).map((unit, at) => ({
        ...axis, scale: `y${unit}`, side: at === 0 ? 3 : 1, label: unit || undefined, size: 70,
        grid: at === 0 ? axis.grid : { show: false },
        values: (_, ticks) => ticks.map(readable),
      })),
    ],
    series: [
      { label: x.name, value: x.kind === "time" ? "{YYYY}-{MM}-{DD} {HH}:{mm}:{ss}" : (_, v) => readable(v) },
      ...ys.map((y, at) => ({
        label: y.units ? `${y.name} [${y.units}]` : y.name,
        scale: `y${y.units ?? ""}`,
        stroke: colours[at % colours.length],
        width: dots ? 0 : 1.5,
        paths: dots ? () => null : undefined,
        points: { show: dots ? true : undefined, size: 4, fill: colours[at % colours.length] },
        value: (_, v) => readable(v),
      })),
    ],
  };
  const drawn = new window.uPlot(options, data, place);
  const fit = new ResizeObserver(() => {
    if (place.clientWidth && place.clientWidth !== drawn.width) drawn.setSize({ width: place.clientWidth, height: drawn.height });
  });
  fit.observe(place);
  return () => { fit.disconnect(); drawn.destroy(); };
}
