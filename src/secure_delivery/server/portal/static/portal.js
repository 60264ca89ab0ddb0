// What makes the portal quicker to use. Every page works without it. No markup is ever made from texts: only text nodes are.

const csrf = document.body.dataset.csrf;

/** Send fields to the JSON API of the portal; gives what it answers, or throws an Error with its sentence. */
export async function ask(path, fields, options = {}) {
  const sent = fields === undefined
    ? { method: "GET" }
    : { method: "POST", headers: { "content-type": "application/json", "x-csrf-token": csrf }, body: JSON.stringify(fields) };
  const answer = await fetch(`/api/v1${path}`, { credentials: "same-origin", ...sent, ...options });
  const values = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(values.error.message), { code: values.error.code, field: values.error.field });
  return values;
}

/** The token against forged requests, for requests that are no JSON. */
export const token = () => csrf;

/** An element with attributes and children; texts become text nodes. */
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

/** A polite announcement for who cannot see what changed. */
export function say(text) {
  let place = document.getElementById("said");
  if (!place) {
    place = make("p", { id: "said", role: "status", class: "skip" });
    document.body.append(place);
  }
  place.textContent = text;
}

// Copy buttons are of use with a script only; scripts may add more of them at any time.
for (const button of document.querySelectorAll("button[data-copy]")) button.hidden = false;
document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("button[data-copy]");
  if (!button) return;
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    say("Copied");
    button.dataset.label ??= button.textContent;
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = button.dataset.label), 1500);
  } catch {
    say("Copying is not allowed here");
  }
});

/** Moments in the reader's own zone. */
export function local(root = document) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const moment = new Date(time.dateTime);
    if (!Number.isNaN(moment.valueOf())) {
      time.title = time.textContent;
      time.textContent = moment.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
    }
  }
}
local();

// On narrow screens the menu begins closed.
const menu = document.querySelector(".menu");
if (menu && !window.matchMedia("(min-width: 60rem)").matches) menu.open = false;

// Forms that were refused: go to the field that is wrong.
document.querySelector("[aria-invalid='true']")?.focus();

// Sending twice by a double click does nothing twice.
for (const form of document.querySelectorAll("form[method='post']")) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "1";
  });
}
window.addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
});
