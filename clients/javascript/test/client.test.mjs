import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { clock, fire, lockNames, settle, until, windowEvents } from "./browser.mjs";
import { Gateway, shown, tokenOf } from "./gateway.mjs";

const { connect } = await import(process.env.CLIENT ?? "../dist/client.js");

let gateway;
let clients;
let errors;

beforeEach(async () => {
  localStorage.clear();
  document.visibilityState = "visible";
  gateway = await Gateway.start();
  clients = [];
  errors = [];
});

afterEach(() => {
  for (const each of clients) each.close();
  gateway.stop();
});

/** A client of a tab; its errors are in `errors`. */
const open = (options = {}) => {
  const client = connect(gateway.url, { sdk: "shop", wait: 70_000, onError: (error) => errors.push(error), ...options });
  clients.push(client);
  return client;
};

/** Let deadlines pass faster during a test. */
const atSpeed = (context, speed) => {
  clock.speed = speed;
  context.after(() => {
    clock.speed = 1;
  });
};

/** A list of the calls of a listener. */
const heard = (client, key = "banner") => {
  const calls = [];
  client.on(key, (value, { stale }) => calls.push(stale ? [value, "stale"] : value));
  return calls;
};

test("values, changes and removals arrive", async () => {
  gateway.open = (stream) => stream.put({ banner: "before", limit: 3, on: true, failing: null }, "1.a");
  const client = open({ user: { Identifier: "zoe" } });
  assert.equal("fallback", client.value("banner", "fallback"));
  const calls = heard(client);
  assert.equal(true, await client.ready);
  assert.deepEqual(["before", 3, true], [client.value("banner", ""), client.value("limit", 0), client.value("on", false)]);
  assert.equal("fallback", client.value("failing", "fallback"));
  gateway.each((stream) => stream.patch({ banner: "after" }, ["limit"], "2.b"));
  await until(() => calls.includes("after"));
  assert.equal(0, client.value("limit", 0));
  gateway.each((stream) => stream.patch({}, ["banner"], "3.c"));
  await until(() => calls.length === 3);
  assert.deepEqual(["before", "after", undefined], calls);
});

test("a listener gets the variation, and nothing after it was stopped", async () => {
  const client = open();
  const seen = [];
  const stop = client.on("banner", (value, why) => {
    seen.push([value, why]);
    stop();
  });
  await client.ready;
  await until(() => seen.length);
  gateway.each((stream) => stream.patch({ banner: "after" }, [], "2.b"));
  await until(() => client.value("banner", "") === "after");
  assert.deepEqual([["before", { stale: false, variationId: "v-before" }]], seen);
});

test("attributes are sent in a body, as UTF-8, and no URL contains them", async () => {
  const user = { Identifier: "李", Tags: ["é", "x"], Age: 7 };
  await open({ user, headers: { "X-Flaggateway-Key": "fgk_shop" } }).ready;
  assert.deepEqual([user, "fgk_shop"], [gateway.posts[0].user, gateway.posts[0].key]);
  assert.equal("/sse/shop/streams", gateway.posts[0].url);
  assert.deepEqual([{ mode: "delta" }], gateway.opens);
});

test("an event that arrives in pieces is one event", async () => {
  gateway.open = (stream) => {
    const bytes = Buffer.from(`event: put\nid: 1.a\ndata: ${JSON.stringify(shown({ banner: "李" }))}\n\n`);
    stream.begin();
    bytes.forEach((_, index) => setTimeout(() => stream.response.write(bytes.subarray(index, index + 1)), index * 20));
  };
  const client = open();
  await until(() => client.value("banner", "") === "李");
});

test("a stream that ends is resumed from its last event", async () => {
  gateway.open = (stream) => (stream.last ? stream.recovered() : stream.put({ banner: "before" }, "1.a"));
  const client = open();
  const calls = heard(client);
  await client.ready;
  gateway.each((stream) => stream.end());
  await until(() => gateway.opens.length === 2);
  await until(() => gateway.streams.size === 1);
  gateway.each((stream) => stream.patch({ banner: "after" }, [], "2.b"));
  await until(() => calls.includes("after"));
  assert.deepEqual(["before", "after"], calls);
  assert.equal("1.a", gateway.opens[1].last_event_id);
  assert.equal(1, gateway.posts.length);
  assert.deepEqual([], errors);
});

