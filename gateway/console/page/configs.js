// Configs: the one that is held until an operator decides, the one that is pinned, and those that were in use.

import { html, useState } from "./vendor/preact-htm.js";
import { get, post, useLive } from "./api.js";
import { Ago, Failure, State, Table, count } from "./parts.js";

const SECONDS = 3;
const SHOWN = 50;

export function Configs({ overview, reload }) {
  if (!overview) return html`<p class="quiet">Loading</p>`;
  const held = overview.sdks.filter((sdk) => sdk.held !== null);
  return html`${held.length === 0 ? html`<p class="quiet">No config is held. A config that would remove or break more flags
      than upstream.guard allows is held here until it is accepted or rejected.</p>`
    : held.map((sdk) => html`<${HeldConfig} key=${sdk.id} sdk=${sdk} reload=${reload} />`)}
    ${overview.sdks.map((sdk) => html`<${History} key=${sdk.id} id=${sdk.id} live=${sdk.config?.tag} />`)}`;
}

const base = (id) => `api/v1/configs/${encodeURIComponent(id)}`;

// Returns a function that sends a decision, whether one is being sent, and why the last one failed.
function useDecision(after) {
  const [state, setState] = useState({ busy: false, error: null });
  const decide = async (path, body) => {
    setState({ busy: true, error: null });
    try {
      await post(path, body);
      setState({ busy: false, error: null });
    } catch (error) {
      setState({ busy: false, error });
    }
    after();
  };
  return { ...state, decide };
}

function HeldConfig({ sdk, reload }) {
  const { decide, busy, error } = useDecision(reload);
  const { held } = sdk;
  return html`<section class="card" aria-labelledby="held-${sdk.id}">
    <h2 id="held-${sdk.id}">SDK ${sdk.id}: a config is held</h2>
    <p>${held.reason}</p>
    <p>Held since <${Ago} at=${held.since} />, ${count(held.flags, "flag")}: ${held.added} added, ${held.removed} removed,
      ${" "}${held.changed} changed, ${held.failing} failing. Clients get the config before it.</p>
    <${Failure} error=${error} />
    <p class="actions"><button type="button" disabled=${busy} onClick=${() => decide(`${base(sdk.id)}/accept`)}>Accept: serve it now</button>
      <button type="button" disabled=${busy} onClick=${() => decide(`${base(sdk.id)}/reject`)}>Reject: keep the one before</button></p>
  </section>`;
}

function History({ id, live }) {
  const { data, error, load } = useLive(`${base(id)}?limit=${SHOWN}`, SECONDS);
  const { decide, busy, error: refused } = useDecision(load);
  const [difference, setDifference] = useState(null);
  const compare = async (config) => {
    try {
      setDifference(await get(`${base(id)}/diff?from=${config}`));
    } catch (failure) {
      setDifference({ failure });
    }
  };
  const columns = [
    ["In use since", (use) => html`<${Ago} at=${use.at} />`],
    ["Config", (use) => html`<code>${use.config}</code>${use.config === live && html` <${State} kind="healthy">live<//>`}`],
    ["How it came", (use) => use.source],
    ["By", (use) => [use.author, use.notes].filter(Boolean).join(": ")],
    ["Flags", (use) => use.flags.toLocaleString()],
    ["Actions", (use) => use.config === live ? "" : html`<span class="actions">
      <button type="button" onClick=${() => compare(use.config)}>Compare with live</button>
      <button type="button" disabled=${busy} onClick=${() => decide(`${base(id)}/serve`, { id: use.config })}>Serve it</button></span>`],
  ];
  return html`<section aria-labelledby="history-${id}"><h2 id="history-${id}">SDK ${id}: configs that were in use</h2>
    <${Failure} error=${error ?? refused} />
    ${data?.pinned && html`<div class="card"><p>Config <code>${data.pinned.config}</code> is pinned since <${Ago} at=${data.pinned.since} />:
        what the source brings is not served.${data.pinned.waiting && html` Config <code>${data.pinned.waiting}</code> waits.`}</p>
      <p><button type="button" disabled=${busy} onClick=${() => decide(`${base(id)}/release`)}>Release: the source decides again</button></p></div>`}
    ${data && html`<${Table} name="Configs of ${id}" rows=${data.configs} columns=${columns} empty="None was kept yet."
      rowKey=${(use) => `${use.at} ${use.config}`} />`}
    ${difference && html`<${Difference} difference=${difference} close=${() => setDifference(null)} />`}
  </section>`;
}

function Difference({ difference, close }) {
  if (difference.failure) return html`<${Failure} error=${difference.failure} />`;
  return html`<div class="card"><h3>From ${difference.first} to ${difference.second}</h3>
    ${difference.flags.length === 0 && html`<p class="quiet">No flag differs.</p>`}
    <ul>${difference.flags.map((flag) => html`<li key=${flag.key}><code>${flag.key}</code> ${flag.act}: ${flag.text}</li>`)}</ul>
    <p><button type="button" onClick=${close}>Close</button></p></div>`;
}
