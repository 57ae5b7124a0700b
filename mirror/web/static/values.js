// Values as JSOC prints them, as numbers to sort and plot by. Null stands for what is missing or no number.

const TIME = /^(\d{4})[.-](\d\d)[.-](\d\d)(?:[_T ](\d\d)(?::(\d\d)(?::(\d\d(?:\.\d+)?))?)?)?/;

/** A number, in whatever way it prints: 12.5, 1e6, 0x00000400. */
export function plain(value) {
  if (typeof value === "number") return Number.isFinite(value) ? value : null;
  if (typeof value !== "string" || value === "" || value === "MISSING") return null;
  const found = Number(value);
  return Number.isFinite(found) ? found : null;
}

/** Seconds since 1970 on the clock that the time is printed by: no leap seconds, no change of zone. */
export function clock(value) {
  const found = TIME.exec(String(value));
  if (!found) return null;
  const [, year, month, day, hour = "0", minute = "0", second = "0"] = found;
  return Date.UTC(Number(year), Number(month) - 1, Number(day), Number(hour), Number(minute)) / 1000 + Number(second);
}

/** The value as a number, by the kind of its column: "time" or "number". */
export const numeric = (value, kind) => (kind === "time" ? clock(value) : plain(value));
