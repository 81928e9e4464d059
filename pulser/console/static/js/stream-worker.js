// One stream for all pages of this browser. Late pages are given what they missed since they were drawn.

import { stream } from "./sse.js";

const KEPT = 500;
const ports = new Set();
const recent = [];
let state = "connecting";
let started = false;

function tell(message) {
  for (const port of ports) port.postMessage(message);
}

function start(url, since) {
  if (started) return;
  started = true;
  stream(url, since, {
    onEvent(event) {
      recent.push(event);
      if (recent.length > KEPT) recent.shift();
      tell({ event });
    },
    onState(next) { state = next; tell({ state }); },
  });
}

self.onconnect = ({ ports: [port] }) => {
  port.onmessage = ({ data }) => {
    if (data.close) { ports.delete(port); return; }
    ports.add(port);
    start(data.url, data.since);
    port.postMessage({ state });
    for (const event of recent) if (!event.data?.ts || event.data.ts >= data.since) port.postMessage({ event });
  };
};
