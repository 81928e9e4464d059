// A small reader of Markdown that builds elements and never markup: raw HTML in the text stays text, links go only to http(s) and places here.

function make(name, ...children) {
  const element = document.createElement(name);
  element.append(...children);
  return element;
}

const LONGEST = 50000; // characters; a longer text is cut
// Every run is bounded, and none may hold what begins it, so that a flood of openings costs no more than its length.
const INLINE = /\\([!-/:-@[-`{-~])|(`{1,8})(?!`)(.{1,1000}?)(?<!`)\2(?!`)|\*\*(.{1,1000}?)\*\*|__(.{1,1000}?)__|\*([^*\s][^*]{0,1000})\*|!?\[([^[\]]{0,500})\]\(([^()\s]{1,1000}(?:\([^()\s]{0,200}\)[^()\s]{0,200})?)(?:\s[^()]{0,200})?\)/;

function inline(text) {
  const out = [];
  for (let rest = text; rest; ) {
    const hit = INLINE.exec(rest);
    if (!hit) { out.push(rest); break; }
    if (hit.index) out.push(rest.slice(0, hit.index));
    const [all, escaped, , code, strong, strong2, soft, label, target] = hit;
    if (escaped) out.push(escaped);
    else if (code !== undefined) out.push(make("code", code));
    else if (strong ?? strong2) out.push(make("strong", ...inline(strong ?? strong2)));
    else if (soft) out.push(make("em", ...inline(soft)));
    else if (all.startsWith("!")) out.push(label);
    else out.push(link(label, target));
    rest = rest.slice(hit.index + all.length);
  }
  return out;
}

// "Title ##" without its hashes; by hand, for an expression would look from every hash to the end.
function heading(line) {
  const start = /^(#{1,6})\s+/.exec(line);
  if (!start) return null;
  const text = line.slice(start[0].length).trimEnd();
  let end = text.length;
  while (end && text[end - 1] === "#") end -= 1;
  const bare = text.slice(0, end).trimEnd();
  return { level: start[1].length, text: bare.length < end || !bare ? bare : text }; // "C#" keeps its own
}

function link(label, target) {
  if (!/^(https?:\/\/|#|\/(?!\/))/.test(target)) return label;
  const anchor = make("a", ...inline(label));
  anchor.href = target;
  anchor.rel = "noreferrer noopener";
  return anchor;
}

function cells(line) {
  return line.trim().replace(/^\||\|$/g, "").split(/(?<!\\)\|/).map((cell) => cell.replace(/\\\|/g, "|").trim());
}

function table(lines) {
  const row = (line, kind) => make("tr", ...cells(line).map((cell) => make(kind, ...inline(cell))));
  const made = make("table", make("thead", row(lines[0], "th")), make("tbody", ...lines.slice(2).map((line) => row(line, "td"))));
  const wrap = make("div", made);
  wrap.className = "table-wrap";
  return wrap;
}

const ITEM = /^\s*([-*+]|\d+[.)])\s+/;

export function markdown(text) {
  const box = make("div");
  box.className = "prose";
  const lines = text.slice(0, LONGEST).split(/\r?\n/);
  const takeWhile = (start, test) => { let end = start; while (end < lines.length && test(lines[end])) end += 1; return end; };
  for (let at = 0; at < lines.length; ) {
    const line = lines[at];
    const title = heading(line);
    const fence = /^\s*(```+|~~~+)/.exec(line);
    if (!line.trim()) { at += 1; continue; }
    let end = at + 1;
    if (fence) {
      end = takeWhile(at + 1, (one) => !one.trim().startsWith(fence[1]));
      box.append(make("pre", make("code", lines.slice(at + 1, end).join("\n"))));
      end += 1;
    } else if (title) {
      box.append(make(`h${Math.min(6, title.level + 2)}`, ...inline(title.text)));
    } else if (/^\s*([-*_])(\s*\1){2,}\s*$/.test(line)) {
      box.append(make("hr"));
    } else if (line.includes("|") && /^[\s|:-]+$/.test(lines[at + 1] ?? "") && (lines[at + 1] ?? "").includes("-")) {
      end = takeWhile(at, (one) => one.includes("|"));
      box.append(table(lines.slice(at, end)));
    } else if (ITEM.test(line)) {
      end = takeWhile(at, (one) => ITEM.test(one) || /^\s{2,}\S/.test(one));
      const items = [];
      for (const one of lines.slice(at, end)) {
        if (ITEM.test(one)) items.push(one.replace(ITEM, ""));
        else items[items.length - 1] += ` ${one.trim()}`;
      }
      box.append(make(/^\s*\d/.test(line) ? "ol" : "ul", ...items.map((item) => make("li", ...inline(item)))));
    } else if (line.startsWith(">")) {
      end = takeWhile(at, (one) => one.startsWith(">"));
      box.append(make("blockquote", ...inline(lines.slice(at, end).map((one) => one.replace(/^>\s?/, "")).join(" "))));
    } else {
      end = Math.max(at + 1, takeWhile(at, (one) => one.trim() && !/^(#{1,6}\s|```|~~~|>)/.test(one) && !ITEM.test(one)));
      box.append(make("p", ...inline(lines.slice(at, end).join(" "))));
    }
    at = end;
  }
  if (text.length > LONGEST) box.append(make("p", "… (cut; download it for the rest)"));
  return box;
}
