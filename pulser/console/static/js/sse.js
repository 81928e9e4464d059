// Server-sent events over fetch. EventSource would need every event's name in advance and hides the status; this reads any
// name, resumes with Last-Event-ID and waits longer after each failure, with jitter, so that many browsers do not come back as one wave.

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15000;
const SILENCE_MS = 40000; // the server says something every 15 s

export function stream(url, since, { onEvent, onState }) {
  let last = "";
  let waitMs = FIRST_WAIT_MS;
  let control = null;
  let stopped = false;

  async function run() {
    while (!stopped) {
      control = new AbortController();
      let watchdog = 0;
      const alive = () => {
        clearTimeout(watchdog);
        watchdog = setTimeout(() => control.abort(), SILENCE_MS);
      };
      try {
        alive();
        const headers = { Accept: "text/event-stream" };
        if (last) headers["Last-Event-ID"] = last;
        const query = !last && since ? `?since=${encodeURIComponent(since)}` : "";
        const answer = await fetch(url + query, { headers, signal: control.signal, cache: "no-store" });
        if (!answer.ok) throw Object.assign(new Error(`status ${answer.status}`), { status: answer.status });
        onState("live");
        waitMs = FIRST_WAIT_MS;
        await read(answer.body, alive);
        onState("retrying");
      } catch (error) {
        if (stopped) return;
        if (error.status === 410) { last = ""; since = ""; onEvent({ kind: "cursor_expired", data: null }); }
        onState(error.status === 401 || error.status === 403 ? "refused" : "retrying");
      } finally {
        clearTimeout(watchdog);
      }
      await new Promise((done) => setTimeout(done, waitMs * (0.5 + Math.random())));
      waitMs = Math.min(LONGEST_WAIT_MS, waitMs * 2);
    }
  }

  async function read(body, alive) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      alive();
      const lines = (rest + value).split(/\r\n|\n|\r/);
      rest = lines.pop();
      lines.forEach(line);
    }
  }

  let kind = "", id = null, data = [];
  function line(text) {
    if (text === "") {
      if (id !== null) last = id;
      if (data.length) deliver(kind || "message", data.join("\n"));
      kind = ""; id = null; data = [];
    } else if (!text.startsWith(":")) {
      const [, name, value] = /^([^:]*):? ?(.*)$/.exec(text);
      if (name === "event") kind = value;
      else if (name === "id") id = value;
      else if (name === "data") data.push(value);
    }
  }

  function deliver(name, text) {
    let parsed = null;
    try { parsed = JSON.parse(text); } catch { /* a frame that is not JSON carries only its name */ }
    if (name === "cursor_expired") { last = ""; since = ""; }
    onEvent({ kind: name, data: parsed });
  }

  run();
  return () => { stopped = true; control?.abort(); };
}
