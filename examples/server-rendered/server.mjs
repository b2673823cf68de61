// Renders the first values into the HTML; the page's stream goes on from their id, so it sends them no second time.
import { createServer } from "node:http";

const gateway = process.env.GATEWAY ?? "http://localhost:8050"; // as this server reaches it
const shown = process.env.PUBLIC_GATEWAY ?? gateway; // as browsers reach it
const sdk = process.env.SDK ?? "demo";

/** Return the current values of a user, and the id of their event: the first event of a stream in delta mode. */
async function firstValues(user) {
  const signal = AbortSignal.timeout(2000);
  const answer = await fetch(`${gateway}/sse/${sdk}/streams`, { method: "POST", body: JSON.stringify({ user }), signal });
  const { url } = await answer.json();
  const stream = await fetch(new URL(`${url}?mode=delta`, answer.url), { headers: { Accept: "text/event-stream" }, signal });
  let text = "";
  for await (const part of stream.body.pipeThrough(new TextDecoderStream())) {
    text += part;
    const found = /event: put\nid: (.*)\ndata: (.*)\n\n/.exec(text);
    if (found) return { id: found[1], values: JSON.parse(found[2]) }; // which also ends the stream
  }
  throw new Error("the stream ended before its first event");
}

/** JSON that can be inside a script element. */
const inScript = (value) => JSON.stringify(value).replaceAll("<", "\\u003c");

const page = (user, initial) => `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Flags in the HTML</title>
<p>Free shipping from <output id="limit">${Number(initial.values.freeShippingFrom?.value ?? 50)}</output></p>
<script type="module">
  import { connect } from ${inScript(`${shown}/client.js`)};
  const flags = connect(${inScript(shown)}, {
    sdk: ${inScript(sdk)},
    user: ${inScript(user)},
    initial: ${inScript(initial)},
  });
  flags.on("freeShippingFrom", (value) => { document.querySelector("#limit").textContent = value ?? 50; });
</script>
</html>`;

const server = createServer(async (request, response) => {
  const query = new URL(request.url, "http://localhost").searchParams;
  const user = { Identifier: query.get("user") ?? "zoe", Country: query.get("country") ?? "France" };
  // Without the gateway the page has no values, and gets them when its own stream opens.
  const initial = await firstValues(user).catch(() => ({ values: {}, id: "" }));
  response.writeHead(200, { "Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store" });
  response.end(page(user, initial));
});
server.listen(process.env.PORT ?? 8061, "127.0.0.1", () => {
  console.log(`http://localhost:${server.address().port}/`);
});
