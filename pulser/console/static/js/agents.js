// The agents: redrawn when work moves, paused and resumed, instances made available or not.

import { ask, complain, maySign, signedIn } from "./ask.js";
import { onEvent, paced } from "./live.js";
import { refresh } from "./refresh.js";
import { toast } from "./toast.js";

const EVERY_MS = 2000;
const POLL_MS = 20000; // "last seen" moves without events
const again = paced(() => refresh("#agents-live"), EVERY_MS);

onEvent(({ kind }) => { if (kind !== "executor_progress") again(); });
setInterval(() => { if (!document.hidden) again(); }, POLL_MS);

const path = (agent) => `/api/v1/agents/${encodeURIComponent(agent)}`;

document.addEventListener("click", async ({ target }) => {
  const button = target.closest("[data-agent-call]");
  if (!button || !signedIn()) return;
  const { agent, agentCall } = button.dataset;
  button.disabled = true;
  try {
    await ask("POST", `${path(agent)}/${agentCall}`);
    toast({ tone: "success", title: agentCall === "pause" ? `${agent} is paused` : `${agent} works again`, text: agentCall === "pause" ? "What runs goes on; nothing new is started." : "" });
  } catch (problem) {
    complain(problem);
  } finally {
    button.disabled = false;
    again();
  }
});

document.addEventListener("click", (event) => {
  if (event.target.closest(".toggle") && !maySign()) { event.preventDefault(); signedIn(); }
}, true);

document.addEventListener("change", async ({ target }) => {
  if (!target.matches("[data-available]")) return;
  const wanted = target.checked;
  target.disabled = true;
  try {
    await ask("PATCH", `${path(target.dataset.agent)}/instances/${encodeURIComponent(target.dataset.instance)}`, { available: wanted });
    toast({ tone: "success", title: wanted ? "Takes work again" : "Takes no new work" });
  } catch (problem) {
    target.checked = !wanted;
    complain(problem);
  } finally {
    target.disabled = false;
    again();
  }
});
