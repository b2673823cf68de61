// The console: a view per hash of the address, under one row of links.

import { html, render, useEffect, useRef, useState } from "./vendor/preact-htm.js";
import { useLive } from "./api.js";
import { Failure } from "./parts.js";
import { Changes } from "./changes.js";
import { Configs } from "./configs.js";
import { Deliveries } from "./deliveries.js";
import { Explain } from "./explain.js";
import { Impact } from "./impact.js";
import { Now } from "./now.js";
import { Streams } from "./streams.js";

const VIEWS = { now: ["Now", Now], changes: ["Changes", Changes], explain: ["Explain", Explain],
  impact: ["Impact", Impact], streams: ["Streams", Streams], deliveries: ["Deliveries", Deliveries], configs: ["Configs", Configs] };

const OVERVIEW_SECONDS = 2;

// The part of the address behind "#/": the name of the view, and its parameters.
function place() {
  const [name, query] = location.hash.replace(/^#\/?/, "").split("?");
  return { name: name in VIEWS ? name : "now", parameters: new URLSearchParams(query) };
}

function Console() {
  const [at, setAt] = useState(place());
  const main = useRef();
  const overview = useLive("api/v1/overview", OVERVIEW_SECONDS);
  const [title, View] = VIEWS[at.name];
  useEffect(() => {
    const moved = () => {
      setAt(place());
      main.current.focus();
    };
    addEventListener("hashchange", moved);
    return () => removeEventListener("hashchange", moved);
  }, []);
  useEffect(() => {
    document.title = `${title} · flaggateway`;
  }, [title]);
  return html`
    <header>
      <a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); main.current.focus(); }}>Skip to content</a>
      <strong>flaggateway</strong>
      <nav aria-label="Views">${Object.entries(VIEWS).map(([name, [text]]) =>
        html`<a key=${name} href="#/${name}" aria-current=${name === at.name ? "page" : null}>${text}</a>`)}</nav>
    </header>
    <main id="main" tabIndex="-1" ref=${main}>
      <h1>${title}</h1>
      <${Failure} error=${overview.error} />
      <${View} overview=${overview.data} reload=${overview.load} parameters=${at.parameters} />
    </main>`;
}

render(html`<${Console} />`, document.getElementById("console"));
