import { TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { settings } from "../api/admin";
import { defaultText, type LimitField, type LimitTexts, limitProblem } from "../lib/limits";
import { managesServer } from "../lib/session";
import { useSession } from "./session";

interface LimitsFieldsProps {
  fields: LimitField[];
  texts: LimitTexts;
  scope: "tenant" | "key";
  onChange: (texts: LimitTexts) => void;
}

/** Fields for limits; what stays empty is as the server's configuration says. */
export function LimitsFields(props: LimitsFieldsProps): React.JSX.Element {
  const { fields, texts, scope, onChange } = props;
  const { session } = useSession();
  // Only those who manage the server may see its settings.
  const known = useQuery({
    queryKey: ["settings"],
    queryFn: ({ signal }) => settings(signal),
    enabled: managesServer(session),
  });
  return (
    <div className="limits">
      {fields.map((field) => (
        <TextInput
          key={field.key}
          size="xs"
          label={field.label}
          inputMode="decimal"
          placeholder={defaultText(scope, field.key, known.data ?? [])}
          value={texts[field.key] ?? ""}
          error={limitProblem(field, texts[field.key] ?? "")}
          onChange={(event) => onChange({ ...texts, [field.key]: event.currentTarget.value })}
        />
      ))}
    </div>
  );
}