test("an address that is not valid any more is replaced at once", async () => {
  gateway.open = (stream, number) => (number === 2 ? 410 : stream.put({ banner: `v${number}` }, `${number}.a`));
  const client = open();
  await client.ready;
  gateway.each((stream) => stream.end());
  await until(() => client.value("banner", "") === "v3");
  assert.equal(2, gateway.posts.length);
  assert.deepEqual([], errors);
});

test("an expired token is renewed, and the stream goes on", async () => {
  gateway.open = (stream) => (stream.last ? stream.recovered() : stream.put({ banner: "before" }, "1.a"));
  const asked = [];
  const client = open({ token: (refused) => asked.push(refused) && tokenOf("zoe", { exp: asked.length }) });
  await client.ready;
  gateway.each((stream) => {
    stream.send("expired", {});
    stream.end();
  });
  await until(() => gateway.opens.length === 2);
  assert.deepEqual([false, true], asked);
  assert.deepEqual([1, 2].map((exp) => `Bearer ${tokenOf("zoe", { exp })}`), gateway.posts.map((post) => post.token));
  assert.equal("1.a", gateway.opens[1].last_event_id);
  assert.equal("before", client.value("banner", ""));
  assert.deepEqual([], errors);
});

test("a refused token is replaced once, then reported", async () => {
  const reason = 'Bearer error="invalid_token", error_description="the token has expired"';
  gateway.issue = () => [401, "Unauthorized", { "WWW-Authenticate": reason }];
  const asked = [];
  const client = open({ token: async (refused) => asked.push(refused) && tokenOf("zoe") });
  assert.equal(false, await client.ready);
  await until(() => asked.length > 3);
  assert.deepEqual([false, true, true], asked.slice(0, 3));
  assert.deepEqual([{ code: "token", message: `401 ${reason}` }], errors);
  gateway.issue = () => [201, {}];
  await until(() => client.value("banner", "") === "before");
});

test("a page without a token is reported, and tries again", async () => {
  let fails = true;
  const client = open({
    token: () => {
      if (fails) throw Error("no session");
      return tokenOf("zoe");
    },
  });
  assert.equal(false, await client.ready);
  assert.deepEqual([{ code: "token", message: "Error: no session" }], errors);
  assert.equal(0, gateway.posts.length);
  fails = false;
  await until(() => client.value("banner", "") === "before");
});

test("an unknown SDK is reported once, and used when it exists", async () => {
  gateway.issue = () => [404, "could not find SDK"];
  const client = open();
  assert.equal(false, await client.ready);
  await until(() => gateway.posts.length > 2);
  assert.deepEqual([{ code: "sdk", message: "404 could not find SDK" }], errors);
  gateway.issue = () => [201, {}];
  await until(() => client.value("banner", "") === "before");
});

test("refused attributes are reported", async () => {
  gateway.issue = () => [400, "failed to parse JSON body"];
  assert.equal(false, await open({ user: { Identifier: true } }).ready);
  assert.deepEqual([{ code: "request", message: "400 failed to parse JSON body" }], errors);
});

test("unknown flags and other types are reported once, and the fallback is used", async () => {
  const client = open();
  await client.ready;
  heard(client, "unheard");
  for (let turn = 0; turn < 3; turn++) {
    assert.equal(7, client.value("unknown", 7));
    assert.equal(7, client.value("banner", 7));
  }
  await settle();
  assert.deepEqual([["flag", "unheard"], ["flag", "unknown"], ["type", "banner"]], errors.map((e) => [e.code, e.message.split(":")[0]]));
});

test("without a handler errors are in the console", async (context) => {
  const warn = context.mock.method(console, "warn", () => {});
  gateway.issue = () => [404, "could not find SDK"];
  await open({ onError: undefined }).ready;
  await until(() => warn.mock.calls.length);
  assert.deepEqual(["flaggateway: sdk: 404 could not find SDK"], warn.mock.calls[0].arguments);
});

