// Offers against the request, one drawing per counterpart: the band that the request allows, every option as a line,
// what was ordered on top. The data stands in the page (#drawn) and is drawn anew whenever it changes.
(() => {
  "use strict";
  const COLOURS = ["plan", "prognosis", "pv", "homes", "battery"];
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const number = (value, digits = 1) =>
    value == null ? "–" : value.toFixed(digits).replace(/^-(?=[0.]*$)/, "").replace("-", "−");
  const font = () => `12px ${getComputedStyle(document.body).fontFamily}`;
  const node = (name, className, text) => {
    const made = document.createElement(name);
    if (className) made.className = className;
    if (text != null) made.textContent = text;
    return made;
  };

  const root = document.getElementById("sides");
  const none = document.getElementById("no-sides");
  let shown = "";
  let plots = [];

  // A step is drawn from its ISP's begin to the next value; the last one is repeated so that its step has an end.
  const steps = (values) => [...values, values[values.length - 1]].map((value) => value ?? null);

  function linesOf(side) {
    const lines = [];
    side.lines.forEach((line, k) => {
      const colour = COLOURS[k % COLOURS.length];
      const price = line.price ? ` for ${line.price} ${line.currency}` : "";
      if (!line.ordered_kw || line.factor) lines.push({ label: `${line.label}${price}`, values: line.power_kw, colour, width: 2, state: line.state });
    });
    side.lines.filter((line) => line.ordered_kw).forEach((line) => {
      const part = line.factor && Number(line.factor) !== 1 ? ` × ${line.factor}` : "";
      lines.push({ label: `Ordered: ${line.label}${part}`, values: line.ordered_kw, colour: "good", width: 4, ordered: true });
    });
    return lines;
  }

  // Only the part of the day that was spoken about, with some room on both sides; the same for every counterpart.
  function spokenOf(place) {
    const known = place.sides.flatMap((side) => [...(side.request ? [side.request.min_kw] : []), ...side.lines.map((line) => line.power_kw)]);
    const spoken = place.starts.map((_, k) => k).filter((k) => known.some((values) => values[k] != null));
    const end = place.starts.length;
    return [Math.max((spoken[0] ?? 0) - 2, 0), Math.min((spoken[spoken.length - 1] ?? end) + 3, end)];
  }

  function draw(place, side, n, [first, last]) {
    const starts = place.starts.map((start) => Date.parse(start) / 1000);
    const span = place.isp_minutes * 60;
    const times = [...starts, starts[starts.length - 1] + span];
    const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", timeZone: place.timezone });
    const told = (k) => `${clock.format(new Date(starts[k] * 1000))}–${clock.format(new Date((starts[k] + span) * 1000))} · ISP ${k + 1}`;
    const request = side.request || { min_kw: starts.map(() => null), max_kw: starts.map(() => null), requested: [] };
    const requested = new Set(request.requested);
    const lines = linesOf(side);
    const rest = (request.requested[0] ?? first + 3) - 1;

    const figure = root.appendChild(node("figure", "side-chart"));
    figure.appendChild(node("figcaption", "", side.peer));
    const legend = figure.appendChild(node("ul", "legend"));
    const when = legend.appendChild(node("li", "when"));
    const chart = figure.appendChild(node("div", "chart"));
    const readout = figure.appendChild(node("p", "sr"));
    readout.setAttribute("aria-live", "polite");
    chart.id = `side-${n}`;
    chart.tabIndex = 0;
    chart.setAttribute("role", "group");
    chart.setAttribute("aria-roledescription", "chart");
    chart.setAttribute("aria-describedby", "side-help");
    chart.setAttribute("aria-label", `Offers against the request of ${side.peer}`);

    const outputs = [];
    const entry = (label, key) => {
      const item = legend.appendChild(node("li", "area"));
      item.appendChild(node("i", `key ${key}`));
      item.appendChild(document.createTextNode(label));
      return item;
    };
    if (side.request) {
      const output = node("output");
      entry("Allowed ", "allowed").appendChild(output);
      outputs.push([output, (k) => request.min_kw[k] == null ? "–" : `${number(request.min_kw[k])} to ${number(request.max_kw[k])}`]);
      entry("Requested ISPs", "requested");
    }
    lines.forEach((line) => {
      const item = legend.appendChild(node("li", "area"));
      item.appendChild(node("i", `key ${line.colour}${line.ordered ? " bold" : ""}`));
      item.appendChild(document.createTextNode(`${line.label} `));
      const output = item.appendChild(node("output"));
      outputs.push([output, (k) => number(line.values[k])]);
    });

    function shade(u) {
      const { ctx, bbox } = u;
      ctx.save();
      ctx.beginPath();
      ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
      ctx.clip();
      ctx.fillStyle = css("requested");
      for (const isp of requested) {
        const from = u.valToPos(starts[isp - 1], "x", true);
        ctx.fillRect(from, bbox.top, u.valToPos(starts[isp - 1] + span, "x", true) - from, bbox.height);
      }
      ctx.restore();
    }

    function zero(u) {
      const { ctx, bbox } = u;
      const y = u.valToPos(0, "y", true);
      ctx.save();
      ctx.beginPath();
      ctx.strokeStyle = css("axis");
      ctx.lineWidth = devicePixelRatio;
      ctx.moveTo(bbox.left, y);
      ctx.lineTo(bbox.left + bbox.width, y);
      ctx.stroke();
      ctx.restore();
    }

    // Room is often many times what is offered: the scale follows what was asked and offered, room is cut off beyond it.
    const asked = [...requested].map((isp) => Math.min(Math.abs(request.min_kw[isp - 1]), Math.abs(request.max_kw[isp - 1])));
    const matters = Math.max(...asked, ...lines.flatMap((line) => line.values.map((value) => Math.abs(value ?? 0))), 0);
    const reach = matters ? 2.5 * matters : Infinity;
    const extent = (u, min, max) => {
      const low = Math.max(Math.min(min ?? 0, 0), -reach), high = Math.min(Math.max(max ?? 0, 0), reach);
      const pad = (high - low || 2) * 0.1;
      return [low < 0 || low === high ? low - pad : low, high > 0 || low === high ? high + pad : high];
    };
    const stepped = uPlot.paths.stepped({ align: 1 });
    const width = Math.max(chart.clientWidth, 240);
    const common = { stroke: css("muted"), font: font(), ticks: { stroke: css("line"), size: 4 } };
    const edge = { stroke: css("axis"), width: 1, paths: stepped, points: { show: false } };
    const plot = new uPlot({
      width, height: width < 520 ? 260 : 320, legend: { show: false }, padding: [10, 16, 0, 0],
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), place.timezone),
      cursor: { drag: { x: false, y: false }, points: { size: 7 } },
      scales: { x: { time: true, range: () => [times[first], times[last]] }, y: { range: extent } },
      axes: [
        { ...common, grid: { show: false }, space: 56, size: 28, values: (u, splits) => splits.map((s) => clock.format(new Date(s * 1000))) },
        { ...common, grid: { stroke: css("grid"), width: 1 }, size: 46, gap: 4, values: (u, splits) => splits.map((v) => number(v, splits.some((s) => s % 1) ? 1 : 0)) },
      ],
      bands: [{ series: [1, 2], fill: css("allowed") }],
      series: [
        {}, edge, edge,
        ...lines.map((line) => ({ stroke: css(line.colour), width: line.width, paths: stepped, points: { show: false } })),
      ],
      hooks: { drawClear: [shade], draw: [zero], setCursor: [() => read()] },
    }, [times, steps(request.max_kw), steps(request.min_kw), ...lines.map((line) => steps(line.values))], chart);

    const at = () => (plot.cursor.idx != null && plot.cursor.left >= 0 ? Math.min(plot.cursor.idx, starts.length - 1) : rest);
    function read() {
      if (!plot) return;
      const k = at();
      when.textContent = `${told(k)}${requested.has(k + 1) ? " · requested" : ""}`;
      for (const [output, value] of outputs) output.textContent = value(k);
    }
    chart.addEventListener("keydown", (event) => {
      const next = { ArrowLeft: at() - 1, ArrowRight: at() + 1, Home: first, End: last - 1 }[event.key];
      if (next === undefined) return;
      event.preventDefault();
      const k = Math.min(Math.max(next, first), last - 1);
      plot.setCursor({ left: plot.valToPos(starts[k], "x") + 1, top: plot.valToPos(0, "y") });
      readout.textContent = `${when.textContent}: ${[...legend.querySelectorAll(".area")].map((item) => item.textContent).join(", ")}`;
    });
    plots.push(plot);
    requestAnimationFrame(read);
  }

  function show() {
    const data = document.getElementById("drawn")?.dataset.place || "";
    if (data === shown) return;
    shown = data;
    rebuild();
  }

  function rebuild() {
    plots.forEach((plot) => plot.destroy());
    plots = [];
    root.replaceChildren();
    const place = shown ? JSON.parse(shown) : { sides: [] };
    none.hidden = place.sides.length > 0;
    const spoken = spokenOf(place);
    place.sides.forEach((side, n) => draw(place, side, n, spoken));
  }

  show();
  new MutationObserver(show).observe(document.getElementById("f-place"), { subtree: true, childList: true, attributes: true });
  let drawnAt = root.clientWidth;
  new ResizeObserver(() => {
    if (root.clientWidth && root.clientWidth !== drawnAt) { drawnAt = root.clientWidth; rebuild(); }
  }).observe(root);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", rebuild);
})();
