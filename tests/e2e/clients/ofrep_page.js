// The example of the documentation, in a page of another origin: the web provider, and what it told.
import { OpenFeature, ProviderEvents } from "@openfeature/web-sdk";
import { OFREPWebProvider } from "@openfeature/ofrep-web-provider";

window.seen = [];
window.failed = "";

window.begin = async (baseUrl, header, value) => {
  const client = OpenFeature.getClient();
  const show = () => window.seen.push(client.getStringValue("banner", "default"));
  client.addHandler(ProviderEvents.ConfigurationChanged, show);
  client.addHandler(ProviderEvents.Error, (event) => { window.failed = event?.message ?? "error"; });
  await OpenFeature.setContext({ targetingKey: "anna", Country: "Germany" });
  await OpenFeature.setProviderAndWait(
    new OFREPWebProvider({ baseUrl, pollInterval: 500, headers: [[header, value]] }),
  );
  show();
};
