/** Flags in React: a provider for the connection, and a hook that renders again when its flag changes. */
import { createContext, createElement, useCallback, useContext, useSyncExternalStore } from "react";
import type { FunctionComponent, ReactNode } from "react";
import type { Flags, Options, Value } from "./client.js";

export interface FlagsProviderProps {
  /** The connection; without one, as on a server, the values are those of `initial`. */
  readonly client?: Pick<Flags, "value" | "on">;
  /** The values in the HTML, which the first rendering in the browser must show too. */
  readonly initial?: Options["initial"];
  readonly children?: ReactNode;
}

type Widened<T extends Value> = T extends boolean ? boolean : T extends number ? number : string;

const Connection = createContext<FlagsProviderProps>({});

/** Give the components below a connection. */
export const FlagsProvider: FunctionComponent<FlagsProviderProps> = ({ client, initial, children }) =>
  createElement(Connection.Provider, { value: { client, initial } as FlagsProviderProps }, children);

/** Return the value of a flag, `fallback` if there is none, and render again when it changes. */
export const useFlag = <T extends Value>(key: string, fallback: T): Widened<T> => {
  const { client, initial } = useContext(Connection);
  const first = () => pick(initial?.values[key]?.value, fallback);
  return useSyncExternalStore(
    useCallback((changed) => (client ? client.on(key, changed) : () => {}), [client, key]),
    client ? () => client.value(key, fallback) as Widened<T> : first,
    first,
  );
};

const pick = <T extends Value>(value: Value | null | undefined, fallback: T) =>
  (typeof value === typeof fallback ? value : fallback) as Widened<T>;
