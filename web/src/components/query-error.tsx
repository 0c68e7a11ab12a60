import { errorPosition } from "../lib/error-position";

/** What the server or the network said about a query, with the place of the mistake where it is known. */
export function QueryError({ error, expr }: { error: Error; expr: string }): React.JSX.Element {
  const position = errorPosition(error.message, expr);
  if (!position) {
    return (
      <div className="notice error" role="alert" data-testid="query-error">
        {error.message}
      </div>
    );
  }
  const before = position.line.slice(0, position.column - 1);
  const at = position.line.slice(position.column - 1, position.column) || " ";
  const after = position.line.slice(position.column);
  return (
    <div className="notice error" role="alert" data-testid="query-error">
      <div>
        Line {position.lineNumber}, column {position.column}: {position.message}
      </div>
      <code className="notice-line">
        {before}
        <mark>{at}</mark>
        {after}
      </code>
    </div>
  );
}

/** Warnings and notes that came with an answer. */
export function QueryNotes({ warnings, infos }: { warnings: string[]; infos: string[] }) {
  return (
    <>
      {warnings.map((text) => (
        <div key={text} className="notice warning" role="status">
          {text}
        </div>
      ))}
      {infos.map((text) => (
        <div key={text} className="notice" role="status">
          {text}
        </div>
      ))}
    </>
  );
}
