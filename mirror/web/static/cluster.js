// The cluster: the page is fetched again while somebody looks at it.
const EVERY = 3000;

async function again() {
  if (!document.hidden) await show().catch(() => {}); // the mirror restarts: the next time
  setTimeout(again, EVERY);
}

async function show() {
  const response = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!response.ok) return;
  const there = new DOMParser().parseFromString(await response.text(), "text/html").getElementById("cluster");
  const here = document.getElementById("cluster");
  if (there && there.innerHTML !== here.innerHTML && !here.contains(document.activeElement)) here.replaceWith(document.adoptNode(there));
}

setTimeout(again, EVERY);
