// Sentences for events, from the same file that the server reads.

const table = await fetch(new URL("../sentences.json", import.meta.url)).then((answer) => answer.json()).catch(() => ({}));

function short(value) {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return text.length > 160 ? `${text.slice(0, 159)}…` : text;
}

export function sentence(event) {
  const known = table[event.event];
  if (!known) {
    const words = String(event.event ?? "").replace(/[_.]/g, " ");
    return { icon: "activity", tone: "", text: `${words.charAt(0).toUpperCase()}${words.slice(1).toLowerCase()} by ${event.actor || "pulser"}` };
  }
  const text = known.text.replace(/\{([^}|]+)(?:\|([^}]*))?\}/g, (_hole, name, other = "") => {
    const value = name.startsWith("details.") ? event.details?.[name.slice(8)] : event[name];
    return value === null || value === undefined || value === "" ? other : short(value);
  });
  return { icon: known.icon, tone: known.tone ?? "", text: text.replace(/\s+/g, " ").trim() };
}
