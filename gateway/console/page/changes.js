// Changes: the configs that replaced another one as a timeline, and one of them with all that is known about it.

import { html, useRef, useState } from "./vendor/preact-htm.js";
import { useLive } from "./api.js";
import { Difference } from "./diff.js";
import { Ago, Card, Clock, Empty, Failure, Reached, SdkField, State, Table, Tiles, count, number, short } from "./parts.js";

const EVENTS = ["config", "push", "change"];
const DETAIL_EVENTS = ["push", "change", "delivery"];
const SHOWN = 30; // changes
const FLAGS = 6; // of a change in the timeline
const ACTS = { created: "good", updated: "info", deleted: "bad" };
const ORIGINS = { accepted: "accepted by an operator", served: "served by an operator", released: "released by an operator" };

export const Changes = ({ overview, rest }) => rest ? html`<${Details} key=${rest} id=${rest} />` : html`<${Timeline} overview=${overview} />`;

function Timeline({ overview }) {
  const [sdk, setSdk] = useState("");
  const { data, error } = useLive(`api/v1/changes?limit=${SHOWN}&sdk=${encodeURIComponent(sdk)}`, EVENTS);
  const known = useRef(null); // the newest change when the page was opened: later ones are shown as new
  if (data && known.current === null) known.current = data.changes[0]?.id ?? 0;
  return html`<form class="form" onSubmit=${(event) => event.preventDefault()}>
      <${SdkField} overview=${overview} value=${sdk} onChange=${(event) => setSdk(event.target.value)} all /></form>
    <${Failure} error=${error} />
    ${data && (data.changes.length
      ? html`<ol class="timeline">${data.changes.map((change) => html`<li key=${change.id} class=${change.id > known.current ? "fresh" : null}>
        <${Change} change=${change} /></li>`)}</ol>`
      : html`<div class="card"><${Empty}>No config has replaced another one yet. The next change appears here by itself.<//></div>`)}
    ${data?.next && html`<p class="quiet">The newest are shown; GET /api/v1/changes has all that are kept.</p>`}`;
}

const title = (change) => `${change.sdk}: ${count(change.flag_count, "flag")} changed`;

function Change({ change }) {
  return html`<article class="card">
    <div class="head"><h2><a href="#/changes/${change.id}">${title(change)}</a></h2>
      <span class="end quiet small"><${Clock} at=${change.at} />, <${Ago} at=${change.at} /></span></div>
    <p class="quiet"><${Origin} change=${change} /></p>
    <${Words} flags=${change.flags.slice(0, FLAGS)} />
    <${More} change=${change} shown=${Math.min(FLAGS, change.flags.length)} />
    <p class="small"><${Reached} reach=${change.reach} /></p>
  </article>`;
}

function Origin({ change }) {
  const who = change.author ? `By ${change.author}` : ORIGINS[change.source] ? `It was ${ORIGINS[change.source]}` : "Without an author";
  return html`${who}${change.notes && html`: <span class="note">${change.notes}</span>`}`;
}

const Words = ({ flags }) => html`<dl class="words">${flags.map((flag) => html`
  <dt key=${flag.key}><code>${flag.key}</code> <${State} kind=${ACTS[flag.act]}>${flag.act}<//></dt><dd key=${`${flag.key} text`}>${flag.text}</dd>`)}</dl>`;

function More({ change, shown }) {
  const parts = [];
  if (change.flag_count > shown) parts.push(`${number(change.flag_count - shown)} more`);
  if (change.segments.length) parts.push(`${change.segments.length === 1 ? "segment" : "segments"} ${change.segments.join(", ")}`);
  if (change.salt_changed) parts.push("the salt");
  if (change.preferences_changed) parts.push("the preferences");
  return parts.length > 0 && html`<p class="quiet small">Also: ${parts.join("; ")}</p>`;
}

function Details({ id }) {
  const { data, error } = useLive(`api/v1/changes/${encodeURIComponent(id)}`, DETAIL_EVENTS);
  return html`<p><a href="#/changes">All changes</a></p><${Failure} error=${error} />
    ${data && html`<${Card} id="change" title=${title(data)} end=${html`<span class="quiet small"><${Clock} at=${data.at} />, <${Ago} at=${data.at} />, change ${data.id}</span>`}>
        <p><${Origin} change=${data} /></p>
        <p class="quiet small">From config <code>${data.before}</code> to <code>${data.config}</code></p><//>
      <${Reach} reach=${data.reach} />
      ${data.definitions.map((flag) => html`<${Flag} key=${flag.key} flag=${flag} change=${data} />`)}
      <${More} change=${data} shown=${data.definitions.length} />
      <${Deliveries} deliveries=${data.deliveries} />`}`;
}

function Reach({ reach }) {
  if (reach === null || reach.open_streams === 0) return html`<div class="card"><p><${Reached} reach=${reach} /></p></div>`;
  return html`<${Tiles} tiles=${[
    ["Streams reached", number(reach.streams), `of ${number(reach.open_streams)}`],
    ["Users", number(reach.users)],
    ["First", short(reach.first_seconds) || "none"],
    ["Half of them", short(reach.p50_seconds) || "none"],
    ["99 %", short(reach.p99_seconds) || "none"],
    ["Last", short(reach.last_seconds) || "none"],
  ]} />
  ${(reach.paced_streams > 0 || reach.replaced || reach.processes < reach.expected_processes) && html`<p class="quiet small">${[
    reach.paced_streams > 0 && `${count(reach.paced_streams, "OFREP stream")} got the change spread over some seconds, by design.`,
    reach.replaced && "A newer config came before all had it.",
    reach.processes < reach.expected_processes && !reach.replaced && `${reach.processes} of ${count(reach.expected_processes, "process")} have ended their push.`,
  ].filter(Boolean).join(" ")}</p>`}`;
}

const Flag = ({ flag, change }) => html`<${Card} id=${`flag-${flag.key}`} title=${html`<code>${flag.key}</code>`}
    end=${html`<${State} kind=${ACTS[flag.act]}>${flag.act}<//>`}>
  <p>${flag.text}</p>
  ${(flag.before !== null || flag.after !== null) && html`<details open=${change.definitions.length <= 3}><summary>Definition</summary><${Difference} before=${flag.before} after=${flag.after} /></details>`}
  <p class="small"><a href=${`#/explain?${new URLSearchParams({ sdk: change.sdk, key: flag.key })}`}>Explain it for a user</a></p><//>`;

function Deliveries({ deliveries }) {
  if (deliveries === null) return null;
  return html`<${Card} id="deliveries" title="Deliveries"><${Table} name="Deliveries" rows=${deliveries} rowKey=${(each) => each.endpoint}
    columns=${DELIVERY_COLUMNS} empty="No endpoint has a message about it." /><//>`;
}

const STATES = ["delivered", "pending", "failed", "skipped"];
const DELIVERY_COLUMNS = [
  ["Endpoint", (each) => html`<strong>${each.endpoint}</strong>`],
  ["State", (each) => STATES.filter((state) => each[state] > 0).map((state) => html`<${State} key=${state} kind=${state}>${number(each[state])} ${state}<//> `)],
  ["Watched users", (each) => number(each.watched_users), "number"],
  ["Most attempts", (each) => number(each.tries), "number"],
  ["Finished", (each) => each.finished === null ? "" : html`<${Ago} at=${each.finished} />`, "number"],
];
