// Short messages in the corner; errors stay until they are closed.

const STAY_MS = 5000;
const ICONS = { error: "error--filled", success: "checkmark--filled", info: "information--filled" };

export function icon(name) {
  const sprite = document.querySelector("svg.icon use").getAttribute("href").split("#")[0];
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `${sprite}#${name}`);
  svg.append(use);
  return svg;
}

export function toast({ tone = "info", title, text = "", href = "" }) {
  const box = document.createElement("div");
  box.className = `toast ${tone}`;
  box.dataset.testid = "toast";
  if (tone === "error") box.setAttribute("role", "alert");
  const words = document.createElement("div");
  const head = document.createElement(href ? "a" : "strong");
  head.textContent = title;
  if (href) head.href = href;
  words.append(head);
  if (text) words.append(Object.assign(document.createElement("p"), { textContent: text }));
  const close = document.createElement("button");
  close.type = "button";
  close.className = "icon-button small";
  close.setAttribute("aria-label", "Close this notification");
  close.append(icon("close"));
  close.addEventListener("click", () => box.remove());
  box.append(icon(ICONS[tone]), words, close);
  const region = document.getElementById("toasts");
  region.append(box);
  while (region.children.length > 4) region.firstElementChild.remove();
  if (tone !== "error") {
    let timer = setTimeout(() => box.remove(), STAY_MS);
    box.addEventListener("pointerenter", () => clearTimeout(timer));
    box.addEventListener("pointerleave", () => { timer = setTimeout(() => box.remove(), STAY_MS); });
  }
}
