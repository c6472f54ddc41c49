// Signals of an event and what VENs report, over time: one drawing per quantity, steps from begin to end. The data
// stands in the page (#drawn) and is drawn anew whenever it changes.
(() => {
  "use strict";
  const COLOURS = ["plan", "pv", "prognosis", "battery", "homes"];
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const number = (value) => (value == null ? "–" : String(Number(value.toPrecision(6))).replace("-", "−"));
  const font = () => `12px ${getComputedStyle(document.body).fontFamily}`;
  const node = (name, className, text) => {
    const made = document.createElement(name);
    if (className) made.className = className;
    if (text != null) made.textContent = text;
    return made;
  };

  const root = document.getElementById("plots");
  const none = document.getElementById("no-plots");
  let shown = "";
  let plots = [];

  // All begins and ends are instants of the axis; between two of them a line holds one value, or none.
  function laidOut(plot) {
    const instants = new Set();
    for (const line of plot.lines) for (const [begin, end] of line.steps) { instants.add(begin); instants.add(end); }
    for (const [begin, end] of plot.shades) { instants.add(begin); instants.add(end); }
    const times = [...instants].sort((a, b) => a - b);
    const at = new Map(times.map((t, k) => [t, k]));
    const values = plot.lines.map((line) => {
      const row = times.map(() => null);
      for (const [begin, end, value] of line.steps) for (let k = at.get(begin); k < at.get(end); k++) row[k] = value;
      return row;
    });
    // The last value is repeated at its end, so that its step is drawn; what follows a gap begins anew.
    const drawn = values.map((row) => row.map((value, k) => value ?? row[k - 1] ?? null));
    return { times, values, drawn };
  }

  function draw(data, plot, n) {
    const { times, values, drawn } = laidOut(plot);
    const clock = new Intl.DateTimeFormat("en-GB", { day: "2-digit", month: "short", hour: "2-digit", minute: "2-digit", timeZone: data.timezone });
    const hours = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", timeZone: data.timezone });
    const figure = root.appendChild(node("figure", "side-chart"));
    figure.appendChild(node("figcaption", "", plot.unit ? `${plot.title}, ${plot.unit}` : plot.title));
    const legend = figure.appendChild(node("ul", "legend"));
    const when = legend.appendChild(node("li", "when"));
    const outputs = plot.lines.map((line, k) => {
      const item = legend.appendChild(node("li", "area"));
      item.appendChild(node("i", `key ${COLOURS[k % COLOURS.length]}`));
      item.appendChild(document.createTextNode(`${line.label} `));
      return item.appendChild(node("output"));
    });
    if (plot.shades.length) {
      const item = legend.appendChild(node("li", "area"));
      item.appendChild(node("i", "key requested"));
      item.appendChild(document.createTextNode("Ramp-up and recovery"));
    }
    const chart = figure.appendChild(node("div", "chart"));
    const readout = figure.appendChild(node("p", "sr"));
    readout.setAttribute("aria-live", "polite");
    chart.id = `plot-${n}`;
    chart.tabIndex = 0;
    chart.setAttribute("role", "group");
    chart.setAttribute("aria-roledescription", "chart");
    chart.setAttribute("aria-describedby", "plot-help");
    chart.setAttribute("aria-label", figure.firstChild.textContent);

    function under(u) {
      const { ctx, bbox } = u;
      ctx.save();
      ctx.fillStyle = css("requested");
      for (const [begin, end] of plot.shades) {
        const from = u.valToPos(begin, "x", true);
        ctx.fillRect(from, bbox.top, u.valToPos(end, "x", true) - from, bbox.height);
      }
      ctx.restore();
    }
    function over(u) {
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
      const zero = u.valToPos(0, "y", true), now = u.valToPos(data.now, "x", true);
      line(bbox.left, zero, bbox.left + bbox.width, zero, css("axis"), []);
      if (now > bbox.left && now < bbox.left + bbox.width) {
        line(now, bbox.top, now, bbox.top + bbox.height, css("now"), [3 * devicePixelRatio, 3 * devicePixelRatio]);
      }
      ctx.restore();
    }
    const extent = (u, min, max) => {
      const low = Math.min(min ?? 0, 0), high = Math.max(max ?? 0, 0), pad = (high - low || 1) * 0.1;
      return [low < 0 ? low - pad : low, high > 0 || low === high ? high + pad : high];
    };
    const stepped = uPlot.paths.stepped({ align: 1 });
    const width = Math.max(chart.clientWidth, 240);
    const common = { stroke: css("muted"), font: font(), ticks: { stroke: css("line"), size: 4 } };
    const pad = (times[times.length - 1] - times[0]) * 0.02;
    const u = new uPlot({
      width, height: width < 520 ? 200 : 240, legend: { show: false }, padding: [10, 16, 0, 0],
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), data.timezone),
      cursor: { drag: { x: false, y: false }, points: { size: 7 } },
      scales: { x: { time: true, range: () => [times[0] - pad, times[times.length - 1] + pad] }, y: { range: extent } },
      axes: [
        { ...common, grid: { show: false }, space: 56, size: 28, values: (_, splits) => splits.map((s) => hours.format(new Date(s * 1000))) },
        { ...common, grid: { stroke: css("grid"), width: 1 }, size: 56, gap: 4, values: (_, splits) => splits.map(number) },
      ],
      series: [{}, ...plot.lines.map((_, k) => ({ stroke: css(COLOURS[k % COLOURS.length]), width: 2, paths: stepped, points: { show: false } }))],
      hooks: { drawClear: [under], draw: [over], setCursor: [() => read()] },
    }, [times, ...drawn], chart);

    const last = times.length - 2;
    const rest = Math.min(Math.max(times.filter((t) => t <= data.now).length - 1, 0), last);
    // The cursor's index is the nearest instant; what holds there is the step that begins at or before it.
    const at = () => {
      if (u.cursor.left == null || u.cursor.left < 0) return rest;
      const t = u.posToVal(u.cursor.left, "x");
      return Math.min(Math.max(times.filter((each) => each <= t).length - 1, 0), last);
    };
    function read() {
      const k = at();
      when.textContent = `${clock.format(new Date(times[k] * 1000))}–${hours.format(new Date(times[k + 1] * 1000))}`;
      outputs.forEach((output, line) => { output.textContent = number(values[line][k]); });
    }
    chart.addEventListener("keydown", (event) => {
      const next = { ArrowLeft: at() - 1, ArrowRight: at() + 1, Home: 0, End: last }[event.key];
      if (next === undefined) return;
      event.preventDefault();
      const k = Math.min(Math.max(next, 0), last);
      u.setCursor({ left: u.valToPos(times[k], "x") + 1, top: u.valToPos(0, "y") });
      readout.textContent = `${when.textContent}: ${[...legend.querySelectorAll(".area")].map((item) => item.textContent).join(", ")}`;
    });
    plots.push(u);
    requestAnimationFrame(read);
  }

  function show() {
    const data = document.getElementById("drawn")?.dataset.plots || "";
    if (data === shown) return;
    shown = data;
    rebuild();
  }

  function rebuild() {
    plots.forEach((plot) => plot.destroy());
    plots = [];
    root.replaceChildren();
    const data = JSON.parse(shown);
    const drawn = [...data.signals, ...data.reports].filter((plot) => plot.lines.some((line) => line.steps.length));
    none.hidden = drawn.length > 0;
    drawn.forEach((plot, n) => draw(data, plot, n));
  }

  show();
  new MutationObserver(show).observe(document.querySelector("[id^=f-]"), { subtree: true, childList: true, attributes: true });
  let drawnAt = root.clientWidth;
  new ResizeObserver(() => {
    if (root.clientWidth && root.clientWidth !== drawnAt) { drawnAt = root.clientWidth; rebuild(); }
  }).observe(root);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", rebuild);
})();
