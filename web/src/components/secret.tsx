import { Button } from "@mantine/core";
import { useEffect, useRef, useState } from "react";
import { CheckIcon, CopyIcon } from "./icons";

interface SecretProps {
  /** What is shown once. */
  secret: string;
  label: string;
  onDone: () => void;
}

/** Shows a secret that cannot be shown again. */
export function Secret({ secret, label, onDone }: SecretProps): React.JSX.Element {
  const [copied, setCopied] = useState(false);
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => field.current?.select(), []);
  const copy = async (): Promise<void> => {
    await navigator.clipboard.writeText(secret);
    setCopied(true);
  };
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
        {/* Browsers offer the clipboard on encrypted and local connections only. */}
        {navigator.clipboard && (
          <Button
            variant="default"
            leftSection={copied ? <CheckIcon size={14} /> : <CopyIcon size={14} />}
            onClick={() => void copy()}
          >
            {copied ? "Copied" : "Copy"}
          </Button>
        )}
        <Button onClick={onDone}>I have stored it</Button>
      </div>
      <span role="status" className="visually-hidden">
        {copied ? "Copied" : ""}
      </span>
    </div>
  );
}
