// Policies: the form is signed anew on the server whenever it changes, and what comes of it is shown beside it.

import { ask, make, say } from "./portal.js";

const form = document.querySelector("[data-sign]");
const result = document.querySelector("[data-result]"), fault = document.querySelector("[data-fault]");
const until = form.elements.until.closest("p");
let waiting = 0, turn = 0;

function fields() {
  const found = {};
  for (const [name, value] of new FormData(form)) {
    if (name === "csrf" || value === "") continue;
    if (name === "call") (found.call ??= []).push(value);
    else found[name] = value;
  }
  return found;
}

async function sign(announce) {
  const mine = ++turn;
  let made, wrong;
  try {
    made = await ask(form.dataset.sign, fields());
  } catch (problem) {
    wrong = problem;
  }
  if (mine !== turn) return;
  for (const field of form.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
  fault.hidden = !wrong;
  fault.textContent = wrong ? wrong.message : "";
  result.hidden = Boolean(wrong);
  if (wrong) {
    const field = wrong.field ? form.elements[wrong.field] : null;
    if (field instanceof HTMLElement) field.setAttribute("aria-invalid", "true");
    say(wrong.message);
    return;
  }
  result.replaceChildren(...shown(made));
  for (const place of form.querySelectorAll("[data-try]")) {
    const found = made.tries.find((each) => each.key === place.dataset.try);
    place.replaceChildren(...(found ? [tag(found.matches)] : []));
  }
  if (announce) say("Signed");
}

const tag = (good) => make("span", { class: good ? "tag good" : "tag bad" }, good ? "matches" : "does not match");

function code(text, label) {
  const copy = make("button", { type: "button", class: "small", "data-copy": text, "aria-label": `Copy ${label}` }, "Copy");
  return make("div", { class: "code" }, copy, make("pre", { tabindex: "0", "aria-label": label }, make("code", {}, text)));
}

function shown(made) {
  const parts = made.warnings.map((each) => make("p", { class: "note warn" }, each.sentence));
  const end = new Date(made.expiry * 1000);
  const said = Number.isNaN(end.valueOf()) ? "a far future" : end.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
  parts.push(make("p", {}, `Good until ${said}. Signed on the server with the newest secret, `, make("code", {}, made.signed_with), "."));
  parts.push(make("h3", {}, "The policy"), code(JSON.stringify(made.policy, null, 2), "The policy as JSON"));
  parts.push(make("h3", {}, "policy"), code(made.encoded, "The encoded policy"));
  parts.push(make("h3", {}, "signature"), code(made.signature, "The signature"));
  for (const [group, head] of [["address", "Addresses"], ["curl", "curl"], ["code", "The same on your server"]]) {
    const those = made.ready.filter((each) => each.group === group);
    if (those.length) parts.push(make("h3", {}, head));
    if (group === "code") parts.push(make("p", { class: "help" }, "Each makes a policy of the same life anew. The secret comes from the environment."));
    for (const each of those) parts.push(make("h4", {}, each.label), code(each.text, each.label));
  }
  return parts;
}

/** The date is asked for only where one is wanted. */
const dated = () => (until.hidden = form.elements.expires_in.value !== "date");

form.addEventListener("input", () => {
  dated();
  clearTimeout(waiting);
  waiting = setTimeout(() => sign(false), 300);
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  delete form.dataset.sent;
  clearTimeout(waiting);
  sign(true);
});
dated();
