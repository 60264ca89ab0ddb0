"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const main = $("pages");
  const pages = [...document.querySelectorAll(".page")];
  const words = JSON.parse($("words").textContent);
  const STEPS = [0.25, 0.5, 0.75, 1, 1.25, 1.5, 2, 3, 4];
  let zoom = 1;
  let current = 0;
  let marks = [];
  let chosen = -1;

  // Text over the pictures: invisible, but to be selected, searched and read aloud.
  words.forEach((lines, index) => {
    const layer = pages[index].querySelector(".text");
    for (const [text, left, top, width, height] of lines) {
      const span = document.createElement("span");
      span.textContent = text;
      span.dataset.width = width;
      span.style.left = `${left / 100}%`;
      span.style.top = `${top / 100}%`;
      // Heights are shares of the page's height; the container's unit is its width.
      const image = pages[index].querySelector("img");
      const share = (height / 100) * (image.height / image.width);
      span.style.fontSize = `${Math.max(share, 0.4)}cqw`;
      layer.append(span);
    }
  });
  const stretch = () => {
    for (const page of pages) {
      const whole = page.querySelector(".paper").clientWidth;
      const spans = [...page.querySelectorAll(".text span")];
      const widths = spans.map((span) => span.offsetWidth);
      spans.forEach((span, index) => {
        const wanted = (span.dataset.width / 10000) * whole;
        if (widths[index] > 0 && wanted > 0) span.style.transform = `scaleX(${wanted / widths[index]})`;
      });
    }
  };
  stretch();

  // ------------------------------------------------------------------ places
  const show = () => {
    $("place").textContent = `${current + 1} / ${pages.length}`;
    $("previous").disabled = current === 0;
    $("next").disabled = current === pages.length - 1;
  };
  const go = (index) => {
    current = Math.max(0, Math.min(pages.length - 1, index));
    const page = pages[current];
    main.scrollTop += page.getBoundingClientRect().top - main.getBoundingClientRect().top - 16;
    show();
  };
  main.addEventListener("scroll", () => {
    const line = main.getBoundingClientRect().top + main.clientHeight / 3;
    const index = pages.findIndex((page) => page.getBoundingClientRect().bottom > line);
    const atEnd = main.scrollTop + main.clientHeight >= main.scrollHeight - 2;
    const seen = index < 0 ? pages.length - 1 : index;
    if (!(atEnd && current > seen)) current = seen;
    show();
  }, { passive: true });

  // -------------------------------------------------------------------- zoom
  const setZoom = (value) => {
    const place = main.scrollHeight ? main.scrollTop / main.scrollHeight : 0;
    zoom = value;
    document.documentElement.style.setProperty("--zoom", zoom);
    main.scrollTop = place * main.scrollHeight;
    $("fit").textContent = `${Math.round(zoom * 100)}%`;
    $("smaller").disabled = zoom <= STEPS[0];
    $("larger").disabled = zoom >= STEPS[STEPS.length - 1];
  };
  const larger = () => setZoom(STEPS.find((step) => step > zoom) ?? zoom);
  const smaller = () => setZoom([...STEPS].reverse().find((step) => step < zoom) ?? zoom);

  // ------------------------------------------------------------------ search
  const plain = (text) => text.toLocaleLowerCase();
  const clear = () => {
    for (const span of document.querySelectorAll(".text span:has(mark)")) span.textContent = span.textContent;
    marks = [];
    chosen = -1;
    $("found").textContent = "";
  };
  const mark = (span, wanted) => {
    const text = span.textContent;
    const folded = plain(text);
    if (folded.length !== text.length) return;
    let at = 0;
    const parts = [];
    for (let found = folded.indexOf(wanted); found >= 0; found = folded.indexOf(wanted, at)) {
      const hit = document.createElement("mark");
      hit.textContent = text.slice(found, found + wanted.length);
      parts.push(text.slice(at, found), hit);
      marks.push(hit);
      at = found + wanted.length;
    }
    if (parts.length) span.replaceChildren(...parts, text.slice(at));
  };
  const choose = (index) => {
    if (!marks.length) return;
    marks[chosen]?.classList.remove("current");
    chosen = (index + marks.length) % marks.length;
    const hit = marks[chosen];
    hit.classList.add("current");
    hit.scrollIntoView({ block: "center", inline: "nearest" });
    $("found").textContent = `${chosen + 1} / ${marks.length}`;
  };
  const search = () => {
    clear();
    const wanted = plain($("wanted").value.trim());
    if (!wanted) return;
    for (const span of document.querySelectorAll(".text span")) mark(span, wanted);
    if (marks.length) choose(0);
    else $("found").textContent = "None";
  };
  $("wanted").addEventListener("input", search);
  $("search").addEventListener("submit", (event) => {
    event.preventDefault();
    choose(chosen + 1);
  });
  $("earlier").addEventListener("click", () => choose(chosen - 1));

  // ----------------------------------------------------------- what is pressed
  $("previous").addEventListener("click", () => go(current - 1));
  $("next").addEventListener("click", () => go(current + 1));
  $("larger").addEventListener("click", larger);
  $("smaller").addEventListener("click", smaller);
  $("fit").addEventListener("click", () => setZoom(1));
  $("print").addEventListener("click", () => window.print());
  const keys = {
    n: () => go(current + 1),
    p: () => go(current - 1),
    ArrowRight: () => go(current + 1),
    ArrowLeft: () => go(current - 1),
    Home: () => go(0),
    End: () => go(pages.length - 1),
    "+": larger,
    "=": larger,
    "-": smaller,
    0: () => setZoom(1),
    "/": () => $("wanted").focus(),
  };
  document.addEventListener("keydown", (event) => {
    const typing = event.target === $("wanted");
    if ((event.ctrlKey || event.metaKey) && event.key === "f") {
      event.preventDefault();
      $("wanted").focus();
      $("wanted").select();
    } else if (typing && event.key === "Escape") {
      $("wanted").value = "";
      clear();
      main.focus();
    } else if (typing && event.key === "Enter" && event.shiftKey) {
      event.preventDefault();
      choose(chosen - 1);
    } else if (!typing && !event.ctrlKey && !event.metaKey && !event.altKey && Object.hasOwn(keys, event.key)) {
      event.preventDefault();
      keys[event.key]();
    }
  });
  setZoom(1);
  show();
})();
