// Deliveries: messages to webhook endpoints, their attempts and bodies, and buttons to send them again.

import { html, useState } from "./vendor/preact-htm.js";
import { get, post, useLive } from "./api.js";
import { Act, Ago, Card, Clock, Failure, Field, Json, State, Table, ViewOnly, count, duration, number, short, size } from "./parts.js";

const EVENTS = ["delivery", "config", "change"];
const SHOWN = 100;
const MOST = 1_000; // messages that are sent again with one click
const STATES = ["pending", "delivered", "failed", "skipped"];

export function Deliveries({ overview, rest }) {
  return rest ? html`<${Message} key=${rest} id=${decodeURIComponent(rest)} access=${overview?.access} />`
    : html`<${List} access=${overview?.access} />`;
}

const href = (id) => `#/deliveries/${encodeURIComponent(id)}`;

function List({ access }) {
  const [filter, setFilter] = useState({ state: "", endpoint: "" });
  const query = new URLSearchParams({ limit: SHOWN, ...filter });
  const { data, error, load } = useLive(`api/v1/deliveries?${query}`, EVENTS);
  const set = (name) => (event) => setFilter({ ...filter, [name]: event.target.value });
  const endpoints = [...new Set((data?.deliveries ?? []).map((each) => each.endpoint))];
  const columns = [
    ["Message", (each) => html`<a href=${href(each.id)}>${each.type}</a>`],
    ["About", (each) => html`<${About} message=${each} />`, "keep"],
    ["Endpoint", (each) => each.endpoint],
    ["State", (each) => html`<${State} kind=${each.state}>${each.state}<//>${each.reason && html` <span class="quiet">${each.reason}</span>`}`],
    ["Attempts", (each) => number(each.tries), "number"],
    ["Created", (each) => html`<${Ago} at=${each.created} />`],
    ["Next attempt", (each) => each.due === null ? "" : html`<${Ago} at=${each.due} />`],
  ];
  return html`<form class="form filters" onSubmit=${(event) => event.preventDefault()}>
      <${Field} label="State"><select value=${filter.state} onChange=${set("state")}><option value=${""}>all</option>
        ${STATES.map((state) => html`<option key=${state} value=${state}>${state}</option>`)}</select><//>
      <${Field} label="Endpoint (its name, empty: all)"><input value=${filter.endpoint} onChange=${set("endpoint")} list="endpoints" autocomplete="off" />
        <//><datalist id="endpoints">${endpoints.map((name) => html`<option key=${name} value=${name}></option>`)}</datalist>
      <${RetryAll} access=${access} endpoint=${filter.endpoint} after=${load} /></form>
    <${ViewOnly} access=${access} />
    <${Endpoints} access=${access} after=${load} />
    <${Failure} error=${error} />
    ${data && html`<div class="card"><${Table} name="Deliveries" rows=${data.deliveries} rowKey=${(each) => `${each.id} ${each.endpoint}`}
      columns=${columns} empty="No message fits." /></div>`}
    ${data?.next && html`<p class="quiet">The newest ${SHOWN} are shown; GET /api/v1/deliveries has all of them.</p>`}`;
}

