// The OpenFeature web SDK with the OFREP web provider, in Node, against the answers that stdin lists:
//   {"400": {"body": "…", "type": "application/json", "headers": {}}, …}
// Prints what an application sees when an answer is the first one, the one after a change of the user, or that to a poll:
//   [status, [provider status, value, polls], [provider status, events, value], [provider status, events, value, polls again]]
import { readFileSync } from "node:fs";
import { OpenFeature, ProviderEvents } from "@openfeature/web-sdk";
import { OFREPWebProvider } from "@openfeature/ofrep-web-provider";

const answers = JSON.parse(readFileSync(0, "utf8"));
const GOOD = { flags: [{ key: "banner", reason: "DEFAULT", variant: "v", value: "of anna" }] };
const EVENTS = ["Error", "Stale", "Ready", "ConfigurationChanged", "ContextChanged"];
const QUIET = 200; // ms without a request, at a poll every 5 ms: the provider has stopped
const LONGEST = 20_000; // ms, for a request that comes at once on an idle machine
const soon = (ms) => new Promise((done) => setTimeout(done, ms));

function reply(status) {
  if (status === "200") return Response.json(GOOD, { headers: { ETag: '"good"' } });
  if (status === "lost") throw new TypeError("fetch failed");
  const { body, type, headers } = answers[status];
  return new Response(body || null, { status: Number(status), headers: { ...headers, ...(type ? { "Content-Type": type } : {}) } });
}

// Returns a client whose provider gets ``first`` and then what ``next`` says, and the events since it was ready.
async function begin(domain, first, pollInterval) {
  const state = { next: first, events: [], requests: 0, answered: {} };
  const provider = new OFREPWebProvider({
    baseUrl: "http://gateway.invalid",
    cacheMode: "disabled",
    pollInterval,
    fetchImplementation: async () => {
      const status = state.next;
      state.requests += 1;
      state.answered[status] = (state.answered[status] ?? 0) + 1;
      return reply(status);
    },
  });
  await OpenFeature.setContext(domain, { targetingKey: "anna" });
  await OpenFeature.setProviderAndWait(domain, provider).catch(() => {});
  const client = OpenFeature.getClient(domain);
  for (const name of EVENTS) client.addHandler(ProviderEvents[name], () => { state.events.push(name); });
  await soon(0);
  state.events.length = 0;
  return [client, state];
}

async function until(condition) {
  while (!condition()) await soon(5);
}

const value = (client) => client.getStringValue("banner", "default");
for (const status of Object.keys(answers)) {
  const [started, first] = await begin(`start ${status}`, status, 5);
  await soon(QUIET);
  const atStart = [started.providerStatus, value(started), first.requests > 1];

  const [changed, state] = await begin(`change ${status}`, "200", 0);
  state.next = status;
  await OpenFeature.setContext(`change ${status}`, { targetingKey: "zoe" });
  await soon(0);
  const afterChange = [changed.providerStatus, [...state.events], value(changed)];

  const [polling, polls] = await begin(`poll ${status}`, "200", 5);
  polls.next = status;
  await until(() => polls.answered[status]);
  const again = await Promise.race([
    until(() => polls.answered[status] > 2).then(() => true),
    soon(status === "429" ? QUIET : LONGEST).then(() => false),
  ]);
  const atPoll = [polling.providerStatus, [...new Set(polls.events)], value(polling), again];
  console.log(JSON.stringify([status, atStart, afterChange, atPoll]));
  await OpenFeature.clearProviders();
}
process.exit(0);
