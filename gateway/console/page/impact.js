// Impact: what a candidate would change, before it is published: for the users connected now, and recent ones.

import { html, useState } from "./vendor/preact-htm.js";
import { post } from "./api.js";
import { Failure, Field, Table, count } from "./parts.js";

const WHOLE = "a whole config JSON";
const ONE = "one flag";

export function Impact({ overview }) {
  const [form, setForm] = useState({ sdk: "", kind: WHOLE, key: "", text: "" });
  const [result, setResult] = useState(null);
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const set = (name) => (event) => setForm({ ...form, [name]: event.target.value });
  const sdk = form.sdk || overview?.sdks[0]?.id || "";

  async function predict(event) {
    event.preventDefault();
    setBusy(true);
    try {
      setResult(await post("api/v1/impact", candidate({ ...form, sdk })));
      setError(null);
    } catch (failure) {
      setResult(null);
      setError(failure);
    }
    setBusy(false);
  }

  async function drop(event) {
    const [file] = event.dataTransfer.files;
    if (!file) return;
    event.preventDefault();
    setForm({ ...form, kind: WHOLE, text: await file.text() });
  }

  return html`<form class="form" onSubmit=${predict}>
      <${Field} label="SDK"><select value=${sdk} onChange=${set("sdk")}>
        ${(overview?.sdks ?? []).map((each) => html`<option key=${each.id} value=${each.id}>${each.id}</option>`)}</select><//>
      <${Field} label="Candidate"><select value=${form.kind} onChange=${set("kind")}>
        ${[WHOLE, ONE].map((kind) => html`<option key=${kind} value=${kind}>${kind}</option>`)}</select><//>
      ${form.kind === ONE && html`<${Field} label="Flag"><input required value=${form.key} onInput=${set("key")} /><//>`}
      <${Field} wide label=${form.kind === ONE ? "Definition, as in f of a config JSON; empty deletes the flag" : "Config JSON: paste it, or drop a file"}>
        <textarea value=${form.text} onInput=${set("text")} onDrop=${drop} spellcheck=${false} /><//>
      <button type="submit" disabled=${busy}>Predict</button>
    </form>
    <${Failure} error=${error} />
    ${result && html`<${Result} result=${result} />`}`;
}

function candidate({ sdk, kind, key, text }) {
  let value = null;
  try {
    if (text.trim() || kind === WHOLE) value = JSON.parse(text);
  } catch (failure) {
    throw new Error(`The candidate is not JSON (${failure.message}).`);
  }
  return kind === WHOLE ? { sdk, config: value } : { sdk, flag: { key: key.trim(), definition: value } };
}

function Result({ result }) {
  const flags = result.added.length + result.removed.length + result.changed.length;
  return html`<section aria-labelledby="result"><h2 id="result">${flags === 0 ? "Nothing would change" : `${count(flags, "flag")} would change`}</h2>
    <p>${result.added.length} added, ${result.removed.length} removed, ${result.changed.length} with another definition or
      depending on one.</p>
    ${result.missing_workers > 0 && html`<p class="failure">${count(result.missing_workers, "worker")} did not answer; their users are missing.</p>`}
    <${Audience} title="Connected now" users=${result.connected} />
    <${Audience} title="Recently evaluated" users=${result.sample} /></section>`;
}

function Audience({ title, users }) {
  const rows = users.flags.flatMap((flag) => flag.changes.map((change) => ({ key: flag.key, ...change })));
  return html`<section class="card" aria-label=${title}><h3>${title}: ${users.changed.toLocaleString()} of ${count(users.examined, "user")} would see something else</h3>
    ${users.examined < users.total && html`<p>The time was over: ${users.examined.toLocaleString()} of ${users.total.toLocaleString()} were examined.</p>`}
    ${rows.length > 0 && html`<${Table} name="Values, ${title}" rows=${rows} columns=${VALUE_COLUMNS} rowKey=${(row) => JSON.stringify(row)} />`}
    ${users.examples.length > 0 && html`<details><summary>${count(users.examples.length, "example")}</summary>
      <${Table} name="Examples, ${title}" rows=${users.examples} columns=${EXAMPLE_COLUMNS} rowKey=${(row) => JSON.stringify(row)} /></details>`}
  </section>`;
}

const value = (served) => served === null ? "none" : html`<code>${JSON.stringify(served.value)}</code>`;

const VALUE_COLUMNS = [
  ["Flag", (row) => html`<code>${row.key}</code>`],
  ["Now", (row) => value(row.before)],
  ["Then", (row) => value(row.after)],
  ["Users", (row) => row.users.toLocaleString()],
];

const EXAMPLE_COLUMNS = [
  ["User", (row) => row.identifier ?? "without identifier"],
  ["Attributes", (row) => html`<code>${JSON.stringify(row.attributes)}</code>`],
  ["Changes", (row) => html`<ul>${row.changes.map((change) =>
    html`<li key=${change.key}><code>${change.key}</code>: ${value(change.before)} → ${value(change.after)}</li>`)}</ul>`],
];
