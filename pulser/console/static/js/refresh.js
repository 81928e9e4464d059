// Draws a part of this page again from the server, changing only what changed: focus, open folds, scroll and loaded previews stay.

import { tellTimes } from "./time.js";

export async function refresh(selector, url = location.href) {
  const answer = await fetch(url, { credentials: "same-origin", headers: { Accept: "text/html", "X-Pulser-Refresh": "1" } });
  if (!answer.ok) return false;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  const before = document.querySelector(selector);
  const after = fresh.querySelector(selector);
  if (!before || !after) return false;
  tellTimes(after);
  for (const broken of before.querySelectorAll("img[data-avatar][hidden]")) {
    for (const image of after.querySelectorAll("img[data-avatar]")) if (image.getAttribute("src") === broken.getAttribute("src")) image.hidden = true;
  }
  window.Idiomorph.morph(before, after, {
    callbacks: {
      beforeAttributeUpdated: (name, node) => !(name === "open" && node.tagName === "DETAILS") && !node.matches("[data-menu], .menu-list, [data-fold]"),
      beforeNodeMorphed: (old) => !(old.nodeType === 1 && (old.hasAttribute("data-keep") || old.dataset.busy)),
      beforeNodeRemoved: (old) => !(old.nodeType === 1 && old.dataset.busy),
    },
  });
  window.htmx?.process(before);
  document.dispatchEvent(new CustomEvent("pulser:drawn"));
  return true;
}
