// The config that an SDK serves, for the keys of its flags and their definitions.

import { html, useEffect, useState } from "./vendor/preact-htm.js";
import { get } from "./api.js";

const LARGEST = 2 ** 22; // bytes of a config that is loaded for this
const OFFERED = 2_000; // keys

// Returns the live config of an SDK, or null while it is loaded, is too large or is not kept by the history.
export function useLiveConfig(overview, sdkId) {
  const [loaded, setLoaded] = useState({ path: null, config: null });
  const config = overview?.sdks.find((each) => each.id === sdkId)?.config;
  const path = config && config.bytes <= LARGEST ? `api/v1/configs/${encodeURIComponent(sdkId)}/${config.tag}` : null;
  useEffect(() => {
    let current = true;
    if (path !== null) get(path).then((answer) => current && setLoaded({ path, config: answer.config }), () => {});
    return () => { current = false; };
  }, [path]);
  return loaded.path === path ? loaded.config : null;
}

// The keys as suggestions for the field with `list` of this id.
export const FlagKeys = ({ id, config }) => html`<datalist id=${id}>
  ${Object.keys(config?.f ?? {}).slice(0, OFFERED).map((key) => html`<option key=${key} value=${key}></option>`)}</datalist>`;
