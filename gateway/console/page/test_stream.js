// A test stream: what a user gets, live, with what decided each value before and after a change.

import { html, useEffect, useRef, useState } from "./vendor/preact-htm.js";
import { stream } from "./api.js";
import { FlagKeys, useLiveConfig } from "./flag_keys.js";
import { Card, Clock, Empty, Failure, Field, SdkField, State, Value, count, number } from "./parts.js";

const SAMPLE = '{\n  "Identifier": "zoe",\n  "Country": "France"\n}';
const KEPT = 100; // lines of the log

export function TestStream({ overview }) {
  const [form, setForm] = useState({ sdk: "", key: "", user: SAMPLE });
  const [open, setOpen] = useState(false);
  const [error, setError] = useState(null);
  const [lines, setLines] = useState([]); // the newest first
  const abort = useRef(null);
  const set = (name) => (event) => setForm({ ...form, [name]: event.target.value });
  const sdk = form.sdk || (overview?.sdks[0]?.id ?? "");
  const live = useLiveConfig(overview, sdk);
  useEffect(() => () => abort.current?.abort(), []);

  async function start(event) {
    event.preventDefault();
    const controller = new AbortController();
    abort.current = controller;
    setError(null);
    setLines([]);
    setOpen(true);
    try {
      let user;
      try {
        user = form.user.trim() ? JSON.parse(form.user) : null;
      } catch (failure) {
        throw new Error(`User: this is not JSON (${failure.message}).`);
      }
      const heard = (kind, data) => setLines((before) => [{ kind, data, number: (before[0]?.number ?? 0) + 1 }, ...before].slice(0, KEPT));
      await stream("api/v1/streams/test", { sdk, key: form.key.trim() || null, user }, heard, controller.signal);
      setError(new Error("The gateway has ended the stream. Open it again when it is back."));
    } catch (failure) {
      if (!controller.signal.aborted) setError(failure instanceof TypeError ? new Error("The connection is lost. Open the stream again.") : failure);
    }
    setOpen(false);
  }

  return html`<${Card} id="test-stream" title="Test stream" end=${open && html`<${State} kind="good">open<//>`}>
    <p class="quiet">Shows what a client of this user is sent, and which rule decides. Change a flag meanwhile.</p>
    <form class="form" onSubmit=${start}>
      <${SdkField} overview=${overview} value=${sdk} onChange=${set("sdk")} />
      <${Field} label="Flag (empty: all flags)" kind="grow"><input value=${form.key} onInput=${set("key")} list="stream-keys" spellcheck=${false} autocomplete="off" /><//>
      <${FlagKeys} id="stream-keys" config=${live} />
      <${Field} label="User (attributes as JSON)" kind="wide"><textarea value=${form.user} onInput=${set("user")} spellcheck=${false} /><//>
      ${open ? html`<button type="button" key="close" onClick=${() => abort.current.abort()}>Close the stream</button>`
        : html`<button type="submit" key="open" class="main">Open the stream</button>`}
    </form>
    <${Failure} error=${error} />
    ${lines.length > 0 ? html`<dl class="log" aria-live="polite">${lines.map((line) => html`<dt key=${`${line.number} at`}><${Clock} at=${line.data.at} /></dt>
      <dd key=${line.number}>${TEXTS[line.kind]?.(line.data)}</dd>`)}</dl>` : open && html`<${Empty}>Waiting for the first event.<//>`}
  <//>`;
}

const why = (seen) => seen === null ? "" : seen.error === null ? `decided by ${seen.decided_by}` : seen.error;

const TEXTS = {
  opened: (data) => html`<details><summary>${count(data.flags, "flag")} of config <code>${data.config.slice(0, 8)}</code></summary>
    <dl class="words">${Object.entries(data.values).map(([key, seen]) => html`<dt key=${key}><code>${key}</code></dt>
      <dd key=${`${key} value`}><${Value} served=${seen} /> <span class="quiet">${why(seen)}</span></dd>`)}</dl>
    ${data.flags > Object.keys(data.values).length && html`<p class="quiet">The first ${number(Object.keys(data.values).length)} are shown.</p>`}</details>`,
  changed: (data) => html`<code>${data.key}</code>: <${Value} served=${data.before} kind="old" /> <span class="quiet">${why(data.before)}</span> →
    ${" "}<${Value} served=${data.after} kind="fresh" /> <span class="quiet">${why(data.after)}</span>`,
  config: (data) => html`<span class="quiet">Config <code>${data.config.slice(0, 8)}</code>: ${data.changed === 0
    ? "nothing changed for this user" : `${count(data.changed, "value")} changed for this user`}</span>`,
};
