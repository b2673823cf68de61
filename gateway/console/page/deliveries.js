// Deliveries: messages to webhook endpoints, their attempts and bodies, and a button to send one again.

import { html, useState } from "./vendor/preact-htm.js";
import { post, useLive } from "./api.js";
import { Ago, Failure, Field, Json, State, Table } from "./parts.js";

const SECONDS = 2;
const SHOWN = 100;
const STATES = ["pending", "delivered", "failed", "skipped"];

export function Deliveries() {
  const [filter, setFilter] = useState({ state: "", endpoint: "" });
  const [open, setOpen] = useState(null);
  const query = new URLSearchParams({ limit: SHOWN, ...filter });
  const { data, error, load } = useLive(`api/v1/deliveries?${query}`, SECONDS);
  const set = (name) => (event) => setFilter({ ...filter, [name]: event.target.value });
  const columns = [
    ["Message", (each) => html`<button type="button" aria-expanded=${open === each.id} onClick=${() =>
      setOpen(open === each.id ? null : each.id)}>${each.type}</button>`],
    ["About", (each) => html`<code>${each.subject}</code>${each.sdk_id && ` of ${each.sdk_id}`}`],
    ["Endpoint", (each) => each.endpoint],
    ["State", (each) => html`<${State} kind=${each.state}>${each.state}<//>${each.reason && `: ${each.reason}`}`],
    ["Attempts", (each) => each.tries],
    ["Created", (each) => html`<${Ago} at=${each.created} />`],
    ["Next attempt", (each) => each.due === null ? "" : html`<${Ago} at=${each.due} />`],
  ];
  return html`<form class="form" onSubmit=${(event) => event.preventDefault()}>
      <${Field} label="State"><select value=${filter.state} onChange=${set("state")}><option value=${""}>all</option>
        ${STATES.map((state) => html`<option key=${state} value=${state}>${state}</option>`)}</select><//>
      <${Field} label="Endpoint (its name, empty: all)"><input value=${filter.endpoint} onChange=${set("endpoint")} /><//></form>
    <${Failure} error=${error} />
    ${data && html`<${Table} name="Deliveries" rows=${data.deliveries} rowKey=${(each) => `${each.id} ${each.endpoint}`}
      columns=${columns} empty="No message fits." />`}
    ${open && html`<${Message} id=${open} key=${open} reload=${load} />`}`;
}

function Message({ id, reload }) {
  const path = `api/v1/deliveries/${encodeURIComponent(id)}`;
  const { data, error, load } = useLive(path, SECONDS);
  const [outcome, setOutcome] = useState(null);
  const [failure, setFailure] = useState(null);
  const retry = async () => {
    try {
      const { count } = await post(`${path}/retry`);
      setOutcome(`${count} due now.`);
      setFailure(null);
    } catch (error) {
      setFailure(error);
    }
    load();
    reload();
  };
  return html`<section class="card" aria-labelledby="message"><h2 id="message">Message ${id}</h2>
    <${Failure} error=${error ?? failure} />
    ${data && data.deliveries.map((each) => html`<div key=${each.endpoint}>
      <h3>To ${each.endpoint}: <${State} kind=${each.state}>${each.state}<//></h3>
      <${Table} name="Attempts" rows=${each.attempts} rowKey=${(attempt) => attempt.number} columns=${ATTEMPT_COLUMNS} empty="No attempt yet." />
      ${each.body === null ? html`<p class="quiet">Bodies are shown only to callers with diag.auth_headers, because they contain user data.</p>`
        : html`<${Json} value=${pretty(each.body)} />`}
    </div>`)}
    <p class="actions"><button type="button" onClick=${retry}>Send again</button> <span role="status">${outcome}</span></p>
  </section>`;
}

const ATTEMPT_COLUMNS = [
  ["Attempt", (attempt) => attempt.number],
  ["When", (attempt) => html`<${Ago} at=${attempt.at} />`],
  ["Status", (attempt) => attempt.status ?? ""],
  ["Outcome", (attempt) => attempt.outcome],
  ["Took", (attempt) => `${Math.round(attempt.duration * 1000)} ms`],
  ["Answer", (attempt) => attempt.answer ?? ""],
];

function pretty(body) {
  try {
    return JSON.stringify(JSON.parse(body), null, 2);
  } catch {
    return body;
  }
}
