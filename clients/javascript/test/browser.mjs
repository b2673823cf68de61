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

const held = new Map(); // name -> waiting requests, the first one has the lock
const locks = {
  request(name, { signal }, call) {
    return new Promise((resolve, reject) => {
      const queue = held.get(name) ?? [];
      held.set(name, queue);
      const next = () => {
        queue.shift();
        queue[0]?.();
      };
      const start = async () => {
        resolve(await call());
        next();
      };
      queue.push(start);
      signal.addEventListener("abort", () => {
        const place = queue.indexOf(start);
        if (place > 0) {
          queue.splice(place, 1);
          reject(signal.reason);
        }
      });
      if (queue.length === 1) queueMicrotask(start);
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
