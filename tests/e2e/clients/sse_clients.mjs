// Three libraries for server-sent events read two URLs each, the second one after the first event of the first one.
// Prints every event as [library, number of the URL, name, data, id].
//   node sse_clients.mjs URL URL
import { createEventSource } from "eventsource-client";
import { EventSource } from "eventsource";

// This library needs the names of a browser, also with openWhenHidden.
globalThis.window = globalThis;
globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} };
const { fetchEventSource } = await import("@microsoft/fetch-event-source");

const urls = process.argv.slice(2);

function read(library, open, number = 0) {
  let next = number + 1;
  open(urls[number], (name, data, id) => {
    console.log(JSON.stringify([library, number, name || "message", data, id]));
    if (next < urls.length) read(library, open, next);
    next = urls.length;
  });
}

read("eventsource", (url, show) => {
  const source = new EventSource(url);
  for (const name of ["message", "put", "patch", "recovered"]) {
    source.addEventListener(name, (event) => show(event.type, event.data, event.lastEventId));
  }
});
read("eventsource-client", (url, show) => {
  createEventSource({ url, onMessage: ({ event, data, id }) => show(event, data, id) });
});
read("fetch-event-source", (url, show) => {
  fetchEventSource(url, { openWhenHidden: true, onmessage: ({ event, data, id }) => show(event, data, id) });
});
