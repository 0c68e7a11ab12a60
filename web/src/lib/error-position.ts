/** Where in a query a mistake is. */
export interface ErrorPosition {
  /** The line of the query with the mistake. */
  line: string;
  /** 1-based line and column. */
  lineNumber: number;
  column: number;
  /** The message without the position. */
  message: string;
}

/** Returns the position that the message of a parse error names, `1:5: parse error: …`, or undefined. */
export function errorPosition(message: string, query: string): ErrorPosition | undefined {
  const match = /(?:^|\s)(\d{1,6}):(\d{1,6}): (parse error: .*)$/s.exec(message);
  if (!match) return undefined;
  const lineNumber = Number(match[1]);
  const column = Number(match[2]);
  const line = query.split("\n")[lineNumber - 1];
  if (line === undefined || column < 1) return undefined;
  return {
    line,
    lineNumber,
    column: Math.min(column, line.length + 1),
    message: match[3] ?? message,
  };
}
