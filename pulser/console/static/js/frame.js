// What every page has: the live stream, theme, sign-in, copying, menus, dialogs, times, missing avatars.

import { ask, Problem } from "./ask.js";
import { connect } from "./live.js";
import { tellTimes } from "./time.js";
import { toast } from "./toast.js";

const $ = (id) => document.getElementById(id);

const watched = new WeakSet();

function settle(root = document) {
  tellTimes(root);
  for (const image of root.querySelectorAll("img[data-avatar]")) {
    if (watched.has(image)) continue;
    watched.add(image);
    const hide = () => { image.hidden = true; };
    if (image.complete && !image.naturalWidth) hide();
    image.addEventListener("error", hide);
  }
}

function themes() {
  $("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const light = root.dataset.theme ? root.dataset.theme === "light" : matchMedia("(prefers-color-scheme: light)").matches;
    root.dataset.theme = light ? "dark" : "light";
    localStorage.setItem("pulser-theme", root.dataset.theme);
  });
}

async function startSession(secret) {
  await ask("POST", "/session", { secret });
  location.reload();
}

function signIn() {
  const dialog = $("sign-in");
  $("sign-in-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const problem = $("sign-in-problem");
    problem.hidden = true;
    try {
      await startSession($("token").value.trim());
    } catch (error) {
      problem.textContent = error instanceof Problem && error.status < 500 && error.status ? `That token was not accepted. ${error.hint}` : error.message;
      problem.hidden = false;
      $("token").select();
    }
  });
  dialog.addEventListener("close", () => { $("token").value = ""; $("sign-in-problem").hidden = true; });
  const start = /^#start=(.+)$/.exec(location.hash);
  if (start) {
    history.replaceState(null, "", location.pathname + location.search);
    startSession(decodeURIComponent(start[1])).catch((error) =>
      toast({ tone: "error", title: "The start link did not work", text: `${error.message} It works once and for 15 minutes; run “pulser open” for another.` }));
  }
}

async function signOut() {
  try {
    await ask("DELETE", "/session");
    location.reload();
  } catch (error) {
    toast({ tone: "error", title: "You are still signed in", text: error.message });
  }
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    toast({ tone: "success", title: "Copied" });
  } catch {
    toast({ tone: "error", title: "The browser refused to copy" });
  }
}

function closeMenus(except) {
  for (const open of document.querySelectorAll('[data-menu][aria-expanded="true"]')) {
    if (open === except) continue;
    open.setAttribute("aria-expanded", "false");
    open.nextElementSibling.hidden = true;
  }
}

function clicks() {
  document.addEventListener("click", (event) => {
    const at = (selector) => event.target.closest(selector);
    const menu = at("[data-menu]");
    closeMenus(menu);
    if (menu) {
      const list = menu.nextElementSibling;
      list.hidden = !list.hidden;
      menu.setAttribute("aria-expanded", String(!list.hidden));
      if (!list.hidden) list.querySelector(".menu-item")?.focus();
    }
    if (at("[data-sign-in]")) $("sign-in").showModal();
    if (at("[data-sign-out]")) signOut();
    if (at("[data-close]")) at("dialog").close();
    const text = at("[data-copy]");
    if (text) copy(text.dataset.copy);
    const from = at("[data-copy-from]");
    if (from) copy(document.querySelector(from.dataset.copyFrom).textContent);
    if (event.target.tagName === "DIALOG") event.target.close(); // the backdrop
  });
  document.addEventListener("keydown", (event) => {
    const list = event.target.closest?.(".menu-list");
    if (event.key === "Escape") {
      const open = document.querySelector('[data-menu][aria-expanded="true"]');
      closeMenus();
      if (list) open?.focus();
    }
    if (list && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      event.preventDefault();
      const items = [...list.querySelectorAll(".menu-item")];
      const step = event.key === "ArrowDown" ? 1 : items.length - 1;
      items[(items.indexOf(event.target) + step) % items.length].focus();
    }
    const typing = event.target.closest?.("input, textarea, select, dialog");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
      const search = document.querySelector(".search input");
      if (search) { event.preventDefault(); search.focus(); }
    }
  });
}

document.addEventListener("pulser:drawn", () => settle());
document.addEventListener("htmx:afterSwap", () => settle());
document.addEventListener("htmx:afterSettle", () => {
  const clear = $("clear");
  if (clear) clear.hidden = location.search === "";
});
document.addEventListener("htmx:configRequest", ({ detail }) => {
  for (const [name, value] of [...detail.formData.entries()]) if (value === "") detail.formData.delete(name);
});
document.addEventListener("htmx:responseError", () => toast({ tone: "error", title: "The server could not answer", text: "Try again in a moment." }));
document.addEventListener("htmx:sendError", () => toast({ tone: "error", title: "Pulser cannot be reached" }));
themes();
signIn();
clicks();
settle();
connect();
