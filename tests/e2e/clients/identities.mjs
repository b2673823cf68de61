// Many users in one process, each with a client of its own: prints what each has seen, before and after a change.
import { readFileSync } from "node:fs";
import { until } from "../../../clients/javascript/test/browser.mjs";

const [client, gateway, tokens] = process.argv.slice(2);
const { connect } = await import(client);
const seen = JSON.parse(readFileSync(tokens, "utf8")).map((token) => {
  const calls = [];
  connect(gateway, { sdk: "shop", token: () => token, onError: (error) => calls.push(error) }).on("banner", (value) =>
    calls.push(value),
  );
  return calls;
});
for (const count of [1, 2]) {
  await until(() => seen.every((calls) => calls.length >= count));
  console.log(JSON.stringify(seen));
}
process.exit(0);
