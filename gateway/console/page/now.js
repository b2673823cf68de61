// Now: the health in one sentence, the problems with what to type next, each SDK, each worker.

import { html } from "./vendor/preact-htm.js";
import { Plots } from "./plots.js";
import { Ago, Command, State, Table, count, duration } from "./parts.js";

export function Now({ overview }) {
  if (!overview) return html`<p class="quiet">Loading</p>`;
  return html`
    <p class="summary" role="status"><${State} kind=${overview.ready ? overview.health : "down"}>${overview.health}<//> ${overview.summary}</p>
    ${overview.problems.length > 0 && html`<section aria-labelledby="problems"><h2 id="problems">Problems</h2>
      <ul class="problems">${overview.problems.map((problem) => html`<li key=${problem.text}><p>${problem.text}</p>
        ${problem.command && html`<${Command} text=${problem.command} />`}</li>`)}</ul></section>`}
    <section aria-labelledby="sdks"><h2 id="sdks">SDKs</h2>
      <${Table} name="SDKs" rows=${overview.sdks} rowKey=${(sdk) => sdk.id} columns=${SDK_COLUMNS} empty="The settings have no SDK." />
    </section>
    ${overview.workers.length > 0 && html`<section aria-labelledby="workers"><h2 id="workers">Workers</h2>
      <${Table} name="Workers" rows=${overview.workers} rowKey=${(worker) => worker.number} columns=${WORKER_COLUMNS} />
    </section>`}
    <${Plots} />
    <p class="quiet">Version ${overview.version}, running for ${duration(overview.uptime_seconds)},
      ${" "}${count(overview.streams, "open stream")}.</p>`;
}

const SDK_COLUMNS = [
  ["SDK", (sdk) => html`<strong>${sdk.id}</strong>`],
  ["State", (sdk) => html`<${State} kind=${sdk.health}>${sdk.health}<//>`],
  ["Source", (sdk) => sdk.source],
  ["Last fetch", (sdk) => sdk.last_fetch === null ? "none yet" : html`<${Ago} at=${sdk.last_fetch.at} />: ${sdk.last_fetch.text}`],
  ["Config", (sdk) => config(sdk)],
  ["Flags", (sdk) => sdk.flags.toLocaleString()],
  ["Failing", (sdk) => sdk.failing_flags === 0 ? "0" : html`<details><summary>${sdk.failing_flags}</summary>
    <ul>${sdk.failing.map((flag) => html`<li key=${flag.key}><code>${flag.key}</code>: ${flag.reason}</li>`)}</ul></details>`],
  ["Streams", (sdk) => sdk.streams.toLocaleString()],
];

function config(sdk) {
  if (sdk.config === null) return "none yet";
  return html`<code>${sdk.config.tag}</code>, since <${Ago} at=${sdk.config.since} />
    ${sdk.config.stale && html` <${State} kind="degraded">stale<//>`}
    ${sdk.held && html` <a href="#/configs"><${State} kind="degraded">one is held<//></a>`}`;
}

const WORKER_COLUMNS = [
  ["Worker", (worker) => worker.number],
  ["Process", (worker) => worker.pid],
  ["State", (worker) => worker.responding
    ? html`<${State} kind=${worker.listening ? "healthy" : "initializing"}>${worker.listening ? "serves" : "starts"}<//>`
    : html`<${State} kind="down">does not answer<//>`],
  ["Streams", (worker) => worker.streams.toLocaleString()],
  ["Running for", (worker) => duration(worker.uptime_seconds)],
];
