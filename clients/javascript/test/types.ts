// Compiled, never run: what the compiler must accept and refuse in a page.
import { connect, type FlagsError, type Value } from "../src/client.js";
import { FlagsProvider, useFlag } from "../src/react.js";

const flags = connect("https://flags.example.com", {
  sdk: "shop",
  user: { Identifier: "zoe", Age: 7, Tags: ["a"] },
  token: async (refused) => (refused ? "new" : "known"),
  onError: ({ code, message }: FlagsError) => console.warn(code === "sdk", message),
});
const limit: number = flags.value("freeShippingFrom", 50);
const on: boolean = flags.value("checkout", false);
const text: string = flags.value("banner", "");
const stop: () => void = flags.on("banner", (value: Value | undefined, { stale, variationId }) => [value, stale, variationId]);
const current: Promise<boolean> = flags.identify({ Identifier: "bob" });
const hooked: number = useFlag("freeShippingFrom", 50);
export const used = [limit, on, text, stop, current, hooked, FlagsProvider({ client: flags, initial: { values: {}, id: "" } })];

// @ts-expect-error: a number is no text
export const wrong: string = flags.value("freeShippingFrom", 50);
// @ts-expect-error: the SDK is required
connect("https://flags.example.com", {});
// @ts-expect-error: the gateway refuses such attributes
connect("https://flags.example.com", { sdk: "shop", user: { Admin: true } });
