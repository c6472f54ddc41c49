// The feeder's day against its limits, and what solar, batteries and homes made of it. Draws with uPlot; colours come
// from the style sheet, so that light and dark have one source.
(() => {
  "use strict";
  const CHANNELS = ["net_kw", "pv_kw", "battery_kw", "homes_kw"];
  const LINES = [
    { key: "limit_import_kw", label: "Import limit", colour: "limit", dash: [6, 4], width: 1.5 },
    { key: "limit_export_kw", label: "Export limit", colour: "limit", dash: [6, 4], width: 1.5 },
    { key: "prognosis_kw", label: "Prognosis", colour: "prognosis", width: 1.5 },
    { key: "forecast_kw", label: "Forecast", colour: "forecast", dash: [4, 3], width: 2 },
    { key: "plan_kw", label: "Plan", colour: "plan", width: 2 },
    { key: "net_kw", label: "Actual", colour: "actual", width: 2.5 },
  ];
  const SMALL = [["pv", "pv_kw"], ["battery", "battery_kw"], ["homes", "homes_kw"]];
  const el = (id) => document.getElementById(id);
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const number = (value, digits = 1) =>
    value == null ? "–" : value.toFixed(digits).replace(/^-(?=[0.]*$)/, "").replace("-", "−");

  let day = null;
  let actuals = Object.fromEntries(CHANNELS.map((name) => [name, []]));
  let starts = [];
  let net = null;
  let small = [];
  const hidden = new Set();
  let due = 0;
  let clockFormat = null;

  const values = (key) => (CHANNELS.includes(key) ? actuals[key] : day[key]) || [];
  const clock = (seconds) => clockFormat.format(new Date(seconds * 1000));
  const span = () => day.isp_minutes * 60;

  // A step is drawn from its ISP's begin to the next value; the last known value is repeated so that its step has an end.
  function steps(key) {
    const known = values(key);
    return [...starts, 0].map((_, k) => known[k] ?? known[k - 1] ?? null);
  }

  const times = () => [...starts, starts[starts.length - 1] + span()];
  const reached = () => {
    let last = -1;
    actuals.net_kw.forEach((value, k) => { if (value != null) last = k; });
    return last;
  };

  function shadeRequested(u) {
    const { ctx, bbox } = u;
    ctx.save();
    ctx.fillStyle = css("requested");
    for (const isp of day.requested || []) {
      const from = u.valToPos(starts[isp - 1], "x", true);
      const to = u.valToPos(starts[isp - 1] + span(), "x", true);
      ctx.fillRect(from, bbox.top, to - from, bbox.height);
    }
    ctx.restore();
  }

  function markZeroAndNow(u) {
    const { ctx, bbox } = u;
    const line = (x1, y1, x2, y2, colour, dash) => {
      ctx.beginPath();
      ctx.setLineDash(dash);
      ctx.strokeStyle = colour;
      ctx.lineWidth = devicePixelRatio;
      ctx.moveTo(x1, y1);
      ctx.lineTo(x2, y2);
      ctx.stroke();
    };
    ctx.save();
    const zero = u.valToPos(0, "y", true);
    if (zero > bbox.top && zero < bbox.top + bbox.height) line(bbox.left, zero, bbox.left + bbox.width, zero, css("axis"), []);
    const last = reached();
    if (last >= 0 && last < starts.length - 1) {
      const now = u.valToPos(starts[last] + span(), "x", true);
      line(now, bbox.top, now, bbox.top + bbox.height, css("now"), [3 * devicePixelRatio, 3 * devicePixelRatio]);
    }
    ctx.restore();
  }

  const font = () => `12px ${getComputedStyle(document.body).fontFamily}`;
  function axes(height, label) {
    const common = { stroke: css("muted"), font: font(), ticks: { stroke: css("line"), size: 4 } };
    return [
      { ...common, grid: { show: false }, space: 56, size: 28, values: (u, splits) => splits.map(clock) },
      {
        ...common, grid: { stroke: css("grid"), width: 1 }, space: height < 200 ? 28 : 44, size: label ? 50 : 42, label,
        labelFont: font(), labelSize: label ? 18 : 0, labelGap: 2, gap: 4,
        values: (u, splits) => splits.map((value) => number(value, splits.some((v) => v % 1) ? 1 : 0)),
      },
    ];
  }

  const zoned = (seconds) => uPlot.tzDate(new Date(seconds * 1000), day.timezone);
  const stepped = uPlot.paths.stepped({ align: 1 });

  // Beyond a limit: from the line to the edge of the plot, on the limit's own side of zero.
  const beyond = (side) => (u) => (side > 0 ? u.scales.y.max : u.scales.y.min);

  function netOptions(width) {
    const height = width < 520 ? 290 : 400;
    return {
      width, height, tzDate: zoned, legend: { show: false }, padding: [10, 20, 0, 0],
      cursor: { drag: { x: false, y: false }, sync: { key: "day" }, points: { size: 7 } },
      scales: { x: { time: true, range: (u, min, max) => [min, max] }, y: { range: extent } },
      axes: axes(height, width < 520 ? null : "Power, kW   (− export, + import)"),
      series: [{}, ...LINES.map((line, k) => ({
        label: line.label, stroke: css(line.colour), width: line.width, dash: line.dash, paths: stepped,
        points: { show: false }, show: !hidden.has(line.key),
        ...(k < 2 && { fill: css("beyond"), fillTo: beyond(k === 0 ? 1 : -1) }),
      }))],
      hooks: { drawClear: [shadeRequested], draw: [markZeroAndNow], setCursor: [read] },
    };
  }

  // A limit far away from everything else must not flatten the rest: it is then told by the legend only.
  function extent() {
    const shown = LINES.filter((line) => !hidden.has(line.key));
    const known = (lines) => lines.flatMap((line) => values(line.key).filter((value) => value != null));
    const all = [0, ...known(shown.filter((line) => line.colour !== "limit"))];
    const [low, high] = [Math.min(...all), Math.max(...all)];
    const reach = Math.max(high - low, 1);
    const near = known(shown.filter((line) => line.colour === "limit")).filter((v) => v > low - reach && v < high + reach);
    return padded(Math.min(low, ...near), Math.max(high, ...near));
  }

  function padded(min, max) {
    if (min == null || max == null) return [-1, 1];
    const low = Math.min(min, 0), high = Math.max(max, 0), pad = (high - low || 2) * 0.08;
    if (low === high) return [-1, 1];
    return [low < 0 ? low - pad : low, high > 0 ? high + pad : high];
  }

  function smallOptions(width, name) {
    const height = 140;
    return {
      width, height, tzDate: zoned, legend: { show: false }, padding: [8, 16, 0, 0],
      cursor: { drag: { x: false, y: false }, y: false, sync: { key: "day" }, points: { size: 6 } },
      scales: { x: { time: true, range: (u, min, max) => [min, max] }, y: { range: (u, min, max) => padded(min, max) } },
      axes: axes(height, null),
      series: [{}, { stroke: css(name), fill: css(`${name}-fill`), width: 1.5, paths: stepped, points: { show: false }, fillTo: 0 }],
      hooks: { drawClear: [shadeRequested], draw: [markZeroAndNow] },
    };
  }

  // The legend tells the values under the cursor, or the latest ones while there is none.
  function read() {
    const under = net && net.cursor.idx != null && net.cursor.left >= 0 ? Math.min(net.cursor.idx, starts.length - 1) : -1;
    const isp = under >= 0 ? under : Math.max(reached(), 0);
    const when = `${clock(starts[isp])}–${clock(starts[isp] + span())}`;
    el("legend-when").textContent = `${when} · ISP ${isp + 1}${(day.requested || []).includes(isp + 1) ? " · requested" : ""}`;
    for (const line of LINES) {
      const value = el(`value-${line.key}`);
      if (value) value.textContent = number(values(line.key)[isp]);
    }
    for (const [name, key] of SMALL) el(`v-${name}`).textContent = `${number(values(key)[isp])} kW`;
    return isp;
  }

  function buildLegend() {
    const items = LINES.filter((line) => line.key === "net_kw" || values(line.key).some((value) => value != null));
    const list = el("legend");
    list.replaceChildren();
    const when = list.appendChild(document.createElement("li"));
    when.className = "when";
    when.id = "legend-when";
    for (const line of items) {
      const button = document.createElement("button");
      button.type = "button";
      button.setAttribute("aria-pressed", String(!hidden.has(line.key)));
      button.title = "Show or hide this line";
      button.innerHTML = `<i class="key ${line.colour}${line.dash ? " dashed" : ""}"></i>${line.label} <output id="value-${line.key}"></output>`;
      button.addEventListener("click", () => {
        if (!hidden.delete(line.key)) hidden.add(line.key);
        button.setAttribute("aria-pressed", String(!hidden.has(line.key)));
        net.setSeries(LINES.indexOf(line) + 1, { show: !hidden.has(line.key) });
      });
      list.appendChild(document.createElement("li")).appendChild(button);
    }
    if ((day.requested || []).length) {
      const item = list.appendChild(document.createElement("li"));
      item.className = "area";
      item.innerHTML = '<i class="key requested"></i>Requested ISPs';
    }
  }

  function build() {
    [net, ...small].forEach((plot) => plot && plot.destroy());
    el("charts").hidden = false;
    el("no-chart").hidden = true;
    buildLegend();
    const width = (id) => Math.max(el(id).clientWidth, 240);
    net = new uPlot(netOptions(width("chart-net")), [times(), ...LINES.map((line) => steps(line.key))], el("chart-net"));
    small = SMALL.map(([name, key]) =>
      new uPlot(smallOptions(width(`chart-${name}`), name), [times(), steps(key)], el(`chart-${name}`)));
    read();
  }

  function refresh() {
    due = 0;
    if (!net) return;
    net.setData([times(), ...LINES.map((line) => steps(line.key))]);
    small.forEach((plot, k) => plot.setData([times(), steps(SMALL[k][1])]));
    read();
  }

  const soon = () => { due ||= requestAnimationFrame(refresh); };

  function takeDay(next) {
    if (!next.starts || !next.starts.length) return;
    if (day && day.period !== next.period) actuals = Object.fromEntries(CHANNELS.map((name) => [name, []]));
    day = { isp_minutes: 15, timezone: "UTC", ...next };
    starts = day.starts.map((start) => Date.parse(start) / 1000);
    clockFormat = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", timeZone: day.timezone });
    const date = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "long", year: "numeric", timeZone: day.timezone });
    const where = day.congestion_point ? `${day.congestion_point} · ` : "";
    el("subtitle").textContent = `${where}${date.format(new Date(day.starts[0]))}`;
    build();
  }

  const on = (topic, handler) => document.body.addEventListener(`live-${topic}`, (event) => handler(event.detail));
  on("snapshot", () => {
    actuals = Object.fromEntries(CHANNELS.map((name) => [name, []]));
  });
  on("day", takeDay);
  on("plan", (plan) => { if (day) { day.plan_kw = plan.plan_kw; buildLegend(); soon(); } });
  on("actuals", (all) => {
    for (const name of CHANNELS) (all[name] || []).forEach((value, k) => { if (value != null) actuals[name][k] = value; });
    soon();
  });
  on("actual", (one) => {
    for (const name of CHANNELS) if (one[name] != null) actuals[name][one.isp - 1] = one[name];
    soon();
  });

  el("chart-net").addEventListener("keydown", (event) => {
    if (!net) return;
    const now = net.cursor.idx != null && net.cursor.left >= 0 ? net.cursor.idx : reached();
    const last = starts.length - 1;
    const next = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: last }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    const isp = Math.min(Math.max(next, 0), last);
    net.setCursor({ left: net.valToPos(starts[isp], "x"), top: net.valToPos(values("net_kw")[isp] ?? 0, "y") });
    read();
    const said = LINES.map((line) => [line.label, values(line.key)[isp]]).filter(([, value]) => value != null);
    el("readout").textContent = `${el("legend-when").textContent}: ${said.map(([label, value]) => `${label} ${number(value)} kW`).join(", ")}`;
  });

  new ResizeObserver(() => {
    if (!net) return;
    const width = el("chart-net").clientWidth;
    if (width && width !== net.width) build();
  }).observe(el("chart-net"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { if (net) build(); });
})();
