/**
 * Flag values of one user from a flaggateway, live, for all tabs of a browser over one stream.
 *
 * One tab of each user leads: it holds a lock (Web Locks), reads the stream, and sends the values to the other tabs
 * (BroadcastChannel).  When it is closed or suspended, the next tab gets the lock and resumes from the last event.
 * No step uses the browser's clock for anything but the question whether the machine has slept.
 */

/** The value of a flag. */
export type Value = boolean | string | number;

/** The attributes of a user; lists are lists of texts. */
export type User = Readonly<Record<string, string | number | readonly string[]>>;

/** Values by flag, as `/api/{sdkId}/eval-all` answers them; null is the value of a flag that fails. */
export type Values = Readonly<Record<string, { readonly value: Value | null; readonly variationId: string }>>;

/** Where a value comes from. */
export interface Why {
  /** Whether the value is from an earlier visit or from the HTML, and no stream has confirmed it yet. */
  readonly stale: boolean;
  readonly variationId: string;
}

/**
 * What keeps values from arriving or from being used.
 *
 * `sdk`: the gateway has no such SDK. `flag`: it has no such flag. `type`: the flag's type is not the fallback's.
 * `token`: there is no token, or it was refused. `request`: the gateway refused the user's attributes.
 * `connection`: two attempts in a row have failed. The client goes on trying after each of them.
 */
export interface FlagsError {
  readonly code: "sdk" | "flag" | "type" | "token" | "request" | "connection";
  readonly message: string;
}

export interface Options {
  /** The id of the SDK in the gateway. */
  readonly sdk: string;
  readonly user?: User;
  /** Returns a token that names the user. `refused`: the last one was refused or has expired; get a new one. */
  readonly token?: (refused: boolean) => string | Promise<string>;
  /** Sent with each request for a stream, such as the key of a caller (`X-Flaggateway-Key`). */
  readonly headers?: Readonly<Record<string, string>>;
  /** First values, for example from the HTML, and the id of the event that contained them. */
  readonly initial?: { readonly values: Values; readonly id: string };
  /** Is called once for each error, until the values are current again. Default: a warning in the console. */
  readonly onError?: (error: FlagsError) => void;
  /** Milliseconds after which `ready` resolves in any case; 5,000 by default. */
  readonly wait?: number;
  /** `include` sends cookies to a gateway of another origin. */
  readonly credentials?: RequestCredentials;
  /** `false` keeps values only in memory. */
  readonly storage?: boolean;
}

export interface Flags {
  /** Resolves to true when values have arrived, to false when they have not in time or were refused. Never rejects. */
  readonly ready: Promise<boolean>;
  /** Return the value of a flag; `fallback` if there is none, or it has another type. */
  value<T extends Value>(key: string, fallback: T): T extends boolean ? boolean : T extends number ? number : string;
  /**
   * Call `listener` soon with the flag's value, if it is known, and after each change; undefined: it was deleted, or
   * fails. A stale value is passed on again when it is confirmed. Returns a function that ends this.
   */
  on(key: string, listener: (value: Value | undefined, why: Why) => void): () => void;
  /** Change the user. Until the new user's values arrive, every value is the fallback. Returns the new `ready`. */
  identify(user: User | undefined): Promise<boolean>;
  /** End the stream, or leave it to other tabs. */
  close(): void;
}

type Problem = [code: FlagsError["code"], message: string];

/** Short names, as every change sends and stores this: values, id of the last event, whether stale, the problem. */
interface State {
  v: Values;
  i: string;
  s: boolean;
  e?: Problem | undefined;
}

interface Listener {
  key: string;
  call: (value: Value | undefined, why: Why) => void;
  value?: Value | undefined;
  stale?: boolean;
}

const CONNECT = 2e4; // milliseconds to an answer
const SILENCE = 7e4; // milliseconds without a byte after which a stream is dead; heartbeats are sent every 20 s
const SLEPT = 45e3; // milliseconds without a byte after which a stream is not trusted on waking up
const LASTED = 1e4; // milliseconds that a stream must last for the next failure to count as the first one
const LONGEST = 6e4; // milliseconds between two attempts, at most
const MUTE = 1e4; // milliseconds without an answer of the leading tab after which a visible tab takes its place
const LARGEST = 32e6; // characters of one line of a stream
const NOTHING: State = { v: {}, i: "", s: true };

