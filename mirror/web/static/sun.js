// The Sun on the front page: pictures that are cached, by channel, with limb, grid and active regions; played as a film.

import { api, h, showProblem } from "./site.js";

const RAD = Math.PI / 180, SIDE = 512;
const at = (name) => document.getElementById(`sun-${name}`);
const svg = (name, attributes, ...inner) => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...inner);
  return made;
};
const picture = (channel, frame, size) => `/api/quicklook?${new URLSearchParams({ ds: `${channel.series}[:#${frame.recnum}]{${channel.segment}}`, n: 1, size })}`;
const ago = (seconds) => (seconds < 5400 ? `${Math.round(seconds / 60)} minutes` : seconds < 172800 ? `${Math.round(seconds / 3600)} hours` : `${Math.round(seconds / 86400)} days`);

/** Where a place on the Sun is in the picture; null behind the limb. */
function place(frame, lon, lat) {
  const [l, b, b0] = [lon * RAD, lat * RAD, frame.b0 * RAD];
  if (Math.sin(b) * Math.sin(b0) + Math.cos(b) * Math.cos(b0) * Math.cos(l) < 0) return null;
  const x = Math.cos(b) * Math.sin(l), y = Math.sin(b) * Math.cos(b0) - Math.cos(b) * Math.cos(l) * Math.sin(b0);
  return [(frame.x + frame.radius * x) * SIDE, (frame.y - frame.radius * y) * SIDE];
}

function line(frame, points, attributes) {
  const seen = points.map(([lon, lat]) => place(frame, lon, lat)).filter(Boolean);
  return svg("polyline", { points: seen.map((p) => p.map((v) => v.toFixed(1)).join(",")).join(" "), fill: "none", ...attributes });
}
const range = (from, to, step) => Array.from({ length: Math.round((to - from) / step) + 1 }, (_, n) => from + n * step);

/** Limb, grid and regions over a picture. */
function overlay(frame) {
  const faint = { stroke: "#fff", "stroke-width": 0.6, "stroke-opacity": 0.35 };
  const parts = [];
  if (at("grid").checked) {
    parts.push(svg("circle", { cx: frame.x * SIDE, cy: frame.y * SIDE, r: frame.radius * SIDE, fill: "none", stroke: "#fff", "stroke-opacity": 0.6 }));
    for (const lat of range(-60, 60, 30)) parts.push(line(frame, range(-90, 90, 5).map((lon) => [lon, lat]), faint));
    for (const lon of range(-60, 60, 30)) parts.push(line(frame, range(-90, 90, 5).map((lat) => [lon, lat]), faint));
  }
  if (at("regions").checked) {
    for (const r of frame.regions) {
      const [lons, lats] = [range(0, 1, 0.1).map((f) => r.east + f * (r.west - r.east)), range(0, 1, 0.1).map((f) => r.south + f * (r.north - r.south))];
      const edge = [...lons.map((l) => [l, r.south]), ...lats.map((b) => [r.west, b]), ...lons.toReversed().map((l) => [l, r.north]), ...lats.toReversed().map((b) => [r.east, b])];
      const corner = place(frame, r.west, r.north) ?? place(frame, r.east, r.north);
      if (!corner) continue;
      const text = svg("text", { x: corner[0] + 3, y: corner[1] - 3, fill: "#fff", "font-size": 13 }, r.noaa ? `AR ${r.noaa}` : `HARP ${r.harp}`);
      parts.push(svg("a", { href: `/search?${new URLSearchParams({ ds: r.ds, key: "T_REC,USFLUX,LON_FWT", y: "USFLUX" })}` }, line(frame, edge, { stroke: "#ffd54a", "stroke-width": 1.2 }), text));
    }
  }
  at("over").replaceChildren(...parts);
}

let [channel, timer, number, filming] = [null, 0, 0, null];
const [first, last] = [() => Number(at("from").value), () => Number(at("to").value)];

function show(n) {
  number = n;
  const frame = channel.frames[n];
  at("image").src = picture(channel, frame, SIDE);
  at("image").alt = `${channel.name}, ${frame.time}`;
  at("time").textContent = frame.time;
  at("save").href = picture(channel, frame, 1024);
  at("save").download = `${channel.name} ${frame.time}.png`.replaceAll(/[^\w.-]+/g, "_");
  at("frame").value = n;
  overlay(frame);
}

function stop() {
  clearTimeout(timer);
  timer = 0;
  at("play").textContent = "Play";
}

/** The next frame once its picture is there. */
async function step() {
  const next = number + Number(at("step").value);
  if (next > last() && !at("loop").checked) { stop(); return; }
  const n = next > last() || next < first() ? first() : next;
  const image = new Image();
  image.src = picture(channel, channel.frames[n], SIDE);
  await image.decode().catch(() => {});
  if (!timer) return;
  show(n);
  timer = setTimeout(step, 1000 / Number(at("speed").value));
}

/** The slider has the range that is chosen; one that ends before it begins is turned round. */
function bounded() {
  if (first() > last()) [at("from").value, at("to").value] = [last(), first()];
  at("frame").min = first();
  at("frame").max = last();
  at("play").disabled = at("frame").disabled = first() === last();
}

/** The pictures of the range as a film: a job, whose progress is shown until it has ended. */
async function film() {
  const said = at("film-said"), step = Number(at("step").value);
  const shown = channel.frames.filter((_, n) => n >= first() && n <= last() && (n - first()) % step === 0);
  const ds = `${channel.series}[:${shown.map((frame) => `#${frame.recnum}`).join(",")}]{${channel.segment}}`;
  const bar = h("progress", { max: shown.length, value: 0, "aria-label": "Progress of the film" });
  said.replaceChildren(bar);
  at("film").disabled = true;
  try {
    let job = await api("/api/films", { body: { ds, fps: Number(at("speed").value) } });
    filming = job.id;
    at("cancel").hidden = false;
    while (job.state === "waiting" || job.state === "running") {
      await new Promise((done) => { setTimeout(done, 300); });
      job = await api(`/api/jobs/${job.id}`);
      bar.value = job.ready;
    }
    const name = `${channel.name} ${channel.frames[first()].time}.mp4`.replaceAll(/[^\w.-]+/g, "_");
    if (job.state === "done") said.replaceChildren(h("a", { href: `/api/films/${job.id}`, download: name, class: "button", id: "sun-mp4" }, "Save MP4"));
    else said.replaceChildren(job.state === "failed" ? job.error : "cancelled");
  } catch (problem) {
    said.replaceChildren(h("p", { class: "note bad" }, problem.message));
  } finally {
    [filming, at("film").disabled, at("cancel").hidden] = [null, false, true];
  }
}

async function choose(name) {
  stop();
  [channel] = await api(`/api/sun?${new URLSearchParams({ channel: name, n: 100 })}`);
  const times = channel.frames.map((frame, n) => [frame.time, n]);
  for (const end of ["from", "to"]) at(end).replaceChildren(...times.map(([time, n]) => h("option", { value: n }, time)));
  at("from").value = 0;
  at("to").value = channel.frames.length - 1;
  bounded();
  at("age").textContent = `taken ${ago(channel.age_seconds)} ago; ${channel.frames.length} cached`;
  show(channel.frames.length - 1);
}

const channels = await api("/api/sun").catch(() => []);
if (channels.length) {
  at("channel").replaceChildren(...channels.map((one) => h("option", { value: one.name }, one.name)));
  at("channel").addEventListener("change", () => choose(at("channel").value).catch(showProblem));
  at("frame").addEventListener("input", () => { stop(); show(Number(at("frame").value)); });
  at("play").addEventListener("click", () => {
    if (timer) { stop(); return; }
    at("play").textContent = "Pause";
    if (number >= last() || number < first()) show(first());
    timer = setTimeout(step, 0);
  });
  for (const box of ["grid", "regions"]) at(box).addEventListener("change", () => overlay(channel.frames[number]));
  for (const end of ["from", "to"]) at(end).addEventListener("change", () => { stop(); bounded(); show(Math.min(Math.max(number, first()), last())); });
  at("film")?.addEventListener("click", film);
  at("cancel")?.addEventListener("click", () => { if (filming) api(`/api/jobs/${filming}`, { method: "DELETE", body: {} }).catch(showProblem); });
  await choose(channels[0].name).then(() => { document.getElementById("sun").hidden = false; }).catch(showProblem);
}
