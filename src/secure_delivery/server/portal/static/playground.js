// The playground while one types: what was changed is tried out at once. Without this, the button does the same.

import { ask, say } from "./portal.js";

const form = document.getElementById("play");
const slot = (name) => form.querySelector(`[data-slot="${name}"]`);
const base = form.dataset.base;
let asked = 0;
let waiting = 0;

/** What the form says, as the API takes it. */
function wish() {
  const chosen = form.querySelector("input[name='handle']:checked");
  const tasks = [...form.querySelectorAll("input[name='task']")].map((input, number) => ({
    name: input.value,
    params: Object.fromEntries(
      [...form.querySelectorAll(`[name^="${number}."]`)]
        .filter((field) => field.value !== "")
        .map((field) => [field.name.slice(field.name.indexOf(".") + 1), field.value]),
    ),
  }));
  const handle = form.elements.other.value.trim() || chosen?.value || "";
  return { handle, tasks, expires_in: Number(form.elements.expires_in.value) };
}

function show(name, text) {
  const place = slot(name);
  place.hidden = !text;
  place.textContent = text || "";
}

function duration(seconds) {
  return `${Number(seconds.toFixed(seconds < 1 ? 3 : 1))} seconds`;
}

/** Faults stand at their field; those without one above the result. */
function wrong(fault) {
  for (const place of form.querySelectorAll("[data-wrong]")) {
    const here = fault !== null && fault.field === place.dataset.wrong;
    place.textContent = here ? fault.message : "";
    const field = form.elements[place.dataset.wrong];
    if (field instanceof HTMLElement) field.toggleAttribute("aria-invalid", here);
    if (here && field instanceof HTMLElement) field.setAttribute("aria-invalid", "true");
  }
  show("fault", fault === null ? "" : fault.message);
}

function told(answer) {
  const { result, url } = answer;
  document.getElementById("untouched")?.remove();
  document.getElementById("address").hidden = false;
  slot("job").hidden = !answer.job;
  slot("stage").hidden = !result?.picture;
  if (result?.picture) slot("picture").src = result.picture;
  show("text", result?.text);
  slot("elsewhere").hidden = !result || Boolean(result.picture || result.text);
  slot("open").href = url;
  slot("facts").hidden = !result;
  if (result) {
    slot("mimetype").textContent = result.mimetype;
    slot("bytes").textContent = result.bytes;
    show("pixels", result.width && `${result.width} × ${result.height}`);
    slot("pixels-title").hidden = !result.width;
    slot("time").textContent = result.kept ? "kept from before" : `${duration(result.seconds)}, made just now`;
    say(`The result has ${result.width ? `${result.width} by ${result.height} pixels, ` : ""}${result.bytes} bytes`);
  }
  slot("unsigned").hidden = !answer.unsigned;
  slot("unbound").hidden = answer.bound;
  slot("until").textContent = answer.expiry
    ? `Good until ${new Date(answer.expiry * 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" })}.`
    : answer.unsigned ? "" : "It needs no policy, so it is good for ever.";
  slot("url").textContent = url;
  slot("share").href = answer.share;
  const texts = { url, ...Object.fromEntries(answer.code.map((each) => [each.name, each.text])) };
  for (const each of answer.code) slot(`code-${each.name}`).textContent = each.text;
  for (const button of form.querySelectorAll("[data-copies]")) button.dataset.copy = texts[button.dataset.copies];
  history.replaceState(null, "", answer.share);
}

async function attempt() {
  const mine = (asked += 1);
  const look = document.getElementById("look");
  look.setAttribute("aria-busy", "true");
  try {
    const answer = await ask(base + "/playground", wish());
    if (mine !== asked) return;
    wrong(null);
    told(answer);
  } catch (error) {
    if (mine === asked) wrong({ field: error.field ?? "", message: error.message });
  } finally {
    if (mine === asked) look.removeAttribute("aria-busy");
  }
}

form.addEventListener("input", (event) => {
  if (event.target.id === "f-find" || event.target.name === "handle") return;
  clearTimeout(waiting);
  waiting = setTimeout(attempt, 350);
});

form.addEventListener("change", (event) => {
  if (event.target.name !== "handle") return;
  form.elements.other.value = "";
  clearTimeout(waiting);
  attempt();
});

// An example is of the file that is chosen now, which the page may not know yet.
for (const link of form.querySelectorAll(".examples a")) {
  link.addEventListener("click", () => {
    const to = new URL(link.href);
    if (wish().handle) to.searchParams.set("handle", wish().handle);
    link.href = to;
  });
}

// Addresses stay short: what is empty is not said.
form.addEventListener("formdata", (event) => {
  for (const [name, value] of [...event.formData]) if (value === "") event.formData.delete(name);
});

// A list of many tasks, shortened as one types; Enter takes the first that is left.
const find = document.getElementById("find");
find.hidden = false;
const finder = document.getElementById("f-find");
const buttons = [...form.querySelectorAll("button[name='add']")];
finder.addEventListener("input", () => {
  const words = finder.value.toLowerCase().trim();
  for (const button of buttons) button.hidden = !`${button.value} ${button.title}`.toLowerCase().includes(words);
  for (const family of form.querySelectorAll(".family")) family.hidden = !family.querySelector("button:not([hidden])");
  say(`${buttons.filter((button) => !button.hidden).length} tasks`);
});
finder.addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault();
  const first = buttons.find((button) => !button.hidden);
  if (finder.value.trim() && first) form.requestSubmit(first);
});

if (form.dataset.share) history.replaceState(null, "", form.dataset.share);
