// Now: the health in one sentence, the problems with what to type next, each SDK, node and worker, what just happened.

import { html, useEffect, useState } from "./vendor/preact-htm.js";
import { Cluster } from "./cluster.js";
import { listen } from "./live.js";
import { Plots } from "./plots.js";
import { Ago, Card, Clock, Command, Empty, Loading, Reached, State, Table, count, duration, number, short } from "./parts.js";

const KEPT = 8; // events

export function Now({ overview, reload }) {
  if (!overview) return html`<${Loading} />`;
  const health = overview.ready ? overview.health : "down";
  const only = overview.problems.length === 1 ? overview.problems[0] : null; // the sentence has its text
  return html`
    <div class="card health"><span class="dot ${health}"></span><div>
      <p class="summary" role="status">${overview.summary}</p>
      ${only?.command && html`<p><${Command} text=${only.command} /></p>`}
      <p class="quiet small"><${State} kind=${health}>${overview.health}<//> ${" "}${count(overview.streams, "open stream")},
        ${" "}version ${overview.version}, running for ${duration(overview.uptime_seconds)}</p></div></div>
    ${overview.problems.length > 1 && html`<${Card} id="problems" title=${count(overview.problems.length, "problem")} kind="calls">
      <ul class="plain">${overview.problems.map((problem) => html`<li key=${problem.text}><p>${problem.text}</p>
        ${problem.command && html`<${Command} text=${problem.command} />`}</li>`)}</ul><//>`}
    <${Plots} />
    <${Card} id="sdks" title="SDKs">
      <${Table} name="SDKs" rows=${overview.sdks} rowKey=${(sdk) => sdk.id} columns=${SDK_COLUMNS} empty="The settings have no SDK." />
    <//>
    <${Cluster} cluster=${overview.cluster} reload=${reload} />
    <div class="row"><${JustNow} />
    ${overview.workers.length > 0 && html`<${Card} id="workers" title="Workers">
      <${Table} name="Workers" rows=${overview.workers} rowKey=${(worker) => worker.number} columns=${WORKER_COLUMNS} />
    <//>`}</div>`;
}

const SDK_COLUMNS = [
  ["SDK", (sdk) => html`<strong>${sdk.id}</strong>`],
  ["State", (sdk) => html`<${State} kind=${sdk.health}>${sdk.health}<//>`],
  ["Config", (sdk) => config(sdk)],
  ["Last fetch", (sdk) => sdk.last_fetch === null ? "none yet" : html`<${Ago} at=${sdk.last_fetch.at} />, ${sdk.source}
    ${!sdk.last_fetch.ok && html`: ${sdk.last_fetch.text}`}`],
  ["Flags", (sdk) => number(sdk.flags), "number"],
  ["Failing", (sdk) => sdk.failing_flags === 0 ? "0" : html`<details><summary>${number(sdk.failing_flags)}</summary>
    <ul>${sdk.failing.map((flag) => html`<li key=${flag.key}><code>${flag.key}</code>: ${flag.reason}</li>`)}</ul></details>`, "number"],
  ["Streams", (sdk) => number(sdk.streams), "number"],
];

function config(sdk) {
  if (sdk.config === null) return "none yet";
  return html`<code>${sdk.config.tag.slice(0, 8)}</code> <span class="quiet">since <${Ago} at=${sdk.config.since} /></span>
    ${sdk.config.stale && html` <${State} kind="degraded">stale<//>`}
    ${sdk.pinned && html` <a href="#/configs"><${State} kind="degraded">pinned<//></a>`}
    ${sdk.held && html` <a href="#/configs"><${State} kind="degraded">one is held<//></a>`}`;
}

const WORKER_COLUMNS = [
  ["Worker", (worker) => worker.number],
  ["State", (worker) => worker.responding
    ? html`<${State} kind=${worker.listening ? "healthy" : "initializing"}>${worker.listening ? "serves" : "starts"}<//>`
    : html`<${State} kind="down">does not answer<//>`],
  ["Process", (worker) => worker.pid, "number"],
  ["Streams", (worker) => number(worker.streams), "number"],
  ["Running for", (worker) => duration(worker.uptime_seconds), "number"],
];

// The latest events of each kind that are worth a line; kept while other views are shown.
const events = new Map();
const TEXTS = {
  config: (data) => html`<strong>${data.sdk}</strong> serves config <code>${data.config.slice(0, 8)}</code> with ${count(data.flags, "flag")}`,
  push: (data) => html`<strong>${data.sdk}</strong>: <${Reached} reach=${data.reach} />`,
  held: (data) => data.reason === null ? html`<strong>${data.sdk}</strong> holds no config any more`
    : html`<strong>${data.sdk}</strong> holds a config: ${data.reason}`,
  delivery: (data) => html`a message to <strong>${data.endpoint}</strong>: ${data.outcome}, ${short(data.seconds)}`,
};

listen((kind, data) => {
  if (!(kind in TEXTS)) return;
  const key = `${kind} ${data.sdk ?? data.endpoint}`;
  events.delete(key);
  events.set(key, { kind, data });
});

function JustNow() {
  const [, renew] = useState(0);
  useEffect(() => listen((kind) => kind in TEXTS && renew((before) => before + 1)), []);
  const shown = [...events.entries()].sort(([, one], [, other]) => other.data.at.localeCompare(one.data.at)).slice(0, KEPT);
  return html`<${Card} id="just" title="Just now">${shown.length === 0 ? html`<${Empty}>Nothing happened since this page was opened.<//>`
    : html`<dl class="log">${shown.map(([key, { kind, data }]) => html`<dt key=${`${key} at`}><${Clock} at=${data.at} /></dt>
      <dd key=${key}>${TEXTS[kind](data)}</dd>`)}</dl>`}<//>`;
}
