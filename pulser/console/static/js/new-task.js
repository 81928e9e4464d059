// The dialog that submits a task: types and actions from the server, problems beside the fields they are about.

import { ask, complain, read, signedIn } from "./ask.js";
import { toast } from "./toast.js";

const dialog = document.getElementById("new-task");
const form = document.getElementById("new-task-form");
const fields = form.elements;
let types = null;
let suggested = "";

function example(schema) {
  const made = {};
  for (const [name, one] of Object.entries(schema?.properties ?? {})) {
    if (name === "action") continue;
    if (one.examples?.length) made[name] = one.examples[0];
    else if ((schema.required ?? []).includes(name)) made[name] = one.default ?? { string: "", integer: 0, number: 0, boolean: false, array: [], object: {} }[one.type] ?? null;
  }
  return made;
}

function options(select, values, chosen) {
  select.replaceChildren(...values.map(([value, label]) => Object.assign(document.createElement("option"), { value, textContent: label, selected: value === chosen })));
}

function chosenAction() {
  return types?.find((one) => one.task_type === fields.task_type.value)?.actions?.find((one) => one.action === fields.action.value);
}

function showActions() {
  const kind = types.find((one) => one.task_type === fields.task_type.value);
  options(fields.action, (kind?.actions ?? []).map((one) => [one.action, one.action]), kind?.default_action);
  fields.action.disabled = !(kind?.actions ?? []).length;
  showAction();
}

function showAction() {
  const action = chosenAction();
  document.getElementById("action-summary").textContent = action?.summary ?? "";
  const text = JSON.stringify(example(action?.arguments), null, 2);
  if (fields.payload.value === suggested || fields.payload.value.trim() === "{}") fields.payload.value = text;
  suggested = text;
  const box = document.getElementById("arguments");
  const names = Object.entries(action?.arguments?.properties ?? {});
  box.hidden = !names.length;
  const required = action?.arguments?.required ?? [];
  box.querySelector("dl").replaceChildren(...names.flatMap(([name, one]) => [
    Object.assign(document.createElement("dt"), { textContent: required.includes(name) ? `${name} *` : name }),
    Object.assign(document.createElement("dd"), { textContent: [[one.type].flat().join(" or "), one.description].filter(Boolean).join(": ") || "any" }),
  ]));
}

async function open() {
  if (!signedIn()) return;
  clear();
  dialog.showModal();
  if (types) return;
  try {
    types = (await read("/api/v1/task-types")).items;
    options(fields.task_type, types.map((one) => [one.task_type, one.agent ? `${one.task_type} (${one.agent})` : one.task_type]), types[0]?.task_type);
    showActions();
  } catch (problem) {
    dialog.close();
    complain(problem);
  }
}

function clear() {
  for (const element of form.querySelectorAll(".problem")) { element.hidden = true; element.textContent = ""; }
  for (const element of form.querySelectorAll("[aria-invalid]")) element.removeAttribute("aria-invalid");
}

// Beside the field the pointer is about, or its nearest ancestor's; what belongs to no field is said at the end.
function place(pointer, text) {
  for (let path = pointer; path; path = path.slice(0, path.lastIndexOf("/"))) {
    const spot = [...form.querySelectorAll("[data-problem]")].find((one) => one.dataset.problem === path);
    if (!spot) continue;
    spot.textContent += `${spot.textContent ? "\n" : ""}${pointer === path ? "" : `${pointer.slice(path.length + 1)}: `}${text}`;
    spot.hidden = false;
    spot.closest(".field").querySelector("input, select, textarea").setAttribute("aria-invalid", "true");
    return true;
  }
  return false;
}

function explain(problem) {
  const rest = problem.errors.filter((one) => !place(one.pointer, one.detail)).map((one) => `${one.pointer} ${one.detail}`);
  if (!problem.errors.length || rest.length) {
    const box = document.getElementById("new-task-problem");
    box.textContent = [problem.message, ...rest, problem.hint].filter(Boolean).join("\n");
    box.hidden = false;
  }
  form.querySelector("[aria-invalid]")?.focus();
}

function request() {
  let payload;
  try {
    payload = JSON.parse(fields.payload.value || "{}");
  } catch (error) {
    place("/payload", `This is not JSON: ${error.message}`);
    return null;
  }
  if (payload === null || typeof payload !== "object" || Array.isArray(payload)) {
    place("/payload", "Arguments are a JSON object: {…}");
    return null;
  }
  const made = { task_type: fields.task_type.value, priority: fields.priority.value, payload: fields.action.value ? { action: fields.action.value, ...payload } : payload };
  if (fields.title.value.trim()) made.title = fields.title.value.trim();
  if (fields.review.checked) made.review = true;
  return made;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  clear();
  const made = request();
  if (!made) {
    form.querySelector("[aria-invalid]")?.focus();
    return;
  }
  const submit = form.querySelector("[type=submit]");
  submit.disabled = true;
  try {
    const task = await ask("POST", "/api/v1/tasks", made);
    dialog.close();
    toast({ tone: "success", title: "Task submitted", text: `${task.assigned_agent ?? "An agent"} will do it.`, href: `/tasks/${encodeURIComponent(task.task_id)}` });
    fields.title.value = "";
  } catch (problem) {
    if (problem.status === 401) { dialog.close(); complain(problem); } else explain(problem);
  } finally {
    submit.disabled = false;
  }
});
fields.task_type.addEventListener("change", () => { clear(); showActions(); });
fields.action.addEventListener("change", () => { clear(); showAction(); });
document.addEventListener("click", ({ target }) => { if (target.closest("#new-task-open, [data-new-task]")) open(); });
