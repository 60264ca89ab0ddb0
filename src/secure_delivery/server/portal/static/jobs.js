// Jobs as they happen. The server tells changes (Server-Sent Events); rows and steps are made of text nodes.
import { make, say, token } from "./portal.js";

const WORDS = { done: "done", now: "now", later: "not yet", failed: "did not work", none: "not done" };
const TAGS = { success: "good", failure: "bad", cancelled: "warn", waiting: "warn" };
const OVER = new Set(["success", "failure", "cancelled"]);
const list = document.getElementById("jobs");
const one = document.getElementById("job");
const told = document.getElementById("live");

const tag = (job) => make("span", { class: `tag ${TAGS[job.state] ?? ""}` }, job.word);

function button(job, what, text) {
  return make(
    "form", { method: "post", action: `${list.dataset.base}/${job.id}/${what}`, class: "press" },
    make("input", { type: "hidden", name: "csrf", value: token() }),
    make("input", { type: "hidden", name: "back", value: "list" }),
    make("button", { class: "small", "aria-label": `${text} ${job.title}` }, text),
  );
}

function time(moment) {
  const date = new Date(moment);
  return make(
    "time", { datetime: date.toISOString(), title: date.toUTCString() },
    date.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" }),
  );
}

/** Cells of a row; a cell is only changed where it says something else, so that nobody loses the place of the keyboard. */
function cells(job) {
  const buttons = [];
  if (list.dataset.may && job.can.includes("cancel")) buttons.push(button(job, "cancel", "Cancel"));
  if (list.dataset.may && job.can.includes("retry")) buttons.push(button(job, "retry", "Try again"));
  return [
    make(
      "th", { scope: "row" },
      make("a", { href: `${list.dataset.base}/${job.id}` }, make("bdi", {}, job.title.slice(0, 120))),
      make("span", { class: "help" }, job.facts.join(" · ")),
    ),
    make("td", {}, tag(job), " ", make("span", { class: "help" }, job.said)),
    make("td", {}, time(job.created)),
    make("td", {}, ...buttons),
  ];
}

const said = (cell) => cell.textContent.replace(/\s+/g, " ").trim();

function row(job) {
  const body = list.querySelector("tbody");
  const known = body.querySelector(`[data-job="${CSS.escape(job.id)}"]`);
  if (!known) {
    const first = body.querySelector("[data-created]");
    if (!list.dataset.first || (first && Number(first.dataset.created) > job.created)) return;
    body.prepend(make("tr", { "data-job": job.id, "data-created": job.created }, ...cells(job)));
    list.hidden = false;
    document.getElementById("none").hidden = true;
    return;
  }
  const before = known.querySelector(".tag").textContent;
  cells(job).forEach((cell, number) => {
    if (said(cell) !== said(known.children[number])) known.children[number].replaceWith(cell);
  });
  if (before !== job.word && OVER.has(job.state)) say(`${job.title}: ${job.word}`);
}

function steps(progress) {
  document.getElementById("way").replaceChildren(...progress.map((step) => make(
    "li", { class: step.state },
    make("strong", {}, step.what), " ", make("span", {}, WORDS[step.state]), " ",
    ...(step.note ? [make("span", { class: "help" }, step.note)] : []),
  )));
}

function standing(changed) {
  const { job, progress } = changed;
  if (progress) steps(progress);
  if (!job) return;
  document.getElementById("standing").replaceChildren(tag(job), " ", make("strong", { id: "said-now" }, job.said));
  // Results and logs are many: the page that has them all is loaded once, when the job is over.
  if (OVER.has(job.state) !== OVER.has(one.dataset.state)) location.reload();
}

function change(event) {
  const { changed, gone } = JSON.parse(event.data);
  if (one) return standing(changed);
  Object.values(changed).sort((a, b) => a.created - b.created).forEach(row);
  for (const id of gone) list.querySelector(`[data-job="${CSS.escape(id)}"]`)?.remove();
}

function tell(text) {
  told.hidden = false;
  told.textContent = text;
}

let source = null;
let last = "";

/** Browsers open few connections to one site at once: a page that nobody sees gives its own back. */
function follow() {
  const address = new URL((list ?? one).dataset.live, location.href);
  if (last) address.searchParams.set("after", last);
  source = new EventSource(address);
  source.addEventListener("open", () => tell("Changes show by themselves."));
  source.addEventListener("change", (event) => {
    last = event.lastEventId;
    change(event);
  });
  source.addEventListener("over", () => {
    source.close();
    tell("Changes do not show any more. Reload the page.");
  });
  source.addEventListener("error", () => tell(
    source.readyState === EventSource.CLOSED ? "Changes do not show by themselves now. Reload the page." : "Connecting again…",
  ));
}

document.addEventListener("visibilitychange", () => {
  source?.close();
  if (!document.hidden) follow();
});
if (!document.hidden) follow();
