// The last hour as plots, with a line where a config came into use.

import { html, useEffect, useRef } from "./vendor/preact-htm.js";
import { useLive } from "./api.js";
import { Failure } from "./parts.js";

const SECONDS = 5;
const HEIGHT = 150;
const PLOTS = [
  ["Open streams", (point) => point.streams],
  ["Requests per second", (point) => point.requests_per_second],
  ["Push to the last client (ms)", (point) => point.push_seconds === null ? null : point.push_seconds * 1000],
  ["Event loop lag (ms)", (point) => point.lag_seconds * 1000],
  ["Memory (MiB)", (point) => point.memory_bytes / 2 ** 20],
  ["Processors in use", (point) => point.processor],
];

export function Plots() {
  const { data, error } = useLive("api/v1/series", SECONDS);
  return html`<section aria-labelledby="hour"><h2 id="hour">The last hour</h2><${Failure} error=${error} />
    ${data && (data.points.length < 2 ? html`<p class="quiet">The first points follow within seconds.</p>`
      : html`<div class="plots">${PLOTS.map(([title, value]) =>
        html`<${Plot} key=${title} title=${title} value=${value} series=${data} />`)}</div>`)}</section>`;
}

const seconds = (at) => Date.parse(at) / 1000;

function Plot({ title, value, series }) {
  const place = useRef();
  const plot = useRef(null);
  const marks = useRef([]);
  const values = series.points.map(value);
  const last = values.findLast((each) => each !== null);
  marks.current = series.changes;
  useEffect(() => {
    const color = getComputedStyle(document.documentElement);
    const axis = { stroke: color.getPropertyValue("--quiet"), grid: { stroke: color.getPropertyValue("--line"), width: 0.5 } };
    const width = () => Math.max(200, place.current.clientWidth);
    plot.current = new uPlot({
      width: width(), height: HEIGHT, legend: { show: false }, cursor: { show: false },
      scales: { y: { range: (_, low, high) => [0, Math.max(high, 1) * 1.1] } },
      axes: [axis, { ...axis, size: 60 }],
      series: [{}, { stroke: color.getPropertyValue("--link"), width: 1.5, points: { show: false } }],
      hooks: { draw: [(drawn) => drawMarks(drawn, marks.current, color.getPropertyValue("--warn"))] },
    }, [[], []], place.current);
    const resized = () => plot.current.setSize({ width: width(), height: HEIGHT });
    addEventListener("resize", resized);
    return () => {
      removeEventListener("resize", resized);
      plot.current.destroy();
    };
  }, []);
  useEffect(() => plot.current.setData([series.points.map((point) => seconds(point.at)), values]), [series]);
  const shown = last === undefined ? "none" : last.toLocaleString(undefined, { maximumFractionDigits: 1 });
  return html`<figure><figcaption>${title}: <strong>${shown}</strong></figcaption>
    <div ref=${place} role="img" aria-label="${title} in the last hour, now ${shown}"></div></figure>`;
}

function drawMarks({ ctx, bbox, valToPos, scales }, changes, color) {
  ctx.save();
  ctx.strokeStyle = color;
  for (const change of changes) {
    const moment = seconds(change.at);
    if (moment < scales.x.min || moment > scales.x.max) continue;
    const x = Math.round(valToPos(moment, "x", true));
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
  }
  ctx.restore();
}
