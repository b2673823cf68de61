// The console: a view per hash of the address, under one row of links.

import { html, render, useEffect, useRef, useState } from "./vendor/preact-htm.js";
import { useLive } from "./api.js";
import { listen, start, useConnection } from "./live.js";
import { Failure } from "./parts.js";
import { Changes } from "./changes.js";
import { Clients } from "./clients.js";
import { Configs } from "./configs.js";
import { Deliveries } from "./deliveries.js";
import { Explain } from "./explain.js";
import { Impact } from "./impact.js";
import { Now } from "./now.js";
import { Streams } from "./streams.js";

const VIEWS = {
  now: ["Now", "", Now],
  changes: ["Changes", "What changed, by which author, and how many clients it reached.", Changes],
  explain: ["Explain", "Why a user has the value of a flag, decision by decision.", Explain],
  impact: ["Impact", "Who would see what else, before a config is published.", Impact],
  streams: ["Streams", "Who is connected, and what they are being sent.", Streams],
  deliveries: ["Deliveries", "Messages to webhook endpoints, and what became of them.", Deliveries],
  clients: ["Clients", "Which programs send requests, and which flags they name.", Clients],
  configs: ["Configs", "What is held, what is served, and what was served before.", Configs],
};

const OVERVIEW_EVENTS = ["config", "push", "held", "streams", "problems"];

// The part of the address behind "#/": the name of the view, what follows it, and its parameters.
function place() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, rest] = path.split("/");
  return { name: name in VIEWS ? name : "now", rest, parameters: new URLSearchParams(query) };
}

function Console() {
  const [at, setAt] = useState(place());
  const main = useRef();
  const overview = useLive("api/v1/overview", OVERVIEW_EVENTS);
  const [title, intro, View] = VIEWS[at.name];
  useEffect(() => {
    const moved = () => {
      setAt(place());
      main.current.focus();
    };
    addEventListener("hashchange", moved);
    return () => removeEventListener("hashchange", moved);
  }, []);
  const answered = overview.data !== null;
  useEffect(() => {
    if (answered) start();
  }, [answered]);
  useEffect(() => {
    document.title = `${title} · flaggateway`;
    document.querySelector("nav a[aria-current]").scrollIntoView({ block: "nearest", inline: "center" }); // in a narrow window
  }, [title]);
  const held = (overview.data?.sdks ?? []).filter((sdk) => sdk.held).length;
  return html`
    <header class="top">
      <a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); main.current.focus(); }}>Skip to content</a>
      <a class="brand" href="#/now"><svg viewBox="0 0 16 16" aria-hidden="true"><path d="M3 1h2v14H3zM5 2h8l-2 3 2 3H5z" /></svg>flaggateway</a>
      <nav aria-label="Views">${Object.entries(VIEWS).map(([name, [text]]) =>
        html`<a key=${name} href="#/${name}" aria-current=${name === at.name ? "page" : null}>${text}${
          name === "configs" && held > 0 && html`<span class="mark" title="held">${held}<span hidden> held</span></span>`}</a>`)}</nav>
      <${Connection} away=${overview.away} access=${overview.data?.access} />
    </header>
    <main id="main" tabIndex="-1" ref=${main}>
      <div class="intro"><h1>${title}</h1>${intro && html`<p class="quiet">${intro}</p>`}</div>
      ${overview.away && html`<p class="notice" role="alert">The gateway does not answer. ${overview.data
        ? "What is shown is the last that it sent; this page goes on by itself when it is back."
        : "It may be stopped, or the connection is lost; this page goes on by itself when it is back."}</p>`}
      <${Failure} error=${overview.error} />
      ${overview.error?.status === 401 && html`<p><button type="button" class="main" onClick=${() => location.reload()}>Log in</button></p>`}
      <${View} overview=${overview.data} reload=${overview.load} parameters=${at.parameters} rest=${at.rest} />
    </main>`;
}

const WORDS = { none: "Connecting", opening: "Connecting", live: "Live", lost: "Not live, asking every 4 s" };

// Whether events arrive, with a beat per event, and who is logged in.
function Connection({ away, access }) {
  const state = useConnection();
  const [beat, setBeat] = useState(false);
  useEffect(() => {
    let timer = 0;
    const quit = listen((kind) => {
      if (kind === "point") return;
      setBeat(true);
      clearTimeout(timer);
      timer = setTimeout(() => setBeat(false), 1200);
    });
    return () => {
      clearTimeout(timer);
      quit();
    };
  }, []);
  const who = access?.user ? `${access.user} (${access.role}) · ` : "";
  return html`<span class="connection ${away ? "lost" : state} ${beat ? "beat" : ""}" role="status">${who}${away ? "Connection lost" : WORDS[state]}</span>`;
}

render(html`<${Console} />`, document.getElementById("console"));
