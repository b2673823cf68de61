// Clients: which SDKs and programs send requests, how many fail, and which flags they name.

import { html } from "./vendor/preact-htm.js";
import { useLive } from "./api.js";
import { Ago, Card, Failure, State, Table, Tiles, count, number } from "./parts.js";

const EVENTS = ["point"];

export function Clients() {
  const { data, error } = useLive("api/v1/clients", EVENTS);
  if (!data) return html`<${Failure} error=${error} />`;
  return html`<${Failure} error=${error} />
    <${Tiles} tiles=${tiles(data)} />
    ${data.missing_workers > 0 && html`<p class="failure">${count(data.missing_workers, "worker")} did not answer; their clients are missing.</p>`}
    <${Card} id="agents" title="Programs and SDKs"><${Table} name="Programs and SDKs" rows=${data.agents} columns=${AGENT_COLUMNS}
      empty="No client has sent a request since the start." rowKey=${(each) => `${each.user_agent} ${each.sdk}`} /><//>
    <${Card} id="routes" title="Requests by route"><${Table} name="Requests by route" rows=${data.routes} columns=${ROUTE_COLUMNS}
      empty="No request since the start." rowKey=${(each) => each.route} /><//>
    ${data.keys.length > 0 && html`<${Card} id="keys" title="Keys of callers"><${Table} name="Keys of callers" rows=${data.keys} columns=${KEY_COLUMNS}
      rowKey=${(each) => `${each.caller} ${each.second}`} /><//>`}
    <div class="row"><${Card} id="unknown" title="Flags that do not exist"><${Table} name="Flags that do not exist" rows=${data.unknown_flags} columns=${UNKNOWN_COLUMNS}
      empty="Every request named a flag of its config." rowKey=${(each) => `${each.sdk} ${each.key}`} /><//>
    <${Card} id="unasked" title="Flags that no request has named">
      ${data.unasked_flags.map((each) => html`<${Unasked} key=${each.sdk} unasked=${each} />`)}
      ${data.all_flags_requests > 0 && html`<p class="quiet small">${number(data.all_flags_requests)} requests were for all flags or a whole config, which name none: these flags may be in use all the same.</p>`}<//></div>`;
}

function tiles(data) {
  const sum = (name) => data.routes.reduce((total, each) => total + each[name], 0);
  const requests = sum("requests");
  return [
    ["Requests", number(requests)],
    ["Client errors", number(sum("client_errors")), share(sum("client_errors"), requests)],
    ["Server errors", number(sum("server_errors")), share(sum("server_errors"), requests)],
    ["Programs and SDKs", number(data.agents.length)],
  ];
}

const share = (part, whole) => whole > 0 ? `${number(100 * part / whole, 1)} %` : "";

function Unasked({ unasked }) {
  if (unasked.count === 0) return html`<p><strong>${unasked.sdk}</strong>: <span class="quiet">none</span></p>`;
  return html`<details><summary><strong>${unasked.sdk}</strong>: ${count(unasked.count, "flag")}</summary>
    <p>${unasked.flags.map((key) => html`<code key=${key}>${key}</code> `)}</p>
    ${unasked.count > unasked.flags.length && html`<p class="quiet">The first ${number(unasked.flags.length)} are shown.</p>`}</details>`;
}

const AGENT_COLUMNS = [
  ["User agent", (each) => each.user_agent || html`<span class="quiet">none</span>`],
  ["ConfigCat SDK", (each) => each.sdk],
  ["Sampled requests", (each) => number(each.sampled_requests), "number"],
  ["Last seen", (each) => html`<${Ago} at=${each.last_seen} />`, "number"],
];

const KEY_COLUMNS = [
  ["Caller", (each) => each.caller],
  ["Key", (each) => each.second ? "second" : "first"],
  ["Requests", (each) => number(each.requests), "number"],
  ["Last used", (each) => html`<${Ago} at=${each.last_used} />`, "number"],
];

const ROUTE_COLUMNS = [
  ["Route", (each) => html`<code>${each.route}</code>`],
  ["Requests", (each) => number(each.requests), "number"],
  ["Client errors", (each) => number(each.client_errors), "number"],
  ["Server errors", (each) => each.server_errors === 0 ? "0" : html`<${State} kind="failed">${number(each.server_errors)}<//>`, "number"],
  ["Share of errors", (each) => `${number(100 * each.error_rate, 1)} %`, "number"],
];

const UNKNOWN_COLUMNS = [
  ["Flag", (each) => html`<code>${each.key}</code> <span class="quiet">of ${each.sdk}</span>`],
  ["Requests", (each) => number(each.requests), "number"],
  ["Last seen", (each) => html`<${Ago} at=${each.last_seen} />`, "number"],
];
