// Explain: why a user has the value of a flag, decision by decision, and where two users part.

import { html, useState } from "./vendor/preact-htm.js";
import { post } from "./api.js";
import { Failure, Field } from "./parts.js";

const SAMPLE = '{\n  "Identifier": "zoe",\n  "Country": "France"\n}';

// The form is in the part of the address that browsers do not send, so that a link repeats it.
const link = (form) => `#/explain?${new URLSearchParams(Object.entries(form).filter(([, value]) => value !== ""))}`;

export function Explain({ overview, parameters }) {
  const first = overview?.sdks[0]?.id ?? "";
  const [form, setForm] = useState({ sdk: parameters.get("sdk") ?? "", key: parameters.get("key") ?? "",
    user: parameters.get("user") ?? SAMPLE, other: parameters.get("other") ?? "", at: parameters.get("at") ?? "" });
  const [result, setResult] = useState(null);
  const [error, setError] = useState(null);
  const set = (name) => (event) => setForm({ ...form, [name]: event.target.value });
  const asked = { ...form, sdk: form.sdk || first };

  async function explain(event) {
    event.preventDefault();
    try {
      const body = { sdk: asked.sdk, key: form.key.trim(), user: attributes(form.user, "User") };
      if (form.at.trim()) body.at = form.at.trim();
      if (form.other.trim()) body.compare = { user: attributes(form.other, "Other user") };
      setResult(await post("api/v1/explain", body));
      setError(null);
    } catch (failure) {
      setResult(null);
      setError(failure);
    }
  }

  return html`<form class="form" onSubmit=${explain}>
      <${Field} label="SDK"><select value=${asked.sdk} onChange=${set("sdk")}>
        ${(overview?.sdks ?? []).map((sdk) => html`<option key=${sdk.id} value=${sdk.id}>${sdk.id}</option>`)}</select><//>
      <${Field} label="Flag"><input required value=${form.key} onInput=${set("key")} spellcheck=${false} /><//>
      <${Field} label="At (ISO 8601 time or change id, empty: now)"><input value=${form.at} onInput=${set("at")} /><//>
      <div class="pair field wide">
        <${Field} label="User (attributes as JSON)"><textarea value=${form.user} onInput=${set("user")} spellcheck=${false} /><//>
        <${Field} label="Other user to compare with (may be empty)">
          <textarea value=${form.other} onInput=${set("other")} spellcheck=${false} /><//>
      </div>
      <button type="submit">Explain</button>
      <a href=${link(asked)}>Link to this form</a>
    </form>
    <${Failure} error=${error} />
    ${result && html`<${Result} result=${result} />`}`;
}

// Returns the attributes; an empty text is a request without a user.
function attributes(text, name) {
  if (!text.trim()) return undefined;
  let value;
  try {
    value = JSON.parse(text);
  } catch (failure) {
    throw new Error(`${name}: this is not JSON (${failure.message}).`);
  }
  if (value === null || typeof value !== "object" || Array.isArray(value)) throw new Error(`${name}: give a JSON object.`);
  return value;
}

function Result({ result }) {
  const [one] = result.explained;
  const [compared] = result.compared;
  return html`<section aria-labelledby="result"><h2 id="result">${one.key}</h2>
    <p class="quiet">Config ${result.config}${compared && result.other_config !== result.config ? `, compared with ${result.other_config}` : ""}</p>
    ${compared && html`<${Part} difference=${compared.difference} />`}
    <div class="pair"><${Side} one=${one} />${compared && html`<${Side} one=${compared.other} />`}</div>
  </section>`;
}

const Side = ({ one }) => html`<div><p class="summary">${one.error === null
  ? html`<strong>${JSON.stringify(one.value)}</strong>, decided by ${one.decided_by}` : html`<strong>No value</strong>: ${one.error}`}</p>
  <pre class="tree" tabIndex="0">${one.text.split("\n").map((line) =>
    [line.endsWith("◄ decides") ? html`<mark>${line}</mark>` : line, "\n"])}</pre></div>`;

function Part({ difference }) {
  if (difference === null) return html`<p>Both take the same way to the same value.</p>`;
  return html`<div class="card"><p>The first decision that differs: <strong>${difference.place.join(", ") || "the value"}</strong></p>
    <p class="lines">1: ${difference.first ?? "not reached"}<br />2: ${difference.second ?? "not reached"}</p></div>`;
}