/** A short name for a text, so that the names of locks and what is stored contain no attributes. */
const hash = (text: string): string => {
  let a = 1;
  let b = 2;
  for (const char of text) {
    const code = char.codePointAt(0)!;
    a = Math.imul(a ^ code, 0x9e3779b1) ^ (b >>> 15);
    b = Math.imul(b ^ code, 0x5f356495) ^ (a >>> 13);
  }
  return (a >>> 0) + "." + (b >>> 0);
};

/** The claims of a token that identify its user; a token that cannot be read stands for itself. */
const claims = (token: string): string => {
  try {
    const { exp, iat, nbf, jti, ...others } = JSON.parse(
      atob(token.split(".")[1]!.replace(/-/g, "+").replace(/_/g, "/")),
    );
    return JSON.stringify(others);
  } catch {
    return token;
  }
};

/** Connect to the gateway at `url`, for example `https://flags.example.com`. */
export function connect(url: string, options: Options): Flags {
  const { token: newToken, initial, credentials } = options;
  const base = `${url.replace(/\/+$/, "")}/sse/${encodeURIComponent(options.sdk)}/streams`;
  const place = "flaggateway " + base;
  const listeners = new Set<Listener>();
  const reported = new Set<string>(); // flags that are missing or of another type
  const life = new AbortController();
  let user = options.user;
  let who: string | undefined; // the user of the token
  let state: State;
  let problem = "";
  let ready: Promise<boolean>;
  let settle: (current: boolean) => void;
  let kick: (distrust?: boolean) => void;
  let membership: AbortController | undefined;

  // In a task of its own, so that one that throws does not keep another from being called.
  const report = (code: FlagsError["code"], message: string) =>
    queueMicrotask(() =>
      options.onError ? options.onError({ code, message }) : console.warn(`flaggateway: ${code}: ${message}`),
    );

  const reportFlag = (code: "flag" | "type", key: string, message: string) => {
    if (!reported.has(key)) {
      reported.add(key);
      report(code, key + message);
    }
  };

  /** Report a flag that does not exist, once the values are current. */
  const check = (key: string) => state.s || state.v[key] || reportFlag("flag", key, ": no such flag");

  const notify = () => {
    const { v, s } = state;
    for (const each of listeners) {
      const found = v[each.key];
      const value = found?.value ?? undefined;
      check(each.key);
      if (value !== each.value || (found && s !== each.stale)) {
        each.value = value;
        each.stale = s;
        queueMicrotask(
          () => listeners.has(each) && each.call(value, { stale: s, variationId: found?.variationId ?? "" }),
        );
      }
    }
  };

  const take = (next: State) => {
    state = next;
    const { e, s } = next;
    if (e && problem !== e + "") report(...e);
    problem = e + "";
    if (!s || (e && e[0] !== "connection")) settle(!s);
    notify();
  };

  const begin = (next: State) => {
    ready = new Promise((resolve) => {
      settle = resolve;
      setTimeout(resolve, options.wait ?? 5e3, false);
    });
    who = undefined;
    take(next);
    join();
    return ready;
  };

  const own = () => hash(JSON.stringify(user) + "");

  /** Return the stored values of this user, and of `who`; while that is not known, of whichever token's user. */
  const stored = (): State => {
    try {
      const { u, w, v, i } = JSON.parse(localStorage.getItem(place)!);
      if (options.storage !== false && u === own() && w === (newToken ? who ?? w : who)) return { v, i, s: true };
    } catch {
      // no storage, or nothing in it
    }
    return NOTHING;
  };

  const run = async (signal: AbortSignal) => {
    let token: string | undefined;
    let channel: BroadcastChannel | undefined;
    let current: AbortController | undefined;
    let watchdog: ReturnType<typeof setTimeout> | undefined;
    let mute: ReturnType<typeof setTimeout> | undefined;
    let wake = () => {};
    let leading = false;
    let refused = false; // the last token
    let again = false; // connect without a pause
    let failures = 0; // in a row
    let retry = 5e3; // milliseconds
    let stream = ""; // its address
    let last = 0; // when something was received, by the clock, which counts while the machine sleeps
    let opened = 0;

    const left = new Promise<void>((resolve) =>
      signal.addEventListener("abort", () => {
        clearTimeout(watchdog);
        clearTimeout(mute);
        channel?.close();
        current?.abort();
        wake();
        resolve();
      }),
    );

    const publish = (next: State) => {
      signal.throwIfAborted();
      take(next);
      channel?.postMessage(next);
      if (!next.s && options.storage !== false) {
        try {
          localStorage.setItem(place, JSON.stringify({ u: own(), w: who, v: next.v, i: next.i }));
        } catch {
          // full, or forbidden
        }
      }
    };

    const fail = (...e: Problem) => publish({ ...state, e });

    const pause = () =>
      new Promise<void>((resolve) => {
        const time = Math.min(retry * 2 ** (failures && failures - 1), LONGEST);
        const timer = setTimeout(resolve, failures ? time * (1 - Math.random() / 2) : time); // `retry` is random
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
        if (signal.aborted) wake();
      });

    const watch = (time: number) => {
      last = Date.now();
      clearTimeout(watchdog);
      watchdog = setTimeout(() => current!.abort(), time);
    };

    const request = (target: string, init: RequestInit) => {
      signal.throwIfAborted();
      current = new AbortController();
      watch(CONNECT);
      return fetch(target, { ...init, cache: "no-store", credentials, signal: current.signal } as RequestInit);
    };

    /** Get a token; return a name for its user. */
    const identity = async () => {
      try {
        token = await newToken!(refused);
      } catch (error) {
        fail("token", error + "");
        throw error;
      }
      signal.throwIfAborted();
      return hash(claims(token));
    };

    const address = async () => {
      if (newToken && !token && (await identity()) !== who) {
        // The page's user has changed: the tabs of the previous one must not get the values.
        leave();
        begin(NOTHING);
        return;
      }
      const headers: Record<string, string> = { ...options.headers };
      if (token) headers.Authorization = "Bearer " + token;
      token = undefined;
      const answer = await request(base, { method: "POST", body: JSON.stringify({ user }), headers });
      const { status } = answer;
      if (answer.ok) {
        refused = false;
        stream = new URL((await answer.json()).url, answer.url).href + "?mode=delta";
      } else if (status === 401 && newToken && !refused) {
        refused = again = true; // most likely the token has expired in the page's cache
      } else {
        const reason = answer.headers.get("www-authenticate") ?? (await answer.text());
        const message = `${status} ${reason.slice(0, 200).trim()}`;
        if (status > 499 || status === 429) throw message;
        fail(status === 404 ? "sdk" : status === 401 || status === 403 ? "token" : "request", message);
      }
    };

    /** Use an event; return whether the stream is over. */
    const use = ({ event, data, id }: Record<string, string>) => {
      if (event === "expired") {
        refused = again = true;
        stream = "";
        return true;
      }
      if (data) {
        let v = state.v;
        const content = JSON.parse(data);
        if (event === "put") v = content;
        if (event === "patch") {
          const values = { ...v, ...content.changed };
          for (const key of content.removed) delete values[key];
          v = values;
        }
        publish({ v, i: id ?? state.i, s: false });
      }
      return false;
    };

    const listen = async () => {
      if (!stream) await address();
      if (!stream) return;
      const answer = await request(stream + (state.i && "&last_event_id=" + state.i), {
        headers: { Accept: "text/event-stream" },
      });
      const { status } = answer;
      if (!answer.ok) {
        if (status > 499 || status === 429) throw status + "";
        stream = ""; // expired, or not valid any more: the next answer to POST has the reason, if there is one
        refused = status === 401;
        again = true;
        return;
      }
      const reader = answer.body!.getReader();
      const decoder = new TextDecoder();
      let rest = "";
      let fields: Record<string, string> = {};
      for (;;) {
        const { done, value } = await reader.read();
        if (done) throw "the stream ended";
        watch(SILENCE);
        opened ||= performance.now();
        const lines = decoder.decode(value, { stream: true }).split("\n");
        lines[0] = rest + lines[0];
        rest = lines.pop()!;
        if (rest.length > LARGEST) throw "an event is too large";
        for (const line of lines) {
          const colon = line.indexOf(":");
          const name = line.slice(0, colon);
          fields[name] = line.slice(colon + 1).trim();
          if (name === "retry") retry = +fields[name]! || retry;
          if (!line) {
            if (use(fields)) return;
            fields = {};
          }
        }
      }
    };

    const lead = async () => {
      leading = true;
      while (!signal.aborted) {
        let message;
        again = false;
        opened = 0;
        try {
          await listen();
        } catch (error) {
          message = error + "";
        }
        current?.abort();
        clearTimeout(watchdog);
        if (signal.aborted) return;
        failures = opened && performance.now() - opened > LASTED ? 0 : failures + 1;
        if (message && failures > 1 && !state.e) fail("connection", message);
        if (!again || failures > 1) await pause();
      }
    };

    const greet = () => {
      channel?.postMessage(0);
      clearTimeout(mute);
      mute = setTimeout(steal, MUTE);
    };

    kick = (distrust) => {
      if (!leading) greet();
      else if (distrust || Date.now() - last > SLEPT) {
        again = true;
        failures = 0;
        current?.abort();
      }
      wake();
    };

    while (newToken && !token) {
      try {
        const found = await identity();
        const before = who;
        who = found;
        if (before === undefined ? state.v !== initial?.values : before !== found) take(stored());
      } catch {
        if (signal.aborted) return;
        failures++;
        await pause();
      }
    }
    failures = 0;
    const name = place + hash(own() + who);
    const hold = () => Promise.race([lead(), left]);
    const steal = () => {
      // The browser may have suspended the leading tab without a sign.
      if (channel && !leading && globalThis.document?.visibilityState !== "hidden") {
        navigator.locks.request(name, { steal: true }, hold).catch(lose);
      }
    };
    const lose = () => {
      if (!signal.aborted) {
        leave();
        join();
      }
    };
    try {
      channel = new BroadcastChannel(name);
      channel.onmessage = ({ data }) => {
        if (data && !leading) {
          clearTimeout(mute);
          token = undefined; // it may have expired when this tab leads
          take(data);
        } else if (!data && leading) {
          channel!.postMessage(state);
          kick();
        }
      };
      greet();
      await navigator.locks.request(name, { signal }, hold);
    } catch {
      if (leading) return lose();
      // No locks, as in a page without TLS: every tab has its own stream.
      channel?.close();
      channel = undefined;
      await lead();
    }
  };

  const leave = () => {
    membership?.abort();
    membership = undefined;
  };

  const join = () => {
    if (!membership) {
      membership = new AbortController();
      run(membership.signal);
    }
  };

  const when = (target: EventTarget | undefined, name: string, call: (event: Event) => void) =>
    target?.addEventListener?.(name, call, { signal: life.signal });

  when(globalThis, "online", () => kick(true));
  when(globalThis, "pagehide", leave);
  when(globalThis, "pageshow", join);
  when(globalThis.document, "visibilitychange", () => kick());
  when(globalThis.document, "freeze", leave);
  when(globalThis.document, "resume", join);
  begin(
    initial ? { v: initial.values, i: initial.id, s: true } : !newToken || user?.Identifier ? stored() : NOTHING,
  );

  return {
    get ready() {
      return ready;
    },
    value(key, fallback) {
      const value = state.v[key]?.value;
      check(key);
      if (value == null) return fallback as never;
      if (typeof value === typeof fallback) return value as never;
      reportFlag("type", key, `: ${typeof value}, not ${typeof fallback}`);
      return fallback as never;
    },
    on(key, call) {
      const listener = { key, call };
      listeners.add(listener);
      notify();
      return () => {
        listeners.delete(listener);
      };
    },
    identify(next) {
      leave();
      user = next;
      return begin(!newToken || next?.Identifier ? stored() : NOTHING);
    },
    close() {
      life.abort();
      leave();
      listeners.clear();
    },
  };
}
