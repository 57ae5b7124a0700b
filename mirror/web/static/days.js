// What /api/coverage/days tells, in words, colours and record sets.
import { many, share } from "./site.js";
import { between, token } from "./grid.js";

const WORDS = { f: "fully cached", p: "partly cached", g: "missing", "-": "never requested" };

/** Cells of one series; `index` counts cells from the first. */
export class Cells {
  constructor(answer) {
    this.answer = answer;
    this.begin = Date.parse(`${answer.first}Z`);
    this.count = answer.states.length;
    this.mostFiles = Math.max(1, ...answer.files);
  }

  date(index) { return new Date(this.begin + index * this.answer.width * 1000); }

  /** "2014.01.05", or with the hour for hours. */
  name(index) {
    const text = this.date(index).toISOString();
    const day = text.slice(0, 10).replaceAll("-", ".");
    return this.answer.width < 86400 ? `${day} ${text.slice(11, 16)}` : day;
  }

  describe(index) {
    const t = this.answer;
    const lines = [`${this.name(index)}: ${WORDS[t.states[index]]}`];
    if (t.states[index] === "p") lines.push(`${share(t.held[index] || t.touched[index], t.expected[index])} of ${t.held[index] ? "slots" : "slots, for some of the records"}`);
    lines.push(`${many(t.records[index], "record")}, ${many(t.files[index], "file")}`);
    if (t.flagged[index]) lines.push(`${share(t.flagged[index], t.records[index])} flagged, ${share(t.missing[index], t.records[index])} without data`);
    return lines.join("\n");
  }

  /** The record set of `cells` from `index` on. */
  recordSet(index, cells = 1) {
    const text = this.date(index).toISOString();
    const from = `${text.slice(0, 10).replaceAll("-", ".")}${this.answer.width < 86400 ? `_${text.slice(11, 19)}` : ""}_TAI`;
    return `${this.answer.series}${this.answer.before}[${from}/${cells}${this.answer.width < 86400 ? "h" : "d"}]`;
  }

  /** How a measure colours cells. */
  painter(measure) {
    const t = this.answer;
    const colours = { f: token("--day-full"), p: token("--day-part"), g: token("--day-gap"), "-": token("--day-none") };
    if (measure === "coverage") return (i) => colours[t.states[i]];
    if (measure === "quality") return (i) => (t.records[i] ? between(colours.f, colours.g, Math.round((t.flagged[i] / t.records[i]) * 20) / 20) : colours["-"]);
    return (i) => (t.files[i] ? between(colours["-"], colours.f, 0.25 + 0.75 * (t.files[i] / this.mostFiles)) : colours["-"]);
  }

  sum(name, from = 0, to = this.count) {
    let total = 0;
    for (let i = from; i < to; i += 1) total += this.answer[name][i];
    return total;
  }
}

export const LEGENDS = {
  coverage: [["full", "fully cached"], ["part", "partly cached"], ["gap", "missing"], ["none", "never requested"]],
  quality: [["full", "QUALITY is 0"], ["gap", "all flagged"], ["none", "no records"]],
  files: [["full", "most files"], ["none", "no files"]],
};

export const SYMBOLS = { f: "●", p: "◐", g: "○", "-": "·" };
