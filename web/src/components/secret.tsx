import { Button } from "@mantine/core";
import { useEffect, useRef } from "react";
import { CopyButton } from "./copy-button";

interface SecretProps {
  /** What is shown once. */
  secret: string;
  label: string;
  onDone: () => void;
}

/** Shows a secret that cannot be shown again. */
export function Secret({ secret, label, onDone }: SecretProps): React.JSX.Element {
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => field.current?.select(), []);
  return (
    <div className="form">
      <div className="notice warning" role="alert">
        Copy it now: it is shown only this once. The server keeps a hash and cannot tell it again.
      </div>
      <label className="secret">
        <span>{label}</span>
        <input
          ref={field}
          className="mono"
          readOnly
          data-testid="secret"
          value={secret}
          onFocus={(event) => event.currentTarget.select()}
        />
      </label>
      <div className="form-actions">
        <CopyButton text={secret} size="sm" />
        <Button onClick={onDone}>I have stored it</Button>
      </div>
    </div>
  );
}
