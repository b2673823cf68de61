// A gateway as the client sees one: POST issues addresses, GET opens streams, and a test decides what each answers.
import { createServer } from "node:http";
import { once } from "node:events";

export class Gateway {
  posts = []; // {sdk, user, token}
  opens = []; // query parameters of each stream that was opened
  streams = new Set(); // open responses
  issue = () => [201, { url: "" }];
  open = (stream) => stream.put({ banner: "before" }, "1.a");

  static async start() {
    const gateway = new Gateway();
    gateway.server = createServer((request, response) => gateway.#answer(request, response));
    gateway.server.listen(0, "127.0.0.1");
    await once(gateway.server, "listening");
    gateway.url = `http://127.0.0.1:${gateway.server.address().port}`;
    return gateway;
  }

  async #answer(request, response) {
    const url = new URL(request.url, this.url);
    const [, , sdk, , name] = url.pathname.split("/");
    if (request.method === "POST") {
      let body = "";
      for await (const part of request.setEncoding("utf8")) body += part;
      const { authorization: token, "x-flaggateway-key": key } = request.headers;
      const post = { sdk, user: JSON.parse(body).user, token, key, url: request.url };
      this.posts.push(post);
      const [status, content, more] = this.issue(post, this.posts.length);
      const number = this.posts.length;
      if (status === 201) content.url = `/sse/${sdk}/streams/${number}`;
      response.writeHead(status, { "Content-Type": "application/json", ...more });
      response.end(typeof content === "string" ? content : JSON.stringify(content));
      return;
    }
    this.opens.push(Object.fromEntries(url.searchParams));
    const stream = new Stream(response, this.posts[name - 1], url.searchParams.get("last_event_id"));
    const status = this.open(stream, this.opens.length);
    if (typeof status === "number") {
      response.writeHead(status);
      response.end("refused");
      return;
    }
    this.streams.add(stream);
    response.on("close", () => this.streams.delete(stream));
  }

  each(act) {
    for (const stream of this.streams) act(stream);
  }

  stop() {
    this.server.close();
    this.server.closeAllConnections();
  }
}

class Stream {
  constructor(response, post, last) {
    this.response = response;
    this.post = post;
    this.last = last;
  }

  begin() {
    if (!this.response.headersSent) {
      this.response.writeHead(200, { "Content-Type": "text/event-stream" });
      this.response.write("retry: 2000\n");
    }
    return this;
  }

  send(event, data, id) {
    this.begin().response.write(`event: ${event}\n${id ? `id: ${id}\n` : ""}data: ${JSON.stringify(data)}\n\n:\n`);
  }

  put(values, id) {
    this.send("put", shown(values), id);
  }

  patch(changed, removed, id) {
    this.send("patch", { changed: shown(changed), removed }, id);
  }

  recovered() {
    this.send("recovered", {}, this.last);
  }

  end() {
    this.response.end();
  }
}

export const shown = (values) =>
  Object.fromEntries(Object.entries(values).map(([key, value]) => [key, { value, variationId: `v-${value}` }]));

/** A token that is not signed: the client reads only its claims. */
export const tokenOf = (sub, more = {}) =>
  ["", JSON.stringify({ sub, ...more }), "signature"].map((part) => Buffer.from(part).toString("base64url")).join(".");
