/** Whether the server answers. Each request reports here; the header of the page shows it. */

/** The state of the connection: `connecting` until the first answer. */
export type Connection = "connecting" | "connected" | "disconnected";

let state: Connection = "connecting";
const listeners = new Set<() => void>();

function change(next: Connection): void {
  if (state === next) return;
  state = next;
  for (const listener of listeners) listener();
}

/** Says that the server answered. */
export function reportConnected(): void {
  change("connected");
}

/** Says that the server could not be reached. */
export function reportDisconnected(): void {
  change("disconnected");
}

/** Returns the state; stable between changes. */
export function connection(): Connection {
  return state;
}

/** Calls a listener after each change until the returned function is called. */
export function subscribeConnection(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}
