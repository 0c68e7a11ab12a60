import { TextInput } from "@mantine/core";
import { useState } from "react";

interface CommitInputProps {
  label: string;
  value: string;
  placeholder: string;
  width: number;
  /** Returns what is wrong with a text, or undefined. */
  problem: (text: string) => string | undefined;
  onCommit: (text: string) => void;
}

/** A short text that takes effect with Enter or when it is left, once it makes sense. */
export function CommitInput(props: CommitInputProps): React.JSX.Element {
  const { label, value, placeholder, width, problem, onCommit } = props;
  const [draft, setDraft] = useState<string | undefined>(undefined);
  const text = draft ?? value;
  const mistake = text.trim() === "" ? undefined : problem(text);
  const commit = (): void => {
    if (draft === undefined || mistake !== undefined) return;
    setDraft(undefined);
    if (draft.trim() !== value) onCommit(draft.trim());
  };
  return (
    <TextInput
      size="xs"
      w={width}
      aria-label={label}
      title={mistake ?? label}
      placeholder={placeholder}
      value={text}
      error={mistake !== undefined}
      onChange={(event) => setDraft(event.currentTarget.value)}
      onBlur={commit}
      onKeyDown={(event) => {
        if (event.key === "Enter") commit();
        if (event.key === "Escape") setDraft(undefined);
      }}
    />
  );
}
