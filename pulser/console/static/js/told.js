// How an event is shown: its icon and tone, and its sentence with the id of its task taken out, to be a link.

const kinds = await fetch(new URL("../kinds.json", import.meta.url)).then((answer) => answer.json()).catch(() => ({}));

export function taskOf(event) {
  return event.task_id || (String(event.target ?? "").startsWith("tsk_") ? event.target : "");
}

export function told(event) {
  const words = String(event.event ?? "").replace(/[_.]/g, " ");
  let says = event.says || `${event.target || event.actor || "pulser"}: ${words}`;
  if (says.startsWith("the ")) says = `T${says.slice(1)}`;
  const task = taskOf(event);
  const at = task ? says.indexOf(task) : -1;
  return {
    icon: kinds[event.event]?.icon ?? "activity",
    tone: kinds[event.event]?.tone ?? "",
    task,
    before: at < 0 ? says : says.slice(0, at),
    after: at < 0 ? "" : says.slice(at + task.length),
  };
}
