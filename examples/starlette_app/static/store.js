// Sends the form and the deletions without leaving the page, and says what the server answered.
// Without this script the form still works; refusals then show as the server words them.
"use strict";

const form = document.getElementById("upload");
const notice = document.getElementById("notice");
const dialog = document.getElementById("confirm");

function say(sentence, refused) {
  notice.className = refused ? "refused" : "";
  notice.textContent = sentence;
}

async function sentenceOf(answer) {
  try {
    return (await answer.json()).error.message;
  } catch {
    return `The server answered with status ${answer.status}.`;
  }
}

// Asks the server; reloads the page with a sentence when that went well, shows the refusal when it did not.
async function ask(address, options, done) {
  let answer;
  try {
    answer = await fetch(address, options);
  } catch {
    return say("The server could not be reached.", true);
  }
  if (!answer.ok) return say(await sentenceOf(answer), true);
  sessionStorage.setItem("notice", done);
  location.reload();
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("button");
  button.disabled = true;
  say("Uploading…", false);
  const name = form.elements.document.files[0].name;
  await ask(form.action, { method: "POST", body: new FormData(form) }, `${name} was added.`);
  button.disabled = false;
});

for (const button of document.querySelectorAll("[data-remove]")) {
  button.addEventListener("click", () => {
    document.getElementById("question").textContent = `Delete “${button.dataset.title}” for good?`;
    dialog.returnValue = "no";
    dialog.onclose = () => {
      if (dialog.returnValue !== "yes") return button.focus();
      ask(button.dataset.remove, { method: "DELETE" }, `${button.dataset.title} was deleted.`);
    };
    dialog.showModal();
  });
}

say(sessionStorage.getItem("notice") || "", false);
sessionStorage.removeItem("notice");
