// Requests that change something, and their problems (RFC 9457) for people.

import { toast } from "./toast.js";

export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || body.title || `The server answered ${status}.`);
    this.status = status;
    this.title = body.title || "That did not work";
    this.hint = body.hint || "";
    this.errors = body.errors || [];
    this.allowed = body.allowed || null;
  }
}

export function maySign() {
  return document.body.dataset.mayWrite === "yes";
}

// Opens the sign-in dialog and returns false where the visitor may only read.
export function signedIn() {
  if (maySign()) return true;
  document.getElementById("sign-in")?.showModal();
  return false;
}

export async function ask(method, path, body) {
  let answer;
  try {
    answer = await fetch(path, {
      method,
      credentials: "same-origin",
      headers: { "Content-Type": "application/json", Accept: "application/json, application/problem+json", "X-Pulser-Console": "1" },
      body: body === undefined ? "{}" : JSON.stringify(body),
    });
  } catch {
    throw new Problem(0, { title: "Pulser cannot be reached", detail: "The request was not answered. Is the server still running?" });
  }
  const text = await answer.text();
  let parsed = {};
  try { parsed = text ? JSON.parse(text) : {}; } catch { parsed = { detail: text.slice(0, 200) }; }
  if (!answer.ok) throw new Problem(answer.status, parsed);
  return parsed;
}

export async function read(path) {
  const answer = await fetch(path, { credentials: "same-origin", headers: { Accept: "application/json" } });
  const parsed = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Problem(answer.status, parsed);
  return parsed;
}

// Shows what went wrong; where signing in would mend it, asks for that instead.
// `possible` says what may be done instead, in the words of the buttons; else what the server allows.
export function complain(problem, possible) {
  if (problem.status === 401) {
    document.body.dataset.mayWrite = "no";
    signedIn();
    return;
  }
  const allowed = problem.allowed ? `Allowed from here: ${(possible ?? problem.allowed).map((word) => word.replace("_", " ").toLowerCase()).join(", ") || "nothing"}.` : problem.hint;
  toast({ tone: "error", title: problem.title, text: [problem.message.replace(/([^.!?])$/, "$1."), allowed].filter(Boolean).join(" ") });
}
