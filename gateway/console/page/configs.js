// Configs: those that are held until an operator decides.

import { html, useState } from "./vendor/preact-htm.js";
import { post } from "./api.js";
import { Ago, Failure, count } from "./parts.js";

export function Configs({ overview, reload }) {
  if (!overview) return html`<p class="quiet">Loading</p>`;
  const held = overview.sdks.filter((sdk) => sdk.held !== null);
  if (!held.length) {
    return html`<p class="quiet">No config is held. A config that would remove or break more flags than
      upstream.guard allows is held here until it is accepted or rejected.</p>`;
  }
  return held.map((sdk) => html`<${HeldConfig} key=${sdk.id} sdk=${sdk} reload=${reload} />`);
}

function HeldConfig({ sdk, reload }) {
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const decide = async (act) => {
    setBusy(true);
    try {
      await post(`configs/${encodeURIComponent(sdk.id)}/${act}`);
      setError(null);
    } catch (failure) {
      setError(failure);
    }
    setBusy(false);
    reload();
  };
  const { held } = sdk;
  return html`<section class="card" aria-labelledby="held-${sdk.id}">
    <h2 id="held-${sdk.id}">SDK ${sdk.id}: a config is held</h2>
    <p>${held.reason}</p>
    <p>Held since <${Ago} at=${held.since} />, ${count(held.flags, "flag")}: ${held.added} added, ${held.removed} removed,
      ${" "}${held.changed} changed, ${held.failing} failing. Clients get the config before it.</p>
    <${Failure} error=${error} />
    <p class="actions"><button type="button" disabled=${busy} onClick=${() => decide("accept")}>Accept: serve it now</button>
      <button type="button" disabled=${busy} onClick=${() => decide("reject")}>Reject: keep the one before</button></p>
  </section>`;
}
