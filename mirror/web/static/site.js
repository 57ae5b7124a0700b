// What every page's script shares: asking the API, telling of errors, live news, how things are printed.

/** Whether whoever looks at the page may do what needs this role: "read", "export" or "admin". */
export function may(role) {
  const roles = ["nobody", "read", "export", "admin"];
  return roles.indexOf(document.body.dataset.role) >= roles.indexOf(role);
}

// ---- asking ------------------------------------------------------------------------------------------

/** An answer that is an error; `status` is its HTTP code, `answer` what the mirror says, as JSON. */
export class Problem extends Error {
  constructor(message, status, answer) {
    super(message);
    this.status = status;
    this.answer = answer ?? {};
  }
}

/**
 * Ask the API; the answer as JSON. `body` is sent as JSON, and makes it a POST unless `method` says otherwise.
 * Throws a Problem for any other answer, and where there is none.
 */
export async function api(path, { body, method, signal } = {}) {
  return (await request(path, { body, method, signal })).json().catch(() => null);
}

/** As `api`, but the answer as it comes. */
export async function request(path, { body, method, signal } = {}) {
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const verb = method ?? (body === undefined ? "GET" : "POST");
  const options = { method: verb, headers, signal, credentials: "same-origin" };
  if (body !== undefined) options.body = JSON.stringify(body);
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The mirror does not answer. Is it running?", 0);
  }
  if (response.ok) return response;
  const answer = await response.json().catch(() => null);
  throw new Problem(answer?.error ?? `HTTP ${response.status} ${response.statusText}`, response.status, answer);
}

// ---- telling -----------------------------------------------------------------------------------------

/** Show an error at the top of the page, or in `place`; without one, take an earlier one away. */
export function showProblem(error, place = document.getElementById("problems")) {
  if (error?.name === "AbortError") return;
  place.replaceChildren(...(error ? [h("p", { class: "note bad" }, error.message ?? String(error), ...door(error))] : []));
}

/** Where a session is over, or nobody has logged in: the way in, beside what was typed here. */
function door(error) {
  if (error.status !== 401) return [];
  return [" ", h("a", { href: "/login?next=/", target: "_blank" }, "Log in, in a new tab"), ", and try again here."];
}

/** Say something to screen readers, without showing it. */
export function announce(text) {
  document.getElementById("announcer").textContent = text;
}

/** What `work` returns; a failure of it is shown in `place`, and gives undefined. A button rests meanwhile. */
export async function attempt(work, { place, button } = {}) {
  if (button) button.disabled = true;
  try {
    const result = await work();
    showProblem(null, place);
    return result;
  } catch (error) {
    showProblem(error, place);
    return undefined;
  } finally {
    if (button) button.disabled = false;
  }
}

/** An element: `h("a", {href: "/", class: "x", onclick: f}, "text", child)`. Texts are texts, never HTML. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// ---- live --------------------------------------------------------------------------------------------

/**
 * Call `tell` with the mirror's state whenever it changes, at most once a second; `lost(true)` while it cannot
 * be heard. Returns a function that ends it. Hidden pages do not listen.
 */
export function listen(tell, lost = () => {}) {
  let source = null;
  const open = () => {
    source = new EventSource("/api/events");
    source.addEventListener("status", (event) => { lost(false); tell(JSON.parse(event.data)); });
    source.addEventListener("error", () => lost(true));
  };
  const close = () => { source?.close(); source = null; };
  const follow = () => { if (document.hidden) close(); else if (!source) open(); };
  document.addEventListener("visibilitychange", follow);
  // A page that is kept for "back" would keep its place among the listeners.
  addEventListener("pagehide", close);
  addEventListener("pageshow", follow);
  follow();
  return () => { document.removeEventListener("visibilitychange", follow); close(); };
}

// ---- printing (as in mirror/server/pages/site.py) --------------------------------------------------------

const DIGITS = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

export const number = (value) => (value === null || value === undefined ? "–" : DIGITS.format(value));

/** "1 file", "1,920 files". */
export const many = (count, noun) => `${number(count)} ${count === 1 ? noun : noun.endsWith("ch") ? `${noun}es` : `${noun}s`}`;

export function size(bytes) {
  if (bytes === null || bytes === undefined) return "–";
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let [amount, unit] = [bytes, 0];
  while (Math.abs(amount) >= 999.5 && unit < units.length - 1) { amount /= 1000; unit += 1; }
  const digits = unit === 0 || Math.abs(amount) >= 100 ? 0 : Math.abs(amount) >= 10 ? 1 : 2;
  return `${amount.toFixed(digits)} ${units[unit]}`;
}

export function share(part, whole) {
  if (!whole || part === null || part === undefined) return "–";
  const percent = (100 * part) / whole;
  return part < whole ? `${Math.min(percent, 99.9).toFixed(1)} %` : `${percent.toFixed(1).replace("100.0", "100")} %`;
}

export function length(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  let left = Math.round(seconds);
  const parts = [];
  for (const [width, unit] of [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]]) {
    if (left >= width) { parts.push(`${Math.floor(left / width)} ${unit}`); left %= width; }
  }
  return parts.slice(0, 2).join(" ") || "0 s";
}

export function moment(seconds) {
  const date = new Date((seconds ?? NaN) * 1000);
  if (Number.isNaN(date.getTime())) return "–"; // nothing, or what no calendar has
  return `${date.toISOString().slice(0, 16).replace("T", " ")} UTC`;
}

/** Copy a text; the button says for a moment that it did. */
export async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Not a secure context (http from another machine): the old way.
    const area = h("textarea", { class: "unseen", readonly: true });
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  const before = button.textContent;
  button.textContent = "Copied";
  announce("Copied");
  setTimeout(() => { button.textContent = before; }, 1500);
}

// ---- on every page -----------------------------------------------------------------------------------

const THEMES = ["system", "light", "dark"];

function themeSwitch() {
  const button = document.getElementById("theme");
  if (!button) return;
  const current = () => document.documentElement.dataset.theme ?? "system";
  const say = () => { button.textContent = `Theme: ${current()}`; };
  button.hidden = false;
  button.addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(current()) + 1) % THEMES.length];
    if (next === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    try { localStorage.setItem("theme", next); } catch { /* for this page only, then */ }
    say();
    document.dispatchEvent(new CustomEvent("themechange"));
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => document.dispatchEvent(new CustomEvent("themechange")));
  say();
}

/** Buttons with data-copy="#id" copy the text of that element. */
function copyButtons() {
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("button[data-copy]");
    if (button) copy(document.querySelector(button.dataset.copy).textContent, button);
  });
}

/** Times are UTC; what is told as data-ago="<Unix seconds>" is also said as a distance. */
function agos() {
  const tell = () => document.querySelectorAll("[data-ago]").forEach((element) => {
    element.textContent = `${length(Math.max(0, Date.now() / 1000 - Number(element.dataset.ago)))} ago`;
  });
  tell();
  setInterval(tell, 30000);
}

themeSwitch();
copyButtons();
// On narrow screens the navigation is a strip that may be wider.
document.querySelector("nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
agos();
