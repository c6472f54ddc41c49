// Follows /live and tells the page: each server-sent event becomes a DOM event "live-<topic>" on <body>. Charts take
// the data from it; tables only the hint that there is news (htmx then fetches them).
(() => {
  "use strict";
  const WHOLE = ["day", "plan", "progress", "actual", "actuals", "settlement", "result"];
  const HINTS = ["message", "alarm", "dispatch", "resource", "peer", "programme"];
  const SILENCE_MS = 40000; // the server speaks every 15 s
  const HIDDEN_MS = 20000; // browsers allow six connections to a host: a tab nobody sees gives its own back

  const pill = document.getElementById("connection");
  const clock = document.getElementById("clock");
  let source = null;
  let watchdog = 0;
  let hidden = 0;
  let connected = 0;

  const tell = (topic, detail) => document.body.dispatchEvent(new CustomEvent(`live-${topic}`, { detail }));

  function show(text, tone) {
    if (pill.textContent !== text) pill.textContent = text;
    pill.className = `pill ${tone}`;
  }

  function alive() {
    show("Live", "good");
    clearTimeout(watchdog);
    watchdog = setTimeout(() => { close(); open(); }, SILENCE_MS);
  }

  // The zone is the market's; it may become known, with the day, only after the page was rendered.
  function tick({ market_time: now }) {
    const zone = clock.dataset.zone;
    const form = { day: "2-digit", month: "short", hour: "2-digit", minute: "2-digit", hour12: false, timeZone: zone };
    const shown = new Intl.DateTimeFormat("en-GB", form).format(new Date(now)).replace(",", "");
    if (clock.textContent !== shown) clock.textContent = shown;
    clock.dateTime = now;
  }

  function inZone({ timezone: zone }) {
    if (!zone) return;
    clock.dataset.zone = zone;
    document.querySelectorAll(".zone").forEach((place) => { place.textContent = zone; });
  }

  function open() {
    source = new EventSource("/live");
    source.addEventListener("snapshot", (event) => {
      alive();
      const state = JSON.parse(event.data);
      tell("snapshot", state);
      for (const topic of WHOLE) if (topic in state) tell(topic, state[topic]);
      // The page was rendered a moment before the first snapshot; after a break, every table may be out of date.
      if (connected++) HINTS.forEach((topic) => tell(topic, {}));
    });
    for (const topic of [...WHOLE, ...HINTS]) {
      source.addEventListener(topic, (event) => { alive(); tell(topic, JSON.parse(event.data)); });
    }
    source.addEventListener("clock", (event) => { alive(); tick(JSON.parse(event.data)); });
    source.onerror = () => {
      show("Reconnecting…", "bad");
      // A server that answered with an error ends an EventSource for good; we go on trying.
      if (source.readyState === EventSource.CLOSED) { close(); watchdog = setTimeout(open, 3000); }
    };
  }

  function close() {
    clearTimeout(watchdog);
    if (source) source.close();
    source = null;
  }

  document.body.addEventListener("live-day", (event) => inZone(event.detail));
  document.addEventListener("visibilitychange", () => {
    clearTimeout(hidden);
    if (document.hidden) hidden = setTimeout(() => { close(); show("Paused", "quiet"); }, HIDDEN_MS);
    else if (!source) open();
  });
  addEventListener("pagehide", close);
  addEventListener("pageshow", (event) => { if (event.persisted && !source) open(); });
  open();
})();
