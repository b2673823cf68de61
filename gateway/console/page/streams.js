// Streams: how many are open, by SDK, flag, mode and worker, and how many clients do not read.

import { html } from "./vendor/preact-htm.js";
import { useLive } from "./api.js";
import { Tail, TestStream } from "./user_stream.js";
import { Card, Failure, State, Table, Tiles, count, duration, number } from "./parts.js";

const EVENTS = ["streams"];

export function Streams({ overview }) {
  const { data, error } = useLive("api/v1/streams", EVENTS);
  return html`<${Failure} error=${error} />
    ${data && html`<${Tiles} tiles=${tiles(data)} />
      ${data.missing_workers > 0 && html`<p class="failure">${count(data.missing_workers, "worker")} did not answer; their streams are missing.</p>`}
      <${Card} id="open" title=${count(data.open, "open stream")}>
        <${Table} name="Streams" rows=${shares(data.streams)} empty="No stream is open. Clients appear here as soon as they connect." columns=${COLUMNS}
          rowKey=${(each) => [each.sdk, each.flag, each.mode, each.worker].join(" ")} /><//>`}
    <div class="row"><${Tail} overview=${overview} /><${TestStream} overview=${overview} /></div>`;
}

// Adds how large each row is beside the largest one.
function shares(streams) {
  const most = Math.max(1, ...streams.map((each) => each.open));
  return streams.map((each) => ({ ...each, share: each.open / most }));
}

function tiles(data) {
  const stalled = Math.max(0, ...data.streams.map((each) => each.longest_pause_seconds));
  return [
    ["Open", number(data.open)],
    ["Different users", number(data.streams.reduce((sum, each) => sum + each.users, 0))],
    ["Not reading", number(data.paused), data.paused > 0 ? `longest ${duration(stalled)}` : ""],
    ["Flags streamed", number(new Set(data.streams.map((each) => `${each.sdk} ${each.flag}`)).size)],
  ];
}

const COLUMNS = [
  ["SDK", (each) => html`<strong>${each.sdk}</strong>`],
  ["Flag", (each) => each.flag === null ? "all flags" : html`<code>${each.flag}</code>`],
  ["Mode", (each) => each.mode],
  ["Worker", (each) => each.worker || "this process"],
  ["Users", (each) => number(each.users), "number"],
  ["Not reading", (each) => each.paused === 0 ? "0"
    : html`<${State} kind="degraded">${number(each.paused)}<//> for ${duration(each.longest_pause_seconds)}`, "number"],
  ["Open", (each) => number(each.open), "number"],
  ["Share", (each) => html`<span class="bar" style=${{ width: `${80 * each.share}%` }}></span>`, "bars"],
];
