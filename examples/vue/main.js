import { createApp, h, onUnmounted, shallowRef } from "vue";
import { connect } from "@flaggateway/client";

const query = new URLSearchParams(location.search);
const flags = connect(query.get("gateway") ?? "http://localhost:8050", {
  sdk: query.get("sdk") ?? "demo",
  user: { Identifier: query.get("user") ?? "zoe", Country: query.get("country") ?? "France" },
});

/** A ref with the value of a flag, `fallback` while there is none. */
function useFlag(key, fallback) {
  const value = shallowRef(flags.value(key, fallback));
  onUnmounted(flags.on(key, () => { value.value = flags.value(key, fallback); }));
  return value;
}

const Shipping = {
  setup() {
    const limit = useFlag("freeShippingFrom", 50);
    return () => h("p", ["Free shipping from ", h("output", { id: "limit" }, String(limit.value))]);
  },
};

createApp(Shipping).mount("#root");
