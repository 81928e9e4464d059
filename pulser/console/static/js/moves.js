// Buttons that move a task: cancel, retry, approve, …

import { ask, complain, signedIn } from "./ask.js";
import { toast } from "./toast.js";

const DONE = { cancel: "Cancelled", retry: "Back in the queue", requeue: "Back in the queue", discard: "Discarded", approved: "Approved", queued: "Sent back", failed: "Rejected" };

export async function move(taskId, path, to) {
  const answer = await ask("POST", `/api/v1/tasks/${encodeURIComponent(taskId)}/${path}`, path === "transition" ? { to } : {});
  return { answer, said: DONE[to || path] || "Done" };
}

export function handleMoves(after) {
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-move]");
    if (!button || !signedIn()) return;
    button.disabled = true;
    try {
      const { said } = await move(button.dataset.task, button.dataset.move, button.dataset.to);
      toast({ tone: "success", title: said });
    } catch (problem) {
      complain(problem);
    } finally {
      button.disabled = false;
      after();
    }
  });
}
