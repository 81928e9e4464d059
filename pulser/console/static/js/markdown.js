// A small reader of Markdown that builds elements and never markup: raw HTML in the text stays text, links go only to http(s) and places here.

function make(name, ...children) {
  const element = document.createElement(name);
  element.append(...children);
  return element;
}

const INLINE = /\\([!-/:-@[-`{-~])|(`+)(.+?)\2|\*\*(.+?)\*\*|__(.+?)__|\*([^*\s][^*]*)\*|!?\[([^\]]*)\]\(([^)\s]+)[^)]*\)/;

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
  const lines = text.split(/\r?\n/);
  const takeWhile = (start, test) => { let end = start; while (end < lines.length && test(lines[end])) end += 1; return end; };
  for (let at = 0; at < lines.length; ) {
    const line = lines[at];
    const heading = /^(#{1,6})\s+(.*?)\s*#*$/.exec(line);
    const fence = /^\s*(```+|~~~+)/.exec(line);
    if (!line.trim()) { at += 1; continue; }
    let end = at + 1;
    if (fence) {
      end = takeWhile(at + 1, (one) => !one.trim().startsWith(fence[1]));
      box.append(make("pre", make("code", lines.slice(at + 1, end).join("\n"))));
      end += 1;
    } else if (heading) {
      box.append(make(`h${Math.min(6, heading[1].length + 2)}`, ...inline(heading[2])));
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
  return box;
}
