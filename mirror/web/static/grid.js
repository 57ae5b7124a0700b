// A canvas of cells in rows, with a pointer, keys and a tip: the heat map draws years, months and hours with it.

const LABELS = 46;
const HEAD = 18;
const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export class Grid {
  /** `describe(index)` says what a cell is, `pick(index)` is called for a click or Enter, `say(text)` for each move. */
  constructor(canvas, tip, { describe, pick, say }) {
    Object.assign(this, { canvas, tip, describe, pick, say, plan: null, at: null });
    canvas.addEventListener("pointermove", (event) => this.point(event));
    canvas.addEventListener("pointerleave", () => { this.tip.hidden = true; });
    canvas.addEventListener("click", (event) => { const index = this.under(event); if (index !== null) this.pick(index); });
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("focus", () => { this.at ??= this.start(); this.draw(); this.tell(); });
    canvas.addEventListener("blur", () => { this.tip.hidden = true; this.draw(); });
    new ResizeObserver(() => this.draw()).observe(canvas.parentElement);
    document.addEventListener("themechange", () => this.draw());
  }

  /**
   * `rows`: [{label, cells: [index or null]}], `columns` how many, `heads`: [{at, text}], `height` of a row,
   * `color(index)` a CSS colour, `start` where the keyboard begins.
   */
  show(plan) {
    this.plan = plan;
    this.at = null;
    this.tip.hidden = true;
    this.draw();
  }

  start() {
    const rows = this.plan?.rows ?? [];
    const wanted = this.plan?.start;
    for (let y = 0; y < rows.length; y += 1) {
      const x = wanted === undefined ? rows[y].cells.findIndex((c) => c !== null) : rows[y].cells.indexOf(wanted);
      if (x >= 0) return { x, y };
    }
    return { x: 0, y: 0 };
  }

  draw() {
    if (!this.plan) return;
    const { rows, columns, heads, height, color } = this.plan;
    const width = this.canvas.parentElement.clientWidth;
    const tall = HEAD + rows.length * height + 2;
    const scale = devicePixelRatio || 1;
    this.canvas.style.height = `${tall}px`;
    this.canvas.width = Math.round(width * scale);
    this.canvas.height = Math.round(tall * scale);
    const pen = this.canvas.getContext("2d");
    pen.scale(scale, scale);
    this.step = (width - LABELS) / columns;
    const gapX = this.step > 6 ? 1.5 : this.step > 3.4 ? 0.5 : 0;
    const gapY = height > 20 ? 2 : 1;
    pen.font = `11px ${token("--sans")}`;
    pen.textBaseline = "middle";
    pen.fillStyle = token("--muted");
    for (const { at, text } of heads) pen.fillText(text, LABELS + at * this.step + 1, HEAD / 2);
    rows.forEach(({ label, cells }, y) => {
      pen.fillStyle = token("--muted");
      pen.fillText(label, 0, HEAD + (y + 0.5) * height);
      let [from, last] = [0, null];
      // Cells of one colour in a row are one rectangle where there is no gap between them.
      const flush = (to) => {
        if (last !== null && to > from) {
          pen.fillStyle = last;
          pen.fillRect(LABELS + from * this.step, HEAD + y * height, (to - from) * this.step - gapX, height - gapY);
        }
        from = to;
      };
      cells.forEach((index, x) => {
        const next = index === null ? null : color(index);
        if (next !== last || gapX) { flush(x); last = next; from = x; }
      });
      flush(cells.length);
    });
    if (this.at && document.activeElement === this.canvas) this.ring(pen, height);
  }

  ring(pen, height) {
    pen.strokeStyle = token("--focus");
    pen.lineWidth = 2.5;
    const wide = Math.max(this.step, 5);
    pen.strokeRect(LABELS + (this.at.x + 0.5) * this.step - wide / 2 - 1, HEAD + this.at.y * height - 1, wide + 2, height);
  }

  under(event) {
    if (!this.plan) return null;
    const box = this.canvas.getBoundingClientRect();
    const x = Math.floor((event.clientX - box.left - LABELS) / this.step);
    const y = Math.floor((event.clientY - box.top - HEAD) / this.plan.height);
    return this.plan.rows[y]?.cells[x] ?? null;
  }

  point(event) {
    const index = this.under(event);
    if (index === null) { this.tip.hidden = true; return; }
    const box = this.canvas.getBoundingClientRect();
    this.place(this.describe(index), event.clientX - box.left, event.clientY - box.top);
  }

  place(text, x, y) {
    this.tip.textContent = text;
    this.tip.hidden = false;
    const room = this.canvas.clientWidth - this.tip.offsetWidth;
    this.tip.style.left = `${Math.max(0, Math.min(x + 12, room))}px`;
    this.tip.style.top = `${y + 16}px`;
  }

  key(event) {
    if (!this.plan) return;
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1], PageUp: [-10, 0], PageDown: [10, 0] };
    this.at ??= this.start();
    const here = this.plan.rows[this.at.y]?.cells[this.at.x] ?? null;
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      if (here !== null) this.pick(here);
      return;
    }
    const cells = this.plan.rows[this.at.y]?.cells ?? [];
    if (event.key === "Home") this.go(cells.findIndex((c) => c !== null), this.at.y);
    else if (event.key === "End") this.go(cells.findLastIndex((c) => c !== null), this.at.y);
    else if (moves[event.key]) this.go(this.at.x + moves[event.key][0], this.at.y + moves[event.key][1]);
    else return;
    event.preventDefault();
  }

  go(x, y) {
    const row = Math.max(0, Math.min(y, this.plan.rows.length - 1));
    const cells = this.plan.rows[row].cells;
    const column = Math.max(0, Math.min(x, cells.length - 1));
    if (cells[column] === null || cells[column] === undefined) return;
    this.at = { x: column, y: row };
    this.draw();
    this.tell();
  }

  tell() {
    const index = this.plan?.rows[this.at.y]?.cells[this.at.x] ?? null;
    if (index === null) return;
    const text = this.describe(index);
    this.place(text, LABELS + this.at.x * this.step, HEAD + (this.at.y + 1) * this.plan.height - 10);
    this.say(text.replaceAll("\n", ", "));
  }
}

/** A colour between two, `share` of the way; both as #rrggbb. */
export function between(from, to, share) {
  const parts = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  const [a, b] = [parts(from), parts(to)];
  return `rgb(${a.map((v, i) => Math.round(v + (b[i] - v) * share)).join(" ")})`;
}

export { token };
