import { createRoot } from "react-dom/client";
import { OpenFeature, OpenFeatureProvider, useNumberFlagValue } from "@openfeature/react-sdk";
import { OFREPWebProvider } from "@openfeature/ofrep-web-provider";

const query = new URLSearchParams(location.search);
OpenFeature.setContext({
  targetingKey: query.get("user") ?? "zoe",
  Country: query.get("country") ?? "France",
});
// Each answer contains the address of an event stream, so the provider need not poll.
OpenFeature.setProvider(
  new OFREPWebProvider({
    baseUrl: query.get("gateway") ?? "http://localhost:8050",
    headers: [["X-ConfigCat-SdkId", query.get("sdk") ?? "demo"]],
  }),
);

function Shipping() {
  const limit = useNumberFlagValue("freeShippingFrom", 50, { suspend: false });
  return <p>Free shipping from <output id="limit">{limit}</output></p>;
}

createRoot(document.querySelector("#root")).render(
  <OpenFeatureProvider>
    <Shipping />
  </OpenFeatureProvider>,
);
