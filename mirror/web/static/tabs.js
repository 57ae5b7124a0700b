// Tabs: one panel at a time, arrows to move between them. Without script all panels but the hidden ones show.

/** Make tabs of a tablist; `first` is the id of the one that is open, `opened` is told of each that is. */
export function tabs(list, first, opened = () => {}) {
  if (!list) return;
  const all = [...list.querySelectorAll('[role="tab"]')];
  const open = (tab, focus) => {
    for (const one of all) {
      const chosen = one === tab;
      one.setAttribute("aria-selected", String(chosen));
      one.tabIndex = chosen ? 0 : -1;
      document.getElementById(one.getAttribute("aria-controls")).hidden = !chosen;
    }
    if (focus) tab.focus();
    opened(tab.id);
  };
  const steps = { ArrowRight: 1, ArrowLeft: -1 };
  list.addEventListener("keydown", (event) => {
    const at = all.indexOf(document.activeElement);
    if (event.key === "Home") open(all[0], true);
    else if (event.key === "End") open(all.at(-1), true);
    else if (event.key in steps) open(all[(at + steps[event.key] + all.length) % all.length], true);
    else return;
    event.preventDefault();
  });
  list.addEventListener("click", (event) => {
    const tab = event.target.closest('[role="tab"]');
    if (tab) open(tab);
  });
  list.hidden = false;
  open(all.find((tab) => tab.id === first) ?? all[0]);
}
