// How late records came: two lines over the months, on a logarithmic axis, and the same as a table.
import { api, h, length, number } from "./site.js";

const SVG = "http://www.w3.org/2000/svg";
const TICKS = [60, 600, 3600, 21600, 86400, 604800, 2592000, 31536000, 315360000];
/** Room at the right for what the lines are called. */
const SIDE = 110;
const NAMES = ["1 min", "10 min", "1 h", "6 h", "1 d", "1 week", "30 d", "1 year", "10 years"];

function s(tag, attributes, text) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

function chart(months) {
  const [wide, tall, left, bottom, top] = [Math.max(320, document.getElementById("delays").clientWidth - 40), 240, 62, 24, 12];
  const values = months.flatMap((m) => [m.median, m.most]).map((v) => Math.max(60, v));
  // From one line of the axis to another, so that there is always something to read the heights by.
  const least = TICKS.findLast((tick) => tick <= Math.min(...values)) ?? TICKS[0];
  const most = TICKS.find((tick) => tick >= Math.max(...values)) ?? Math.max(...values);
  const [low, high] = [Math.log(least), Math.log(Math.max(most, least * 2))];
  const number0 = (m) => Number(m.month.slice(0, 4)) * 12 + Number(m.month.slice(5)) - 1;
  const [first, last] = [number0(months[0]), number0(months.at(-1))];
  const x = (m) => left + ((number0(m) - first + 0.5) / (last - first + 1)) * (wide - left - SIDE);
  const y = (seconds) => top + (1 - (Math.log(Math.max(60, seconds)) - low) / (high - low)) * (tall - top - bottom);
  const root = s("svg", { viewBox: `0 0 ${wide} ${tall}`, class: "chart", role: "img", "aria-label": `Delay from ${months[0].month} to ${months.at(-1).month}; the numbers are in the table below.` });
  TICKS.forEach((tick, i) => {
    if (Math.log(tick) < low - 1e-9 || Math.log(tick) > high + 1e-9) return;
    root.append(s("line", { x1: left, x2: wide - SIDE + 2, y1: y(tick), y2: y(tick), class: "axis" }), s("text", { x: left - 8, y: y(tick) + 4, "text-anchor": "end" }, NAMES[i]));
  });
  const every = Math.max(1, Math.ceil((last - first + 1) / 12 / Math.max(1, wide / 90)));
  for (let month = first; month <= last; month += 1) {
    const year = Math.floor(month / 12);
    if (last - first < 14 ? month % Math.max(1, Math.ceil((last - first) / 6)) : month % 12 || year % every) continue;
    const at = left + ((month - first + 0.5) / (last - first + 1)) * (wide - left - SIDE);
    const text = last - first < 14 ? `${year}-${String((month % 12) + 1).padStart(2, "0")}` : String(year);
    root.append(s("text", { x: at, y: tall - 6, "text-anchor": "middle" }, text));
  }
  for (const [name, label] of [["most", "9 of 10 below"], ["median", "median"]]) {
    // A month without records parts the line.
    let path = "";
    months.forEach((m, i) => { path += `${i && number0(m) - number0(months[i - 1]) === 1 ? "L" : "M"}${x(m).toFixed(1)} ${y(m[name]).toFixed(1)}`; });
    root.append(s("path", { d: path, class: name }));
    for (const m of months) root.append(s("circle", { cx: x(m), cy: y(m[name]), r: months.length > 60 ? 1 : 2.5, class: `${name} label` }));
    root.append(s("text", { x: wide - SIDE + 10, y: y(months.at(-1)[name]) + (name === "most" ? 0 : 10), class: `${name} label` }, label));
  }
  return root;
}

/** Show the section, if the series has anything to show. */
export async function showDelays(series) {
  const answer = await api(`/api/coverage/delays?series=${encodeURIComponent(series)}`).catch(() => null);
  if (!answer?.months.length) return;
  document.getElementById("delays").hidden = false;
  const rows = answer.months.map((m) => h("tr", {}, h("th", { scope: "row" }, m.month), h("td", { class: "n" }, length(m.median)), h("td", { class: "n" }, length(m.most)), h("td", { class: "n" }, number(m.records))));
  document.getElementById("delays-table").replaceChildren(h("table", {},
    h("thead", {}, h("tr", {}, ["Month", "Median", "9 of 10 below", "Records"].map((t, i) => h("th", { scope: "col", class: i ? "n" : null }, t)))), h("tbody", {}, rows)));
  const draw = () => document.getElementById("delays-chart").replaceChildren(chart(answer.months));
  draw();
  new ResizeObserver(draw).observe(document.getElementById("delays"));
}
