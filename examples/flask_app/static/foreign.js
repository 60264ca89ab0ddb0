// Says under each picture what became of it: a page learns of a foreign picture only whether it loaded.
"use strict";

for (const picture of document.querySelectorAll(".frame img")) {
  const tell = () => {
    const shown = picture.naturalWidth > 0;
    const item = picture.closest("li");
    item.className = shown ? "shown" : "refused";
    item.querySelector(".outcome").textContent = shown ? "Shown" : "Refused by the gallery";
  };
  if (picture.complete) tell();
  picture.addEventListener("load", tell);
  picture.addEventListener("error", tell);
}
