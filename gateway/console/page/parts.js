// Small parts that several views use.

import { html, useState } from "./vendor/preact-htm.js";

const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];

// A duration in its largest unit: "3 minutes".
export function duration(seconds) {
  const [name, size] = UNITS.find(([, size]) => seconds >= size) || UNITS.at(-1);
  const count = Math.max(0, Math.floor(seconds / size));
  return `${count} ${name}${count === 1 ? "" : "s"}`;
}

// A moment, in ISO 8601 or seconds since 1970, as its age, with the exact time as a title.
export function Ago({ at }) {
  if (at === null || at === undefined) return "never";
  const date = new Date(typeof at === "number" ? at * 1000 : at);
  const age = (Date.now() - date) / 1000;
  const text = age >= 0 ? `${duration(age)} ago` : `in ${duration(-age)}`;
  return html`<time dateTime=${date.toISOString()} title=${date.toLocaleString()}>${text}</time>`;
}

export const count = (number, what) => `${number.toLocaleString()} ${what}${number === 1 ? "" : "s"}`;

export function Failure({ error }) {
  if (!error) return null;
  const hint = error.status === 401 || error.status === 403
    ? " Open the console on the gateway's own machine, or through a proxy that adds diag.auth_headers." : "";
  return html`<p class="failure" role="alert">${error.message}${hint}</p>`;
}

// A state in words; the color only repeats it.
export const State = ({ kind, children }) => html`<span class="state ${kind}">${children}</span>`;

export function Command({ text }) {
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    await navigator.clipboard.writeText(text);
    setCopied(true);
    setTimeout(() => setCopied(false), 2000);
  };
  return html`<span class="command"><code>${text}</code>
    ${navigator.clipboard && html`<button type="button" onClick=${copy}>${copied ? "Copied" : "Copy"}</button>`}</span>`;
}

// `columns` are [title, cell of a row]; a table that is too wide scrolls by itself.
export function Table({ columns, rows, name, empty, rowKey }) {
  if (!rows.length) return html`<p class="quiet">${empty}</p>`;
  return html`<div class="scroll" tabIndex="0" role="group" aria-label=${name}><table>
    <thead><tr>${columns.map(([title]) => html`<th scope="col">${title}</th>`)}</tr></thead>
    <tbody>${rows.map((row) => html`<tr key=${rowKey(row)}>${columns.map(([, cell]) => html`<td>${cell(row)}</td>`)}</tr>`)}
    </tbody></table></div>`;
}

export const Json = ({ value }) => html`<pre tabIndex="0">${typeof value === "string" ? value : JSON.stringify(value, null, 2)}</pre>`;

// Text areas and fields with a visible label.
export const Field = ({ label, wide, children }) => html`<label class=${wide ? "field wide" : "field"}><span>${label}</span>${children}</label>`;
