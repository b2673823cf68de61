// The HTML of a server with first values; the browser already has newer ones when it takes the page over.
import { hydrateRoot } from "react-dom/client";
import { renderToString } from "react-dom/server";
import { connect } from "@flaggateway/client";
import { FlagsProvider, useFlag } from "@flaggateway/client/react";

const Shipping = () => <output id="limit">{useFlag("freeShippingFrom", 50)}</output>;
const Unknown = () => <output id="unknown">{useFlag("unknown", "none")}</output>;
const initial = { values: { freeShippingFrom: { value: 45, variationId: "" } }, id: "" };
const page = (client) => (
  <FlagsProvider client={client} initial={initial}>
    <Shipping />
    <Unknown />
  </FlagsProvider>
);

const root = document.querySelector("#root");
root.innerHTML = renderToString(page());
window.rendered = root.textContent;
window.problems = [];
const user = { Identifier: "zoe", Country: "France" };
const flags = connect(new URLSearchParams(location.search).get("gateway"), { sdk: "demo", user, initial, onError: () => {} });
flags.ready.then((current) => {
  window.live = current && flags.value("freeShippingFrom", 0);
  hydrateRoot(root, page(flags), { onRecoverableError: (error) => window.problems.push(String(error)) });
});
