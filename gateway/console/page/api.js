// Requests to the gateway that served this page. Paths are relative, so that a proxy may add a prefix.

import { useCallback, useEffect, useRef, useState } from "./vendor/preact-htm.js";
import { answered, isLive, isLoggedOut, listen, watch } from "./live.js";

export class ApiError extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(new URL(path, document.baseURI), { cache: "no-store", ...options });
  } catch {
    throw new ApiError(0, "The gateway does not answer. It may be stopped, or the connection is lost.");
  }
  const body = await answer.json().catch(() => ({}));
  answered(answer.status);
  if (!answer.ok) throw new ApiError(answer.status, body.error || `The gateway answered ${answer.status}.`);
  return body;
}

export const get = (path) => ask(path);

// Sends `body` and calls `heard` with the kind and the data of each event of the answer, until it ends or `signal` aborts.
export async function stream(path, body, heard, signal) {
  const answer = await fetch(new URL(path, document.baseURI), { method: "POST", signal, headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body) });
  if (!answer.ok) throw new ApiError(answer.status, (await answer.json().catch(() => ({}))).error || `The gateway answered ${answer.status}.`);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split("\n").map((line) => line.split(/: (.*)/s, 2)));
      if (fields.event) heard(fields.event, JSON.parse(fields.data));
    }
  }
}

// `body` is a value, or the text of a JSON document.
export const post = (path, body) => ask(path, body === undefined ? { method: "POST" } : { method: "POST",
  headers: { "Content-Type": "application/json" }, body: typeof body === "string" ? body : JSON.stringify(body) });

const GATHER = 150; // milliseconds: a change causes several events
const LEAST = 1_000; // milliseconds between two requests for the same data
const SLOW = 30_000; // milliseconds: for what has no event
const LOST = 4_000; // milliseconds between two requests while there are no events

// Loads `path` now, soon after an event of one of `kinds`, and when the page is visible or connected again. Returns the
// last answer, the error of the last request if it failed (the answer before it stays), whether the gateway did not
// answer, and a function that loads at once. Nothing is loaded while `path` is null.
export function useLive(path, kinds) {
  const [state, setState] = useState({ data: null, error: null });
  const newest = useRef(0); // number of the last request: an answer to an earlier one is not shown
  const load = useCallback(async () => {
    if (path === null) return;
    const number = newest.current += 1;
    try {
      const data = await get(path);
      if (number === newest.current) setState({ data, error: null });
    } catch (error) {
      if (number === newest.current) setState((before) => ({ ...before, error }));
    }
  }, [path]);
  useEffect(() => {
    let timer = 0;
    let busy = false;
    let last = performance.now();
    const soon = () => {
      timer ||= setTimeout(run, Math.max(GATHER, last + LEAST - performance.now()));
    };
    const run = async () => {
      timer = 0;
      if (document.hidden || isLoggedOut()) return;
      if (busy) return soon();
      busy = true;
      last = performance.now();
      await load();
      busy = false;
    };
    setState({ data: null, error: null });
    load();
    const slow = setInterval(() => {
      if (performance.now() - last >= (isLive() ? SLOW : LOST)) soon();
    }, LOST);
    const quit = [listen((kind) => kinds.includes(kind) && soon()), watch(soon)];
    return () => {
      newest.current += 1;
      clearTimeout(timer);
      clearInterval(slow);
      quit.forEach((each) => each());
    };
  }, [path]);
  const away = state.error?.status === 0; // shown once, for the whole page
  return { data: state.data, error: away ? null : state.error, away, load };
}
