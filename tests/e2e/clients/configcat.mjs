// The official Node SDK behind the gateway: prints the flag's value for two users at the start and after each change.
//   node configcat.mjs BASE_URL SDK_KEY
import * as configcat from "@configcat/sdk";

const [baseUrl, sdkKey] = process.argv.slice(2);
const german = new configcat.User("anna", undefined, "Germany");
const french = new configcat.User("zoe", undefined, "France");

let tell = Promise.resolve();
const client = configcat.getClient(sdkKey, configcat.PollingMode.AutoPoll, {
  baseUrl,
  pollIntervalSeconds: 1,
  logger: configcat.createConsoleLogger(configcat.LogLevel.Off),
  setupHooks: (hooks) => hooks.on("configChanged", () => { tell = tell.then(show); }),
});

async function show() {
  const values = [];
  for (const user of [german, french]) {
    values.push(await client.getValueAsync("banner", "default", user));
  }
  console.log(JSON.stringify(values));
}
await client.waitForReady();
