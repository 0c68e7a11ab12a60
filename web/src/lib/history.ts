/** Queries that were run before, newest first. */

/** The most queries that are remembered. */
export const HISTORY_MAX = 50;

/** Returns the history with a query in front; each query is there once. */
export function remember(history: string[], expr: string): string[] {
  const text = expr.trim();
  if (text === "") return history;
  return [text, ...history.filter((old) => old !== text)].slice(0, HISTORY_MAX);
}

/** Returns the history of its stored text; what is not a list of texts is an empty history. */
export function parseHistory(stored: string | null): string[] {
  if (stored === null) return [];
  try {
    const value: unknown = JSON.parse(stored);
    if (!Array.isArray(value)) return [];
    return value.filter((item): item is string => typeof item === "string").slice(0, HISTORY_MAX);
  } catch {
    return [];
  }
}
