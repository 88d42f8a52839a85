// Keeps a page fresh: fetches it again every few seconds while it is looked at, and puts the new <main>
// in place of the old one where it differs. The focus stays where it was. Without script the pages work as they are.
"use strict";

const main = document.querySelector("main");
const freshness = document.getElementById("freshness");
const seconds = Number(main.dataset.refresh);

// Times are sent in UTC; people read those of their own clock.
function localTimes(root) {
  for (const element of root.querySelectorAll("time[datetime]")) {
    const moment = new Date(element.dateTime);
    element.title = element.textContent;
    element.textContent = moment.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
  }
}

// How to find the focused element again in the new page: by its link, its command or its label.
function selectorOf(element) {
  for (const name of ["href", "data-post", "aria-labelledby", "aria-label"]) {
    if (element.hasAttribute(name)) return `[${name}="${CSS.escape(element.getAttribute(name))}"]`;
  }
  return null;
}

let shown = main.innerHTML;

async function refresh() {
  if (document.hidden || main.querySelector("button[disabled]")) return;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
    if (!answer.ok || fresh === null) throw new Error(String(answer.status));
    freshness.textContent = "";
    if (fresh.innerHTML === shown) return;
    shown = fresh.innerHTML;
    const focused = main.contains(document.activeElement) ? selectorOf(document.activeElement) : null;
    main.replaceChildren(...fresh.childNodes);
    localTimes(main);
    if (focused) main.querySelector(focused)?.focus({ preventScroll: true });
  } catch {
    freshness.textContent = "The node does not answer; what is shown may be out of date.";
  }
}

// Buttons that change something: a POST by script, which the node takes from its own pages only.
async function post(button) {
  button.disabled = true;
  let refused = "";
  try {
    const answer = await fetch(button.dataset.post, { method: "POST" });
    if (!answer.ok) refused = (await answer.json()).detail;
  } catch {
    refused = "The node does not answer; try again.";
  }
  button.disabled = false;
  await refresh();
  if (refused) freshness.textContent = refused;
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-post]");
  if (button) post(button);
});

localTimes(document);
if (seconds > 0) {
  setInterval(refresh, seconds * 1000);
  document.addEventListener("visibilitychange", refresh);
}
