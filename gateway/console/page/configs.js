// Configs: the one that is held until an operator decides, the one that is pinned, and those that were in use.

import { html, useState } from "./vendor/preact-htm.js";
import { get, post, useLive } from "./api.js";
import { Act, Ago, Card, Empty, Failure, Loading, State, Table, ViewOnly, count, number } from "./parts.js";

const EVENTS = ["config", "held", "change"];
const SHOWN = 50;

export function Configs({ overview, reload }) {
  if (!overview) return html`<${Loading} />`;
  const held = overview.sdks.filter((sdk) => sdk.held !== null);
  return html`<${ViewOnly} access=${overview.access} />
    ${held.map((sdk) => html`<${HeldConfig} key=${sdk.id} sdk=${sdk} reload=${reload} access=${overview.access} />`)}
    ${overview.sdks.map((sdk) => html`<${History} key=${sdk.id} id=${sdk.id} live=${sdk.config?.tag} access=${overview.access} />`)}
    ${held.length === 0 && html`<p class="quiet small">No config is held. A config that would remove or break more flags
      than upstream.guard allows is held here until it is accepted or rejected.</p>`}`;
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

function HeldConfig({ sdk, reload, access }) {
  const { decide, busy, error } = useDecision(reload);
  const { held } = sdk;
  return html`<${Card} id="held-${sdk.id}" title="SDK ${sdk.id}: a config is held" kind="calls">
    <p>${held.reason}</p>
    <p class="quiet">Held since <${Ago} at=${held.since} />. It has ${count(held.flags, "flag")}: ${number(held.added)} added, ${number(held.removed)} removed,
      ${" "}${number(held.changed)} changed, ${number(held.failing)} failing. Clients get the config before it.</p>
    <${Failure} error=${error} />
    <p class="actions"><${Act} access=${access} kind="main" disabled=${busy} onClick=${() => decide(`${base(sdk.id)}/accept`)}>Accept: serve it now<//>
      <${Act} access=${access} disabled=${busy} onClick=${() => decide(`${base(sdk.id)}/reject`)}>Reject: keep the one before<//></p>
  <//>`;
}

const WAYS = { remote: "fetched", file: "from the file", cache: "from the cache of an earlier run", accepted: "accepted", served: "served by an operator",
  released: "released" };

function History({ id, live, access }) {
  const { data, error, load } = useLive(`${base(id)}?limit=${SHOWN}`, EVENTS);
  const { decide, busy, error: refused } = useDecision(load);
  const [difference, setDifference] = useState(null);
  const compare = async (config) => {
    try {
      setDifference(await get(`${base(id)}/diff?from=${config}`));
    } catch (failure) {
      setDifference({ failure });
    }
  };
  const isLive = (use) => use.config === live;
  const columns = [
    ["In use since", (use) => html`<${Ago} at=${use.at} />`],
    ["Config", (use) => html`<code>${use.config}</code>${isLive(use) && html` <${State} kind="healthy">live<//>`}`],
    ["How it came", (use) => WAYS[use.source] ?? use.source],
    ["By", (use) => [use.author, use.notes].filter(Boolean).join(": ")],
    ["Flags", (use) => number(use.flags), "number"],
    ["Actions", (use) => isLive(use) ? "" : html`<span class="actions">
      <button type="button" class="small" onClick=${() => compare(use.config)}>Compare with live</button>
      <${Act} access=${access} kind="small" disabled=${busy} onClick=${() => decide(`${base(id)}/serve`, { id: use.config })}>Serve it<//></span>`, "number"],
  ];
  return html`<${Card} id="history-${id}" title="SDK ${id}" kind="fixed">
    <${Failure} error=${error ?? refused} />
    ${data?.pinned && html`<div class="notice"><p>Config <code>${data.pinned.config}</code> is pinned since <${Ago} at=${data.pinned.since} />:
        what the source brings is not served.${data.pinned.waiting && html` Config <code>${data.pinned.waiting}</code> waits.`}</p>
      <${Act} access=${access} disabled=${busy} onClick=${() => decide(`${base(id)}/release`)}>Release: the source decides again<//></div>`}
    ${difference && html`<${Difference} difference=${difference} close=${() => setDifference(null)} />`}
    ${data && html`<${Table} name="Configs of ${id}" rows=${data.configs} columns=${columns} empty="None was kept yet."
      rowKey=${(use) => `${use.at} ${use.config}`} />`}
  <//>`;
}

const ACTS = { created: "good", updated: "info", deleted: "bad" };

function Difference({ difference, close }) {
  if (difference.failure) return html`<${Failure} error=${difference.failure} />`;
  return html`<div class="card"><div class="head"><h3>From <code>${difference.first}</code> to <code>${difference.second}</code></h3>
      <div class="end"><button type="button" class="small" onClick=${close}>Close</button></div></div>
    ${difference.flags.length === 0 ? html`<${Empty}>No flag differs.<//>`
      : html`<dl class="words">${difference.flags.map((flag) => html`<dt key=${flag.key}><code>${flag.key}</code> <${State} kind=${ACTS[flag.act]}>${flag.act}<//></dt>
        <dd key=${`${flag.key} text`}>${flag.text}</dd>`)}</dl>`}
    ${difference.segments.length > 0 && html`<p>Segments: ${difference.segments.join(", ")}</p>`}</div>`;
}
