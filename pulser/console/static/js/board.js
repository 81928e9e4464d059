// The board: live moves, dragging with rollback, folding, progress.

import { complain, maySign, signedIn } from "./ask.js";
import { onEvent, paced } from "./live.js";
import { handleMoves, move } from "./moves.js";
import { refresh } from "./refresh.js";
import "./new-task.js";
import { toast } from "./toast.js";
import { taskOf } from "./told.js";

const EVERY_MS = 1000;
const FIRST = 15;
let dragging = false;

const again = paced(async () => {
  if (dragging || document.querySelector('[data-menu][aria-expanded="true"]')) { setTimeout(again, 500); return; }
  const places = new Map([...document.querySelectorAll(".card")].map((card) => [card.id, card.dataset.status]));
  const longest = Math.max(...[...document.querySelectorAll("[data-list]")].map((list) => list.querySelectorAll(".card").length), FIRST);
  const url = new URL(location.href);
  url.hash = "";
  if (longest > FIRST) url.searchParams.set("shown", String(Math.min(200, longest)));
  if (!(await refresh("#columns", url))) return;
  for (const card of document.querySelectorAll(".card")) {
    if (places.get(card.id) !== card.dataset.status) flash(card);
  }
}, EVERY_MS);

function flash(card) {
  card.classList.add("arrived");
  card.addEventListener("animationend", () => card.classList.remove("arrived"), { once: true });
}

function progress(event) {
  const box = document.querySelector(`#card-${CSS.escape(taskOf(event))} [data-progress]`);
  if (!box) return false;
  const { fraction, message } = event.details ?? {};
  if (typeof fraction === "number") box.querySelector("progress").value = Math.round(fraction * 100);
  if (message) box.querySelector("[data-progress-text]").textContent = message;
  return true;
}

onEvent(({ kind, data }) => {
  if (kind === "executor_progress" && data && progress(data)) return;
  if (kind === "cursor_expired" || (data && taskOf(data))) again();
});

// --- dragging -----------------------------------------------------------------------------------------------------------

const RETURNS = { failed: "requeue", cancelled: "retry" };

function requestFor(card, list) {
  const target = list.dataset.target;
  if (target === "cancelled") return ["cancel"];
  if (target === "queued" && RETURNS[card.dataset.status]) return [RETURNS[card.dataset.status]];
  if (target === "done" && card.dataset.stage === "review") return ["transition", "approved"];
  return ["transition", target];
}

// The list under the pointer: the sorting library lags behind a fast hand.
function listUnder(event) {
  const point = event?.changedTouches?.[0] ?? event;
  const under = point && document.elementFromPoint(point.clientX, point.clientY);
  return under?.closest(".column")?.querySelector("[data-list]");
}

async function dropped({ item, from, to: last, oldIndex, originalEvent }) {
  dragging = false;
  const to = listUnder(originalEvent) ?? last;
  if (to !== item.parentElement) to.prepend(item);
  if (from === to) return;
  const back = () => { from.insertBefore(item, from.children[oldIndex] ?? null); count(); };
  if (!signedIn()) { back(); return; }
  count();
  item.dataset.busy = "yes";
  item.setAttribute("aria-busy", "true");
  try {
    const { said } = await move(item.dataset.id, ...requestFor(item, to));
    toast({ tone: "success", title: said });
  } catch (problem) {
    back();
    complain(problem, [...item.querySelectorAll("[data-move] span")].map((label) => label.textContent));
  } finally {
    delete item.dataset.busy;
    item.removeAttribute("aria-busy");
    again();
  }
}

function count() {
  for (const list of document.querySelectorAll("[data-list]")) {
    const badge = document.querySelector(`#column-${list.dataset.list} .count`);
    const more = list.querySelector(".more") ? "+" : "";
    if (badge) badge.textContent = list.querySelectorAll(".card").length + more;
  }
}

function sortable() {
  for (const list of document.querySelectorAll("[data-list]")) {
    if (window.Sortable.get(list)) continue;
    window.Sortable.create(list, {
      group: "board", draggable: ".card", filter: ".menu, .menu *", preventOnFilter: false, sort: false,
      animation: matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 110,
      delay: 150, delayOnTouchOnly: true, ghostClass: "ghost", dragClass: "drag", emptyInsertThreshold: 24,
      onStart() { dragging = true; document.body.classList.add("dragging"); },
      onEnd(event) { document.body.classList.remove("dragging"); dropped(event); },
    });
  }
}

// --- folding ------------------------------------------------------------------------------------------------------------

function fold(open) {
  const column = document.getElementById("column-cancelled");
  if (!column) return;
  column.classList.toggle("open", open);
  column.querySelector("[data-fold]").setAttribute("aria-expanded", String(open));
}

document.addEventListener("click", ({ target }) => {
  const button = target.closest("[data-fold]");
  if (!button) return;
  const open = button.getAttribute("aria-expanded") !== "true";
  localStorage.setItem("pulser-cancelled", open ? "open" : "");
  fold(open);
});

function settle() {
  sortable();
  fold(localStorage.getItem("pulser-cancelled") === "open");
}

document.addEventListener("pulser:drawn", settle);
document.addEventListener("htmx:afterSwap", () => { settle(); count(); });
handleMoves(again);
settle();
document.body.classList.toggle("read-only", !maySign());