// Each endpoint with what waits for it, and a button that sends a test.
function Endpoints({ access, after }) {
  const { data } = useLive("api/v1/endpoints", ["delivery", "point"]);
  const [text, setText] = useState("");
  const test = async (name) => {
    try {
      await post(`api/v1/endpoints/${encodeURIComponent(name)}/test`);
      setText(`A test is on its way to ${name}.`);
    } catch (failure) {
      setText(failure.message);
    }
    after();
  };
  if (!data?.endpoints.length) return null;
  return html`<div class="endpoints">${data.endpoints.map((each) => html`<div class="card endpoint" key=${each.name}>
      <strong>${each.name}</strong> <span class="quiet small">${each.pending === 0 ? "nothing waits"
        : `${number(each.pending)} wait, the oldest for ${duration(each.oldest_seconds)}`}</span>
      <${Act} access=${access} kind="small" onClick=${() => test(each.name)}>Send a test<//></div>`)}
    <p role="status" class="quiet small">${text}</p></div>`;
}

const About = ({ message }) => html`<code>${message.subject}</code>${
  message.sdk_id && message.sdk_id !== message.subject && html` <span class="quiet">of ${message.sdk_id}</span>`}`;

function RetryAll({ access, endpoint, after }) {
  const [text, setText] = useState("");
  const [busy, setBusy] = useState(false);
  async function retry() {
    setBusy(true);
    try {
      const { deliveries } = await get(`api/v1/deliveries?${new URLSearchParams({ state: "failed", endpoint, limit: MOST })}`);
      const ids = [...new Set(deliveries.map((each) => each.id))];
      let due = 0;
      for (const [at, id] of ids.entries()) {
        setText(`${at + 1} of ${ids.length}`);
        due += await post(`api/v1/deliveries/${encodeURIComponent(id)}/retry`).then((answer) => answer.count,
          (failure) => { if (failure.status === 409 || failure.status === 404) return 0; throw failure; });
      }
      setText(ids.length ? `${count(due, "message")} sent again.` : "No message has failed.");
    } catch (failure) {
      setText(failure.message);
    }
    setBusy(false);
    after();
  }
  return html`<span class="actions end"><span role="status" class="quiet">${text}</span>
    <${Act} access=${access} disabled=${busy} onClick=${retry}>Send all failed again<//></span>`;
}

function Message({ id, access }) {
  const path = `api/v1/deliveries/${encodeURIComponent(id)}`;
  const { data, error, load } = useLive(path, EVENTS);
  const [outcome, setOutcome] = useState(null);
  const [failure, setFailure] = useState(null);
  const retry = async () => {
    try {
      setOutcome(`${count((await post(`${path}/retry`)).count, "message")} sent again.`);
      setFailure(null);
    } catch (refused) {
      setFailure(refused);
    }
    load();
  };
  return html`<div class="head"><a href="#/deliveries">All deliveries</a><span class="end actions"><span role="status" class="quiet">${outcome}</span>
      <${Act} access=${access} kind="main" onClick=${retry}>Send again<//></span></div>
    <${ViewOnly} access=${access} />
    <${Failure} error=${error ?? failure} />
    ${data && data.deliveries.map((each) => html`<${Card} key=${each.endpoint} id=${`to-${each.endpoint}`} title=${`${each.type} to ${each.endpoint}`}
        end=${html`<${State} kind=${each.state}>${each.state}<//>`}>
      <p class="quiet">About <${About} message=${each} />, message <code>${each.id}</code>, created <${Ago} at=${each.created} />${each.reason && `: ${each.reason}`}.
        ${each.due !== null && html` Next attempt <${Ago} at=${each.due} />.`}</p>
      <${Table} name="Attempts" rows=${each.attempts} rowKey=${(attempt) => attempt.number} columns=${ATTEMPT_COLUMNS} empty="No attempt yet." />
    <//>`)}
    ${data && html`<${Bodies} deliveries=${data.deliveries} />`}`;
}

// The bodies differ where the endpoints have different formats.
function Bodies({ deliveries }) {
  const different = deliveries.filter((each, at) => deliveries.findIndex((one) => one.body === each.body) === at);
  return different.map((each) => html`<${Card} key=${each.endpoint} id=${`body-${each.endpoint}`} title=${`Body to ${each.endpoint}`}
      end=${html`<span class="quiet small">${each.format}, ${size(each.body_length)}</span>`}>
    ${each.body === null ? html`<p class="quiet">Bodies contain user data, so they are shown only to callers with a login or with
        diag.auth_headers.</p>` : html`<${Json} value=${pretty(each.body)} />`}<//>`);
}

const ATTEMPT_COLUMNS = [
  ["Attempt", (attempt) => attempt.number],
  ["When", (attempt) => html`<${Clock} at=${attempt.at} /> <span class="quiet"><${Ago} at=${attempt.at} /></span>`],
  ["Outcome", (attempt) => attempt.outcome],
  ["Status", (attempt) => attempt.status ?? "", "number"],
  ["Took", (attempt) => short(attempt.duration), "number"],
  ["Answer", (attempt) => attempt.answer ?? ""],
];

function pretty(body) {
  try {
    return JSON.stringify(JSON.parse(body), null, 2);
  } catch {
    return body;
  }
}
