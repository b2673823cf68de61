// Streams: how many are open, by SDK, flag, mode and worker, and how many clients do not read.

import { html } from "./vendor/preact-htm.js";
import { useLive } from "./api.js";
import { Failure, State, Table, count, duration } from "./parts.js";

const SECONDS = 2;

export function Streams() {
  const { data, error } = useLive("api/v1/streams", SECONDS);
  return html`<${Failure} error=${error} />
    ${data && html`<p class="summary">${count(data.open, "open stream")}; the clients of ${data.paused.toLocaleString()} do not read.</p>
      ${data.missing_workers > 0 && html`<p class="failure">${count(data.missing_workers, "worker")} did not answer; their streams are missing.</p>`}
      <${Table} name="Streams" rows=${data.streams} empty="No stream is open." columns=${COLUMNS}
        rowKey=${(each) => [each.sdk, each.flag, each.mode, each.worker].join(" ")} />`}`;
}

const COLUMNS = [
  ["SDK", (each) => each.sdk],
  ["Flag", (each) => each.flag === null ? "all flags" : html`<code>${each.flag}</code>`],
  ["Mode", (each) => each.mode],
  ["Worker", (each) => each.worker || "this process"],
  ["Open", (each) => each.open.toLocaleString()],
  ["Users", (each) => each.users.toLocaleString()],
  ["Not reading", (each) => each.paused === 0 ? "0"
    : html`<${State} kind="degraded">${each.paused.toLocaleString()}<//>, the longest for ${duration(each.longest_pause_seconds)}`],
];
