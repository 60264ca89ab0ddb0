"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const slides = [...document.querySelectorAll(".slide")];
  let current = 0;
  const go = (index) => {
    current = Math.max(0, Math.min(slides.length - 1, index));
    slides.forEach((slide, number) => { slide.hidden = number !== current; });
    $("place").textContent = `${current + 1} / ${slides.length}`;
    $("progress").value = current + 1;
    $("previous").disabled = current === 0;
    $("next").disabled = current === slides.length - 1;
    history.replaceState(null, "", `#${current + 1}`);
  };
  const full = () => {
    if (document.fullscreenElement) document.exitFullscreen();
    else document.documentElement.requestFullscreen?.().catch(() => {});
  };
  const keys = {
    ArrowRight: 1, ArrowDown: 1, PageDown: 1, " ": 1, Enter: 1, n: 1,
    ArrowLeft: -1, ArrowUp: -1, PageUp: -1, Backspace: -1, p: -1,
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const pressed = event.target.closest("button") && (event.key === " " || event.key === "Enter");
    if (pressed) return;
    if (Object.hasOwn(keys, event.key)) go(current + (event.shiftKey && event.key === " " ? -1 : keys[event.key]));
    else if (event.key === "Home") go(0);
    else if (event.key === "End") go(slides.length - 1);
    else if (event.key === "f") full();
    else return;
    event.preventDefault();
  });
  let start = null;
  $("show").addEventListener("pointerdown", (event) => { start = event.clientX; });
  $("show").addEventListener("pointerup", (event) => {
    const moved = start === null ? 0 : event.clientX - start;
    start = null;
    if (Math.abs(moved) > 40) go(current + (moved < 0 ? 1 : -1));
    else go(current + (event.clientX < window.innerWidth / 3 ? -1 : 1));
  });
  $("previous").addEventListener("click", () => go(current - 1));
  $("next").addEventListener("click", () => go(current + 1));
  $("full").addEventListener("click", full);
  const asked = () => go((Number.parseInt(location.hash.slice(1), 10) || 1) - 1);
  window.addEventListener("hashchange", asked);
  asked();
})();
