import { createRoot } from "react-dom/client";
import { connect } from "@flaggateway/client";
import { FlagsProvider, useFlag } from "@flaggateway/client/react";

const query = new URLSearchParams(location.search);
const flags = connect(query.get("gateway") ?? "http://localhost:8050", {
  sdk: query.get("sdk") ?? "demo",
  user: { Identifier: query.get("user") ?? "zoe", Country: query.get("country") ?? "France" },
});

function Shipping() {
  const limit = useFlag("freeShippingFrom", 50);
  return <p>Free shipping from <output id="limit">{limit}</output></p>;
}

createRoot(document.querySelector("#root")).render(
  <FlagsProvider client={flags}>
    <Shipping />
  </FlagsProvider>,
);
