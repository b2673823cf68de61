// Impact: what a candidate would change, before it is published: for the users connected now, and recent ones.

import { html, useState } from "./vendor/preact-htm.js";
import { post } from "./api.js";
import { Difference } from "./diff.js";
import { FlagKeys, useLiveConfig } from "./flag_keys.js";
import { Card, Failure, Field, SdkField, Table, Value, count, number } from "./parts.js";

const WHOLE = "a whole config JSON";
const ONE = "one flag";

export function Impact({ overview }) {
  const [form, setForm] = useState({ sdk: "", kind: WHOLE, key: "", text: "", reveal: false });
  const [result, setResult] = useState(null);
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const [dropping, setDropping] = useState(false);
  const set = (name) => (event) => setForm({ ...form, [name]: event.target.value });
  const sdk = form.sdk || overview?.sdks[0]?.id || "";
  const live = useLiveConfig(overview, sdk);
  const one = form.kind === ONE;

  async function predict(event) {
    event.preventDefault();
    setBusy(true);
    try {
      setResult(await post(`api/v1/impact${form.reveal ? "?reveal=1" : ""}`, candidate({ ...form, sdk })));
      setError(null);
    } catch (failure) {
      setResult(null);
      setError(failure);
    }
    setBusy(false);
  }

  async function take(file) {
    if (file) setForm({ ...form, kind: WHOLE, text: await file.text() });
  }

  function drop(event) {
    event.preventDefault();
    setDropping(false);
    take(event.dataTransfer.files[0]);
  }

  // The definition in use is what is edited, once a whole key is in the field.
  function chooseFlag(event) {
    const key = event.target.value;
    const definition = live?.f?.[key.trim()];
    setForm({ ...form, key, text: definition ? JSON.stringify(definition, null, 2) : form.text });
  }

  return html`<form class="card form" onSubmit=${predict}>
      <${SdkField} overview=${overview} value=${sdk} onChange=${set("sdk")} />
      <${Field} label="Candidate"><select value=${form.kind} onChange=${(event) => setForm({ ...form, kind: event.target.value, text: "" })}>
        ${[WHOLE, ONE].map((kind) => html`<option key=${kind} value=${kind}>${kind}</option>`)}</select><//>
      ${one ? html`<${Field} label="Flag" kind="grow"><input required value=${form.key} onInput=${chooseFlag} list="keys" spellcheck=${false} autocomplete="off" /><//>
          <${FlagKeys} id="keys" config=${live} />`
        : html`<${Field} label="From a file" kind="grow"><input type="file" accept=".json,application/json" onChange=${(event) => take(event.target.files[0])} /><//>`}
      <div class=${one ? "two" : "field wide"}><${Field} kind="wide" label=${one ? "Definition, as in “f” of a config JSON; empty deletes the flag" : "Config JSON: paste it, or drop a file here"}>
        <textarea class=${dropping ? "dropping" : null} value=${form.text} onInput=${set("text")} spellcheck=${false} onDrop=${drop}
          onDragOver=${(event) => { event.preventDefault(); setDropping(true); }} onDragLeave=${() => setDropping(false)} /><//>
        ${one && html`<${Edit} before=${live?.f?.[form.key.trim()]} text=${form.text} />`}</div>
      <div class="actions"><button type="submit" class="main" disabled=${busy}>${busy ? "Predicting" : "Predict"}</button>
        <label class="check"><input type="checkbox" checked=${form.reveal} disabled=${overview?.access.role === "view"}
          onChange=${(event) => setForm({ ...form, reveal: event.target.checked })} /> Reveal the users of examples${
            overview?.access.role === "view" && " (for operators)"}</label></div>
    </form>
    <${Failure} error=${error} />
    ${result && html`<${Result} result=${result} />`}`;
}

// What was edited of a flag; nothing while that is no JSON or is equal.
function Edit({ before, text }) {
  let after = null;
  try {
    if (text.trim()) after = JSON.parse(text);
  } catch {
    return null;
  }
  if (!before || JSON.stringify(before) === JSON.stringify(after)) return null;
  return html`<div><span class="label">Your edit</span><${Difference} before=${before} after=${after} /></div>`;
}

// Returns the body of the request. The text goes as it is: JavaScript would change numbers such as 1.0.
function candidate({ sdk, kind, key, text }) {
  try {
    if (text.trim() || kind === WHOLE) JSON.parse(text);
  } catch (failure) {
    throw new Error(`The candidate is not JSON (${failure.message}).`);
  }
  const value = text.trim() || "null";
  return kind === WHOLE ? `{"sdk":${JSON.stringify(sdk)},"config":${value}}`
    : `{"sdk":${JSON.stringify(sdk)},"flag":{"key":${JSON.stringify(key.trim())},"definition":${value}}}`;
}

function Result({ result }) {
  const flags = result.added.length + result.removed.length + result.changed.length;
  return html`<${Card} id="result" title=${flags === 0 ? "Nothing would change" : `${count(flags, "flag")} would change`}>
    <p>${number(result.added.length)} added, ${number(result.removed.length)} removed, ${number(result.changed.length)} with
      another definition or depending on one.</p>
    ${result.missing_workers > 0 && html`<p class="failure">${count(result.missing_workers, "worker")} did not answer; their users are missing.</p>`}<//>
    <${Audience} id="connected" title="Connected now" users=${result.connected} />
    <${Audience} id="recent" title="Recently evaluated" users=${result.sample} />`;
}

function Audience({ id, title, users }) {
  const rows = users.flags.flatMap((flag) => flag.changes.map((change) => ({ key: flag.key, ...change })));
  const share = users.examined ? `${number(100 * users.changed / users.examined, 1)} %` : "";
  return html`<${Card} id=${id} title=${title} end=${share && html`<span class="quiet">${share}</span>`}>
    <p class="summary">${number(users.changed)} of ${count(users.examined, "user")} would see something else</p>
    ${users.examined < users.total && html`<p>The time was over: ${number(users.examined)} of ${number(users.total)} were examined.</p>`}
    ${rows.length > 0 && html`<${Table} name="Values, ${title}" rows=${rows} columns=${VALUE_COLUMNS} rowKey=${(row) => JSON.stringify(row)} />`}
    ${users.examples.length > 0 && html`<details><summary>${count(users.examples.length, "example")}</summary>
      <${Table} name="Examples, ${title}" rows=${users.examples} columns=${EXAMPLE_COLUMNS} rowKey=${(row) => JSON.stringify(row)} /></details>`}
    ${users.total === 0 && html`<p class="quiet">${id === "connected" ? "No user has an open stream." : "No user was evaluated since the start."}</p>`}
  <//>`;
}

// The variation of a value, where only that differs.
const variation = ({ before, after }, served) => before && after && before.value === after.value ? served.variationId : "";

const VALUE_COLUMNS = [
  ["Flag", (row) => html`<code>${row.key}</code>`],
  ["Now", (row) => html`<${Value} served=${row.before} kind="old" note=${variation(row, row.before)} />`],
  ["Then", (row) => html`<${Value} served=${row.after} kind="fresh" note=${variation(row, row.after)} />`],
  ["Users", (row) => number(row.users), "number"],
];

const EXAMPLE_COLUMNS = [
  ["User", (row) => row.identifier ?? "without identifier"],
  ["Attributes", (row) => html`<code>${JSON.stringify(row.attributes)}</code>`],
  ["Changes", (row) => html`<ul>${row.changes.map((change) =>
    html`<li key=${change.key}><code>${change.key}</code>: <${Value} served=${change.before} /> → <${Value} served=${change.after} /></li>`)}</ul>`],
];
