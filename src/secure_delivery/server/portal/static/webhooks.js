// A delivery that is on its way: the page is loaded again when something has come of it.
import { ask } from "./portal.js";

const place = document.querySelector("#delivery[data-waits]");
let looks = 60;

async function look() {
  try {
    const found = await ask(place.dataset.waits);
    const before = Number(place.dataset.tries);
    if (!["waiting", "sending"].includes(found.state) || found.tries.length > before) {
      window.location.reload();
      return;
    }
  } catch {
    return; // signed out, or gone: the page says so when it is loaded again
  }
  if ((looks -= 1) > 0) setTimeout(look, 2000);
}

if (place) setTimeout(look, 1000);
