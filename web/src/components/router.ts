import { useSyncExternalStore } from "react";

/** The address of the page, without a routing library: there are few views. */

const listeners = new Set<() => void>();

function notify(): void {
  for (const listener of listeners) listener();
}

function subscribe(listener: () => void): () => void {
  if (listeners.size === 0) window.addEventListener("popstate", notify);
  listeners.add(listener);
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0) window.removeEventListener("popstate", notify);
  };
}

/** Shows another address of the page. Replacing leaves no step to go back to. */
export function navigate(href: string, options: { replace: boolean } = { replace: false }): void {
  const current = window.location.pathname + window.location.search;
  if (href === current) return;
  if (options.replace) window.history.replaceState(null, "", href);
  else window.history.pushState(null, "", href);
  notify();
}

/** Returns the path of the address, and renders again when it changes. */
export function usePath(): string {
  return useSyncExternalStore(subscribe, () => window.location.pathname);
}

/** Returns the parameters of the address, and renders again when they change. */
export function useSearch(): string {
  return useSyncExternalStore(subscribe, () => window.location.search);
}
