import { useMemo } from "react";
import { jsonTokens } from "../lib/json-tokens";
import { CopyButton } from "./copy-button";

/** A text as it is, which can be copied; JSON has colours. */
export function TextView({ text, json = false }: { text: string; json?: boolean }) {
  const tokens = useMemo(() => (json ? jsonTokens(text) : []), [text, json]);
  return (
    <div className="text-view">
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard */}
      <pre className="mono" tabIndex={0} data-testid="text-view">
        {json
          ? tokens.map((token, index) => (
              // biome-ignore lint/suspicious/noArrayIndexKey: the pieces of a text have no other name
              <span key={index} className={token.kind === "plain" ? undefined : `j-${token.kind}`}>
                {token.text}
              </span>
            ))
          : text}
      </pre>
      <div className="text-view-copy">
        <CopyButton text={text} />
      </div>
    </div>
  );
}

/** A value as JSON over several lines. */
export function JsonView({ value }: { value: unknown }): React.JSX.Element {
  const text = useMemo(() => JSON.stringify(value, null, 2) ?? "", [value]);
  return <TextView text={text} json />;
}
