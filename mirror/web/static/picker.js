// Keywords to choose from, beside the field that holds their names.

/** Keep the boxes in `place` and the names in `input` the same. `fill(template)` brings another series' boxes. */
export function keywordPicker(place, input) {
  const [list, find] = [document.getElementById("keywords"), document.getElementById("find-keyword")];
  const names = () => input.value.split(",").map((name) => name.trim()).filter(Boolean);
  const same = (one, other) => one.toLowerCase() === other.toLowerCase();

  function tick() {
    const chosen = names();
    for (const box of list.querySelectorAll("input")) box.checked = chosen.some((name) => same(name, box.value));
  }

  list.addEventListener("change", (event) => {
    const others = names().filter((name) => !same(name, event.target.value));
    input.value = [...others, ...(event.target.checked ? [event.target.value] : [])].join(",");
  });
  input.addEventListener("input", tick);
  find.addEventListener("input", () => {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const label of list.children) label.hidden = !words.every((word) => label.textContent.toLowerCase().includes(word));
  });
  find.addEventListener("keydown", (event) => { if (event.key === "Enter") event.preventDefault(); });
  return {
    fill(template) {
      list.replaceChildren(template.content.cloneNode(true));
      place.hidden = false;
      tick();
    },
  };
}
