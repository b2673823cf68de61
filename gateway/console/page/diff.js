// Two JSON texts line by line, as a unified difference.

import { html } from "./vendor/preact-htm.js";

const CELLS = 1_000_000; // of the table of common lines; larger texts are shown as removed and added
const CONTEXT = 3; // lines around a difference

const same = (text) => ({ kind: "same", text });
const gone = (text) => ({ kind: "gone", text });
const fresh = (text) => ({ kind: "new", text });

// Returns the lines of both in order, each of kind same, gone or new.
export function difference(before, after) {
  let start = 0;
  while (start < before.length && start < after.length && before[start] === after[start]) start += 1;
  let end = 0;
  while (end < before.length - start && end < after.length - start && before.at(-1 - end) === after.at(-1 - end)) end += 1;
  const middle = between(before.slice(start, before.length - end), after.slice(start, after.length - end));
  return [...before.slice(0, start).map(same), ...middle, ...before.slice(before.length - end).map(same)];
}

function between(before, after) {
  const rows = before.length, columns = after.length;
  if (rows * columns > CELLS) return [...before.map(gone), ...after.map(fresh)];
  // longest[i][j] is the number of common lines behind line i of one and line j of the other.
  const longest = Array.from({ length: rows + 1 }, () => new Uint32Array(columns + 1));
  for (let i = rows - 1; i >= 0; i -= 1) {
    for (let j = columns - 1; j >= 0; j -= 1) {
      longest[i][j] = before[i] === after[j] ? longest[i + 1][j + 1] + 1 : Math.max(longest[i + 1][j], longest[i][j + 1]);
    }
  }
  const lines = [];
  let i = 0, j = 0;
  while (i < rows || j < columns) {
    if (i < rows && j < columns && before[i] === after[j]) {
      lines.push(same(before[i]));
      i += 1;
      j += 1;
    } else if (i < rows && (j === columns || longest[i + 1][j] >= longest[i][j + 1])) lines.push(gone(before[i++]));
    else lines.push(fresh(after[j++]));
  }
  return lines;
}

const SIGNS = { same: "  ", gone: "- ", new: "+ " };
const text = (value) => value === undefined || value === null ? [] : JSON.stringify(value, null, 2).split("\n");

// The definitions before and after a change; what is far from a difference is left out.
export function Difference({ before, after }) {
  const lines = difference(text(before), text(after));
  const near = lines.map((_, at) => lines.slice(Math.max(0, at - CONTEXT), at + CONTEXT + 1).some((each) => each.kind !== "same"));
  const shown = [];
  let hidden = 0;
  lines.forEach((line, at) => {
    if (!near[at]) hidden += 1;
    if (hidden && (near[at] || at === lines.length - 1)) {
      shown.push(html`<span class="dim">${`  … ${hidden} equal line${hidden === 1 ? "" : "s"}\n`}</span>`);
      hidden = 0;
    }
    if (near[at]) shown.push(html`<span class=${line.kind}>${`${SIGNS[line.kind]}${line.text}\n`}</span>`);
  });
  return html`<pre tabIndex="0">${shown}</pre>`;
}
