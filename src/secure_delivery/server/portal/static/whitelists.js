// Whitelists: what is typed is checked on the server, by the code that will judge requests, and a page is tried on it.

import { ask, make, say } from "./portal.js";

const form = document.querySelector("[data-lists]");
const tester = document.querySelector("[data-try]");
const sides = ["upload", "delivery"];
let waiting = 0, turn = 0;

const fields = () => ({
  ...Object.fromEntries(sides.map((side) => [side, form.elements[side].value])),
  ...Object.fromEntries(sides.map((side) => [`${side}_missing`, form.elements[`${side}_missing`].value])),
  origin: tester.elements.origin.value,
});

async function check(announce) {
  const mine = ++turn;
  let found;
  try {
    found = await ask(form.dataset.check, fields());
  } catch (fault) {
    if (mine === turn) say(fault.message);
    return;
  }
  if (mine !== turn) return;
  for (const side of sides) showList(side, found.lists[side]);
  document.getElementById("tested").replaceChildren(...(found.tested ? verdict(found.tested) : []));
  const bad = sides.flatMap((side) => found.lists[side].lines).filter((line) => line.fault).length;
  if (announce && bad) say(bad === 1 ? "One pattern is not valid" : `${bad} patterns are not valid`);
}

function showList(side, list) {
  const section = form.querySelector(`[data-side="${side}"]`), area = form.elements[side];
  section.querySelector("[data-count]").textContent = `${list.count} of ${list.most}`;
  section.querySelector("[data-count]").className = list.count > list.most ? "tag bad" : "tag";
  section.querySelector("[data-lines]").replaceChildren(...list.lines.map(({ given, saved, fault }) => fault
    ? make("li", {}, make("code", {}, given.slice(0, 80)), " ", make("span", { class: "wrong" }, fault))
    : make("li", {}, make("code", {}, saved))));
  section.querySelector("[data-empty]").hidden = list.lines.length > 0;
  if (list.good) area.removeAttribute("aria-invalid");
  else area.setAttribute("aria-invalid", "true");
}

function verdict(tested) {
  const first = tested.malformed
    ? make("p", { class: "note bad" }, make("code", {}, tested.origin), ` is not an origin. ${tested.malformed}`)
    : make("p", {}, "Compared as ", make("code", {}, tested.host), `. ${tested.remark}`);
  const rows = [["upload", "May it upload?"], ["delivery", "May it show files?"]].flatMap(([side, question]) => {
    const { allowed, pattern, why } = tested[side];
    const by = pattern ? [" by ", make("code", {}, pattern)] : [];
    const tag = make("span", { class: allowed ? "tag good" : "tag bad" }, allowed ? "let in" : "refused");
    return [make("dt", {}, question), make("dd", {}, tag, ...by, ` ${why}`)];
  });
  return [first, make("dl", { class: "facts" }, ...rows)];
}

function soon() {
  clearTimeout(waiting);
  waiting = setTimeout(() => check(true), 250);
}

form.addEventListener("input", soon);
tester.addEventListener("input", soon);
tester.addEventListener("submit", (event) => {
  event.preventDefault();
  clearTimeout(waiting);
  check(true);
});
