// What happens on the server, as calls of onEvent in this page: through the shared worker, or by its own stream where there is none.

import { stream } from "./sse.js";

const URL_OF_TAIL = "/api/v1/events/tail";
const listeners = new Set();
const WORDS = { connecting: "Connecting", live: "Live", retrying: "Reconnecting", refused: "Signed out" };

const early = []; // heard before the page's own script listens
const EARLY = 500;

export function onEvent(listener) {
  listeners.add(listener);
  for (const event of early.splice(0)) listener(event);
}

// Calls `work` soon after the first call and then at most every `everyMs`, never twice at once, and not while the page is hidden.
export function paced(work, everyMs) {
  let timer = 0, last = 0, running = false, again = false;
  async function run() {
    timer = 0;
    if (document.hidden || running) { again = true; return; }
    running = true;
    last = performance.now();
    try { await work(); } finally { running = false; if (again) { again = false; ask(); } }
  }
  function ask() {
    if (!timer) timer = setTimeout(run, Math.max(80, last + everyMs - performance.now()));
  }
  document.addEventListener("visibilitychange", () => { if (!document.hidden && again) { again = false; ask(); } });
  return ask;
}

function hear(event) {
  if (!listeners.size && early.length < EARLY) early.push(event);
  for (const listener of listeners) listener(event);
}

function show(state) {
  const badge = document.getElementById("live");
  if (!badge || badge.dataset.state === state) return;
  badge.dataset.state = state;
  badge.lastElementChild.textContent = WORDS[state] ?? state;
}

export function connect() {
  const since = document.body.dataset.since;
  const url = new URL(URL_OF_TAIL, location.href).href;
  if ("SharedWorker" in window) {
    try {
      const worker = new SharedWorker(new URL("./stream-worker.js", import.meta.url), { type: "module", name: "pulser-events" });
      worker.onerror = () => own(url, since);
      worker.port.onmessage = ({ data }) => (data.event ? hear(data.event) : show(data.state));
      worker.port.postMessage({ url, since });
      addEventListener("pagehide", () => worker.port.postMessage({ close: true }));
      addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
      return;
    } catch { /* no module workers: fall through */ }
  }
  own(url, since);
}

function own(url, since) {
  const stop = stream(url, since, { onEvent: hear, onState: show });
  addEventListener("pagehide", stop);
}
