// The search box: empty fields stay out of the address, and a file can be searched by. Without script the
// rest works as it is.
"use strict";

const form = document.querySelector("form[role=search]");
const asking = document.getElementById("asking");
const file = document.getElementById("file");

form.addEventListener("submit", () => {
  for (const field of form.elements) {
    if (field.name && field.value === "") field.disabled = true;
  }
});
// Coming back to this page finds it as it was left.
window.addEventListener("pageshow", () => {
  for (const field of form.elements) field.disabled = false;
});

async function searchBy(chosen) {
  asking.textContent = "The file is being looked at.";
  try {
    const answer = await fetch("/search", {
      method: "POST",
      headers: { "Content-Type": "application/dicom", Accept: "text/html" },
      body: chosen,
    });
    const type = answer.headers.get("Content-Type") ?? "";
    if (!type.startsWith("text/html")) throw new Error((await answer.json()).detail);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const main = document.querySelector("main");
    main.dataset.refresh = "";
    main.replaceChildren(...page.querySelector("main").childNodes);
    document.title = page.title;
    const heading = main.querySelector("h1");
    asking.textContent = heading.textContent;
    heading.tabIndex = -1;
    heading.focus();
  } catch (error) {
    asking.textContent = error instanceof TypeError ? "The node does not answer; try again." : error.message;
  }
  file.value = "";
}

form.querySelector(".by-file").hidden = false;
file.addEventListener("change", () => {
  if (file.files.length) searchBy(file.files[0]);
});