test("a gateway that is down is reported once, and found again when the browser is online", async () => {
  gateway.issue = () => [503, "down"];
  const client = open();
  await until(() => gateway.posts.length > 3);
  assert.deepEqual([{ code: "connection", message: "503 down" }], errors);
  gateway.issue = () => [201, {}];
  fire(windowEvents, "online");
  assert.equal(true, await Promise.race([client.ready, until(() => client.value("banner", "") === "before")]));
});

test("ready resolves in time although nothing answers", async () => {
  gateway.issue = () => [503, "down"];
  assert.equal(false, await open({ wait: 1 }).ready);
});

test("a stream without a byte for 70 seconds is replaced", async (context) => {
  gateway.open = (stream, number) => (number < 3 ? stream.begin() : stream.put({ banner: "third" }, "1.a"));
  atSpeed(context, 200);
  const client = open();
  await until(() => client.value("banner", "") === "third");
});

test("an event without an end is given up", async () => {
  const part = Buffer.alloc(1 << 20, "x");
  gateway.open = (stream) => {
    stream.begin().response.write("data: ");
    for (let count = 0; count < 40; count++) stream.response.write(part);
  };
  open();
  await until(() => errors.length);
  assert.deepEqual({ code: "connection", message: "an event is too large" }, errors[0]);
});

test("the next page has the last values at once, and resumes", async () => {
  gateway.open = (stream) => (stream.last ? stream.recovered() : stream.put({ banner: "before" }, "1.a"));
  const user = { Identifier: "zoe" };
  const first = open({ user });
  await first.ready;
  first.close();
  const second = open({ user });
  assert.equal("before", second.value("banner", ""));
  const calls = heard(second);
  await second.ready;
  await until(() => calls.length === 2);
  assert.deepEqual([["before", "stale"], "before"], calls);
  assert.equal("1.a", gateway.opens[1].last_event_id);
  assert.doesNotMatch(localStorage.getItem(`flaggateway ${gateway.url}/sse/shop/streams`), /zoe/);
});

test("stored values are those of the same user, and of the same token's user", async () => {
  const zoe = open({ user: { Identifier: "zoe" } });
  await zoe.ready;
  zoe.close();
  gateway.issue = () => [503, "down"];
  for (const options of [{}, { user: { Identifier: "bob" } }, { user: { Identifier: "zoe" }, storage: false }]) {
    assert.equal("", open(options).value("banner", ""));
  }
  localStorage.clear();
  gateway.issue = () => [201, {}];
  const signed = open({ token: () => tokenOf("zoe", { iat: 1 }) });
  await signed.ready;
  signed.close();
  assert.equal("", open().value("banner", ""));
  gateway.issue = () => [503, "down"];
  const bob = open({ token: () => tokenOf("bob") });
  const again = open({ token: () => tokenOf("zoe", { iat: 2 }) });
  await until(() => again.value("banner", "") === "before");
  await settle();
  assert.equal("", bob.value("banner", ""));
});

test("a user who is known by name is shown stored values before the token is there", async () => {
  const options = { user: { Identifier: "zoe" }, token: () => tokenOf("zoe") };
  const first = open(options);
  await first.ready;
  first.close();
  assert.equal("before", open({ ...options, token: () => new Promise(() => {}) }).value("banner", ""));
  const other = open({ ...options, token: () => tokenOf("bob") });
  gateway.issue = () => [503, "down"];
  await until(() => other.value("banner", "") === "", "bob does not see the values of zoe");
});

test("first values of the HTML are used, and the stream goes on from their id", async () => {
  gateway.open = (stream) => stream.recovered();
  const client = open({ initial: { values: shown({ banner: "rendered" }), id: "9.f" } });
  assert.equal("rendered", client.value("banner", ""));
  const calls = heard(client);
  assert.equal(true, await client.ready);
  await until(() => calls.length === 2);
  assert.deepEqual([["rendered", "stale"], "rendered"], calls);
  assert.equal("9.f", gateway.opens[0].last_event_id);
});

