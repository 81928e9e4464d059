// One task: redrawn when something happens to it; previews and logs are read when their fold is opened.

import { onEvent, paced } from "./live.js";
import { markdown } from "./markdown.js";
import { handleMoves } from "./moves.js";
import { refresh } from "./refresh.js";
import { taskOf } from "./told.js";

const EVERY_MS = 700;
const TEXT_LIMIT = 300000;
const taskId = document.getElementById("task").dataset.id;
const again = paced(() => refresh("#task"), EVERY_MS);

function progress({ fraction, message }) {
  const box = document.querySelector("#task [data-progress]");
  if (!box) return false;
  if (typeof fraction === "number") {
    box.querySelector("progress").value = Math.round(fraction * 100);
    box.querySelector("[data-progress-percent]").textContent = `${Math.round(fraction * 100)} %`;
  }
  if (message) box.querySelector("[data-progress-text]").textContent = message;
  return true;
}

onEvent(({ kind, data }) => {
  if (kind === "cursor_expired") { again(); return; }
  if (!data || (taskOf(data) !== taskId && data.details?.parent_id !== taskId)) return;
  for (const log of document.querySelectorAll('details[data-log][open][data-outcome="running"]')) showLog(log);
  if (kind === "executor_progress" && progress(data.details ?? {})) return;
  again();
});

function element(name, properties) {
  return Object.assign(document.createElement(name), properties);
}

async function text(url) {
  const answer = await fetch(url, { credentials: "same-origin" });
  if (!answer.ok) throw new Error(answer.status === 404 ? "It is no longer there." : `The server answered ${answer.status}.`);
  const all = await answer.text();
  return all.length > TEXT_LIMIT ? `${all.slice(0, TEXT_LIMIT)}\n… (cut; download it for the rest)` : all;
}

const SHOW = {
  async text(url) { return element("pre", { className: "plain", tabIndex: 0, textContent: await text(url) }); },
  async json(url) {
    const all = await text(url);
    let shown = all;
    try { shown = JSON.stringify(JSON.parse(all), null, 2); } catch { /* shown as it is */ }
    return element("pre", { className: "plain", tabIndex: 0, textContent: shown });
  },
  async markdown(url) { return markdown(await text(url)); },
  async image(url, name) { return element("img", { src: url, alt: name, className: "picture" }); },
  // Without allow-scripts and allow-same-origin: a page an agent wrote is a picture, not a program.
  async html(url, name) {
    const frame = element("iframe", { title: name, className: "page" });
    frame.setAttribute("sandbox", "");
    frame.src = `${url}${url.includes("?") ? "&" : "?"}view=1`;
    return frame;
  },
};

async function showPreview(fold) {
  const box = fold.querySelector(".preview");
  if (box.dataset.for === fold.dataset.url) return;
  box.dataset.for = fold.dataset.url;
  box.replaceChildren(element("div", { className: "skeleton", ariaLabel: "Loading" }));
  try {
    box.replaceChildren(await SHOW[fold.dataset.preview](fold.dataset.url, fold.dataset.name));
  } catch (error) {
    box.dataset.for = "";
    box.replaceChildren(element("p", { className: "problem", textContent: error.message }));
  }
}

async function showLog(fold) {
  const box = fold.lastElementChild;
  if (!box.firstChild) box.append(element("div", { className: "skeleton", ariaLabel: "Loading" }));
  try {
    const lines = await text(fold.dataset.log);
    box.replaceChildren(element("pre", { className: "plain log-text", tabIndex: 0, textContent: lines || "Nothing was logged." }));
  } catch (error) {
    box.replaceChildren(element("p", { className: "problem", textContent: error.message }));
  }
}

document.addEventListener("toggle", ({ target }) => {
  if (!target.open) return;
  if (target.dataset.preview) showPreview(target);
  if (target.dataset.log) showLog(target);
}, true);
handleMoves(again);
