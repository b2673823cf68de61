// The last hour as plots, with a line where a config came into use.

import { html, useEffect, useRef, useState } from "./vendor/preact-htm.js";
import { get } from "./api.js";
import { listen, watch } from "./live.js";
import { Empty, Failure, number } from "./parts.js";

const HEIGHT = 110;
const HOUR = 3_600; // seconds
const PLOTS = [
  ["Open streams", "", (point) => point.streams],
  ["Requests per second", "", (point) => point.requests_per_second],
  ["Push to the last client", "ms", (point) => point.push_seconds === null ? null : point.push_seconds * 1000],
  ["Event loop lag", "ms", (point) => point.lag_seconds * 1000],
  ["Memory", "MiB", (point) => point.memory_bytes / 2 ** 20],
  ["Processors in use", "", (point) => point.processor],
];

const seconds = (at) => Date.parse(at) / 1000;

// The hour is loaded once, and again after a lost connection; each further point is an event.
function useSeries() {
  const [series, setSeries] = useState(null);
  const [error, setError] = useState(null);
  useEffect(() => {
    const load = async () => {
      try {
        setSeries(await get("api/v1/series"));
        setError(null);
      } catch (failure) {
        setError(failure.status === 0 ? null : failure);
      }
    };
    const add = (change) => setSeries((before) => before && { ...before, ...change(before) });
    load();
    const quit = [
      watch((state) => state === "live" && load()),
      listen((kind, data) => {
        if (kind === "config") add(({ changes }) => ({ changes: [...changes, { at: data.at, sdk: data.sdk, config: data.config }] }));
        if (kind !== "point") return;
        add(({ points }) => {
          const last = points.at(-1);
          if (last && last.at >= data.at) return {};
          return { points: [...points, data].filter((point) => seconds(point.at) > seconds(data.at) - HOUR) };
        });
      }),
    ];
    return () => quit.forEach((each) => each());
  }, []);
  return { series, error };
}

export function Plots() {
  const { series, error } = useSeries();
  if (error) return html`<${Failure} error=${error} />`;
  if (!series) return null;
  if (series.points.length < 2) return html`<div class="card"><${Empty}>Plots of the last hour follow within seconds.<//></div>`;
  return html`<section aria-label="The last hour" class="plots">${PLOTS.map(([title, unit, value]) =>
    html`<${Plot} key=${title} title=${title} unit=${unit} value=${value} series=${series} />`)}</section>`;
}

function Plot({ title, unit, value, series }) {
  const place = useRef();
  const plot = useRef(null);
  const marks = useRef([]);
  const values = series.points.map(value);
  const last = values.findLast((each) => each !== null);
  marks.current = series.changes;
  useEffect(() => {
    const width = () => Math.max(120, place.current.clientWidth);
    const draw = () => {
      plot.current?.destroy();
      plot.current = new uPlot(options(width(), marks), [[], []], place.current);
    };
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    const redraw = () => {
      const data = plot.current.data;
      draw();
      plot.current.setData(data);
    };
    const resized = () => plot.current.setSize({ width: width(), height: HEIGHT });
    draw();
    addEventListener("resize", resized);
    scheme.addEventListener("change", redraw);
    return () => {
      removeEventListener("resize", resized);
      scheme.removeEventListener("change", redraw);
      plot.current.destroy();
    };
  }, []);
  useEffect(() => plot.current.setData([series.points.map((point) => seconds(point.at)), values]), [series]);
  const shown = last === undefined ? "none" : `${number(last, last < 10 ? 2 : last < 100 ? 1 : 0)}${unit && ` ${unit}`}`;
  return html`<figure><figcaption>${title} <strong>${shown}</strong></figcaption>
    <div ref=${place} role="img" aria-label="${title} in the last hour, now ${shown}"></div></figure>`;
}

const SECONDS_UP_TO = 300; // seconds of a plot

// The time of the day; in a short plot with seconds, since minutes would be equal.
const clock = (at, range) => new Date(at * 1000).toLocaleTimeString("en", { hour12: false, hour: "2-digit", minute: "2-digit",
  ...(range < SECONDS_UP_TO && { second: "2-digit" }) });

function options(width, marks) {
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(name).trim();
  const axis = { stroke: color("--quiet"), font: "11px system-ui, sans-serif", ticks: { show: false } };
  return {
    width, height: HEIGHT, legend: { show: false }, cursor: { show: false }, padding: [8, 4, 0, 0],
    scales: { y: { range: (_, low, high) => [0, Math.max(high * 1.15, 1e-3)] } },
    axes: [
      { ...axis, size: 20, gap: 4, space: 70, grid: { show: false },
        values: (_, moments) => moments.map((at) => clock(at, moments.at(-1) - moments[0])) },
      { ...axis, size: 40, gap: 4, space: 30, grid: { stroke: color("--line"), width: 1 },
        values: (_, splits) => splits.map((each) => number(each, 3)) },
    ],
    series: [{}, { stroke: color("--link"), fill: color("--link-soft"), width: 1.5, spanGaps: true,
      points: { show: (drawn) => drawn.data[1].filter((each) => each !== null).length < 30, size: 4, fill: color("--link") } }],
    hooks: { draw: [(drawn) => drawMarks(drawn, marks.current, color("--warn"))] },
  };
}

function drawMarks({ ctx, bbox, valToPos, scales }, changes, color) {
  ctx.save();
  ctx.strokeStyle = color;
  ctx.setLineDash([3, 3]);
  for (const change of changes) {
    const at = seconds(change.at);
    if (at < scales.x.min || at > scales.x.max) continue;
    const x = Math.round(valToPos(at, "x", true)) + 0.5;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
  }
  ctx.restore();
}
