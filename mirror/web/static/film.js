// The film strip: pictures that are not available say why, and each can be seen large.

import { announce, h } from "./site.js";

/** Bring the strip to life. */
export function film() {
  const strip = document.getElementById("strip");
  const dialog = document.getElementById("large");
  if (!strip) return;
  const frames = [...strip.querySelectorAll("figure")];
  let at = 0;

  /** A picture that cannot be had says why in its place. */
  async function explain(picture) {
    const response = await fetch(picture.src).catch(() => null);
    const answer = response && !response.ok ? await response.json().catch(() => null) : null;
    picture.closest("a").replaceWith(h("div", { class: "absent", title: answer?.error ?? "" }, h("span", {}, "no picture")));
    tell();
    announce(answer?.error ?? "No picture is available");
  }

  /** How many of the pictures are there, until all are. */
  function tell() {
    const said = document.getElementById("strip-said"), pictures = [...strip.querySelectorAll("a img")];
    const done = pictures.filter((picture) => picture.complete).length;
    said.hidden = done === pictures.length;
    said.replaceChildren(h("progress", { max: pictures.length || 1, value: done, "aria-label": "Pictures made" }), ` ${done} of ${pictures.length} pictures`);
  }

  function watch(picture) {
    picture.loading = "eager"; // all of them are wanted, and counted
    const frame = picture.closest("a");
    if (!picture.complete) {
      frame.classList.add("loading");
      picture.addEventListener("load", () => { frame.classList.remove("loading"); tell(); }, { once: true });
    }
    picture.addEventListener("error", () => explain(picture), { once: true });
    if (picture.complete && picture.src && !picture.naturalWidth && picture.currentSrc) explain(picture);
  }

  /** Fetch a missing file, and show it in place of the link that asked for it. */
  function load(link) {
    const picture = h("img", { src: link.dataset.small, width: 256, height: 256, alt: link.dataset.alt });
    link.replaceWith(h("a", { href: link.href }, picture));
    watch(picture);
    tell();
  }

  frames.forEach((figure) => figure.querySelectorAll("img").forEach(watch));
  tell();

  function show(place) {
    at = (place + frames.length) % frames.length;
    const link = frames[at].querySelector("a:has(img)");
    const [title, picture, save] = [dialog.querySelector("h2"), dialog.querySelector("img"), dialog.querySelector("a[download]")];
    title.textContent = frames[at].querySelector("figcaption").textContent;
    picture.hidden = !link;
    picture.src = link?.href ?? "";
    picture.alt = link ? link.querySelector("img").alt : "";
    save.href = link?.href ?? "";
    save.download = `${title.textContent.replace(/[^\w.]+/g, "_")}.png`;
  }

  strip.addEventListener("click", (event) => {
    const figure = event.target.closest("a") && event.target.closest("figure");
    if (!figure || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const absent = event.target.closest("a.absent");
    if (absent) { load(absent); return; }
    show(frames.indexOf(figure));
    dialog.showModal();
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog || event.target.closest("[data-close]")) dialog.close();
    const step = event.target.closest("[data-step]");
    if (step) show(at + Number(step.dataset.step));
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") show(at - 1);
    if (event.key === "ArrowRight") show(at + 1);
  });
}
