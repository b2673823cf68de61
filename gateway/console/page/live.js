// The one stream of events of the page, /api/v1/events: it reports what happened, and views load their data again then.

import { useEffect, useState } from "./vendor/preact-htm.js";

// `point` comes every five seconds, so a longer silence is a lost connection that the browser has not noticed.
const KINDS = ["config", "push", "held", "streams", "delivery", "problems", "point", "change"];
const SILENCE = 20_000; // milliseconds
const RETRY = 3_000; // milliseconds until the next trial, after an answer that ends the browser's own trials

const listeners = new Set(); // called with the kind and the data of each event
const watchers = new Set(); // called with each state of the connection

let over = false; // whether the login is
let source = null;
let silence = 0; // timers
let retry = 0;
let state = "none";

function become(next) {
  if (next === state) return;
  state = next;
  for (const watcher of [...watchers]) watcher(state);
}

function awake() {
  become("live");
  clearTimeout(silence);
  silence = setTimeout(open, SILENCE);
}

function close() {
  clearTimeout(silence);
  clearTimeout(retry);
  source?.close();
  source = null;
}

function open() {
  close();
  if (state === "none") become("opening");
  source = new EventSource(new URL("api/v1/events", document.baseURI));
  source.onopen = awake;
  source.onerror = () => {
    become("lost");
    clearTimeout(silence);
    // The browser tries again by itself after a broken connection, but not after an answer such as 503.
    if (source?.readyState === EventSource.CLOSED) retry = setTimeout(again, RETRY);
  };
  for (const kind of KINDS) {
    source.addEventListener(kind, (event) => {
      awake();
      const data = JSON.parse(event.data);
      for (const listener of [...listeners]) listener(kind, data);
    });
  }
}

function again() {
  if (over) retry = setTimeout(again, RETRY);
  else open();
}

// A browser opens only six connections to a gateway, over HTTP/1.1: pages in the background must not hold one each.
document.addEventListener("visibilitychange", () => {
  if (state === "none") return;
  if (!document.hidden) open();
  else {
    close();
    become("opening");
  }
});

// Opens the stream, once; the page does so when the gateway has answered, so that a login comes first.
export const start = () => source ?? open();

// Notes the status of an answer. After 401 nothing is asked without a click: each request would open the dialog of the browser,
// which was cancelled.
export function answered(status) {
  over = status === 401;
}

export const isLoggedOut = () => over;

// Calls `listener` with the kind and the data of each event; returns a function that ends this.
export function listen(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

// Calls `watcher` with each state of the connection; returns a function that ends this.
export function watch(watcher) {
  watchers.add(watcher);
  return () => watchers.delete(watcher);
}

export const isLive = () => state === "live";

// The state of the connection: none before the start, opening, live or lost.
export function useConnection() {
  const [shown, setShown] = useState(state);
  useEffect(() => watch(setShown), []);
  return shown;
}
