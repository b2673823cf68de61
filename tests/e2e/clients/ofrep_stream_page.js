// The web provider as it is by default: no polling, changes by the event stream that the gateway points to.
import { OpenFeature, ProviderEvents } from "@openfeature/web-sdk";
import { OFREPWebProvider } from "@openfeature/ofrep-web-provider";

window.seen = [];
window.failed = "";
window.fetches = [];
window.streams = [];

// Every request of the provider is kept, so that a test can tell an event from a poll.
const send = window.fetch.bind(window);
window.fetch = async (input, options) => {
  const reply = await send(input, options);
  window.fetches.push([input instanceof Request ? input.url : String(input), reply.status]);
  return reply;
};
const Source = window.EventSource;
window.EventSource = class extends Source {
  constructor(url) {
    super(url);
    window.streams.push(url);
    this.addEventListener("open", () => { window.opens = (window.opens ?? 0) + 1; });
  }
};

window.begin = async (baseUrl, headers, context) => {
  const client = OpenFeature.getClient();
  const show = () => window.seen.push(client.getStringValue("banner", "default"));
  client.addHandler(ProviderEvents.ConfigurationChanged, show);
  client.addHandler(ProviderEvents.Error, (event) => { window.failed = event?.message ?? "error"; });
  await OpenFeature.setContext(context);
  await OpenFeature.setProviderAndWait(new OFREPWebProvider({ baseUrl, headers, cacheMode: "disabled" }));
  show();
};
