// The tail of the log: new events on top, held back while paused, narrowed by the filters of the form.

import { onEvent } from "./live.js";
import { taskOf, told } from "./told.js";
import { tellTimes } from "./time.js";
import { icon } from "./toast.js";

const KEPT = 500; // rows in the page
const form = document.getElementById("filters");
const template = document.getElementById("event-row");
const tail = document.getElementById("tail");
const heldButton = document.getElementById("held");
let paused = document.getElementById("log").dataset.live === "no";
let held = [];
let fresh = [];

function wanted(event) {
  const { kind, task_id: task, actor } = form.elements;
  return (!kind.value || event.event === kind.value)
    && (!task.value.trim() || taskOf(event) === task.value.trim())
    && (!actor.value.trim() || event.actor === actor.value.trim());
}

function link(task) {
  if (!task) return [];
  const anchor = Object.assign(document.createElement("a"), { className: "mono", href: `/tasks/${encodeURIComponent(task)}`, title: task, textContent: `…${task.slice(-6)}` });
  return [anchor];
}

function row(event) {
  const item = template.content.firstElementChild.cloneNode(true);
  const said = told(event);
  const find = (selector) => item.querySelector(selector);
  item.id = `e-${event.id}`;
  item.dataset.kind = event.event;
  if (said.tone) item.classList.add(said.tone);
  item.classList.add("arrived");
  find("summary > .icon").replaceWith(icon(said.icon));
  find(".said").append(said.before, ...link(said.task), said.after);
  find(".kind").textContent = event.event;
  find("time").setAttribute("datetime", event.ts);
  find("pre").textContent = JSON.stringify(event, null, 2);
  return item;
}

function draw() {
  const log = document.getElementById("log");
  const batch = fresh.filter((event) => !document.getElementById(`e-${event.id}`)).slice(-KEPT).map(row).reverse();
  fresh = [];
  log.prepend(...batch);
  tellTimes(log);
  const rows = log.querySelectorAll(".event");
  for (let at = KEPT; at < rows.length; at += 1) rows[at].remove();
}

function showHeld() {
  heldButton.hidden = !held.length;
  heldButton.textContent = held.length === 1 ? "1 new event" : `${held.length >= KEPT ? `${KEPT} or more` : held.length} new events`;
}

onEvent(({ kind, data }) => {
  if (kind === "cursor_expired") { location.reload(); return; }
  if (!data?.id || !wanted(data) || document.getElementById(`e-${data.id}`)) return;
  if (paused) {
    if (held.length < KEPT) held.push(data);
    showHeld();
    return;
  }
  if (!fresh.length) requestAnimationFrame(draw);
  fresh.push(data);
});

function setPaused(next) {
  paused = next;
  tail.setAttribute("aria-pressed", String(paused));
  tail.replaceChildren(icon(paused ? "play--filled--alt" : "pause--filled"), Object.assign(document.createElement("span"), { textContent: paused ? "Resume" : "Pause" }));
  if (paused) return;
  if (document.getElementById("log").dataset.live === "no") { location.assign("/events"); return; }
  fresh = held;
  held = [];
  showHeld();
  draw();
}

tail.addEventListener("click", () => setPaused(!paused));
heldButton.addEventListener("click", () => setPaused(false));
form.addEventListener("change", () => { held = []; showHeld(); });
if (paused) setPaused(true);
