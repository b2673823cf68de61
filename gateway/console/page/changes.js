// Changes: the recorded changes of configs, the newest first, with the definitions before and after.

import { html, useState } from "./vendor/preact-htm.js";
import { useLive } from "./api.js";
import { Ago, Failure, Field, Json, count } from "./parts.js";

const SECONDS = 2;
const SHOWN = 50;

export function Changes({ overview }) {
  const [sdk, setSdk] = useState("");
  const { data, error } = useLive(`api/v1/changes?limit=${SHOWN}&sdk=${encodeURIComponent(sdk)}`, SECONDS);
  return html`<form class="form" onSubmit=${(event) => event.preventDefault()}>
      <${Field} label="SDK"><select value=${sdk} onChange=${(event) => setSdk(event.target.value)}><option value=${""}>all</option>
        ${(overview?.sdks ?? []).map((each) => html`<option key=${each.id} value=${each.id}>${each.id}</option>`)}</select><//></form>
    <${Failure} error=${error} />
    ${data && (data.changes.length ? data.changes.map((change) => html`<${Change} key=${change.id} change=${change} />`)
      : html`<p class="quiet">No change was recorded yet.</p>`)}
    ${data?.next && html`<p class="quiet">The newest ${SHOWN} are shown; GET /api/v1/changes has all of them.</p>`}`;
}

function Change({ change }) {
  const flags = flagsOf(change.changes);
  return html`<article class="card">
    <h2>${change.sdk_id}: ${count(flags.length, "flag")} changed <span class="quiet"><${Ago} at=${change.at} /></span></h2>
    <p class="quiet">Change ${change.id}${author(change.author)}${change.notes && `: ${change.notes}`}</p>
    ${change.changes === null && html`<p>The definitions have ${change.bytes.toLocaleString()} bytes, too many to show.</p>`}
    <ul>${flags.map((flag) => html`<li key=${flag.key}><details><summary><code>${flag.key}</code> ${flag.act}</summary>
      <div class="pair"><${Side} kind="before" title="Before" value=${flag.before} /><${Side} kind="after" title="After" value=${flag.after} /></div>
      <a href=${`#/explain?${new URLSearchParams({ sdk: change.sdk_id, key: flag.key })}`}>Explain it for a user</a>
    </details></li>`)}</ul>
  </article>`;
}

function flagsOf(changes) {
  if (changes === null) return [];
  const flags = Object.entries(changes.added).map(([key, after]) => ({ key, act: "added", after }));
  flags.push(...Object.entries(changes.updated).map(([key, both]) =>
    ({ key, act: "changed", before: both.old_value, after: both.new_value })));
  flags.push(...Object.entries(changes.removed).map(([key, before]) => ({ key, act: "removed", before })));
  return flags;
}

function author(who) {
  if (who === null) return "";
  return ` by ${[who.first_name, who.last_name].filter(Boolean).join(" ") || who.email}`;
}

const Side = ({ kind, title, value }) => html`<div class=${kind}><h3>${title}</h3>
  ${value ? html`<${Json} value=${value} />` : html`<p class="quiet">The flag does not exist.</p>`}</div>`;
