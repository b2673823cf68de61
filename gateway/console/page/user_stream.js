// A stream of one user: what is sent, live, with what decided each value before and after a change.

import { html, useEffect, useRef, useState } from "./vendor/preact-htm.js";
import { stream } from "./api.js";
import { FlagKeys, useLiveConfig } from "./flag_keys.js";
import { Card, Clock, Empty, Failure, Field, SdkField, State, Value, count, number } from "./parts.js";

const KEPT = 100; // lines of the log

// A form for a user, and a log of what the stream at `path` sends; `texts` has a function per kind of event.
function UserStream({ id, title, intro, path, texts, sample, label, overview }) {
  const [form, setForm] = useState({ sdk: "", key: "", user: sample });
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
    const heard = (kind, data) => setLines((before) => [{ kind, data, number: (before[0]?.number ?? 0) + 1 }, ...before].slice(0, KEPT));
    try {
      await stream(path, { sdk, key: form.key.trim() || null, user: attributes(form.user) }, heard, controller.signal);
      setError(new Error("The gateway has ended the stream. Open it again when it is back."));
    } catch (failure) {
      if (!controller.signal.aborted) setError(failure instanceof TypeError ? new Error("The connection is lost. Open the stream again.") : failure);
    }
    setOpen(false);
  }

  return html`<${Card} id=${id} title=${title} end=${open && html`<${State} kind="good">open<//>`}>
    <p class="quiet">${intro}</p>
    <form class="form" onSubmit=${start}>
      <${SdkField} overview=${overview} value=${sdk} onChange=${set("sdk")} />
      <${Field} label="Flag (empty: all flags)" kind="grow"><input value=${form.key} onInput=${set("key")} list="${id}-keys" spellcheck=${false} autocomplete="off" /><//>
      <${FlagKeys} id="${id}-keys" config=${live} />
      <${Field} label="User (attributes as JSON)" kind="wide"><textarea value=${form.user} onInput=${set("user")} spellcheck=${false} /><//>
      ${open ? html`<button type="button" key="close" onClick=${() => abort.current.abort()}>Close</button>`
        : html`<button type="submit" key="open" class="main">${label}</button>`}
    </form>
    <${Failure} error=${error} />
    ${lines.length > 0 ? html`<dl class="log" aria-live="polite">${lines.map((line) => html`<dt key=${`${line.number} at`}><${Clock} at=${line.data.at} /></dt>
      <dd key=${line.number}>${texts[line.kind]?.(line.data)}</dd>`)}</dl>` : open && html`<${Empty}>Waiting for the first event.<//>`}
  <//>`;
}

function attributes(text) {
  try {
    return text.trim() ? JSON.parse(text) : null;
  } catch (failure) {
    throw new Error(`User: this is not JSON (${failure.message}).`);
  }
}

const Config = ({ tag }) => html`<code>${tag?.slice(0, 8)}</code>`;

const Sides = ({ flag, before, after, whyBefore, whyAfter }) => html`<code>${flag}</code>: <${Value} served=${before} kind="old" /> <span class="quiet">${whyBefore}</span> →
  ${" "}<${Value} served=${after} kind="fresh" /> <span class="quiet">${whyAfter}</span>`;

const why = (seen) => seen === null ? "" : seen.error === null ? `decided by ${seen.decided_by}` : seen.error;

const TEST_TEXTS = {
  opened: (data) => html`<details><summary>${count(data.flags, "flag")} of config <${Config} tag=${data.config} /></summary>
    <dl class="words">${Object.entries(data.values).map(([key, seen]) => html`<dt key=${key}><code>${key}</code></dt>
      <dd key=${`${key} value`}><${Value} served=${seen} /> <span class="quiet">${why(seen)}</span></dd>`)}</dl>
    ${data.flags > Object.keys(data.values).length && html`<p class="quiet">The first ${number(Object.keys(data.values).length)} are shown.</p>`}</details>`,
  changed: (data) => html`<${Sides} flag=${data.key} before=${data.before} after=${data.after} whyBefore=${why(data.before)} whyAfter=${why(data.after)} />`,
  config: (data) => html`<span class="quiet">Config <${Config} tag=${data.config} />: ${data.changed === 0
    ? "nothing changed for this user" : `${count(data.changed, "value")} changed for this user`}</span>`,
};

export const TestStream = ({ overview }) => html`<${UserStream} id="test-stream" title="Test stream" path="api/v1/streams/test" texts=${TEST_TEXTS}
  sample=${'{\n  "Identifier": "zoe",\n  "Country": "France"\n}'} label="Open the stream" overview=${overview}
  intro="Shows what a client of this user is sent, and which rule decides, without a connection of a client. Change a flag meanwhile." />`;

const decided = (text) => text === null ? "" : `by ${text}`;

const Flags = ({ data }) => html`<ul class="plain">${data.flags.map((flag) => html`<li key=${flag.key}><${Sides} flag=${flag.key} before=${flag.before} after=${flag.after}
  whyBefore=${decided(flag.decided_before)} whyAfter=${decided(flag.decided_after)} /></li>`)}</ul>
  ${data.more > 0 && html`<p class="quiet">${count(data.more, "more flag")}</p>`}`;

const Stream = ({ data }) => html`<span class="quiet">${count(data.streams, "stream")}${data.flag === null ? " of all flags" : html` of <code>${data.flag}</code>`}${
  data.mode && `, ${data.mode}`}${data.missed > 0 && `, ${count(data.missed, "event")} missed before`}</span>`;

const TAIL_TEXTS = {
  open: (data) => data.streams === 0 ? html`<span class="quiet">No open stream has these attributes yet</span>`
    : html`<strong>${count(data.streams, "open stream")}</strong> ${data.streams === 1 ? "has" : "have"} these attributes`,
  values: (data) => html`All values <${Stream} data=${data} /><details><summary>${count(data.flags.length + data.more, "flag")}</summary>
    <dl class="words">${data.flags.map((flag) => html`<dt key=${flag.key}><code>${flag.key}</code></dt>
      <dd key=${`${flag.key} value`}><${Value} served=${flag.after} /> <span class="quiet">${decided(flag.decided_after)}</span></dd>`)}</dl></details>`,
  changes: (data) => html`${data.change === null ? html`Config <${Config} tag=${data.config} />` : html`<a href="#/changes/${data.change}">Change ${data.change}</a>`}
    ${" "}<${Stream} data=${data} /><${Flags} data=${data} />`,
};

export const Tail = ({ overview }) => html`<${UserStream} id="tail" title="Follow a user" path="api/v1/streams/tail" texts=${TAIL_TEXTS}
  sample=${'{\n  "Identifier": "zoe"\n}'} label="Follow" overview=${overview}
  intro="Shows what the open streams of all users with these attributes are sent, in all workers, and why each value changed." />`;
