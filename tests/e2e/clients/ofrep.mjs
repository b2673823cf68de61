// The OpenFeature web SDK with the OFREP web provider, in Node: prints the flag's details at the start and each change.
//   node ofrep.mjs BASE_URL HEADER VALUE
import { OpenFeature, ProviderEvents } from "@openfeature/web-sdk";
import { OFREPWebProvider } from "@openfeature/ofrep-web-provider";

const [baseUrl, header, value] = process.argv.slice(2);
const provider = new OFREPWebProvider({ baseUrl, pollInterval: 500, cacheMode: "disabled", headers: [[header, value]] });
const client = OpenFeature.getClient();

function show() {
  const { value, variant, reason } = client.getStringDetails("banner", "default");
  console.log(JSON.stringify([value, variant, reason, client.getBooleanValue("checkout", false), client.getNumberValue("limit", 0)]));
}
client.addHandler(ProviderEvents.ConfigurationChanged, show);
await OpenFeature.setContext({ targetingKey: "anna", Country: "Germany" });
await OpenFeature.setProviderAndWait(provider);
show();