test("twelve tabs have one stream, and the next tab resumes it", async () => {
  gateway.open = (stream) => (stream.last ? stream.recovered() : stream.put({ banner: "before" }, "1.a"));
  const tabs = Array.from({ length: 12 }, () => open({ user: { Identifier: "zoe" } }));
  const calls = tabs.map((tab) => heard(tab));
  await Promise.all(tabs.map((tab) => tab.ready));
  assert.equal(1, gateway.streams.size);
  gateway.each((stream) => stream.patch({ banner: "after" }, [], "2.b"));
  await until(() => calls.every((each) => each.includes("after")));
  tabs[0].close();
  await until(() => gateway.opens.length === 2);
  assert.equal("2.b", gateway.opens[1].last_event_id);
  await until(() => gateway.streams.size === 1);
  gateway.each((stream) => stream.patch({ banner: "later" }, [], "3.c"));
  await until(() => calls.slice(1).every((each) => each.at(-1) === "later"));
  assert.deepEqual(["before", "after"], calls[0]);
  assert.deepEqual([], errors);
});

test("a tab that opens later has the values of the leader, and its errors", async () => {
  const user = { Identifier: "zoe" };
  const first = open({ user, storage: false });
  await first.ready;
  const second = open({ user, storage: false });
  assert.equal(true, await second.ready);
  assert.equal("before", second.value("banner", ""));
  assert.equal(1, gateway.opens.length);
  gateway.issue = () => [404, "could not find SDK"];
  const lost = [open({ user: { Identifier: "lost" } }), open({ user: { Identifier: "lost" } })];
  assert.deepEqual([false, false], await Promise.all(lost.map((each) => each.ready)));
  assert.deepEqual(["sdk", "sdk"], errors.map((error) => error.code));
});

test("a visible tab takes the place of one that does not answer", async () => {
  const user = { Identifier: "zoe" };
  const first = open({ user });
  await first.ready;
  const [name] = lockNames();
  first.close();
  await until(() => !lockNames().length);
  const suspended = navigator.locks.request(name, {}, () => new Promise(() => {}));
  document.visibilityState = "hidden";
  const second = open({ user, storage: false });
  const third = open({ user, storage: false });
  await settle();
  assert.equal(0, gateway.streams.size);
  document.visibilityState = "visible";
  fire(document, "visibilitychange");
  await assert.rejects(suspended, { name: "AbortError" });
  assert.deepEqual([true, true], await Promise.all([second.ready, third.ready]));
  await settle();
  assert.equal(1, gateway.streams.size);
});

test("a tab that wakes up after another took its place joins the others", async () => {
  gateway.open = (stream) => (stream.last ? stream.recovered() : stream.put({ banner: "before" }, "1.a"));
  const client = open();
  const calls = heard(client);
  await client.ready;
  document.visibilityState = "hidden";
  let release;
  navigator.locks.request(lockNames()[0], { steal: true }, () => new Promise((resolve) => (release = resolve)));
  await until(() => gateway.streams.size === 0);
  await settle();
  assert.equal(1, gateway.opens.length);
  release();
  await until(() => gateway.streams.size === 1);
  gateway.each((stream) => stream.patch({ banner: "after" }, [], "2.b"));
  await until(() => calls.includes("after"));
  assert.deepEqual(["before", "after"], calls);
});

test("of 40 users in one browser none sees another's value", async () => {
  gateway.open = (stream) => {
    const { user, token } = stream.post;
    const name = user?.Identifier ?? JSON.parse(Buffer.from(token.split(".")[1], "base64url")).sub;
    stream.put({ banner: name }, `1.${name}`);
  };
  const names = Array.from({ length: 40 }, (_, number) => `user-${number}`);
  const calls = names.map((name, number) =>
    heard(open(number % 2 ? { user: { Identifier: name } } : { token: () => tokenOf(name) })),
  );
  await until(() => calls.every((each) => each.length));
  await settle();
  assert.deepEqual(names.map((name) => [name]), calls);
});

