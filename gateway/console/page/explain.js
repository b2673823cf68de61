// Explain: why a user has the value of a flag, decision by decision, and where two users or two moments part.

import { html, useState } from "./vendor/preact-htm.js";
import { post } from "./api.js";
import { FlagKeys, useLiveConfig } from "./flag_keys.js";
import { Card, Failure, Field, SdkField } from "./parts.js";

const SAMPLE = '{\n  "Identifier": "zoe",\n  "Country": "France"\n}';
const FIELDS = ["sdk", "key", "at", "user", "other", "other_at"];

// The form is in the part of the address that browsers do not send, so that a link repeats it.
const link = (form) => `#/explain?${new URLSearchParams(Object.entries(form).filter(([, value]) => value !== ""))}`;

export function Explain({ overview, parameters }) {
  const [form, setForm] = useState({ ...Object.fromEntries(FIELDS.map((name) => [name, parameters.get(name) ?? ""])),
    user: parameters.get("user") ?? SAMPLE });
  const [result, setResult] = useState(null);
  const [error, setError] = useState(null);
  const set = (name) => (event) => setForm({ ...form, [name]: event.target.value });
  const asked = { ...form, sdk: form.sdk || (overview?.sdks[0]?.id ?? "") };
  const live = useLiveConfig(overview, asked.sdk);

  async function explain(event) {
    event.preventDefault();
    try {
      setResult(await post("api/v1/explain", request(asked)));
      setError(null);
    } catch (failure) {
      setResult(null);
      setError(failure);
    }
  }

  return html`<form class="card form" onSubmit=${explain}>
      <${SdkField} overview=${overview} value=${asked.sdk} onChange=${set("sdk")} />
      <${Field} label="Flag" kind="grow"><input required value=${form.key} onInput=${set("key")} list="keys" spellcheck=${false} autocomplete="off" /><//>
      <${FlagKeys} id="keys" config=${live} />
      <div class="two">
        <${Field} label="User (attributes as JSON)"><textarea value=${form.user} onInput=${set("user")} spellcheck=${false} /><//>
        <${Field} label="Other user to compare with (may be empty)"><textarea value=${form.other} onInput=${set("other")} spellcheck=${false} /><//>
        <${Field} label="At: a time (ISO 8601) or a change’s number; empty is now">
          <input value=${form.at} onInput=${set("at")} spellcheck=${false} autocomplete="off" /><//>
        <${Field} label="Other moment to compare with (may be empty)">
          <input value=${form.other_at} onInput=${set("other_at")} spellcheck=${false} autocomplete="off" /><//>
      </div>
      <div class="actions"><button type="submit" class="main">Explain</button> <a href=${link(asked)}>Link to this form</a></div>
    </form>
    <${Failure} error=${error} />
    ${result && html`<${Result} result=${result} />`}`;
}

function request(form) {
  const body = { sdk: form.sdk, key: form.key.trim(), user: attributes(form.user, "User") };
  const [at, otherAt] = [form.at.trim(), form.other_at.trim()];
  if (at) body.at = at;
  if (form.other.trim() || otherAt) body.compare = {};
  if (form.other.trim()) body.compare.user = attributes(form.other, "Other user");
  if (otherAt) body.compare.at = otherAt;
  return body;
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
  const other = compared && result.other_config !== result.config;
  return html`${compared && html`<${Part} difference=${compared.difference} />`}
    <div class="row"><${Side} id="result" one=${one} config=${result.config} />
      ${compared && html`<${Side} id="other" one=${compared.other} note="compared" config=${other ? result.other_config : result.config} />`}</div>`;
}

// The titles differ, because they are also the names of the sections.
const Side = ({ id, one, config, note }) => html`<${Card} id=${id} title=${html`${one.key}${note && html` <span class="quiet small">${note}</span>`}`} end=${html`<span class="quiet small">config <code>${config.slice(0, 8)}</code></span>`}>
  <p class="summary">${one.error === null
    ? html`<span class="value">${JSON.stringify(one.value)}</span> <span class="quiet small">decided by ${one.decided_by}</span>`
    : html`No value: ${one.error}`}</p>
  <pre class="tree" tabIndex="0">${one.text.split("\n").map((line) => html`<${Line} text=${line} />`)}</pre><//>`;

const DEEPEST = 6; // as in console.css

// A line of the explanation, with its outcome in color; a long one is continued below its beginning.
function Line({ text }) {
  const depth = Math.min(DEEPEST, (text.length - text.trimStart().length) / 2 + 1);
  const kinds = [`depth-${depth}`, text.endsWith("◄ decides") ? "decides" : "", / → (not reached|skipped)/.test(text) ? "dim" : ""];
  const [, before, outcome, after] = text.match(/^(.*? → )(true|false|its conditions hold|no match)(.*)$/) ?? [null, text, "", ""];
  const kind = outcome === "true" || outcome === "its conditions hold" ? "yes" : "no";
  return html`<span class=${kinds.join(" ").trim()}>${before}${outcome && html`<b class=${kind}>${outcome}</b>`}${after}${"\n"}</span>`;
}

function Part({ difference }) {
  if (difference === null) return html`<div class="card"><p>Both take the same way to the same value.</p></div>`;
  return html`<${Card} id="part" title=${`The first decision that differs: ${difference.place.join(", ") || "the value"}`} kind="calls">
    <p class="lines">1: ${difference.first ?? "not reached"}<br />2: ${difference.second ?? "not reached"}</p><//>`;
}
