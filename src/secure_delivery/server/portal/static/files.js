// Uploads on the page of files: in pieces, with pause and resume; the list shows at once what came of them.
import { local, say, token } from "./portal.js";
import { SecureUpload } from "./upload.js";

const place = document.getElementById("upload");
let asking = 0;

/** The list as the server shows it now: the page is loaded again, and only its list is taken. */
function renew() {
  const turn = ++asking, xhr = new XMLHttpRequest();
  xhr.open("GET", location.href);
  xhr.responseType = "document";
  xhr.onload = () => {
    const old = document.getElementById("list"), fresh = xhr.response?.getElementById("list");
    if (turn !== asking || !fresh || old.contains(document.activeElement)) return;
    local(fresh);
    for (const button of fresh.querySelectorAll("button[data-copy]")) button.hidden = false;
    old.replaceWith(document.adoptNode(fresh));
  };
  xhr.send();
}

if (place) {
  const { endpoint, files, most } = place.dataset;
  const widget = SecureUpload.mount(place, {
    endpoint,
    apiKey: "tus",
    headers: { "x-csrf-token": token() },
    maxSize: Number(most),
    onDone(result) {
      const { link } = widget.uploads.find((one) => one.result === result).row;
      link.href = `${files}/${result.handle}`; // its page here, not the file
      link.removeAttribute("target");
      renew();
    },
    onError: ({ message, file }) => say(`${file.name}: ${message}`),
  });
}
