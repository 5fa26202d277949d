// Keeps a page as it would be if it were loaded now: fetches it again and replaces the parts marked data-live that differ.
// The server renders everything; without this file a page says by <noscript> when it reloads. A body with data-events is
// told when by server-sent events, one with data-refresh asks every so many seconds.
"use strict";
(() => {
  // The end of a log, from the log's own page: the cluster may take its time to answer, and the rest need not wait.
  const tail = document.querySelector("[data-tail]");
  const showTail = async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch(tail.dataset.tail, { headers: { Accept: "text/html" } });
      const log = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("log");
      if (answer.ok && log && log.textContent !== tail.textContent) tail.replaceChildren(...document.adoptNode(log).childNodes);
    } catch { /* the next time */ }
  };

  const root = document.querySelector("main");
  const events = root.dataset.events;
  const seconds = Number(root.dataset.refresh || 0);
  const status = document.getElementById("live-status");
  const button = document.getElementById("live-pause");
  if (!status || !(events || seconds)) return;

  const GAP = 1000, RETRY = 5000;  // milliseconds between two refreshes at least, and after one that failed
  let paused = false, busy = false, again = false, over = false, away = false;
  let last = 0, retry = 0, source = null, relisten = 0, heard = 0, announced = "";

  const say = (text) => { if (status.textContent !== text) status.textContent = text; };

  // Replaces an element by its newer self, and brings focus, open details and scrolled boxes along.
  const replace = (old, fresh) => {
    if (old.isEqualNode(fresh)) return;
    const open = [...old.querySelectorAll("details[id]")].filter((each) => each.open).map((each) => each.id);
    const boxes = [...old.querySelectorAll("[id].scroll, pre[id]")].map((each) => [each.id, each.scrollLeft, each.scrollTop]);
    const focused = old.contains(document.activeElement) ? document.activeElement : null;
    const key = focused && (focused.id || focused.getAttribute("href"));
    for (const id of open) fresh.querySelector("#" + CSS.escape(id))?.setAttribute("open", "");
    old.replaceWith(fresh);
    for (const [id, left, top] of boxes) {
      const box = document.getElementById(id);
      if (box) { box.scrollLeft = left; box.scrollTop = top; }
    }
    if (!key) return;
    const same = [...fresh.querySelectorAll("[id], a[href]")].find((each) => each.id === key || each.getAttribute("href") === key);
    if (same) same.focus({ preventScroll: true });
  };

  const refresh = async () => {
    if (paused || busy || document.hidden) { again = true; return; }
    busy = true;
    again = false;
    clearTimeout(retry);
    await new Promise((done) => setTimeout(done, Math.max(0, last + GAP - Date.now())));
    last = Date.now();
    try {
      await load();
    } catch {
      away = true;
      status.classList.remove("unseen");
      say("The service does not answer; trying again.");
      retry = setTimeout(refresh, RETRY);
    }
    busy = false;
    if (again && !over) refresh();
  };

  const load = async () => {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" }, redirect: "manual" });
    if (answer.type === "opaqueredirect") { location.reload(); return; }
    if (!answer.ok) throw new Error(answer.status);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (paused) { again = true; return; }
    const main = fresh.querySelector("main");
    over = main.dataset.over !== undefined;
    for (const part of document.querySelectorAll("[data-live]")) {
      const newer = fresh.getElementById(part.id);
      if (newer) replace(part, document.adoptNode(newer));
    }
    document.title = fresh.title;
    announce(main.dataset.said || "");
    if (over) finish();
  };

  // Read out: a state when it changes, not every number.
  const announce = (said) => {
    if (away) { away = false; status.classList.add("unseen"); say("Connected again."); }
    if (said && said !== announced) say(said);
    announced = said;
  };

  const finish = () => {
    over = true;
    root.dataset.over = "";
    hush();
    if (button) button.hidden = true;
  };

  // From the last event heard on. A page that nobody sees holds no stream: a browser has six connections for all tabs of
  // a host, and would let the next page wait for ever.
  const listen = () => {
    if (!events || over || source || document.hidden) return;
    source = new EventSource(`${events}?after=${heard}`);
    for (const kind of ["state", "note", "progress"]) {
      source.addEventListener(kind, (event) => { heard = event.lastEventId || heard; refresh(); });
    }
    source.addEventListener("open", refresh);
    source.addEventListener("error", () => {
      if (source?.readyState === EventSource.CLOSED) { hush(); relisten = setTimeout(listen, RETRY); }
      refresh();
    });
  };

  const hush = () => {
    clearTimeout(relisten);
    source?.close();
    source = null;
  };

  if (button) {
    button.hidden = false;
    button.addEventListener("click", () => {
      paused = !paused;
      button.textContent = paused ? "Resume updates" : "Pause updates";
      if (!paused) refresh();
    });
  }
  const shown = () => {
    if (document.hidden) return hush();
    listen();
    if (again) refresh();
  };
  document.addEventListener("visibilitychange", shown);
  addEventListener("pagehide", hush);  // a page that is kept for the way back is not hidden yet
  addEventListener("pageshow", shown);
  const followTail = async () => {
    if (!paused) await showTail();  // one at a time, however long the cluster takes
    if (!over) setTimeout(followTail, 10000);
  };
  if (tail) followTail();
  if (root.dataset.over !== undefined) return finish();
  announced = root.dataset.said || "";
  if (events) listen();
  else setInterval(refresh, seconds * 1000);
})();
