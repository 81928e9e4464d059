// <time> elements in words relative to now; the exact local time is their tooltip.

const EVERY_MS = 10000;
const STEPS = [[60, 1, "s"], [3600, 60, "m"], [86400, 3600, "h"], [2592000, 86400, "d"]];
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });

export function relative(at, now = Date.now()) {
  const seconds = (now - at) / 1000;
  const size = Math.abs(seconds);
  if (size < 5) return "now";
  for (const [limit, unit, letter] of STEPS) {
    if (size < limit) {
      const words = `${Math.floor(size / unit)} ${letter}`;
      return seconds < 0 ? `in ${words}` : `${words} ago`;
    }
  }
  return day.format(at);
}

export function tellTimes(root = document) {
  for (const element of root.querySelectorAll("time[datetime]")) {
    const at = new Date(element.dateTime);
    if (Number.isNaN(at.valueOf())) continue;
    const words = relative(at);
    if (element.textContent !== words) element.textContent = words;
    const title = exact.format(at);
    if (element.title !== title) element.title = title;
  }
}

setInterval(() => { if (!document.hidden) tellTimes(); }, EVERY_MS);
