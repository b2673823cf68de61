// Requests to the gateway that served this page. Paths are relative, so that a proxy may add a prefix.

import { useCallback, useEffect, useRef, useState } from "./vendor/preact-htm.js";

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
  if (!answer.ok) throw new ApiError(answer.status, body.error || `The gateway answered ${answer.status}.`);
  return body;
}

export const get = (path) => ask(path);

export const post = (path, body) => ask(path, body === undefined ? { method: "POST" }
  : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

// Loads `path` now and every `seconds` while the page is visible. Returns the last answer, the error of the last
// request if it failed (the answer before it stays), and a function that loads at once.
export function useLive(path, seconds) {
  const [state, setState] = useState({ data: null, error: null });
  const current = useRef(path);
  current.current = path;
  const load = useCallback(async () => {
    const asked = current.current;
    if (asked === null) return;
    try {
      const data = await get(asked);
      if (asked === current.current) setState({ data, error: null });
    } catch (error) {
      if (asked === current.current) setState((before) => ({ ...before, error }));
    }
  }, []);
  useEffect(() => {
    setState({ data: null, error: null });
    load();
    const timer = setInterval(() => document.hidden || load(), seconds * 1000);
    const shown = () => document.hidden || load();
    document.addEventListener("visibilitychange", shown);
    return () => {
      clearInterval(timer);
      document.removeEventListener("visibilitychange", shown);
    };
  }, [path, seconds]);
  return { ...state, load };
}
