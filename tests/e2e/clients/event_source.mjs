// An EventSource per URL. Prints each event as [number of the URL, name, data, id], and each error as
// [number of the URL, "error", status, whether the EventSource has stopped for good].
//   node event_source.mjs URL…
import { EventSource } from "eventsource";

for (const [number, url] of process.argv.slice(2).entries()) {
  const source = new EventSource(url);
  for (const name of ["message", "put", "patch", "recovered"]) {
    source.addEventListener(name, ({ data, lastEventId }) =>
      console.log(JSON.stringify([number, name, data, lastEventId])),
    );
  }
  source.onerror = ({ code }) => console.log(JSON.stringify([number, "error", code ?? 0, source.readyState === 2]));
}
