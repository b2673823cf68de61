// The gateways that work together; nothing is shown where there is one.

import { html, useEffect } from "./vendor/preact-htm.js";
import { isLoggedOut } from "./live.js";
import { Ago, Card, State, Table, count, duration, number, short } from "./parts.js";

const REPORTS = 5_000; // milliseconds between two reports of a node, which cause no event
const LISTED = 3; // SDKs of a node; more are behind a click

export function Cluster({ cluster, reload }) {
  const nodes = cluster?.nodes ?? [];
  const shown = nodes.length > 1;
  useEffect(() => {
    if (!shown) return undefined;
    const timer = setInterval(() => document.hidden || isLoggedOut() || reload(), REPORTS);
    return () => clearInterval(timer);
  }, [shown]);
  if (!shown) return null;
  return html`<${Card} id="cluster" title="Cluster" end=${html`<span class="quiet small">${count(nodes.length, "node")}, this is ${cluster.node}</span>`}>
    <${Table} name="Nodes" rows=${nodes} rowKey=${(node) => node.node} columns=${COLUMNS} chosen=${(node) => node.node === cluster.node} />
    ${cluster.leases.length > 0 && html`<${Table} name="Who delivers" rows=${cluster.leases} rowKey=${(lease) => lease.endpoint} columns=${LEASES} />`}
  <//>`;
}

const COLUMNS = [
  ["Node", (node) => html`<strong>${node.node}</strong>`],
  ["State", (node) => node.draining ? html`<${State} kind="initializing">stops<//>` : html`<${State} kind="healthy">serves<//>`],
  ["Configs", (node) => configs(node.sdks)],
  ["Lag", (node) => short(lag(node.sdks)) || "none yet", "number"],
  ["Streams", (node) => number(node.streams), "number"],
  ["Version", (node) => node.version],
  ["Running for", (node) => duration((Date.now() - Date.parse(node.started)) / 1000), "number"],
];

const LEASES = [
  ["Endpoint", (lease) => html`<strong>${lease.endpoint}</strong>`],
  ["Delivered by", (lease) => lease.node ?? html`<${State} kind="down">no node<//>`],
  ["Takeovers", (lease) => number(Math.max(0, lease.epoch - 1)), "number"],
];

const lag = (sdks) => sdks.reduce((most, sdk) => sdk.lag_seconds !== null && sdk.lag_seconds >= (most ?? 0) ? sdk.lag_seconds : most, null);

function configs(sdks) {
  const list = html`<ul class="plain tight">${sdks.map((sdk) => html`<li key=${sdk.id}><${Config} sdk=${sdk} /></li>`)}</ul>`;
  if (sdks.length <= LISTED) return list;
  const [polled, behind] = [sdks.filter((sdk) => sdk.polls).length, sdks.filter((sdk) => sdk.behind_since !== null).length];
  return html`<details><summary>${count(sdks.length, "SDK")}, polls ${number(polled)}
    ${behind > 0 && html` <${State} kind="degraded">${number(behind)} behind<//>`}</summary>${list}</details>`;
}

const Config = ({ sdk }) => html`<strong>${sdk.id}</strong> ${sdk.config && html`<code>${sdk.config.slice(0, 8)}</code>
  ${" "}<span class="quiet">since <${Ago} at=${sdk.since} /></span>`}
  ${sdk.polls && html` <${State} kind="healthy">polls<//>`}
  ${sdk.behind_since !== null && html` <${State} kind="degraded">behind since <${Ago} at=${sdk.behind_since} /><//>`}`;
