// What Node lacks of a browser: storage, locks, and events of window and document.
// Pauses are 200 times as short. Deadlines are as long as in a browser, so that no slow machine misses one, unless a
// test shortens them by `clock.speed`.
import { setMaxListeners } from "node:events";

export const clock = { speed: 1 };
const DEADLINES = new Set([20_000, 70_000]); // milliseconds: to an answer, and without a byte
const realTimeout = globalThis.setTimeout;
globalThis.setTimeout = (call, time, ...more) =>
  realTimeout(call, time / (DEADLINES.has(time) ? clock.speed : 200), ...more).unref();

const kept = new Map();
globalThis.localStorage = {
  getItem: (key) => kept.get(key) ?? null,
  setItem: (key, value) => kept.set(key, value),
  clear: () => kept.clear(),
};

const held = new Map(); // name -> requests, the first one has the lock
export const lockNames = () => [...held.keys()].filter((name) => held.get(name).length);
const locks = {
  request(name, { signal, steal }, call) {
    return new Promise((resolve, reject) => {
      const queue = held.get(name) ?? [];
      held.set(name, queue);
      const entry = { reject };
      const remove = () => {
        const place = queue.indexOf(entry);
        if (place >= 0) queue.splice(place, 1);
        if (place === 0) queue[0]?.start();
      };
      entry.start = async () => {
        const result = await call();
        resolve(result);
        remove();
      };
      if (steal) {
        queue.shift()?.reject(new DOMException("stolen", "AbortError"));
        queue.unshift(entry);
      } else queue.push(entry);
      signal?.addEventListener("abort", () => {
        if (queue.indexOf(entry) > 0) {
          remove();
          reject(signal.reason);
        }
      });
      if (queue[0] === entry) queueMicrotask(entry.start);
    });
  },
};
Object.defineProperty(globalThis, "navigator", { value: { locks }, configurable: true });

export const windowEvents = new EventTarget();
globalThis.addEventListener = (...values) => windowEvents.addEventListener(...values);
globalThis.document = new EventTarget();
setMaxListeners(0, windowEvents, document);

export const fire = (target, name) => target.dispatchEvent(new Event(name));

/** Wait until `found` returns a true value, and return that. */
export async function until(found, what = found) {
  for (let turn = 0; turn < 3000; turn++) {
    const value = found();
    if (value) return value;
    await new Promise((resolve) => realTimeout(resolve, 5));
  }
  throw Error(`did not happen: ${what}`);
}

/** Let everything happen that is due. */
export const settle = (time = 60) => new Promise((resolve) => realTimeout(resolve, time));
