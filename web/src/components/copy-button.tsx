import { Button } from "@mantine/core";
import { useState } from "react";
import { CheckIcon, CopyIcon } from "./icons";

/** How long the button says that the text was copied. */
const COPIED_MS = 2_000;

interface CopyButtonProps {
  text: string;
  size?: string;
}

/** Copies a text. Nothing where the browser does not offer the clipboard: it does on encrypted and local connections only. */
export function CopyButton({ text, size = "compact-xs" }: CopyButtonProps): React.ReactNode {
  const [copied, setCopied] = useState(false);
  if (!navigator.clipboard) return null;
  const copy = async (): Promise<void> => {
    await navigator.clipboard.writeText(text);
    setCopied(true);
    window.setTimeout(() => setCopied(false), COPIED_MS);
  };
  return (
    <>
      <Button
        size={size}
        variant="default"
        leftSection={copied ? <CheckIcon size={14} /> : <CopyIcon size={14} />}
        onClick={() => void copy()}
      >
        {copied ? "Copied" : "Copy"}
      </Button>
      <span role="status" className="visually-hidden">
        {copied ? "Copied" : ""}
      </span>
    </>
  );
}