test("after identify there is no value of the previous user", async () => {
  gateway.open = (stream) => stream.put({ banner: stream.post.user.Identifier }, "1.a");
  const client = open({ user: { Identifier: "zoe" } });
  const calls = heard(client);
  await client.ready;
  const changed = client.identify({ Identifier: "bob" });
  assert.equal("", client.value("banner", ""));
  assert.equal(true, await changed);
  assert.equal(changed, client.ready);
  assert.equal("bob", client.value("banner", ""));
  await until(() => calls.includes("bob"));
  assert.deepEqual(["zoe", [undefined, "stale"], "bob"], calls);
  assert.equal(undefined, gateway.opens[1].last_event_id);
  await until(() => gateway.streams.size === 1);
});

test("a token of another user ends the values of the previous one", async () => {
  let name = "zoe";
  gateway.open = (stream) => stream.put({ banner: JSON.parse(atob(stream.post.token.split(".")[1])).sub }, "1.a");
  const client = open({ token: () => tokenOf(name) });
  await client.ready;
  assert.equal("zoe", client.value("banner", ""));
  name = "bob";
  gateway.issue = (post) => (post.token.includes(tokenOf("bob")) ? [503, "down"] : [201, {}]);
  gateway.each((stream) => {
    stream.send("expired", {});
    stream.end();
  });
  await until(() => client.value("banner", "") === "");
  gateway.issue = () => [201, {}];
  await until(() => client.value("banner", "") === "bob");
});

test("a page in the back-forward cache has no stream, and resumes when it returns", async () => {
  gateway.open = (stream) => (stream.last ? stream.recovered() : stream.put({ banner: "before" }, "1.a"));
  const client = open();
  await client.ready;
  fire(windowEvents, "pagehide");
  await until(() => gateway.streams.size === 0);
  await settle();
  assert.equal(1, gateway.opens.length);
  fire(document, "resume");
  fire(windowEvents, "pageshow");
  await until(() => gateway.opens.length === 2);
  await settle();
  assert.deepEqual([2, "1.a"], [gateway.opens.length, gateway.opens[1].last_event_id]);
});

test("a page that becomes visible after a sleep connects again", async (context) => {
  gateway.open = (stream) => (stream.last ? stream.recovered() : stream.put({ banner: "before" }, "1.a"));
  await open().ready;
  fire(document, "visibilitychange");
  await settle();
  assert.equal(1, gateway.opens.length);
  const now = Date.now() + 60_000;
  context.mock.method(Date, "now", () => now);
  fire(document, "visibilitychange");
  await until(() => gateway.opens.length === 2);
});

test("what throws in the page does not end the stream", async (context) => {
  const thrown = [];
  const queue = queueMicrotask;
  context.mock.method(globalThis, "queueMicrotask", (call) =>
    queue(() => {
      try {
        call();
      } catch (error) {
        thrown.push(error.message);
      }
    }),
  );
  gateway.issue = (_, number) => (number === 1 ? [400, "no"] : [201, {}]);
  const fail = (where) => () => {
    throw Error(where);
  };
  const client = open({ onError: fail("onError") });
  client.on("banner", fail("listener"));
  const calls = heard(client);
  await until(() => calls.includes("before"));
  gateway.each((stream) => stream.patch({ banner: "after" }, [], "2.b"));
  await until(() => calls.includes("after"));
  assert.deepEqual(["onError", "listener", "listener"], thrown);
});

test("close ends the stream and the calls", async () => {
  const client = open();
  const calls = heard(client);
  await client.ready;
  await until(() => calls.length);
  client.close();
  await until(() => gateway.streams.size === 0);
  fire(windowEvents, "pageshow");
  fire(windowEvents, "online");
  await settle();
  assert.deepEqual([["before"], 1], [calls, gateway.opens.length]);
});

test("without storage, locks and channels each tab has its own stream", async (context) => {
  for (const name of ["localStorage", "navigator", "BroadcastChannel"]) {
    const before = Object.getOwnPropertyDescriptor(globalThis, name);
    delete globalThis[name];
    context.after(() => Object.defineProperty(globalThis, name, before));
  }
  const tabs = [open(), open()];
  assert.deepEqual([true, true], await Promise.all(tabs.map((tab) => tab.ready)));
  assert.equal(2, gateway.streams.size);
});
