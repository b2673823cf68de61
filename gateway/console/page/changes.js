// Changes: the recorded changes of configs as a timeline, the newest first, with the definitions before and after.

import { html, useRef, useState } from "./vendor/preact-htm.js";
import { useLive } from "./api.js";
import { Difference } from "./diff.js";
import { Ago, Empty, Failure, SdkField, State, count, size } from "./parts.js";

const EVENTS = ["config", "change"];
const SHOWN = 50;
const FLAGS = 12; // of a change that are shown at once

export function Changes({ overview }) {
  const [sdk, setSdk] = useState("");
  const { data, error } = useLive(`api/v1/changes?limit=${SHOWN}&sdk=${encodeURIComponent(sdk)}`, EVENTS);
  const known = useRef(null); // the newest change when the page was opened: later ones are shown as new
  if (data && known.current === null) known.current = data.changes[0]?.id ?? 0;
  return html`<form class="form filters" onSubmit=${(event) => event.preventDefault()}>
      <${SdkField} overview=${overview} value=${sdk} onChange=${(event) => setSdk(event.target.value)} all /></form>
    <${Failure} error=${error} />
    ${data && (data.changes.length
      ? html`<ol class="timeline">${data.changes.map((change) => html`<${Change} key=${change.id} change=${change}
        fresh=${change.id > known.current} />`)}</ol>`
      : html`<div class="card"><${Empty}>No change was recorded yet. The next one appears here by itself.<//></div>`)}
    ${data?.next && html`<p class="quiet">The newest ${SHOWN} are shown; GET /api/v1/changes has all of them.</p>`}`;
}

const ACTS = { added: "good", changed: "info", removed: "bad" };

function Change({ change, fresh }) {
  const [all, setAll] = useState(false);
  const flags = flagsOf(change.changes);
  return html`<li class=${fresh ? "fresh" : null}><article class="card">
    <div class="head"><h2>${change.sdk_id}: ${count(flags.length, "flag")} changed</h2>
      <span class="quiet small">${author(change.author)}<${Ago} at=${change.at} />, change ${change.id}</span></div>
    ${change.notes && html`<p>${change.notes}</p>`}
    ${change.changes === null && html`<p>The definitions have ${size(change.bytes)}, too much to show.</p>`}
    <ul class="plain">${(all ? flags : flags.slice(0, FLAGS)).map((flag) => html`<${Flag} key=${flag.key} flag=${flag} sdk=${change.sdk_id} />`)}</ul>
    ${!all && flags.length > FLAGS && html`<p><button type="button" class="small" onClick=${() => setAll(true)}>Show all ${flags.length}</button></p>`}
  </article></li>`;
}

function Flag({ flag, sdk }) {
  const [open, setOpen] = useState(false);
  return html`<li><details onToggle=${(event) => setOpen(event.target.open)}><summary><code>${flag.key}</code> <${State} kind=${ACTS[flag.act]}>${flag.act}<//></summary>
    ${open && html`<${Difference} before=${flag.before} after=${flag.after} />
      <p><a href=${`#/explain?${new URLSearchParams({ sdk, key: flag.key })}`}>Explain it for a user</a></p>`}
  </details></li>`;
}

function flagsOf(changes) {
  if (changes === null) return [];
  const flags = Object.entries(changes.added).map(([key, after]) => ({ key, act: "added", after }));
  flags.push(...Object.entries(changes.updated).map(([key, both]) =>
    ({ key, act: "changed", before: both.old_value, after: both.new_value })));
  flags.push(...Object.entries(changes.removed).map(([key, before]) => ({ key, act: "removed", before })));
  return flags;
}

export function author(who) {
  if (who === null) return "";
  return `by ${[who.first_name, who.last_name].filter(Boolean).join(" ") || who.email}, `;
}
