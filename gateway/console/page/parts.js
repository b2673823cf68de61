// Small parts that several views use.

import { html, useEffect, useState } from "./vendor/preact-htm.js";

const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
const TICK = 1_000; // milliseconds between two looks at the ages that are shown

// Numbers as English texts, like all others of the page.
export const number = (value, digits = 0) => value.toLocaleString("en", { maximumFractionDigits: digits });

export const count = (value, what) => `${number(value)} ${what}${value === 1 ? "" : "s"}`;

// A duration in its largest unit: "3 min".
export function duration(seconds) {
  const [name, size] = UNITS.find(([, each]) => seconds >= each) || UNITS.at(-1);
  return `${number(Math.max(0, Math.floor(seconds / size)))} ${name}`;
}

// A short duration with two or three digits: "0.42 ms", "18 ms", "1.3 s".
export function short(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds >= 0.9995) return `${number(seconds, seconds < 10 ? 1 : 0)} s`;
  const ms = seconds * 1000;
  return `${number(ms, ms < 1 ? 2 : ms < 10 ? 1 : 0)} ms`;
}

export function size(bytes) {
  if (bytes < 1024) return count(bytes, "byte");
  const mib = bytes / 2 ** 20;
  return mib < 1 ? `${number(bytes / 1024)} KiB` : `${number(mib, mib < 10 ? 1 : 0)} MiB`;
}

const moment = (at) => new Date(typeof at === "number" ? at * 1000 : at);

const age = (at) => {
  const seconds = (Date.now() - moment(at)) / 1000;
  if (seconds > -1 && seconds < 1) return "now";
  return seconds > 0 ? `${duration(seconds)} ago` : `in ${duration(-seconds)}`;
};

// All ages of the page are renewed by one timer, and only where the text changes.
const ages = new Set();
setInterval(() => document.hidden || ages.forEach((renew) => renew()), TICK);

// A moment, in ISO 8601 or seconds since 1970, as its age, with the exact time as a title.
export function Ago({ at }) {
  const known = at !== null && at !== undefined;
  const [, setText] = useState("");
  useEffect(() => {
    if (!known) return undefined;
    const renew = () => setText(age(at));
    ages.add(renew);
    return () => ages.delete(renew);
  }, [at]);
  if (!known) return "never";
  return html`<time dateTime=${moment(at).toISOString()} title=${moment(at).toLocaleString()}>${age(at)}</time>`;
}

// A moment as the time of the day: "14:03:07".
export const Clock = ({ at }) => html`<time dateTime=${moment(at).toISOString()} title=${moment(at).toLocaleString()}>${
  moment(at).toLocaleTimeString("en", { hour12: false })}</time>`;

export function Failure({ error }) {
  if (!error) return null;
  return html`<p class="failure" role="alert">${error.message}</p>`;
}

// A state in words; the color only repeats it.
export const State = ({ kind, children }) => html`<span class="state ${kind}">${children}</span>`;

// A section with a title; `end` is at the other side of the title.
export const Card = ({ id, title, end, kind = "", children }) => html`<section class="card ${kind}" aria-labelledby=${id}>
  <div class="head"><h2 id=${id}>${title}</h2>${end && html`<div class="end">${end}</div>`}</div>${children}</section>`;

export const Empty = ({ children }) => html`<p class="empty">${children}</p>`;

export const Loading = () => html`<p class="quiet">Loading</p>`;

// Figures in a row: [title, text, what is behind it].
export const Tiles = ({ tiles }) => html`<dl class="tiles">${tiles.map(([title, text, unit]) =>
  html`<div key=${title}><dt>${title}</dt><dd>${text}${unit && html` <small>${unit}</small>`}</dd></div>`)}</dl>`;

// A button for those who may act; for others it is off, and its title gives the reason.
export function Act({ access, kind = "", disabled, onClick, children }) {
  const off = access?.role === "view";
  const why = off ? `${access.user ?? "This login"} may view only: an operator can do this (diag.operators)` : null;
  return html`<button type="button" class=${kind} disabled=${disabled || off} title=${why} onClick=${onClick}>${children}</button>`;
}

// Why the buttons are off; nothing for those who may act.
export const ViewOnly = ({ access }) => access?.role === "view"
  && html`<p class="quiet small">You may view this, and operators may act: see diag.operators in the settings.</p>`;

export function Command({ text }) {
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    await navigator.clipboard.writeText(text);
    setCopied(true);
    setTimeout(() => setCopied(false), 2000);
  };
  return html`<span class="command"><code>${text}</code>
    ${navigator.clipboard && html`<button type="button" class="small" onClick=${copy}>${copied ? "Copied" : "Copy"}</button>`}</span>`;
}

// `columns` are [title, cell of a row, class]; a table that is too wide scrolls by itself.
export function Table({ columns, rows, name, empty, rowKey, chosen = () => false }) {
  if (!rows.length) return html`<${Empty}>${empty}<//>`;
  return html`<div class="scroll" tabIndex="0" role="group" aria-label=${name}><table>
    <thead><tr>${columns.map(([title, , kind]) => html`<th scope="col" class=${kind}>${title}</th>`)}</tr></thead>
    <tbody>${rows.map((row) => html`<tr key=${rowKey(row)} class=${chosen(row) ? "chosen" : null}>${columns.map(([, cell, kind]) =>
      html`<td class=${kind}>${cell(row)}</td>`)}</tr>`)}
    </tbody></table></div>`;
}

// Which streams a change reached, in one sentence.
export function Reached({ reach }) {
  if (reach === null) return html`<span class="quiet">Reach not measured: an earlier run of the gateway</span>`;
  if (reach.open_streams === 0) return html`<span class="quiet">No stream was open</span>`;
  const paced = reach.paced_streams > 0 ? `, ${number(reach.paced_streams)} more paced` : "";
  const ended = reach.processes >= reach.expected_processes;
  return html`Reached <strong>${number(reach.streams)}</strong> of ${count(reach.open_streams, "open stream")}${paced}${
    reach.streams > 0 && html`, the last in <strong>${short(reach.last_seconds)}</strong>`}${
    reach.replaced ? html` <span class="quiet">until a newer config came</span>` : !ended && html` <span class="quiet">so far</span>`}`;
}

export const Json = ({ value }) => html`<pre tabIndex="0">${typeof value === "string" ? value : JSON.stringify(value, null, 2)}</pre>`;

// A value of a flag; null is a flag that does not exist or fails.
export const Value = ({ served, kind = "", note = "" }) => served === null ? html`<span class="quiet">none</span>`
  : html`<span class="value ${kind}">${JSON.stringify(served.value)}${note && html` <span class="quiet">${note}</span>`}</span>`;

// Text areas and fields with a visible label.
export const Field = ({ label, kind = "", children }) => html`<label class="field ${kind}"><span>${label}</span>${children}</label>`;

export const SdkField = ({ overview, value, onChange, all }) => html`<${Field} label="SDK"><select value=${value} onChange=${onChange}>
  ${all && html`<option value=${""}>all</option>`}
  ${(overview?.sdks ?? []).map((sdk) => html`<option key=${sdk.id} value=${sdk.id}>${sdk.id}</option>`)}</select><//>`;
